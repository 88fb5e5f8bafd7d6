"""The parts of the attention page.

A model runs only when the picture, the model, the fit or (for attention too large to keep whole) the layer
changes; `state.ATTENTION` holds the last result of this session. Everything else only draws.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import pandas as pd
import streamlit as st

from core.charts.attention import (
    attention_figure,
    attention_info,
    heads_figure,
    heads_info,
    picture_uri,
)
from core.charts.overlay import overlay_png
from core.charts.theme import COLOUR_MAPS
from core.explain.maps import (
    Head,
    Query,
    attention_row,
    mass_mask,
    npy_bytes,
    patch_map,
    rollout_row,
    to_picture,
)
from core.images import ImageInput
from core.preprocess import Fit
from core.registry import ModelSpec
from db.errors import RunNotFoundError
from db.records import RunRecord
from pages.ui import state
from pages.ui.pictures import select_picture
from pages.ui.session import model_pool, store, visitor
from pages.ui.text import local_time, milliseconds, plain, small

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.workflows import AttendResult

KEEP_MB = 96.0
"""All layers are kept for one session up to this size; beyond it, one layer at a time."""

FITS: dict[str, Fit] = {"Whole picture": "whole", "Centre crop": "crop"}
WHOLE = "Whole picture"
ATTENTION, ROLLOUT = "Attention", "Rollout"
CLS, PATCH = "CLS token", "Patch"
FUSIONS: dict[str, Literal["mean", "max", "min"]] = {"Mean": "mean", "Max": "max", "Min": "min"}


@dataclass(frozen=True)
class View:
    """What of a result is shown. Changing it runs no model."""

    method: Literal["attention", "rollout"]
    layer: int
    head: Head
    query: Query

    def to_json(self) -> dict[str, Any]:
        """Return it as the store keeps it."""
        query = self.query if self.query == "cls" else list(self.query)
        return {"method": self.method, "layer": self.layer, "head": self.head, "query": query}


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
    held = state.ATTENTION.get()
    if held is not None and held.is_for(image, spec, fit):
        if _has_what_is_asked(held.result, page):
            return held
        requested = held.reopened
    repeated = requested if requested is not None and _repeats(requested, image, spec, fit) else None
    shown = state.ATTENTION.set(_run(image, spec, fit, page, repeated))
    if shown.run_id is not None:
        state.ADDRESS_RUN.set(shown.run_id)
    return shown


def _has_what_is_asked(result: AttendResult, page: str) -> bool:
    attention = result.attention
    if attention.keeps_all_layers:
        return True
    if st.session_state.get(f"{page}_method") == ROLLOUT:
        fusion = FUSIONS.get(st.session_state.get(f"{page}_fusion", "Mean"))
        return attention.rollout is not None and attention.rollout_fusion == fusion
    return st.session_state.get(f"{page}_layer", attention.depth - 1) in attention.weights


def _repeats(run: RunRecord, image: ImageInput, spec: ModelSpec, fit: Fit) -> bool:
    """Say whether these inputs are those of a stored run, so that showing it again is not a new run."""
    return (
        bool(run.inputs)
        and run.inputs[0].sha256 == image.sha256
        and (run.model_id, run.model_revision) == (spec.id, spec.revision)
        and run.parameters.get("fit") == fit
    )


def _run(image: ImageInput, spec: ModelSpec, fit: Fit, page: str, repeated: RunRecord | None) -> Shown:
    from core.workflows import attend

    asked = st.session_state
    with st.spinner(f"Running {plain(spec.title)} …", show_time=True):
        result = attend(
            image,
            spec,
            pool=model_pool(),
            sink=None if repeated else store(),
            owner=visitor(),
            fit=fit,
            layer=_layer_asked(page, spec),
            rollout=FUSIONS[asked.get(f"{page}_fusion", "Mean")]
            if asked.get(f"{page}_method") == ROLLOUT
            else None,
            keep_mb=KEEP_MB,
        )
    return Shown(image.sha256, (spec.id, spec.revision), fit, result, repeated)


def _layer_asked(page: str, spec: ModelSpec) -> int:
    """Return the layer of the slider; the last one for a model that was not shown just before."""
    held = state.ATTENTION.get()
    same = held is None or held.model == (spec.id, spec.revision)
    return int(st.session_state.get(f"{page}_layer", -1)) if same else -1


def view_controls(page: str, shown: Shown) -> View:
    """Draw what of the result to show, and return it."""
    attention = shown.result.attention
    _fit_widgets_to(page, shown)
    method = st.segmented_control(
        "Show",
        [ATTENTION, ROLLOUT],
        default=ATTENTION,
        required=True,
        key=f"{page}_method",
        persist_state="session",
        help="Attention is one layer's own weights. Rollout multiplies the layers through to the picture, "
        "with an identity added for each residual connection.",
    )
    if method == ATTENTION:
        layer = st.slider(
            "Layer",
            0,
            attention.depth - 1,
            attention.depth - 1,
            key=f"{page}_layer",
            persist_state="session",
            help=f"Counted from 0, the first. {_layer_cost(shown)}",
        )
        heads = [*FUSIONS, *(str(i) for i in range(attention.heads))]
        chosen = st.pills(
            "Head", heads, default="Mean", required=True, key=f"{page}_head", persist_state="session"
        )
        head: Head = FUSIONS[chosen] if chosen in FUSIONS else int(chosen)
    else:
        layer = attention.depth - 1
        chosen = st.pills(
            "Heads merged by",
            list(FUSIONS),
            default="Mean",
            required=True,
            key=f"{page}_fusion",
            persist_state="session",
        )
        head = FUSIONS[chosen]
    return View("rollout" if method == ROLLOUT else "attention", layer, head, _query_controls(page, shown))


def _layer_cost(shown: Shown) -> str:
    if shown.result.attention.keeps_all_layers:
        return "All layers of this run are held; changing the layer runs nothing."
    again = milliseconds(shown.result.model_ms)
    return f"This model's attention is too large to hold; each layer runs the model again, about {again}."


def _fit_widgets_to(page: str, shown: Shown) -> None:
    """Bring widget values of an earlier model into the range of this one, before the widgets are drawn."""
    attention, asked = shown.result.attention, st.session_state
    if asked.get(f"{page}_layer", 0) >= attention.depth:
        asked[f"{page}_layer"] = attention.depth - 1
    head = asked.get(f"{page}_head", "Mean")
    if head not in FUSIONS and int(head) >= attention.heads:
        asked[f"{page}_head"] = "Mean"
    for name, size in (("row", attention.grid[0]), ("column", attention.grid[1])):
        asked[f"{page}_{name}"] = min(int(asked.get(f"{page}_{name}", size // 2)), size - 1)
    if not attention.has_cls:
        asked[f"{page}_query"] = PATCH


def _query_controls(page: str, shown: Shown) -> Query:
    attention = shown.result.attention
    with st.container(horizontal=True, vertical_alignment="bottom"):
        query = st.segmented_control(
            "What attends",
            [CLS, PATCH] if attention.has_cls else [PATCH],
            default=CLS if attention.has_cls else PATCH,
            required=True,
            key=f"{page}_query",
            persist_state="session",
            help="Click the picture to choose a patch.",
        )
        if query == CLS:
            return "cls"
        rows, columns = attention.grid
        row = st.number_input("Row", 0, rows - 1, key=f"{page}_row", persist_state="session", width=110)
        column = st.number_input(
            "Column", 0, columns - 1, key=f"{page}_column", persist_state="session", width=110
        )
    return int(row), int(column)


def look_controls(page: str) -> Looks:
    """Draw how the map is drawn. None of this runs a model."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        opacity = st.slider(
            "Opacity", 0.0, 1.0, 0.6, 0.05, key=f"{page}_opacity", persist_state="session", width=220
        )
        colour_map = st.selectbox(
            "Colours", COLOUR_MAPS, key=f"{page}_colours", persist_state="session", width=140
        )
        smooth = st.toggle("Smooth", key=f"{page}_smooth", persist_state="session")
        outlined = st.toggle(
            "Outline the strongest patches",
            key=f"{page}_outlined",
            persist_state="session",
            help="Draws a line around the smallest set of patches that holds this share of the map.",
        )
        mass = None
        if outlined:
            percent = st.slider(
                "Share", 10, 95, 60, 5, format="%d %%", key=f"{page}_mass", persist_state="session", width=180
            )
            mass = percent / 100
    return Looks(colour_map, opacity, smooth, mass)


@dataclass(frozen=True)
class Drawn:
    """The map as it is on the page."""

    row: NDArray[np.float32]
    """N: what the query takes from every token."""
    values: NDArray[np.float32]
    """Rows by columns: the patches' part of it."""
    draw_ms: float


def draw(page: str, image: ImageInput, shown: Shown, view: View, looks: Looks) -> Drawn:
    """Draw the picture with its map; a click on it chooses a patch."""
    started = time.perf_counter()
    attention, frame = shown.result.attention, shown.result.frame
    row = _row(shown, view)
    values = patch_map(attention, row)
    patch = None if view.query == "cls" else view.query
    mask = mass_mask(values, looks.mass) if looks.mass else None
    figure = attention_figure(
        attention_info(image, values, frame, patch, mask),
        _picture_uri(image.sha256, image),
        colour_map=looks.colour_map,
        opacity=looks.opacity,
        smooth=looks.smooth,
        height_px=int(min(620, max(260, 640 * image.height / image.width))),
    )
    key = f"{page}_chart"
    st.plotly_chart(
        figure,
        key=key,
        on_select=partial(_choose_clicked_patch, page, key, attention.grid[1]),
        selection_mode="points",
        config={"displayModeBar": False},
        alt=f"Attention of {view.query} in layer {view.layer}, head {view.head}, over {image.name}",
    )
    _keep_view(shown, view)
    return Drawn(row, values, (time.perf_counter() - started) * 1000)


def _row(shown: Shown, view: View) -> NDArray[np.float32]:
    if view.method == "rollout":
        return rollout_row(
            shown.result.attention, cast("Literal['mean', 'max', 'min']", view.head), view.query
        )
    return attention_row(shown.result.attention, view.layer, view.head, view.query)


@st.cache_data(max_entries=32, show_spinner=False)
def _picture_uri(sha256: str, _image: ImageInput) -> str:
    return picture_uri(_image)


def _choose_clicked_patch(page: str, key: str, columns: int) -> None:
    points = st.session_state[key]["selection"]["points"]
    if not points:
        return
    st.session_state[f"{page}_query"] = PATCH
    st.session_state[f"{page}_row"], st.session_state[f"{page}_column"] = divmod(
        points[0]["point_index"], columns
    )


def _keep_view(shown: Shown, view: View) -> None:
    """Let an own run remember what of it was looked at last, so that opening it again shows the same."""
    if shown.run_id is None or state.KEPT_VIEW.get() == (shown.run_id, view):
        return
    state.KEPT_VIEW.set((shown.run_id, view))
    try:
        store().set_view(shown.run_id, visitor(), view.to_json())
    except RunNotFoundError:  # somebody else's shared run, or one deleted meanwhile
        return


def findings(shown: Shown, view: View, drawn: Drawn) -> None:
    """Draw what the numbers say: the check, the classes, where the attention went."""
    _badge(shown)
    _predictions(shown)
    prefix = float(drawn.row[: shown.result.attention.prefix_tokens].sum())
    total = float(drawn.row.sum())
    peak = np.unravel_index(int(drawn.values.argmax()), drawn.values.shape)
    rows, columns = drawn.values.shape
    facts = [
        f"Strongest patch: row {peak[0]}, column {peak[1]} with {drawn.values.max():.2e} "
        f"({drawn.values.max() / max(float(drawn.values.mean()), 1e-12):.1f} x the mean patch).",
        f"{_percent(prefix / total)} of this attention stays on the {shown.result.attention.prefix_tokens} "
        "tokens that are no patch (CLS, registers) and is not in the map."
        if shown.result.attention.prefix_tokens
        else "Every token of this model is a patch.",
        f"{rows} x {columns} patches, {len(drawn.row)} tokens.",
    ]
    st.markdown("\n".join(f"- {fact}" for fact in facts))


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else f"{share:.1%}"


def _badge(shown: Shown) -> None:
    checks = shown.result.attention.checks
    if checks.passed:
        st.badge("Weights proven", icon=":material/verified:", color="green", help=_CHECK_HELP)
    else:
        st.badge("Weights not proven", icon=":material/warning:", color="red", help=_CHECK_HELP)
    st.caption(
        f"Rows sum to 1 within {small(checks.row_sum_error)}; the output recomputed from these weights "
        f"differs from the model's own by {small(checks.output_error)} of its largest value."
    )


_CHECK_HELP = (
    "Checked on this very run, over every layer that was read: each row of weights must sum to 1, and "
    "weights times values must give what the model itself computed."
)


def _predictions(shown: Shown) -> None:
    if not shown.result.predictions:
        st.caption("This model has no classifier: it gives features, no classes.")
        return
    frame = pd.DataFrame([{"Class": p.label, "Probability": p.score} for p in shown.result.predictions])
    st.dataframe(
        frame,
        hide_index=True,
        column_config={
            "Probability": st.column_config.ProgressColumn(format="percent", min_value=0.0, max_value=1.0)
        },
        alt="Five likeliest classes",
    )


def all_heads(page: str, shown: Shown, view: View, looks: Looks) -> None:
    """Draw every head of the layer, on request."""
    if view.method == "rollout":
        return
    label = f"All {shown.result.attention.heads} heads of layer {view.layer}"
    if not st.toggle(label, key=f"{page}_all_heads", persist_state="session"):
        return
    attention = shown.result.attention
    maps = [
        patch_map(attention, attention_row(attention, view.layer, head, view.query))
        for head in range(attention.heads)
    ]
    st.plotly_chart(
        heads_figure(heads_info(maps), colour_map=looks.colour_map),
        key=f"{page}_heads_chart",
        config={"displayModeBar": False},
    )


def downloads(
    image: ImageInput, spec: ModelSpec, shown: Shown, view: View, drawn: Drawn, looks: Looks
) -> None:
    """Draw the downloads and the command that does the same."""
    name = f"{image.name.rpartition('/')[2].partition('.')[0]}-{view.method}-layer{view.layer}-{view.head}"
    with st.container(horizontal=True):
        st.download_button(
            "Map over picture (PNG)",
            partial(_png, image, shown, drawn, looks),
            f"{name}.png",
            "image/png",
            icon=":material/image:",
            on_click="ignore",
        )
        st.download_button(
            "Raw map (NPY)",
            partial(npy_bytes, drawn.values),
            f"{name}.npy",
            "application/octet-stream",
            icon=":material/data_array:",
            on_click="ignore",
            help="The values as they are, rows by columns of patches, float32.",
        )
        with st.popover("As a command", icon=":material/terminal:"):
            st.code(_command(image, spec, shown, view), language="shell", wrap_lines=True)


def _png(image: ImageInput, shown: Shown, drawn: Drawn, looks: Looks) -> bytes:
    pixels = to_picture(drawn.values, shown.result.frame, image.width, image.height, smooth=looks.smooth)
    return overlay_png(image, pixels, colour_map=looks.colour_map, opacity=looks.opacity)


def _command(image: ImageInput, spec: ModelSpec, shown: Shown, view: View) -> str:
    from shlex import quote

    query = "cls" if view.query == "cls" else f"{view.query[0]},{view.query[1]}"
    how = "--rollout" if view.method == "rollout" else f"--layer {view.layer}"
    return (
        f"python -m core attend {quote(image.name)} --model {quote(spec.id)} {how} --head {view.head} "
        f"--query {query} --fit {shown.fit} --out map.npy"
    )


def device_text(shown: Shown) -> str:
    """Return the device and why it is that one."""
    return f"{shown.result.device} ({shown.result.device_reason})"


def times(shown: Shown, drawn: Drawn) -> Mapping[str, float]:
    """Return the parts of the time, in milliseconds."""
    result = shown.result
    return {
        "load": result.load_ms,
        "prepare": result.prepare_ms,
        "model": result.model_ms,
        "draw": drawn.draw_ms,
    }


def reopened_note(shown: Shown) -> str:
    """Say that a stored run was computed again, and whether that gave the same."""
    if shown.reopened is None:
        return ""
    note = f"· run of {local_time(shown.reopened.time)}, computed again and not stored twice"
    before, now = shown.reopened.metric("top1_score"), shown.result.predictions
    if before is None or not now:
        return note
    same = abs(now[0].score - before) < 1e-3
    return f"{note}; {'same result' if same else 'the result differs from the stored one'}"
