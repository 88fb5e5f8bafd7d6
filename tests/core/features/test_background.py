"""Percentiles, and the fixed set of unrelated pictures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.features.background import Background
from core.features.image_similarity import ImageSimilarity, image_similarity
from core.features.unrelated import PATCHES, PHOTOS, REACH, SCENES, unrelated_of, unrelated_pictures
from core.features.values import FeatureOptions, ImageFeatures
from core.preprocess import Frame

scores = st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=50)


def features(seed: int, rows: int = 9, columns: int = 9, *, has_cls: bool = True) -> ImageFeatures:
    rng = np.random.default_rng(seed)
    patches = (rng.normal(size=(rows, columns, 8)) + rng.normal(size=8)).astype(np.float16)
    cls = rng.normal(size=8).astype(np.float16) if has_cls else None
    frame = Frame((0, 0, columns * 10, rows * 10), (rows, columns))
    return ImageFeatures(patches, cls, frame, f"{seed:064x}", "m", "1", FeatureOptions())


def test_percentiles_by_hand() -> None:
    background = Background.of(np.array([[0.4, 0.1], [0.2, 0.2]]))
    assert background.n == 4
    expected = {0.0: 0, 0.1: 12.5, 0.15: 25, 0.2: 50, 0.3: 75, 0.4: 87.5, 1.0: 100}
    assert {score: background.percentile(score) for score in expected} == expected


@given(scores, st.floats(-1, 1), st.floats(-1, 1))
def test_percentiles_never_fall(values: list[float], one: float, other: float) -> None:
    background = Background.of(np.array(values))
    low, high = (background.percentile(score) for score in sorted((one, other)))
    assert 0 <= low <= high <= 100


@given(scores)
def test_percentiles_turn_around_with_the_sign(values: list[float]) -> None:
    there, back = Background.of(np.array(values)), Background.of(-np.array(values))
    assert there.percentile(values[0]) + back.percentile(-values[0]) == pytest.approx(100)


def test_a_background_of_nothing_is_none() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Background.of(np.array([]))
    with pytest.raises(ValueError, match="ascending"):
        Background(np.array([2, 1], np.float32))


def test_the_pictures_are_all_there_and_all_different() -> None:
    pictures = unrelated_pictures()
    assert [picture.name for picture in pictures] == [*PHOTOS, *SCENES]
    assert len({picture.sha256 for picture in pictures}) == 16
    assert not {"motorcycle-left", "motorcycle-right"} & set(PHOTOS)


def test_the_same_patches_are_taken_every_time() -> None:
    given_features = [features(seed) for seed in range(6)]
    one, other = unrelated_of(given_features), unrelated_of(given_features)
    assert one.n == 6 * PATCHES
    assert np.array_equal(one.patches, other.patches)
    for number, source in enumerate(given_features):
        found = one.patches[one.picture == number]
        own = source.patches.reshape(-1, 8).astype(np.float32)
        own /= np.linalg.norm(own, axis=1, keepdims=True)
        nearest = (found @ own.T).argmax(axis=1)
        assert np.allclose(found, own[nearest], atol=1e-6)
        assert len(set(nearest.tolist())) == PATCHES


def test_all_patches_of_a_small_picture_are_taken() -> None:
    assert unrelated_of([features(1, 2, 3), features(2, 8, 8)]).n == 6 + PATCHES


def test_a_vector_is_held_against_every_patch() -> None:
    unrelated = unrelated_of([features(seed) for seed in range(4)])
    vector = np.eye(8, dtype=np.float32)[0]
    background = unrelated.background(vector)
    assert background is not None
    expected = np.sort(unrelated.patches[:, 0])
    assert np.allclose(background.scores, expected)


def test_the_pictures_compared_are_left_out() -> None:
    given_features = [features(seed) for seed in range(5)]
    whole = unrelated_of(given_features)
    rest = whole.without(given_features[1].sha256, "0" * 60 + "ffff")
    assert (whole.n, rest.n) == (5 * PATCHES, 4 * PATCHES)
    assert np.array_equal(rest.patches, whole.patches[whole.picture != 1])
    assert {pair.first for pair in rest.pairs} | {pair.second for pair in rest.pairs} == {0, 2, 3, 4}
    assert len(rest.pairs) == 6
    nothing = whole.without(*whole.sha256s)
    assert nothing.background(np.eye(8, dtype=np.float32)[0]) is None
    assert nothing.standings(ImageSimilarity(0.5, 0.5, 0.5)) == {}


def test_pictures_stand_among_unrelated_pairs() -> None:
    given_features = [features(seed) for seed in range(8)]
    unrelated = unrelated_of(given_features)
    pairs = {
        (i, j): image_similarity(given_features[i], given_features[j]) for i in range(8) for j in range(i)
    }
    ring = {(i, j) for i, j in pairs if min(i - j, 8 - i + j) <= REACH}
    assert len(ring) == 8 * REACH
    asked = ImageSimilarity(cls=0.1, mean=0.2, best_buddies=0.3)
    found = unrelated.standings(asked)
    for name, chosen in (("cls", pairs.keys()), ("mean", pairs.keys()), ("best_buddies", ring)):
        values = np.array([getattr(pairs[key], name) for key in chosen])
        assert found[name].n == len(chosen)
        assert found[name].percentile == pytest.approx(100 * np.mean(values < getattr(asked, name)))


def test_without_cls_it_has_no_standing() -> None:
    unrelated = unrelated_of([features(seed, has_cls=False) for seed in range(5)])
    assert set(unrelated.standings(ImageSimilarity(None, 0.1, 0.1))) == {"mean", "best_buddies"}
