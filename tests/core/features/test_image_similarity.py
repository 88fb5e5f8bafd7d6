"""Two pictures as a whole."""

import numpy as np
import pytest

from core.features.image_similarity import image_similarity
from core.features.values import FeatureOptions, ImageFeatures
from core.preprocess import Frame


def features(patches: list[list[list[float]]], cls: list[float] | None) -> ImageFeatures:
    values = np.array(patches, np.float16)
    rows, columns = values.shape[:2]
    frame = Frame((0, 0, columns, rows), (rows, columns))
    token = None if cls is None else np.array(cls, np.float16)
    return ImageFeatures(values, token, frame, "0" * 64, "m", "1", FeatureOptions())


def test_numbers_by_hand() -> None:
    first = features([[[1, 0], [0, 1]]], cls=[3, 4])
    second = features([[[2, 0], [4, 0], [0, -1]]], cls=[4, 3])
    found = image_similarity(first, second)
    assert found.cls == pytest.approx(24 / 25)
    # means (0.5, 0.5) and (2, -1/3)
    assert found.mean == pytest.approx((1 - 1 / 6) / (0.5**0.5 * (4 + 1 / 9) ** 0.5), abs=1e-3)
    # (1, 0) and the first (2, 0) find each other; (0, 1) is found by nothing: 1 of at most 2
    assert found.best_buddies == 0.5


def test_a_picture_is_itself() -> None:
    rng = np.random.default_rng(0)
    own = features(rng.normal(size=(5, 4, 6)).tolist(), rng.normal(size=6).tolist())
    found = image_similarity(own, own)
    assert (found.cls, found.mean) == pytest.approx((1, 1), abs=1e-6)
    assert found.best_buddies == 1


def test_it_does_not_matter_which_comes_first() -> None:
    rng = np.random.default_rng(1)
    first, second = (
        features(rng.normal(size=(*size, 6)).tolist(), rng.normal(size=6).tolist())
        for size in ((5, 4), (3, 7))
    )
    there, back = image_similarity(first, second), image_similarity(second, first)
    assert (there.cls, there.mean, there.best_buddies) == pytest.approx(
        (back.cls, back.mean, back.best_buddies)
    )


def test_nothing_is_nan() -> None:
    grey = features([[[0, 0], [0, 0]]], cls=[0, 0])
    found = image_similarity(grey, grey)
    assert (found.cls, found.mean) == (0, 0)
    assert image_similarity(features([[[1, 0]]], None), features([[[1, 0]]], None)).cls is None
