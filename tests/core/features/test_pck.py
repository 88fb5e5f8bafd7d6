"""PCK: by hand, with features that know the truth, and the truth itself against the pictures."""

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from core.errors import InputError
from core.features.nearest import correspond
from core.features.pck import (
    KeyPoints,
    PairScores,
    pck,
    point_errors,
    scene_key_points,
    scene_pairs,
    stereo_key_points,
    visible_right,
)
from core.features.query import patch_centres
from core.features.similarity import UnitGrid, unit
from core.preprocess import Frame
from core.samples import load_sample, motorcycle_disparity
from core.scenes import ScenePair, apply_homography, generate_pair, generate_scene


def knowing(frame: Frame, xy: NDArray[np.float64]) -> UnitGrid:
    """Return features (a grid of this frame) whose cosine falls with the distance of these places: N 2."""
    scaled = (xy - 300) / 2000  # a small part of a sphere is flat
    places = np.concatenate([scaled, np.ones((len(xy), 1))], axis=1)
    return UnitGrid(unit(places.reshape(*frame.grid, 3)), frame)


def centres_of(frame: Frame) -> NDArray[np.float64]:
    return patch_centres(frame).reshape(-1, 2)


def test_scores_by_hand() -> None:
    """Two patches each, 50 x 50 pixels; the second picture is 100 x 50, so 0.05 and 0.1 are 5 and 10."""
    frame = Frame((0, 0, 100, 50), (1, 2))
    first = UnitGrid(np.eye(2, dtype=np.float32)[None], frame)
    second = UnitGrid(np.eye(2, dtype=np.float32)[None], frame)
    truth = KeyPoints(np.array([0, 1]), np.array([[25.0, 29.0], [25.0, 33.0]]), 100)
    errors = point_errors(first, second, truth)
    # predictions are (25, 25) and (75, 25); the other centre is 50 to the side
    far, side = np.hypot(50, 4), np.hypot(50, 8)
    assert errors.error_px.tolist() == pytest.approx([4, side])
    assert errors.least_px.tolist() == [4, 8]
    score = pck([errors])
    assert (score.pairs, score.points) == (1, 2)
    assert score.pck == (0.5, 0.5)
    assert score.best_possible == (0.5, 1)
    assert score.same_place == (0.5, 0.5)  # the patches' own places are those predicted
    assert score.chance == (0.25, 0.5)  # of two patches: one and none at 5, one and one at 10
    assert score.mean_error_px == pytest.approx((4 + side) / 2)
    assert score.chance_error_px == pytest.approx((4 + far + 8 + side) / 4)
    assert score.as_json()["pck"] == {"0.05": 0.5, "0.1": 0.5}
    for both in (PairScores(score, score), PairScores(score, None)):
        assert PairScores.from_json(json.loads(json.dumps(both.as_json()))) == both


def test_points_count_alike_whichever_pair_they_are_of() -> None:
    frame = Frame((0, 0, 100, 50), (1, 2))
    grid = UnitGrid(np.eye(2, dtype=np.float32)[None], frame)
    right = point_errors(
        grid, grid, KeyPoints(np.array([0, 1, 0]), np.array([[25, 25], [75, 25], [25, 25]]), 100)
    )
    wrong = point_errors(grid, grid, KeyPoints(np.array([0]), np.array([[75.0, 25]]), 100))
    nothing = point_errors(grid, grid, KeyPoints(np.array([], np.intp), np.empty((0, 2)), 100))
    score = pck([right, wrong, nothing])
    assert (score.pairs, score.points, score.pck) == (3, 4, (0.75, 0.75))
    with pytest.raises(InputError, match="No patch"):
        pck([nothing])


def test_one_to_one_patches_score_everything() -> None:
    scene = generate_scene(3)
    pair = ScenePair(scene, scene.rgb, np.array([[1, 0, -32], [0, 1, 16], [0, 0, 1]], np.float64))
    frame = Frame((0, 0, 224, 224), (14, 14))
    first, second = knowing(frame, centres_of(frame) + np.array([-32, 16])), knowing(frame, centres_of(frame))
    truth = scene_key_points(pair, frame)
    score = pck([point_errors(first, second, truth)])
    assert score.points > 5
    assert score.pck == score.best_possible == (1, 1)
    assert score.mean_error_px < 1e-6
    assert score.same_place == (0, 0)  # everything moved by 36 pixels, more than a tenth
    assert max(score.chance) < 0.1
    found = correspond(first, second)
    assert found.mutual[truth.patches].all()  # so going there and back ends where it began


@pytest.mark.parametrize("grid", [(14, 14), (20, 31)])
def test_features_that_know_a_warp_score_what_the_grid_allows(grid: tuple[int, int]) -> None:
    frame = Frame((0, 0, 224, 224), grid)
    errors = []
    for pair in scene_pairs(4, seed=1):
        first = knowing(frame, apply_homography(pair.matrix, centres_of(frame)))
        second = knowing(frame, centres_of(frame))
        errors.append(point_errors(first, second, scene_key_points(pair, frame)))
    score = pck(errors)
    assert score.pairs == 4
    assert np.allclose(score.pck, score.best_possible, atol=0.01)
    assert score.pck[1] == 1
    assert score.mean_error_px <= np.hypot(224 / grid[0], 224 / grid[1]) / 2
    assert max(score.chance) < 0.05
    assert score.chance_error_px > 60


def test_key_points_are_the_correspondences_of_the_pair() -> None:
    pair = generate_pair(5)
    expected = pair.correspondences(16)
    found = scene_key_points(pair, Frame((0, 0, 224, 224), (14, 14)))
    on_object = expected.on_object
    places = expected.first[on_object]
    assert found.patches.tolist() == (places[:, 0] * 14 + places[:, 1]).tolist()
    assert np.allclose(found.xy, expected.xy[on_object])
    assert found.longer_px == 224


def test_pairs_are_new_and_the_same_every_time() -> None:
    once, again = list(scene_pairs(3, seed=2)), list(scene_pairs(3, seed=2))
    assert [p.first.seed for p in once] == [p.first.seed for p in again]
    assert len({p.first.seed for p in (*once, *scene_pairs(3, seed=3))}) == 6
    assert all(np.array_equal(a.second, b.second) for a, b in zip(once, again, strict=True))


# The stereo pair


def stereo() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float32]]:
    disparity = motorcycle_disparity()
    assert disparity is not None
    left, right = (load_sample(f"motorcycle-{side}").rgb.astype(np.float64) for side in ("left", "right"))
    return left, right, disparity


def test_the_right_picture_shows_what_the_left_one_does_where_the_disparity_says() -> None:
    """Photo-consistency tells the sign, the picture that it belongs to, and what is hidden."""
    left, right, disparity = stereo()
    assert left.shape == right.shape == (*disparity.shape, 3)

    def difference(sign: int, chosen: NDArray[np.bool_]) -> float:
        rows, columns = np.nonzero(chosen)
        there = np.round(columns + sign * disparity[rows, columns]).astype(int)
        inside = (there >= 0) & (there < left.shape[1])
        rows, columns, there = rows[inside], columns[inside], there[inside]
        return float(np.abs(left[rows, columns] - right[rows, there]).mean())

    known, seen = np.isfinite(disparity), visible_right(disparity)
    hidden = known & ~seen
    assert 0.8 < seen.mean() < 0.9
    assert difference(-1, seen) < 6
    assert difference(+1, known) > 40
    assert difference(-1, hidden) > 40  # what stands in front looks different


def test_features_that_know_the_disparity_score_what_the_grid_allows() -> None:
    disparity = motorcycle_disparity()
    assert disparity is not None
    frame = Frame((0, 0, 741, 500), (37, 55))
    truth = stereo_key_points(disparity, frame)
    xy = np.full((37 * 55, 2), -1e4)
    xy[truth.patches] = truth.xy
    score = pck([point_errors(knowing(frame, xy), knowing(frame, centres_of(frame)), truth)])
    assert score.points > 1500
    assert score.pck == score.best_possible == (1, 1)
    assert score.mean_error_px < np.hypot(500 / 37, 741 / 55) / 2
    moved = centres_of(frame)[truth.patches] - truth.xy
    assert (moved[:, 1] == 0).all()
    assert 7 < moved[:, 0].min() < moved[:, 0].max() < 60


def test_what_stands_in_front_hides_what_is_behind() -> None:
    unknown = np.inf
    disparity = np.array([[0, 0, 0, 2, 2, unknown, 0, 9]], np.float32)
    # pixels 3 and 4 come to stand on 1 and 2; 7 would be at -2
    assert visible_right(disparity).tolist() == [[True, False, False, True, True, False, True, False]]
