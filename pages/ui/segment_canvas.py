"""The canvas: a person's clicks and drags over the picture, as prompts in the picture's pixels, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import streamlit as st

from core.segment.prompts import Box, Point, Prompts

INCLUDE, EXCLUDE, BOX = "Include", "Exclude", "Box"
STROKES = {INCLUDE: "#16a34a", EXCLUDE: "#dc2626", BOX: "#f59e0b"}
RADIUS, STROKE = 5, 3
MAX_WIDTH, MAX_HEIGHT, MIN_WIDTH = 900, 640, 240

_MEASURE = """
export default function ({ parentElement, setStateValue }) {
  const host = parentElement.host ?? parentElement;
  let told = 0;
  const tell = () => {
    const width = Math.floor(host.getBoundingClientRect().width);
    if (width > 0 && Math.abs(width - told) > 8) { told = width; setStateValue("width", width); }
  };
  const observer = new ResizeObserver(tell);
  observer.observe(host);
  tell();
  return () => observer.disconnect();
}
"""


def column_width(key: str) -> int | None:
    """Return the width in CSS pixels of the column this is called in; None until the browser has told it."""
    measure = st.components.v2.component("vision_bench_column_width", js=_MEASURE, html="<div></div>")
    result = measure(key=key, default={"width": 0}, on_width_change=lambda: None, height=1)
    return int(result.width) or None


def canvas_size(width: int, height: int, column: int | None) -> tuple[int, int]:
    """Return width and height of the canvas for a picture: as wide as its column, not too high."""
    wide = min(MAX_WIDTH, max(MIN_WIDTH, column or 640))
    scale = min(wide / width, MAX_HEIGHT / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def drawing_of(prompts: Prompts, scale_x: float, scale_y: float) -> dict[str, Any]:
    """Return prompts as the canvas draws them; the scales are canvas pixels to a pixel of the picture."""
    objects = [
        _circle(p.x * scale_x, p.y * scale_y, STROKES[INCLUDE if p.include else EXCLUDE])
        for p in prompts.points
    ]
    if prompts.box is not None:
        x0, y0, x1, y1 = prompts.box
        objects.append(_rect(x0 * scale_x, y0 * scale_y, x1 * scale_x, y1 * scale_y))
    return {"version": "6", "objects": objects}


def _circle(x: float, y: float, colour: str) -> dict[str, Any]:
    return {
        "type": "Circle",
        "originX": "left",
        "originY": "center",
        "left": x - RADIUS - STROKE / 2,
        "top": y,
        "radius": RADIUS,
        "width": 2 * RADIUS,
        "height": 2 * RADIUS,
        "fill": colour,
        "stroke": "#ffffff" if colour == STROKES[INCLUDE] else "#000000",
        "strokeWidth": STROKE,
        "scaleX": 1,
        "scaleY": 1,
    }


def _rect(x0: float, y0: float, x1: float, y1: float) -> dict[str, Any]:
    return {
        "type": "Rect",
        "originX": "left",
        "originY": "top",
        "left": x0 - STROKE / 2,
        "top": y0 - STROKE / 2,
        "width": x1 - x0,
        "height": y1 - y0,
        "fill": "rgba(0, 0, 0, 0)",
        "stroke": STROKES[BOX],
        "strokeWidth": STROKE,
        "scaleX": 1,
        "scaleY": 1,
    }


def prompts_of(
    raw: object, scale_x: float, scale_y: float, width: int, height: int, shown: Box | None = None
) -> tuple[Prompts, list[str]]:
    """Return what the canvas holds, in pixels of the picture, and a sentence for each thing left out.

    `shown` is the box that the canvas was given to draw: it counts however small it is.

    What a browser sends is not to be trusted: anything that is no point or box is passed over.
    """
    points: list[Point] = []
    box: Box | None = None
    notes: list[str] = []
    for item in _objects(raw):
        edges = _edges(item, scale_x, scale_y)
        if edges is None:
            continue
        x0, y0, x1, y1 = edges
        if item.get("type") == "Circle":
            x, y = round((x0 + x1) / 2, 1), round((y0 + y1) / 2, 1)
            if 0 <= x <= width and 0 <= y <= height:
                points.append(Point(x, y, item.get("fill") != STROKES[EXCLUDE]))
            else:
                notes.append("A point outside the picture was left out.")
        elif item.get("type") == "Rect":
            inside = max(0.0, x0), max(0.0, y0), min(float(width), x1), min(float(height), y1)
            apart = [abs(a - b) for a, b in zip(inside, shown, strict=True)] if shown else [math.inf]
            if max(apart) < max(1.0, 1 / min(scale_x, scale_y)):
                box = shown
            elif min(inside[2] - inside[0], inside[3] - inside[1]) < max(1.0, 3 / min(scale_x, scale_y)):
                notes.append("A box needs a drag from corner to corner; a click alone draws none.")
            else:
                box = tuple(round(value, 1) for value in inside)  # type: ignore[assignment]
    return Prompts(tuple(points), box), notes


def _objects(raw: object) -> list[Mapping[str, Any]]:
    found = raw.get("objects") if isinstance(raw, Mapping) else None
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []


def _edges(
    item: Mapping[str, Any], scale_x: float, scale_y: float
) -> tuple[float, float, float, float] | None:
    """Return x0 y0 x1 y1 of a drawn object in pixels of the picture, by the middle of its line."""
    try:
        stroke = float(item.get("strokeWidth", 0))
        wide = (float(item["width"]) + stroke) * float(item.get("scaleX", 1))
        high = (float(item["height"]) + stroke) * float(item.get("scaleY", 1))
        shift_x = {"left": 0.0, "center": 0.5, "right": 1.0}[item.get("originX", "left")]
        shift_y = {"top": 0.0, "center": 0.5, "bottom": 1.0}[item.get("originY", "top")]
        left, top = float(item["left"]) - shift_x * wide, float(item["top"]) - shift_y * high
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    half = stroke / 2
    found = (
        (left + half) / scale_x,
        (top + half) / scale_y,
        (left + wide - half) / scale_x,
        (top + high - half) / scale_y,
    )
    return found if all(math.isfinite(value) for value in found) else None
