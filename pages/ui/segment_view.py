"""The work itself: canvas and tools on the left, objects, masks and scores on the right."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from core.images import ImageInput
from core.segment.draw import Layer, composite, jpeg, shrunk
from core.segment.prompts import Prompts
from pages.ui.segment_canvas import (
    BOX,
    EXCLUDE,
    INCLUDE,
    RADIUS,
    STROKE,
    STROKES,
    canvas_size,
    drawing_of,
    prompts_of,
)
from pages.ui.segment_run import MULTIMASK, PAGE, REFINE, keep_view
from pages.ui.segment_state import SAME_PX, Edited, Work

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.segment.masks import Masks

TOOL = f"{PAGE}_tool"
KEYS = {INCLUDE: "i", EXCLUDE: "e", BOX: "b"}
ICONS = {INCLUDE: ":material/add_circle:", EXCLUDE: ":material/do_not_disturb_on:", BOX: ":material/select:"}


@dataclass(frozen=True)
class Looks:
    """What is made of a mask before it is shown. None of this runs the model."""

    opacity: float
    threshold: float
    fill_holes_px: int
    drop_islands_px: int
    smooth_px: float


@dataclass(frozen=True)
class Drawn:
    """What the page shows."""

    masks: tuple[tuple[Edited, NDArray[np.bool_]], ...]
    """Every object that has a mask, and its cleaned mask H W."""
    draw_ms: float

    def of(self, item: Edited) -> NDArray[np.bool_] | None:
        """Return the mask of one object, or None."""
        return next((mask for other, mask in self.masks if other is item), None)


def looks() -> Looks:
    """Return the display options as they are set, before their widgets are drawn."""
    asked = st.session_state
    return Looks(
        opacity=asked.get(f"{PAGE}_opacity", 0.45),
        threshold=asked.get(f"{PAGE}_threshold", 0.0),
        fill_holes_px=asked.get(f"{PAGE}_holes", 0),
        drop_islands_px=asked.get(f"{PAGE}_islands", 0),
        smooth_px=asked.get(f"{PAGE}_smooth", 0.0),
    )


def take_clicks(work: Work, image: ImageInput, size: tuple[int, int]) -> None:
    """Take over what the canvas told since the last run."""
    told = st.session_state.get(work.canvas_key)
    if told is None:
        work.forget_canvas()
        return
    raw = told.get("drawing", {}).get("raw")
    if raw is None or raw == work.seen:
        return
    work.seen = raw
    scale_x, scale_y = size[0] / image.width, size[1] / image.height
    shown = work.edited.step.prompts.box
    prompts, notes = prompts_of(raw, scale_x, scale_y, image.width, image.height, shown)
    prompts = replace(prompts, mask=work.edited.step.prompts.mask)  # a loaded mask is not on the canvas
    tolerance = SAME_PX / min(scale_x, scale_y)
    if work.is_echo(prompts, tolerance):
        return
    for note in dict.fromkeys(notes):
        st.toast(note, icon=":material/info:")
    work.edited.show(prompts, tolerance)
    drawn = len(raw.get("objects", ()))
    if drawn != len(prompts.points) + (prompts.box is not None):
        work.redraw()  # what was left out leaves the canvas, too


def draw_all(work: Work, look: Looks) -> Drawn:
    """Return the cleaned mask of every object."""
    started = time.perf_counter()
    found = []
    for item in work.objects:
        result = item.step.result
        if result is not None:
            found.append((item, cleaned(result.masks, item.step.index, look)))
    return Drawn(tuple(found), (time.perf_counter() - started) * 1000)


def cleaned(masks: Masks, index: int, look: Looks) -> NDArray[np.bool_]:
    """Return mask `index` at the picture's size, by the threshold and cleaning that are set."""
    from core.segment.regions import Cleaning, clean

    mask = masks.mask(index, masks.threshold + look.threshold)
    return clean(mask, Cleaning(look.fill_holes_px, look.drop_islands_px, look.smooth_px))


def canvas(
    work: Work, image: ImageInput, drawn: Drawn, look: Looks, size: tuple[int, int], *, is_live: bool
) -> None:
    """Draw the picture with its masks and prompts; clicks on it arrive with the next run.

    Until the browser has told how wide the column is, it is a picture alone: a canvas of another size would
    be thrown away again at once.
    """
    from streamlit_drawable_canvas import st_canvas

    layers = [Layer(mask, item.colour) for item, mask in drawn.masks]
    background = jpeg(composite(small_picture(image.sha256, *size, image), layers, look.opacity))
    if not is_live:
        st.image(background, width=size[0])
        return
    tool = st.session_state.get(TOOL, INCLUDE)
    if not work.drawing:
        scales = size[0] / image.width, size[1] / image.height
        work.sent(drawing_of(work.edited.step.prompts, *scales))
    st_canvas(
        fill_color=STROKES[tool] if tool != BOX else "rgba(0, 0, 0, 0)",
        stroke_width=STROKE,
        stroke_color=STROKES[BOX] if tool == BOX else "#ffffff" if tool == INCLUDE else "#000000",
        background_image=background,
        width=size[0],
        height=size[1],
        drawing_mode="rect" if tool == BOX else "point",
        initial_drawing=work.drawing,
        point_display_radius=RADIUS,
        key=work.canvas_key,
    )


@st.cache_data(max_entries=16, show_spinner=False)
def small_picture(sha256: str, width: int, height: int, _image: ImageInput) -> NDArray[np.uint8]:
    """Return a picture at another size, made once for everybody."""
    return shrunk(_image, width, height)


def fit_canvas(work: Work, image: ImageInput, column: int | None) -> tuple[int, int]:
    """Return the canvas's size, and give it a new identity where picture, object or size are others."""
    size = canvas_size(image.width, image.height, column)
    key = f"{PAGE}_canvas_{image.sha256[:16]}_{work.edited.number}_{size[0]}x{size[1]}"
    if key != work.canvas_key:
        work.canvas_key = key
        work.forget_canvas()
    return size


def tools(work: Work) -> None:
    """Draw what a click does, and undo, redo, clear."""
    chosen = st.session_state.setdefault(TOOL, INCLUDE)
    with st.container(horizontal=True, gap="small"):
        for tool in (INCLUDE, EXCLUDE, BOX):
            st.button(
                tool,
                key=f"{PAGE}_tool_{tool}",
                icon=ICONS[tool],
                shortcut=KEYS[tool],
                type="primary" if tool == chosen else "secondary",
                on_click=partial(st.session_state.__setitem__, TOOL, tool),
                help=_TOOL_HELP[tool],
            )
        item = work.edited
        _action("Undo", ":material/undo:", "Ctrl+Z", partial(_go, work, -1), item.at == 0)
        _action("Redo", ":material/redo:", "Ctrl+Y", partial(_go, work, 1), item.at + 1 == len(item.steps))
        _action("Clear", ":material/backspace:", "x", partial(_clear, work), item.step.prompts.is_empty)


_TOOL_HELP = {
    INCLUDE: "A click marks what belongs to the object.",
    EXCLUDE: "A click marks what does not belong to it.",
    BOX: "Drag a box around the object.",
}


def _action(label: str, icon: str, shortcut: str, act: partial[None], disabled: bool) -> None:
    st.button(label, key=f"{PAGE}_{label}", icon=icon, shortcut=shortcut, on_click=act, disabled=disabled)


def _go(work: Work, by: int) -> None:
    work.edited.go(by)
    work.redraw()
    if run_id := work.edited.step.run_id:
        keep_view(work, run_id)


def _clear(work: Work) -> None:
    work.edited.show(Prompts(), 0)
    work.redraw()


def remove_prompt(work: Work, place: int | None) -> None:
    """Take away one point, or (None) the box."""
    prompts = work.edited.step.prompts
    if place is None:
        left = replace(prompts, box=None)
    else:
        left = replace(prompts, points=prompts.points[:place] + prompts.points[place + 1 :])
    work.edited.show(left, 0)
    work.redraw()


def display_options() -> None:
    """Draw what is made of the mask. None of this runs the model."""
    with st.expander("Mask and display", icon=":material/tune:"):
        first, second = st.columns(2, gap="medium")
        with first:
            st.slider(
                "Threshold",
                -8.0,
                8.0,
                0.0,
                0.25,
                key=f"{PAGE}_threshold",
                persist_state="session",
                help="Higher keeps only what the model is surest of. In logits; 0 is the model's own.",
            )
            st.slider("Opacity", 0.0, 1.0, 0.45, 0.05, key=f"{PAGE}_opacity", persist_state="session")
            st.slider(
                "Smooth the contour",
                0.0,
                10.0,
                0.0,
                0.5,
                format="%.1f px",
                key=f"{PAGE}_smooth",
                persist_state="session",
            )
        with second:
            st.number_input(
                "Fill holes up to (pixels)",
                0,
                1_000_000,
                0,
                50,
                key=f"{PAGE}_holes",
                persist_state="session",
            )
            st.number_input(
                "Drop islands up to (pixels)",
                0,
                1_000_000,
                0,
                50,
                key=f"{PAGE}_islands",
                persist_state="session",
                help="Parts apart from the largest one.",
            )
            st.toggle(
                "Three masks to choose from",
                True,
                key=MULTIMASK,
                persist_state="session",
                help="Off: the model gives its one answer. Holds for the next prompt.",
            )
            st.toggle(
                "Refine the mask before",
                True,
                key=REFINE,
                persist_state="session",
                help="On: an added prompt starts from the mask so far. Off: all prompts are asked afresh.",
            )
