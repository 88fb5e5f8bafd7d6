"""Patch similarity: click a patch, see what is like it in another picture, and how far to trust it."""

import streamlit as st

from pages.ui.errors import page_errors
from pages.ui.layout import page_head
from pages.ui.models import model_picker
from pages.ui.session import feature_cache
from pages.ui.similarity_inputs import FIRST_MODEL, PAGE, options_picker, two_pictures, wanted_pictures
from pages.ui.similarity_run import compare_with_unrelated, current_pair, open_requested_run
from pages.ui.similarity_view import workspace

page_head(
    "Patch similarity",
    "What in the other picture is like the place you click?",
    "A vision transformer describes each patch of a picture by a vector. Two patches are as alike as the "
    "cosine of their vectors, from -1 to 1. The map shows that cosine for every patch of both pictures; its "
    "highest place is the match. Every query has a highest place, also where nothing corresponds: the marks "
    "beside it say how far to trust it.",
    ("Deep ViT Features as Dense Visual Descriptors (Amir et al., 2021)", "https://arxiv.org/abs/2112.05814"),
)

with page_errors():
    requested = open_requested_run()
    left, right = st.columns([3, 2], gap="large")
    with left:
        pictures = two_pictures()
    with right:
        spec = model_picker(PAGE, task="features", first=FIRST_MODEL)
        options = options_picker(spec, feature_cache().expected_ms(spec.id))
    if pictures is None:
        st.info(f"Choose {wanted_pictures()} above; the maps appear here.", icon=":material/image:")
        st.stop()
    pair = current_pair(*pictures, spec, options, requested)
    workspace()
    if pair.unrelated is None and spec.source == "shipped":  # small, so it is not asked for; after the result
        compare_with_unrelated(pair)
        st.rerun()
