"""The canvas: what a browser tells becomes prompts in the picture's pixels, and prompts are drawn again."""

from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from core.segment.prompts import Box, Point, Prompts
from pages.ui.segment_canvas import (
    BOX,
    EXCLUDE,
    INCLUDE,
    MAX_HEIGHT,
    MAX_WIDTH,
    STROKES,
    canvas_size,
    drawing_of,
    prompts_of,
)

WIDTH, HEIGHT = 400, 300
PATIENT = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ROUNDING = 0.051
"""Prompts are kept to a tenth of a pixel."""


def click(x: float, y: float, tool: str = INCLUDE, **other: Any) -> dict[str, Any]:
    """Return a click at canvas pixel x, y as the browser tells it (radius 5, stroke 3)."""
    return {
        "type": "Circle",
        "originX": "left",
        "originY": "center",
        "left": x - 5 - 1.5,
        "top": y,
        "radius": 5,
        "width": 10,
        "height": 10,
        "strokeWidth": 3,
        "scaleX": 1,
        "scaleY": 1,
        "fill": STROKES[tool],
    } | other


def drag(x0: float, y0: float, x1: float, y1: float, **other: Any) -> dict[str, Any]:
    """Return a box from corner to corner as the browser tells it: the line's outer edge, the inner size."""
    return {
        "type": "Rect",
        "originX": "left",
        "originY": "top",
        "left": x0 - 1.5,
        "top": y0 - 1.5,
        "width": x1 - x0,
        "height": y1 - y0,
        "strokeWidth": 3,
        "scaleX": 1,
        "scaleY": 1,
        "fill": "rgba(0, 0, 0, 0)",
        "stroke": STROKES[BOX],
    } | other


def told(*objects: object, scale: float = 1.0) -> tuple[Prompts, list[str]]:
    return prompts_of({"version": "6", "objects": list(objects)}, scale, scale, WIDTH, HEIGHT)


def inside(limit: int) -> st.SearchStrategy[float]:
    return st.floats(0, limit, allow_nan=False)


scales = st.floats(0.05, 20)
points = st.builds(Point, inside(WIDTH), inside(HEIGHT), st.booleans())


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x0, x1 = sorted((draw(inside(WIDTH)), draw(inside(WIDTH))))
    y0, y1 = sorted((draw(inside(HEIGHT)), draw(inside(HEIGHT))))
    return x0, y0, x1, y1


@PATIENT
@given(st.lists(points, max_size=6), st.none() | boxes(), scales, scales)
def test_what_is_drawn_is_read_back(
    given_points: list[Point], box: Box | None, scale_x: float, scale_y: float
) -> None:
    if box is not None:
        smallest = max(1.1, 3.1 / min(scale_x, scale_y))  # smaller is a click that drew no box
        assume(min(box[2] - box[0], box[3] - box[1]) > smallest)
    asked = Prompts(tuple(given_points), box)
    found, notes = prompts_of(drawing_of(asked, scale_x, scale_y), scale_x, scale_y, WIDTH, HEIGHT)
    assert notes == []
    assert [p.include for p in found.points] == [p.include for p in asked.points]
    for point, wanted in zip(found.points, asked.points, strict=True):
        assert (point.x, point.y) == pytest.approx((wanted.x, wanted.y), abs=ROUNDING)
    assert (found.box is None) == (box is None)
    if found.box is not None and box is not None:
        assert found.box == pytest.approx(box, abs=ROUNDING)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_clicks_lie_where_they_were_made(scale: float) -> None:
    found, notes = told(click(100, 60), click(140, 90, EXCLUDE), drag(20, 40, 120, 100), scale=scale)
    assert found.points == (Point(100 / scale, 60 / scale), Point(140 / scale, 90 / scale, include=False))
    assert found.box == (20 / scale, 40 / scale, 120 / scale, 100 / scale)
    assert notes == []


def test_the_axes_are_scaled_apart() -> None:
    found, _ = prompts_of({"objects": [click(100, 60)]}, 0.5, 2, WIDTH, HEIGHT)
    assert found.points == (Point(200, 30),)


@pytest.mark.parametrize(
    "moved",
    [
        pytest.param({"originX": "center", "left": 100}, id="centre across"),
        pytest.param({"originX": "right", "left": 106.5}, id="right"),
        pytest.param({"originY": "top", "top": 53.5}, id="top"),
        pytest.param({"originY": "bottom", "top": 66.5}, id="bottom"),
    ],
)
def test_a_point_is_at_its_middle_whatever_its_position_is_counted_from(moved: dict[str, Any]) -> None:
    found, _ = told(click(100, 60, **moved))
    assert found.points == (Point(100, 60),)


def test_a_box_that_was_resized_is_as_large_as_it_looks() -> None:
    # the browser leaves width and height and tells a scale, which holds for line and inside together
    found, _ = told(drag(20, 40, 120, 100, scaleX=1.5, scaleY=0.5))
    assert found.box == pytest.approx(
        (20, 40, 20 - 1.5 + 1.5 * 103 - 1.5, 40 - 1.5 + 0.5 * 63 - 1.5), abs=0.051
    )


def test_the_last_of_two_boxes_counts() -> None:
    found, _ = told(drag(20, 40, 120, 100), drag(5, 6, 50, 60))
    assert found.box == (5, 6, 50, 60)


def test_a_click_outside_the_picture_is_left_out_and_said() -> None:
    found, notes = told(click(401, 60), click(100, -1), click(200, 100), scale=1)
    assert found.points == (Point(200, 100),)
    assert len(notes) == 2 and all("outside" in note for note in notes)


def test_a_box_past_the_edge_ends_there() -> None:
    found, notes = told(drag(-30, 250, 120, 380))
    assert found.box == (0, 250, 120, 300) and notes == []
    found.checked(WIDTH, HEIGHT)


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(drag(20, 40, 20, 40), id="click without a drag"),
        pytest.param(drag(20, 40, 22, 42), id="two pixels"),
        pytest.param(drag(20, 40, 200, 40), id="a line"),
        pytest.param(drag(500, 40, 600, 100), id="all outside"),
        pytest.param(drag(20, 40, 120, 100, scaleX=0), id="scaled to nothing"),
        pytest.param(drag(20, 40, 120, 100, scaleX=-1), id="turned inside out"),
    ],
)
def test_a_box_without_size_is_left_out_and_said(item: dict[str, Any]) -> None:
    found, notes = told(item, click(50, 50))
    assert found.box is None and found.points == (Point(50, 50),)
    assert len(notes) == 1


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(None, id="nothing"),
        pytest.param("objects", id="text"),
        pytest.param([], id="list"),
        pytest.param({}, id="no objects"),
        pytest.param({"objects": None}, id="objects of none"),
        pytest.param({"objects": {"0": click(1, 1)}}, id="objects of a mapping"),
        pytest.param({"objects": [None, 3, "Circle", [], {}]}, id="not objects"),
        pytest.param({"objects": [click(1, 1, left=None)]}, id="no place"),
        pytest.param({"objects": [click(1, 1, left="abc")]}, id="text for a number"),
        pytest.param({"objects": [click(1, 1, left=float("nan"))]}, id="not a number"),
        pytest.param({"objects": [click(1, 1, top=float("inf"))]}, id="infinite"),
        pytest.param({"objects": [click(1, 1, left=10**400)]}, id="a huge whole number"),
        pytest.param({"objects": [click(1, 1, originX="middle")]}, id="unknown origin"),
        pytest.param({"objects": [click(1, 1, originX=["left"])]}, id="a list for an origin"),
        pytest.param({"objects": [click(1, 1, type="Path")]}, id="another shape"),
        pytest.param({"objects": [click(1, 1, type=["Circle"])]}, id="a list for a type"),
    ],
)
def test_what_is_no_point_or_box_is_passed_over(raw: object) -> None:
    found, notes = prompts_of(raw, 1, 1, WIDTH, HEIGHT)
    assert found.is_empty and notes == []


numbers = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.lists(st.integers())
)
hostile = st.fixed_dictionaries(
    {"type": st.sampled_from(["Circle", "Rect", "Path"])},
    optional=dict.fromkeys(
        ("left", "top", "width", "height", "strokeWidth", "scaleX", "scaleY", "originX", "fill"), numbers
    ),
)


@PATIENT
@given(st.lists(hostile | numbers, max_size=5), scales)
def test_whatever_a_browser_tells_gives_prompts_that_can_be_asked(objects: list[Any], scale: float) -> None:
    found, _ = prompts_of({"objects": objects}, scale, scale, WIDTH, HEIGHT)
    for point in found.points:
        assert 0 <= point.x <= WIDTH and 0 <= point.y <= HEIGHT
    if found.box is not None:
        Prompts(box=found.box).checked(WIDTH, HEIGHT)


@PATIENT
@given(st.integers(1, 12_000), st.integers(1, 12_000), st.none() | st.integers(240, 3000))
def test_the_canvas_fits_its_column_and_is_not_too_high(width: int, height: int, column: int | None) -> None:
    wide, high = canvas_size(width, height, column)
    assert 1 <= wide <= min(MAX_WIDTH, column or MAX_WIDTH)
    assert 1 <= high <= MAX_HEIGHT
    # the picture keeps its proportions, but for whole pixels and for one that would be thinner than a pixel
    assert abs(wide - high * width / height) <= 0.51 * (1 + width / height) or 1 in (wide, high)


@pytest.mark.parametrize(
    ("size", "column", "expected"),
    [
        pytest.param((1200, 800), 600, (600, 400), id="landscape fills the column"),
        pytest.param((1200, 800), 5000, (900, 600), id="but not a very wide one"),
        pytest.param((800, 1600), 600, (320, 640), id="portrait is as high as may be"),
        pytest.param((100, 100), 600, (600, 600), id="a small one is drawn larger"),
        pytest.param((10_000, 10), 600, (600, 1), id="panorama"),
        pytest.param((10, 10_000), 600, (1, 640), id="tower"),
        pytest.param((1, 1), 600, (600, 600), id="one pixel"),
        pytest.param((200, 100), None, (640, 320), id="before the browser has told"),
        pytest.param((200, 100), 30, (240, 120), id="a column too narrow to click in"),
    ],
)
def test_sizes_of_the_canvas(size: tuple[int, int], column: int | None, expected: tuple[int, int]) -> None:
    assert canvas_size(*size, column) == expected
