"""Segment everything: every mask of the picture at once, and from any of them on to a mask of one's own."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

from core.charts.picture import picture_figure
from core.errors import InputError
from core.images import ImageInput
from core.registry import ModelSpec
from core.segment.draw import Layer, composite, jpeg
from core.segment.kinds import EVERYTHING
from core.segment.prompts import Point, Prompts
from pages.ui import state
from pages.ui.layout import run_footer
from pages.ui.segment_run import PAGE
from pages.ui.segment_state import COLOURS, Work
from pages.ui.segment_view import small_picture
from pages.ui.session import embedding_cache, model_pool, store, visitor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.segment.automatic_values import AutomaticMask, AutomaticOptions
    from core.segment.workflow import EverythingResult
    from db import Store

NAME = f"{PAGE}_all"
DRAWN_PX = 900


@dataclass(frozen=True)
class Found:
    """A result with what it was made from."""

    picture: str
    model: tuple[str, str]
    result: EverythingResult


def everything(work: Work, image: ImageInput, spec: ModelSpec) -> None:
    """Draw the options, the button, and what was found last."""
    again = state.SEGMENT_AGAIN.get()
    if again is not None and again.kind == EVERYTHING:
        _set_options(again.parameters.get("options"))
    options = _options()
    first, second = st.columns([1, 3], vertical_alignment="center")
    with first:
        asked = st.button("Segment everything", type="primary", icon=":material/apps:", key=f"{NAME}_run")
    with second:
        points = options.points_per_side**2
        st.caption(f"{points:,} points, one click each. Anything pressed meanwhile cancels it.")
    if again is not None and again.kind == EVERYTHING:
        state.SEGMENT_AGAIN.clear()
        result = replace(_run(image, spec, options, None), run_id=again.id)
        state.EVERYTHING.set(Found(image.sha256, (spec.id, spec.revision), result))
    if asked:
        result = _run(image, spec, options, store())
        state.EVERYTHING.set(Found(image.sha256, (spec.id, spec.revision), result))
    held = state.EVERYTHING.get()
    if held is None or held.picture != image.sha256 or held.model != (spec.id, spec.revision):
        return
    _show(work, image, held.result)


def _set_options(stored: Any) -> None:
    """Put the options of a stored run into the widgets' keys; what cannot be read keeps its default."""
    for key, (name, kind) in _WIDGETS.items():
        value = stored.get(name) if isinstance(stored, Mapping) else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            st.session_state[f"{NAME}_{key}"] = kind(value)


_WIDGETS: dict[str, tuple[str, type]] = {
    "side": ("points_per_side", int),
    "layers": ("crop_layers", int),
    "iou": ("min_predicted_iou", float),
    "stability": ("min_stability", float),
    "nms": ("nms_iou", float),
    "region": ("min_region_px", int),
}
"""Widget keys to fields of the options."""


def _run(
    image: ImageInput, spec: ModelSpec, options: AutomaticOptions, sink: Store | None
) -> EverythingResult:
    from core.segment.workflow import segment_everything

    bar = st.progress(0.0, "Encoding the picture …")
    stop = st.empty()
    stop.button("Cancel", icon=":material/stop_circle:", key=f"{NAME}_cancel")
    try:
        return segment_everything(
            image,
            spec,
            options,
            pool=model_pool(),
            cache=embedding_cache(),
            sink=sink,
            owner=visitor(),
            progress=lambda share: bar.progress(share, f"{share:.0%} of the points asked"),
        )
    finally:
        bar.empty()
        stop.empty()


def _options() -> AutomaticOptions:
    from core.segment.automatic_values import LENIENT, AutomaticOptions

    with st.expander("How thoroughly", icon=":material/tune:"):
        one, two, three = st.columns(3, gap="medium")
        with one:
            side = st.slider(
                "Points along a side",
                4,
                64,
                LENIENT.points_per_side,
                4,
                key=f"{NAME}_side",
                persist_state="session",
            )
            layers = st.slider(
                "Also look closer, times",
                0,
                2,
                0,
                key=f"{NAME}_layers",
                persist_state="session",
                help="1 repeats it on four overlapping parts of the picture, 2 on sixteen more.",
            )
        with two:
            quality = st.slider(
                "Least predicted IoU",
                0.0,
                1.0,
                LENIENT.min_predicted_iou,
                0.01,
                key=f"{NAME}_iou",
                persist_state="session",
            )
            stability = st.slider(
                "Least stability",
                0.0,
                1.0,
                LENIENT.min_stability,
                0.01,
                key=f"{NAME}_stability",
                persist_state="session",
            )
        with three:
            overlap = st.slider(
                "Two masks are one from a box IoU of",
                0.1,
                1.0,
                LENIENT.nms_iou,
                0.05,
                key=f"{NAME}_nms",
                persist_state="session",
            )
            smallest = st.number_input(
                "Remove holes and islands below (pixels)",
                0,
                100_000,
                0,
                10,
                key=f"{NAME}_region",
                persist_state="session",
            )
    return AutomaticOptions(
        points_per_side=side,
        min_predicted_iou=quality,
        min_stability=stability,
        nms_iou=overlap,
        crop_layers=layers,
        min_region_px=smallest,
    )


def _show(work: Work, image: ImageInput, result: EverythingResult) -> None:
    if not result.masks:
        st.info(
            "No mask was good enough. Lower the least predicted IoU or stability.", icon=":material/info:"
        )
        return
    from core.segment.label_map import label_map, largest

    count = len(result.masks)
    top = count
    if count > 1:
        top = st.slider("Largest masks shown", 1, count, count, key=f"{NAME}_top_{count}")
    shown = largest(result.masks, top)
    labels, covered = label_map(shown)
    st.caption(
        f"{top} of {count} masks; without overlap (small before large) they cover {covered:.1%} of the "
        "picture. Press a dot to go on from its mask."
    )
    key = f"{NAME}_chart"
    st.plotly_chart(
        picture_figure(
            _picture(image, labels, top),
            (image.width, image.height),
            [_middle(mask) for mask in shown],
            [f"{mask.area:,} px, predicted IoU {mask.predicted_iou:.2f}" for mask in shown],
            height_px=int(min(640, max(240, 700 * image.height / image.width))),
        ),
        key=key,
        on_select=partial(_refine, work, shown, key),
        selection_mode="points",
        config={"displayModeBar": False},
        alt=f"{top} masks over {image.name}",
    )
    rows = [
        {"Area (px)": mask.area, "Predicted IoU": mask.predicted_iou, "Stability": mask.stability}
        for mask in shown
    ]
    with st.expander("As a table", icon=":material/table:"):
        st.dataframe(pd.DataFrame(rows), alt="The masks and their scores")
    times = result.times
    run_footer(
        result.run_id,
        "pages/segment_anything.py",
        f"{result.device} ({result.device_reason})",
        {"load": times.load_ms, "embed": times.embed_ms, "masks": times.decode_ms},
    )
    if st.session_state.pop(f"{NAME}_chosen", False):
        st.rerun(scope="app")


def _middle(mask: AutomaticMask) -> tuple[float, float]:
    """Return the pixel of the mask that is nearest to its centre of mass."""
    rows, columns = np.nonzero(mask.inside)
    nearest = int(((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2).argmin())
    return float(mask.window[0] + columns[nearest]), float(mask.window[1] + rows[nearest])


def _picture(image: ImageInput, labels: NDArray[np.int32], count: int) -> str:
    """Return the picture with `count` masks in their colours, as they are numbered in `labels` (H W)."""
    scale = min(1.0, DRAWN_PX / max(image.width, image.height))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    hues = list(COLOURS.values())
    small = np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))
    layers = [Layer(small == number, hues[number % len(hues)]) for number in range(1, count + 1)]
    drawn = jpeg(composite(small_picture(image.sha256, *size, image), layers, 0.45))
    return f"data:image/jpeg;base64,{base64.b64encode(drawn).decode()}"


def _refine(work: Work, masks: tuple[AutomaticMask, ...], key: str) -> None:
    """Make an object of the mask that was pressed: its point and box are the first prompts."""
    points = st.session_state[key]["selection"]["points"]
    if not points:
        return
    mask = masks[points[0]["point_index"]]
    try:
        item = work.blank()
    except InputError as error:
        st.toast(str(error), icon=":material/error:")
        return
    x0, y0, x1, y1 = (float(edge) for edge in mask.window)
    item.show(Prompts((Point(*mask.point),), (x0, y0, x1, y1)), 0)
    work.redraw()
    st.session_state[f"{NAME}_chosen"] = True
