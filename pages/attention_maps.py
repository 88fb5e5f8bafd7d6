"""Attention maps: where each head of a vision transformer looks, layer by layer."""

import streamlit as st

from pages.ui.attention_draw import (
    all_heads,
    device_text,
    downloads,
    draw,
    findings,
    reopened_note,
    segment_strongest,
    times,
)
from pages.ui.attention_run import attention_result, fit_picker, open_requested_run
from pages.ui.attention_view import look_controls, view_controls
from pages.ui.errors import page_errors
from pages.ui.layout import page_head, run_footer
from pages.ui.models import model_picker
from pages.ui.pictures import picture_picker

PAGE = "attention"

page_head(
    "Attention maps",
    "Where does each head look, layer by layer?",
    "A vision transformer cuts the picture into patches and turns each into a token. In every layer, each "
    "head lets every token gather from all others; the weights of that gathering are its attention and sum "
    "to 1. "
    "The map shows one row of them: how much the CLS token, or the patch you click, takes from each place. "
    "Attention says where information flows from, not by itself why a class was chosen.",
    ("An Image is Worth 16x16 Words (Dosovitskiy et al., 2020)", "https://arxiv.org/abs/2010.11929"),
)

with page_errors():
    reopened = open_requested_run(PAGE)
    left, right = st.columns([3, 2], gap="large")
    with left:
        image = picture_picker(PAGE)
    with right:
        spec = model_picker(PAGE, task="attention")
        fit = fit_picker(PAGE)
    if image is None:
        st.info("Choose a picture above; the map appears here.", icon=":material/image:")
        st.stop()
    shown = attention_result(image, spec, fit, PAGE, reopened)

    with right:
        view = view_controls(PAGE, shown.result)
    with left:
        map_place = st.container()
        looks = look_controls(PAGE)
        with map_place:
            drawn = draw(PAGE, image, shown, view, looks)
    with right:
        findings(shown, drawn)
        segment_strongest(PAGE, image, shown, drawn)
    all_heads(PAGE, shown, view, looks)
    downloads(image, spec, shown, view, drawn, looks)
    run_footer(
        shown.run_id,
        "pages/attention_maps.py",
        device_text(shown),
        times(shown, drawn),
        reopened_note(shown),
    )
