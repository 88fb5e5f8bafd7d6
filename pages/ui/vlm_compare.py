"""The view in which models answer side by side."""

from __future__ import annotations

import streamlit as st

from core.images import ImageInput
from pages.ui import state
from pages.ui.errors import page_errors
from pages.ui.pictures import SCENES, picture_picker
from pages.ui.text import plain
from pages.ui.vlm_answers import answers
from pages.ui.vlm_inputs import limits_picker, put_picker
from pages.ui.vlm_keys import key_entry
from pages.ui.vlm_models import LOCAL_PREFIXES, first_models, models_picker
from pages.ui.vlm_run import cancel, open_requested_run, show_again, start
from pages.ui.vlm_state import PAGE, Comparison, Put


def compare_view() -> None:
    """Draw picture, question and models, then the answers."""
    requested = open_requested_run()
    left, right = st.columns([2, 3], gap="large")
    with left:
        image = picture_picker(PAGE, first=SCENES)
        if image is not None:
            st.image(image.rgb, caption=plain(f"{image.name}, {image.width} x {image.height}"))
    if requested is not None:
        show_again(requested, image)
    with right:
        if image is None:
            st.info("Choose a picture; the question goes here.", icon=":material/image:")
        else:
            _question(image)
    comparison = state.VLM_COMPARISON.get()
    if comparison is None:
        st.info("Choose two models or more and press Ask; the answers appear here.", icon=":material/forum:")
        return
    answers(comparison)


def _question(image: ImageInput) -> None:
    """Draw what is asked of whom, and ask when that is wanted."""
    put = put_picker(image)
    with page_errors():
        models = models_picker()
    with st.container(horizontal=True, vertical_alignment="center"):
        blind = st.toggle(
            "Blind",
            key=f"{PAGE}_blind",
            persist_state="session",
            help="Two of the chosen models, drawn by lot, answer without names. You vote, then see them.",
        )
        with st.popover("Limits", icon=":material/tune:", type="tertiary"):
            limits_picker()
    _ask_buttons(image, put, models, blind)
    key_entry()


def _ask_buttons(image: ImageInput, put: Put | None, models: tuple[str, ...], blind: bool) -> None:
    """Draw the button and ask where that is wanted; without starting the page again, which would lose
    what its widgets were drawn with a moment ago."""
    ready = put is not None and len(models) >= 2
    with st.container(horizontal=True, vertical_alignment="center"):
        asked = st.button(
            "Ask", type="primary", icon=":material/send:", key=f"{PAGE}_ask", disabled=not ready
        )
        comparison = state.VLM_COMPARISON.get()
        wanted = asked or _is_wanted_at_once(comparison, image, models)
        if put is not None and ready and wanted:
            if comparison is not None:
                cancel(comparison)
            comparison = start(image, put, models, blind=blind)
        st.caption(_hint(comparison, image, put, models))


def _hint(comparison: Comparison | None, image: ImageInput, put: Put | None, models: tuple[str, ...]) -> str:
    if put is None:
        return "Type a prompt first."
    if len(models) < 2:
        return "Choose at least two models."
    if comparison is not None and not comparison.is_running and not comparison.is_for(image, put, models):
        return "The answers below are to another question. Ask to renew them."
    return ""


def _is_wanted_at_once(comparison: Comparison | None, image: ImageInput, models: tuple[str, ...]) -> bool:
    """Say whether to ask without being told to: at first, or a region handed over; never a paid model."""
    if not all(model_id.startswith(LOCAL_PREFIXES) for model_id in models):
        return False
    if comparison is None:
        return list(models) == first_models()
    handed = state.VLM_START.get() == image.sha256
    state.VLM_START.clear()
    return handed and not comparison.is_running
