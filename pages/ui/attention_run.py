"""Which attention result the page shows, and when a model has to run for it.

A model runs only when the picture, the model, the fit or (for attention too large to keep whole) the layer
changes; `state.ATTENTION` holds the last result of this session. Everything else only draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from core.images import ImageInput
from core.preprocess import Fit
from core.registry import ModelSpec
from db.records import RunRecord
from pages.ui import state
from pages.ui.attention_view import ATTENTION, CLS, FUSIONS, PATCH, ROLLOUT
from pages.ui.pictures import select_picture
from pages.ui.session import model_pool, store, visitor
from pages.ui.text import plain

if TYPE_CHECKING:
    from core.workflows import AttendResult

KEEP_MB = 96.0
"""All layers are kept for one session up to this size; beyond it, one layer at a time."""

WHOLE = "Whole picture"
FITS: dict[str, Fit] = {WHOLE: "whole", "Centre crop": "crop"}


@dataclass(frozen=True)
class Shown:
    """One result with what it was made from."""

    picture: str
    model: tuple[str, str]
    fit: Fit
    result: AttendResult
    reopened: RunRecord | None
    """The stored run that this repeats, which was not stored again."""

    @property
    def run_id(self) -> str | None:
        """Id of the stored run."""
        return self.reopened.id if self.reopened else self.result.run_id

    def is_for(self, image: ImageInput, spec: ModelSpec, fit: Fit) -> bool:
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
    asked = st.session_state
    asked[f"{page}_method"] = ROLLOUT if view.get("method") == "rollout" else ATTENTION
    if "layer" in view:
        asked[f"{page}_layer"] = int(view["layer"])
    names = {value: name for name, value in FUSIONS.items()}
    head = view.get("head", "mean")
    asked[f"{page}_head"] = names.get(head) or str(head)
    asked[f"{page}_fusion"] = names.get(head, "Mean")
    query = view.get("query") or "cls"
    asked[f"{page}_query"] = CLS if query == "cls" else PATCH
    if query != "cls":
        asked[f"{page}_row"], asked[f"{page}_column"] = (int(i) for i in query)


def fit_picker(page: str) -> Fit:
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
    image: ImageInput, spec: ModelSpec, fit: Fit, page: str, requested: RunRecord | None
) -> Shown:
    """Return this session's result for these inputs, running the model only when there is none yet."""
    shown = state.ATTENTION.get()
    if shown is None or not shown.is_for(image, spec, fit):
        repeated = requested if requested is not None and _repeats(requested, image, spec, fit) else None
        shown = state.ATTENTION.set(_run(image, spec, fit, page, repeated))
    elif not _has_what_is_asked(shown.result, page):
        shown = state.ATTENTION.set(_run(image, spec, fit, page, shown.reopened))
    _put_into_address(shown.run_id)
    return shown


def _put_into_address(run_id: str | None) -> None:
    """Make the address bar hold what opens this result again."""
    if run_id is not None and st.query_params.get("run") != run_id:
        st.query_params["run"] = run_id
    if run_id is not None:
        state.ADDRESS_RUN.set(run_id)


def _has_what_is_asked(result: AttendResult, page: str) -> bool:
    attention = result.attention
    if attention.keeps_all_layers:
        return True
    if st.session_state.get(f"{page}_method") == ROLLOUT:
        fusion = FUSIONS.get(st.session_state.get(f"{page}_fusion", "Mean"))
        return attention.rollout is not None and attention.rollout_fusion == fusion
    return st.session_state.get(f"{page}_layer", attention.depth - 1) in attention.weights


def _repeats(run: RunRecord, image: ImageInput, spec: ModelSpec, fit: Fit) -> bool:
    """Say whether these inputs are those of a stored run, so that showing it again is not a new run.

    A model of the hub is asked for by branch and stored by commit, which is not known before it is loaded.
    """
    same_weights = spec.source == "huggingface" or run.model_revision == spec.revision
    return (
        bool(run.inputs)
        and run.inputs[0].sha256 == image.sha256
        and run.model_id == spec.id
        and same_weights
        and run.parameters.get("fit") == fit
    )


def _run(image: ImageInput, spec: ModelSpec, fit: Fit, page: str, repeated: RunRecord | None) -> Shown:
    from core.workflows import attend

    asked = st.session_state
    tracing = asked.get(f"{page}_method") == ROLLOUT
    with st.spinner(f"Running {plain(spec.title)} …", show_time=True):
        result = attend(
            image,
            spec,
            pool=model_pool(),
            sink=None if repeated else store(),
            owner=visitor(),
            fit=fit,
            layer=_layer_asked(page, spec),
            rollout=FUSIONS[asked.get(f"{page}_fusion", "Mean")] if tracing else None,
            keep_mb=KEEP_MB,
        )
    return Shown(image.sha256, (spec.id, spec.revision), fit, result, repeated)


def _layer_asked(page: str, spec: ModelSpec) -> int:
    """Return the layer of the slider; the last one for a model that was not shown just before."""
    held = state.ATTENTION.get()
    same = held is None or held.model == (spec.id, spec.revision)
    return int(st.session_state.get(f"{page}_layer", -1)) if same else -1
