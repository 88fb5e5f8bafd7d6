"""Sensitivity: prompts move as far as allowed, and the answers are compared with the right mask."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError
from core.segment import Point, Prompts, embed
from core.segment.sensitivity import Sensitivity, jitter, moved
from tests.core.segment.test_evaluate import RADII, SIDE, blank, disc, overlap, painter

WIDTH, HEIGHT = 40, 25
xs, ys = st.floats(0, WIDTH), st.floats(0, HEIGHT)


@st.composite
def valid_prompts(draw: st.DrawFn) -> Prompts:
    signs: dict[tuple[int, int], bool] = {}
    points = []
    for x, y in draw(st.lists(st.tuples(xs, ys), max_size=3)):
        sign = signs.setdefault((math.floor(x), math.floor(y)), draw(st.booleans()))
        points.append(Point(x, y, sign))
    x0, y0 = draw(st.floats(0, WIDTH - 2)), draw(st.floats(0, HEIGHT - 2))
    box = x0, y0, draw(st.floats(x0 + 1.5, WIDTH)), draw(st.floats(y0 + 1.5, HEIGHT))
    return Prompts(tuple(points), box)


@given(valid_prompts(), st.floats(0, 60), st.integers(0, 99))
def test_moved_prompts_are_near_and_can_be_asked(prompts: Prompts, radius_px: float, seed: int) -> None:
    found = moved(prompts, radius_px, WIDTH, HEIGHT, np.random.default_rng(seed))
    assert found.checked(WIDTH, HEIGHT) is found
    assert prompts.box is not None and found.box is not None
    pairs = [((p.x, p.y), (q.x, q.y)) for p, q in zip(prompts.points, found.points, strict=True)]
    pairs += [(prompts.box[:2], found.box[:2]), (prompts.box[2:], found.box[2:])]
    assert all(math.dist(*pair) <= radius_px + 1e-9 for pair in pairs)
    assert [p.include for p in found.points] == [p.include for p in prompts.points]


def test_moves_fill_the_circle_evenly() -> None:
    rng = np.random.default_rng(0)
    prompts = Prompts((Point(20, 12),))
    far = []
    for _ in range(2000):
        (point,) = moved(prompts, 8.0, WIDTH, HEIGHT, rng).points
        far.append(math.dist((20, 12), (point.x, point.y)))
    assert np.mean(far) == pytest.approx(16 / 3, abs=0.15)  # two thirds of the radius


def measured(radius_px: float, chosen: int = 1, n: int = 16) -> Sensitivity:
    model = painter()
    mask = disc(30, 33, RADII[chosen])
    return jitter(
        model, embed(model, blank()), Prompts((Point(30, 33),)), mask, radius_px=radius_px, n=n, seed=5
    )


@pytest.mark.parametrize("chosen", [0, 1, 2])
def test_unmoved_prompts_give_the_chosen_mask_again(chosen: int) -> None:
    found = measured(0.0, chosen, n=3)
    assert found.values == (1.0,) * 3 and found.worst == found.mean == 1.0
    assert np.array_equal(found.share == 1, disc(30, 33, RADII[chosen]))


def test_the_values_are_the_overlaps_of_the_moved_answers() -> None:
    found = measured(5.0)
    rng = np.random.default_rng(5)
    points = [moved(Prompts((Point(30, 33),)), 5.0, SIDE, SIDE, rng).points[0] for _ in range(16)]
    answers = [disc(np.float32(p.x), np.float32(p.y), RADII[1]) for p in points]
    expected = [overlap(answer, disc(30, 33, RADII[1])) for answer in answers]
    assert found.values == pytest.approx(expected)
    np.testing.assert_allclose(found.share, np.mean(answers, axis=0), atol=1e-6)
    assert found.share.dtype == np.float32 and found.share.shape == (SIDE, SIDE)
    assert (found.mean, found.worst) == pytest.approx((np.mean(expected), min(expected)))
    low, high = found.spread
    assert found.worst <= low < found.mean < high <= 1


def test_farther_moves_change_more() -> None:
    assert measured(1.0).mean > measured(4.0).mean > measured(10.0).mean


def test_a_box_moves_by_itself() -> None:
    model = painter()
    mask = np.zeros((SIDE, SIDE), bool)
    mask[10:40, 20:50] = True
    prompts = Prompts(box=(20, 10, 50, 40))
    found = jitter(model, embed(model, blank()), prompts, mask, radius_px=3, n=8)
    assert 0.6 < found.worst < 1 and found.share[15:35, 25:45].min() == 1
    assert not found.share[:7].any() and not found.share[:, 53:].any()


def test_what_cannot_be_moved_is_refused() -> None:
    model = painter()
    embedding, mask = embed(model, blank()), disc(30, 30, 8)
    start = Prompts(logits=np.ones((SIDE, SIDE), np.float32))
    with pytest.raises(InputError, match="no point and no box"):
        jitter(model, embedding, start, mask, radius_px=2)
    for radius_px, n in ((-1.0, 4), (math.nan, 4), (math.inf, 4), (2.0, 0)):
        with pytest.raises(InputError, match="not possible"):
            jitter(model, embedding, Prompts((Point(30, 30),)), mask, radius_px=radius_px, n=n)
