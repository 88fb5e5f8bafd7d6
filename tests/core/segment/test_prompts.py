"""Prompts: what can be asked of a picture, and what comes back from a file."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError
from core.segment import Point, Prompts

WIDTH, HEIGHT = 40, 30
FINITE = st.floats(allow_nan=False, allow_infinity=False)
POINTS = st.lists(st.builds(Point, FINITE, FINITE, st.booleans()), max_size=60).map(tuple)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.sampled_from(["points", "box", "x", "y", "include", "z"]), inner, max_size=5)
    ),
    max_leaves=20,
)


def refusal(prompts: Prompts) -> InputError:
    with pytest.raises(InputError) as caught:
        prompts.checked(WIDTH, HEIGHT)
    assert caught.value.message.endswith(".")
    assert caught.value.remedy.endswith(".")
    return caught.value


# What can be asked


def test_good_prompts_are_returned_themselves() -> None:
    prompts = Prompts(
        (Point(3, 4), Point(39.5, 29.5, False)),
        (1, 2, 20, 25),
        np.zeros((8, 8), np.float32),
        np.zeros((HEIGHT, WIDTH), np.bool_),
    )
    assert prompts.checked(WIDTH, HEIGHT) is prompts


def test_nothing_is_refused() -> None:
    assert Prompts().is_empty
    assert "nothing to segment by" in refusal(Prompts()).message
    assert not Prompts((Point(0, 0),)).is_empty
    assert not Prompts(box=(0, 0, 1, 1)).is_empty
    assert not Prompts(logits=np.zeros((2, 2), np.float32)).is_empty
    assert not Prompts(mask=np.zeros((HEIGHT, WIDTH), np.bool_)).is_empty


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("xy", [(0, 0), (WIDTH, 0), (0, HEIGHT), (WIDTH, HEIGHT), (39.999, 12), (0.0, 29.5)])
def test_clicks_on_the_border_are_inside(xy: tuple[float, float], include: bool) -> None:
    prompts = Prompts((Point(*xy, include),))
    assert prompts.checked(WIDTH, HEIGHT) is prompts


@pytest.mark.parametrize(
    "xy",
    [
        (-0.001, 5),
        (5, -1),
        (WIDTH + 0.001, 5),
        (5, HEIGHT + 1),
        (HEIGHT, WIDTH),
        (1e300, 5),
        (math.nan, 5),
        (5, math.nan),
        (math.inf, 5),
        (5, -math.inf),
    ],
)
def test_clicks_outside_are_refused(xy: tuple[float, float]) -> None:
    """Also where a point before it is inside."""
    assert "lies outside the picture of 40 x 30" in refusal(Prompts((Point(5, 5), Point(*xy)))).message


@given(st.floats(), st.floats())
def test_any_two_numbers_are_inside_or_refused(x: float, y: float) -> None:
    inside = 0 <= x <= WIDTH and 0 <= y <= HEIGHT
    prompts = Prompts((Point(x, y),))
    if inside:
        assert prompts.checked(WIDTH, HEIGHT) is prompts
    else:
        refusal(prompts)


@pytest.mark.parametrize(
    "box", [(0, 0, WIDTH, HEIGHT), (0, 0, 1, 1), (39, 29, WIDTH, HEIGHT), (3.5, 2.5, 4.5, 9)]
)
def test_boxes_inside(box: tuple[float, float, float, float]) -> None:
    prompts = Prompts(box=box)
    assert prompts.checked(WIDTH, HEIGHT) is prompts


@pytest.mark.parametrize(
    "box",
    [
        (5, 5, 5, 5),
        (5, 5, 5.9, 20),
        (5, 5, 20, 5),
        (20, 5, 5, 20),
        (5, 20, 20, 5),
        (math.nan, 5, 20, 20),
        (5, 5, math.nan, 20),
        (5, 5, math.inf, 20),
        (-math.inf, 5, 20, 20),
    ],
)
def test_boxes_without_a_size_are_refused(box: tuple[float, float, float, float]) -> None:
    assert "has no size" in refusal(Prompts(box=box)).message


@pytest.mark.parametrize("box", [(-1, 5, 20, 20), (5, -0.5, 20, 20), (5, 5, 41, 20), (5, 5, 20, 30.5)])
def test_boxes_that_leave_the_picture_are_refused(box: tuple[float, float, float, float]) -> None:
    assert "leaves the picture of 40 x 30" in refusal(Prompts(box=box)).message


@pytest.mark.parametrize("other", [Point(7, 9, False), Point(7.9, 9.2, False)])
def test_a_pixel_cannot_be_included_and_excluded(other: Point) -> None:
    for points in ((Point(7, 9), other), (other, Point(3, 3), Point(7, 9))):
        assert "pixel (7, 9) is both included and excluded" in refusal(Prompts(points)).message


def test_neighbours_and_the_same_click_twice_do_not_contradict() -> None:
    Prompts((Point(7, 9), Point(8, 9, False), Point(7, 10, False))).checked(WIDTH, HEIGHT)
    Prompts((Point(7, 9), Point(7, 9), Point(7.5, 9.5))).checked(WIDTH, HEIGHT)


def test_fifty_points() -> None:
    points = tuple(Point(n % WIDTH, n % HEIGHT, n % 2 == 0) for n in range(50))
    prompts = Prompts(points)
    assert prompts.checked(WIDTH, HEIGHT) is prompts
    assert "(49, 9)" in refusal(Prompts((*points, Point(49, 9)))).message


@pytest.mark.parametrize("shape", [(WIDTH, HEIGHT), (HEIGHT - 1, WIDTH), (1, 1)])
def test_a_mask_of_another_size_is_refused(shape: tuple[int, int]) -> None:
    error = refusal(Prompts(mask=np.zeros(shape, np.bool_)))
    assert f"{shape[1]} x {shape[0]} pixels" in error.message
    assert "40 x 30" in error.message


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_are_refused(value: float) -> None:
    """Or the model would be blamed for its answer."""
    logits = np.zeros((8, 8), np.float32)
    logits[3, 4] = value
    assert "not finite" in refusal(Prompts((Point(3, 3),), logits=logits)).message


# As JSON


def as_text_and_back(prompts: Prompts) -> Prompts:
    return Prompts.from_json(json.loads(json.dumps(prompts.to_json(), allow_nan=False)))


@given(POINTS, st.none() | st.tuples(FINITE, FINITE, FINITE, FINITE))
def test_round_trip(points: tuple[Point, ...], box: tuple[float, float, float, float] | None) -> None:
    back = as_text_and_back(Prompts(points, box))
    assert (back.points, back.box) == (points, box)
    assert all(isinstance(point.x, float) and isinstance(point.y, float) for point in back.points)


def test_logits_and_masks_are_files_of_their_own() -> None:
    prompts = Prompts((Point(1, 2, False),), None, np.zeros((2, 2), np.float32), np.ones((3, 3), np.bool_))
    assert prompts.to_json() == {"points": [{"x": 1, "y": 2, "include": False}], "box": None}
    back = as_text_and_back(prompts)
    assert back.logits is None
    assert back.mask is None


def test_a_point_includes_unless_it_says_otherwise() -> None:
    assert Prompts.from_json({"points": [{"x": 1, "y": 2}]}).points == (Point(1.0, 2.0, True),)
    assert Prompts.from_json({"points": []}).is_empty


@pytest.mark.parametrize(
    "raw",
    [
        None,
        3,
        "points",
        [],
        [{"x": 1, "y": 2}],
        {},
        {"box": [1, 2, 3, 4]},
        {"points": None},
        {"points": 5},
        {"points": "ab"},
        {"points": {"x": 1, "y": 2}},
        {"points": [[1, 2]]},
        {"points": [{"x": 1}]},
        {"points": [{"x": "1", "y": 2}]},
        {"points": [{"x": True, "y": 2}]},
        {"points": [{"x": math.nan, "y": 2}]},
        {"points": [{"x": 1, "y": math.inf}]},
        {"points": [{"x": 10**400, "y": 2}]},
        {"points": [{"x": 1, "y": 2, "include": 1}]},
        {"points": [{"x": 1, "y": 2, "include": "no"}]},
        {"points": [{"x": 1, "y": 2, "include": None}]},
        {"points": [], "box": [1, 2, 3]},
        {"points": [], "box": [1, 2, 3, 4, 5]},
        {"points": [], "box": "1234"},
        {"points": [], "box": 4},
        {"points": [], "box": []},
        {"points": [], "box": [1, 2, 3, math.nan]},
        {"points": [], "box": {"x0": 1, "y0": 2, "x1": 3, "y1": 4}},
    ],
    ids=repr,
)
def test_what_holds_no_prompts_is_refused(raw: object) -> None:
    with pytest.raises(InputError, match="holds no prompts") as caught:
        Prompts.from_json(raw)
    assert '{"points"' in caught.value.remedy


@given(JSON)
def test_any_json_is_prompts_or_refused(raw: Any) -> None:
    try:
        prompts = Prompts.from_json(raw)
    except InputError:
        return
    assert as_text_and_back(prompts).points == prompts.points
    assert all(math.isfinite(point.x) and math.isfinite(point.y) for point in prompts.points)
    assert prompts.box is None or (len(prompts.box) == 4 and all(map(math.isfinite, prompts.box)))
