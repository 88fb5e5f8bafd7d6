"""The map on its picture, what its numbers say, and what can be taken away."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from shlex import quote
from typing import TYPE_CHECKING, cast

import pandas as pd
import streamlit as st

from core.charts.attention import attention_figure, attention_info, heads_figure, heads_info, picture_uri
from core.charts.overlay import overlay_png
from core.explain.maps import (
    Fusion,
    attention_row,
    mass_mask,
    npy_bytes,
    patch_map,
    rollout_row,
)
from core.images import ImageInput
from core.registry import ModelSpec
from core.samples import SCENE_PREFIX, samples
from db.errors import RunNotFoundError
from pages.ui import state
from pages.ui.attention_run import Shown
from pages.ui.attention_view import PATCH, Looks, View
from pages.ui.pictures import hand_over_picture
from pages.ui.session import store, visitor
from pages.ui.text import local_time, small

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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
        height_px=int(min(560, max(240, 520 * image.height / image.width))),
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
        return rollout_row(shown.result.attention, cast("Fusion", view.head), view.query)
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


def findings(shown: Shown, drawn: Drawn) -> None:
    """Draw what the numbers say: the check, the classes, where the attention went."""
    _badge(shown)
    _predictions(shown)
    rows, columns = drawn.values.shape
    row, column = divmod(int(drawn.values.argmax()), columns)
    largest = float(drawn.values.max())
    st.markdown(
        f"- Strongest patch: row {row}, column {column} with {largest:.2e} "
        f"({largest / max(float(drawn.values.mean()), 1e-12):.1f} x the mean patch).\n"
        f"- {_prefix_fact(shown, drawn)}\n"
        f"- {rows} x {columns} patches, {len(drawn.row)} tokens."
    )


def segment_strongest(page: str, image: ImageInput, shown: Shown, drawn: Drawn) -> None:
    """Draw the button that hands the strongest patch to the segmentation page as its first click."""
    if not st.button("Segment what is there", icon=":material/ads_click:", key=f"{page}_segment"):
        return
    row, column = divmod(int(drawn.values.argmax()), drawn.values.shape[1])
    x0, y0, x1, y1 = shown.result.frame.patch_box(row, column)
    state.SEGMENT_START.set((image.sha256, (x0 + x1) / 2, (y0 + y1) / 2))
    hand_over_picture(page, "segment")
    st.switch_page("pages/segment_anything.py")


def _prefix_fact(shown: Shown, drawn: Drawn) -> str:
    prefix = shown.result.attention.prefix_tokens
    if prefix == 0:
        return "Every token of this model is a patch."
    which = "the CLS token" if prefix == 1 else f"the {prefix} tokens in front (CLS, registers)"
    share = float(drawn.row[:prefix].sum()) / float(drawn.row.sum())
    return f"{_percent(share)} of this attention goes to {which} and is not in the map."


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
    return overlay_png(
        image,
        drawn.values,
        shown.result.frame,
        colour_map=looks.colour_map,
        opacity=looks.opacity,
        smooth=looks.smooth,
    )


def _command(image: ImageInput, spec: ModelSpec, shown: Shown, view: View) -> str:
    query = "cls" if view.query == "cls" else f"{view.query[0]},{view.query[1]}"
    how = "--rollout" if view.method == "rollout" else f"--layer {view.layer}"
    is_sample = image.name.startswith(SCENE_PREFIX) or image.name in {s.id for s in samples()}
    picture = f"sample:{image.name}" if is_sample else image.name
    return (
        f"python -m core attend {quote(picture)} --model {quote(spec.id)} {how} --head {view.head} "
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
