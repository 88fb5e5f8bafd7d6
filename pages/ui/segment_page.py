"""The part of the page that runs again with each click, and nothing else with it."""

from __future__ import annotations

import streamlit as st

from core.errors import VisionBenchError
from core.images import ImageInput
from core.registry import ModelSpec
from db.errors import StoreError
from pages.ui.errors import page_errors, show_error
from pages.ui.layout import run_footer
from pages.ui.segment_canvas import column_width
from pages.ui.segment_panel import mask_choice, object_list, prompt_list, scores
from pages.ui.segment_run import PAGE, answer_all, known_truths
from pages.ui.segment_state import Work
from pages.ui.segment_view import canvas, display_options, draw_all, fit_canvas, looks, take_clicks, tools
from pages.ui.similarity_handover import find_elsewhere
from pages.ui.vlm_handover import ask_about_object


@st.fragment
def workspace(work: Work, image: ImageInput, spec: ModelSpec) -> None:
    """Draw canvas, tools and results; a click runs this function alone."""
    with page_errors():
        left, right = st.columns([3, 2], gap="large")
        with left:
            width = column_width(f"{PAGE}_column")
        size = fit_canvas(work, image, width)
        take_clicks(work, image, size)
        with left:
            try:
                answer_all(work, image, spec)
            except (VisionBenchError, StoreError) as error:
                show_error(error)
            look = work.looks = looks()
            drawn = draw_all(work, look)
            tools(work)
            canvas(work, image, drawn, look, size, is_live=width is not None)
            display_options()
        with right:
            object_list(work)
            mask_choice(work, image, drawn, look)
            prompt_list(work)
            scores(work, drawn, known_truths(image))
            find_elsewhere(image, drawn.of(work.edited))
            ask_about_object(image, drawn.of(work.edited))
        _footer(work, drawn.draw_ms)


def _footer(work: Work, draw_ms: float) -> None:
    step = work.edited.step
    if step.result is None:
        return
    times = step.result.times
    parts = {"load": times.load_ms, "embed": times.embed_ms, "decode": times.decode_ms, "draw": draw_ms}
    kept = "" if times.embedded == "encoded" else f"· embedding from {_PLACES[times.embedded]}"
    run_footer(
        step.run_id,
        "pages/segment_anything.py",
        f"{step.result.device} ({step.result.device_reason})",
        parts,
        kept,
    )


_PLACES = {"memory": "memory", "store": "the store"}
