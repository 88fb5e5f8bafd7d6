"""Parts by k-means: planted groups, the same in both pictures, in a fixed order."""

import numpy as np
import pytest
from numpy.typing import NDArray

from core.errors import InputError
from core.features.parts import kmeans_parts

DIRECTIONS = np.eye(8)[:4]
FIRST = np.array([[0, 0, 0, 0], [1, 1, 2, 2], [0, 0, 2, 2]])
SECOND = np.array([[3, 0], [0, 0], [2, 1]])


def planted(labels: NDArray[np.int_], seed: int) -> NDArray[np.float16]:
    """Return patches along the directions of their labels, of different lengths, with some noise."""
    rng = np.random.default_rng(seed)
    lengths = rng.uniform(0.1, 20, (*labels.shape, 1))
    return ((DIRECTIONS[labels] + 0.03 * rng.normal(size=(*labels.shape, 8))) * lengths).astype(np.float16)


def test_equal_labels_are_equal_parts_in_both_pictures() -> None:
    found = kmeans_parts([planted(FIRST, 1), planted(SECOND, 2)], 4)
    # planted in the order of size: 9, 5, 3, 1 patches are of 0, 2, 1, 3
    rank = np.array([0, 2, 1, 3])
    assert (found.labels[0] == rank[FIRST]).all()
    assert (found.labels[1] == rank[SECOND]).all()
    assert found.sizes.tolist() == [9, 5, 3, 1]
    assert np.allclose(found.centres, DIRECTIONS[[0, 2, 1, 3]], atol=0.1)
    assert np.allclose(np.linalg.norm(found.centres, axis=1), 1, atol=1e-5)
    assert (found.tightness > 0.98).all()
    assert (found.tightness <= 1 + 1e-6).all()


def test_of_equal_sizes_the_one_that_appears_first_comes_first() -> None:
    labels = np.array([[2, 2, 0, 0, 1, 1]])
    assert kmeans_parts([planted(labels, 3)], 3).labels[0].tolist() == [[0, 0, 1, 1, 2, 2]]


def test_the_same_again_is_the_same() -> None:
    grid = np.random.default_rng(0).normal(size=(20, 20, 16))
    one, two = kmeans_parts([grid], 7, seed=3), kmeans_parts([grid], 7, seed=3)
    assert (one.labels[0] == two.labels[0]).all()
    assert (one.centres == two.centres).all()
    assert (np.diff(one.sizes) <= 0).all()


def test_each_patch_is_of_the_nearest_centre() -> None:
    grid = np.random.default_rng(1).normal(size=(15, 15, 6))
    found = kmeans_parts([grid], 5)
    vectors = (grid / np.linalg.norm(grid, axis=2, keepdims=True)).reshape(-1, 6)
    labels = found.labels[0].ravel()
    means = np.stack([vectors[labels == part].mean(axis=0) for part in range(5)])
    distances = ((vectors[:, None] - means) ** 2).sum(axis=2)
    assert (distances.argmin(axis=1) == labels).mean() > 0.98  # k-means stops a little before it stands still


def test_a_uniform_picture_is_one_part() -> None:
    for value in (0.0, 2.0):
        found = kmeans_parts([np.full((3, 4, 5), value, np.float16)], 4)
        assert (found.labels[0] == 0).all()
        assert found.sizes.tolist() == [12]
        assert np.isfinite(found.centres).all()


@pytest.mark.parametrize(("k", "patches"), [(1, 9), (0, 9), (-2, 9), (10, 9), (25, 100), (2, 1)])
def test_a_number_that_cannot_be_is_refused(k: int, patches: int) -> None:
    with pytest.raises(InputError, match=f"{k} parts"):
        kmeans_parts([np.random.default_rng(0).normal(size=(1, patches, 4))], k)
