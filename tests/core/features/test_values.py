"""What features and options may be."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError
from core.features.values import FACETS, MAX_SIZE, FeatureOptions, ImageFeatures
from core.preprocess import Frame


def features(**changes: Any) -> ImageFeatures:
    given: dict[str, Any] = {
        "patches": np.arange(24, dtype=np.float16).reshape(2, 3, 4),
        "cls": np.ones(4, dtype=np.float16),
        "frame": Frame((0, 0, 30, 20), (2, 3)),
        "sha256": "0" * 64,
        "model_id": "m",
        "revision": "r",
        "options": FeatureOptions(),
    }
    return ImageFeatures(**given | changes)


@given(
    st.builds(
        FeatureOptions,
        st.integers(),
        st.sampled_from(FACETS),
        st.none() | st.integers(1, 99),
        st.none() | st.integers(1, MAX_SIZE),
    )
)
def test_options_come_back_from_json(options: FeatureOptions) -> None:
    assert FeatureOptions(**options.as_json()) == options


@pytest.mark.parametrize(
    "options",
    [{"facet": "head"}, {"facet": ""}, {"stride": 0}, {"stride": -1}, {"size": 0}, {"size": MAX_SIZE + 1}],
)
def test_options_that_no_model_has_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        FeatureOptions(**options)


@pytest.mark.parametrize(
    "changes",
    [
        {"patches": np.zeros((3, 2, 4), np.float16)},
        {"patches": np.zeros((6, 4), np.float16)},
        {"patches": np.zeros((2, 3, 4), np.float32)},
        {"cls": np.zeros(5, np.float16)},
        {"cls": np.zeros(4, np.float32)},
        {"cls": np.zeros((1, 4), np.float16)},
    ],
)
def test_features_fit_their_frame_and_each_other(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        features(**changes)


def test_features_are_shared_so_nobody_writes_to_them() -> None:
    found = features()
    for values in (found.patches, found.cls):
        with pytest.raises(ValueError, match="read-only"):
            values[...] = 0  # type: ignore[index]


def test_the_mean_is_of_the_patches_in_single_precision() -> None:
    assert features().mean.tolist() == [10, 11, 12, 13]
    assert features().mean.dtype == np.float32
    large = np.full((2, 3, 4), 60_000, np.float16)  # their sum is beyond float16
    assert features(patches=large).mean == pytest.approx(np.float16(60_000))
    assert (features().dim, features(cls=None).memory_mb, features().memory_mb) == (4, 48e-6, 56e-6)
