"""The parts of the attention page.

A model runs only when the picture, the model, the fit or (for attention too large to keep whole) the layer
changes; `state.ATTENTION` holds the last result of this session. Everything else only draws.
"""

from __future__ import annotations

import base64
import io
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st
from PIL import Image

from core.charts.attention import attention_figure, attention_info, heads_figure, heads_info
from core.charts.theme import COLOUR_MAPS
from core.errors import InputError
from core.images import ImageInput
from core.registry import ModelSpec
from db.records import RunRecord
from pages.ui import state
from pages.ui.pictures import select_picture
from pages.ui.runs import thumbnail_uri
from pages.ui.session import model_pool, store, visitor
from pages.ui.text import local_time, plain, small

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from streamlit.delta_generator import DeltaGenerator

    from core.workflows import AttendResult

KEEP_MB = 96.0
"""All layers are kept for one session up to this size; beyond it, one layer at a time."""

WHOLE, CROP = "Whole picture", "Centre crop"
FITS = {WHOLE: "whole", CROP: "crop"}
ATTENTION, ROLLOUT = "Attention", "Rollout"
CLS, PATCH = "CLS", "Patch"
FUSIONS = {"Mean": "mean", "Max": "max", "Min": "min"}


@dataclass(frozen=True)
class View:
    """What of a result is shown. Changing it runs no model."""

    method: str
    layer: int
    head: int | str
    query: str | tuple[int, int]


@dataclass(frozen=True)
class Looks:
    """How it is drawn."""

    colour_map: str
    opacity: float
    smooth: bool
    mass: float | None
    """Share of the attention whose smallest set of patches is outlined; None for no outline."""


@dataclass(frozen=True)
class Shown:
    """One result with what it was made from."""

    picture: str
    model: tuple[str, str]
    fit: str
    result: AttendResult
    reopened: RunRecord | None

    def is_for(self, image: ImageInput, spec: ModelSpec, fit: str) -> bool:
        """Say whether this is what running the model on these inputs would give."""
        return (self.picture, self.model, self.fit) == (image.sha256, (spec.id, spec.revision), fit)


def open_requested_run(page: str) -> RunRecord | None:
    """Set the page's inputs to the run that the address asks for, once; return that run.

    Raises:
        StoreError: There is no such run, or it belongs to somebody else.
    """
    run_id = st.query_params.get("run")
    if run_id is None or run_id == state.ADDRESS_RUN.get():
        return None
    state.ADDRESS_RUN.set(run_id)
    run = store().run(run_id, visitor())
    parameters = dict(run.parameters) | dict(run.view)
    st.session_state[f"{page}_model"] = run.model_id
    st.session_state[f"{page}_fit"] = next((k for k, v in FITS.items() if v == parameters.get("fit")), WHOLE)
    _set_view(page, parameters)
    state.ATTENTION.clear()
    if run.inputs and not select_picture(page, run.inputs[0]):
        _missing_picture(run)
    return run


def _missing_picture(run: RunRecord) -> None:
    picture = run.inputs[0]
    st.warning(
        f"Run {run.id} kept only the digest and a thumbnail of its picture {plain(picture.name)} "
        f"({picture.width} x {picture.height}). Its model and parameters are set. "
        f"Upload the same file (SHA-256 {picture.sha256[:12]}…) to run it again.",
        icon=":material/no_photography:",
    )
    st.image(picture.thumbnail)


def _set_view(page: str, view: dict[str, Any]) -> None:
    """Put a stored view into the widgets' keys; what is missing keeps its default."""
    if "layer" in view:
        st.session_state[f"{page}_layer"] = int(view["layer"])
    head = view.get("head", "mean")
    names = {value: name for name, value in FUSIONS.items()}
    st.session_state[f"{page}_head"] = names.get(head) or str(head)
    st.session_state[f"{page}_method"] = ROLLOUT if view.get("method") == "rollout" else ATTENTION
    query = view.get("query", "cls")
    st.session_state[f"{page}_query"] = CLS if query == "cls" else PATCH
    if query != "cls":
        st.session_state[f"{page}_row"], st.session_state[f"{page}_column"] = (int(i) for i in query)


def fit_picker(page: str) -> str:
    """Draw the choice of what part of the picture the model sees."""
    chosen = st.segmented_control(
        "The model sees",
        list(FITS),
        default=WHOLE,
        required=True,
        key=f"{page}_fit",
        persist_state="session",
        help="The whole picture keeps its shape where the model takes any size. The centre crop is what the "
        "model was evaluated on.",
    )
    return FITS[chosen]


def attention_result(
    image: ImageInput, spec: ModelSpec, fit: str, page: str, requested: RunRecord | None
) -> Shown:
    """Return this session's result for these inputs, running the model only when there is none yet."""
    held: Shown | None = state.ATTENTION.get()
    if held is not None and held.is_for(image, spec, fit) and _has_what_is_asked(held, page):
        return held
    if held is not None and held.is_for(image, spec, fit):
        requested = held.reopened
    reopened = requested if requested is not None and _repeats(requested, image, spec, fit) else None
    shown = _run(image, spec, fit, page, reopened)
    if shown.result.run_id is not None:
        state.ADDRESS_RUN.set(shown.result.run_id)
        st.query_params["run"] = shown.result.run_id
    return state.ATTENTION.set(shown)


def _has_what_is_asked(shown: Shown, page: str) -> bool:
    attention = shown.result.attention
    if attention.keeps_all_layers:
        return True
    if st.session_state.get(f"{page}_method") == ROLLOUT:
        return attention.rollout is not None
    return st.session_state.get(f"{page}_layer", attention.depth - 1) in attention.weights


def _repeats(run: RunRecord, image: ImageInput, spec: ModelSpec, fit: str) -> bool:
    """Say whether these inputs are those of a stored run, so that showing it again is not a new run."""
    return (
        bool(run.inputs)
        and run.inputs[0].sha256 == image.sha256
        and (run.model_id, run.model_revision) == (spec.id, spec.revision)
        and run.parameters.get("fit") == fit
    )
