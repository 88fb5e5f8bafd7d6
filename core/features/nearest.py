"""The nearest neighbours of all patches of two pictures, in both directions and in bounded memory."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.features.similarity import BLOCK_MB, UnitGrid, neighbourhood, similarity_blocks

_COLUMNS = 256
"""How many columns of a block are searched at once: `argmax` along the first axis copies what it searches."""


@dataclass(frozen=True, eq=False, slots=True)
class Correspondence:
    """The nearest neighbours of all patches in both directions. N patches in the first picture, M there."""

    forward: NDArray[np.intp]
    """N: patch of the second, counted row by row, that is most like each of the first."""
    backward: NDArray[np.intp]
    """M: patch of the first that is most like each of the second."""
    score: NDArray[np.float32]
    """N: cosine with the best, -1 to 1."""
    second_score: NDArray[np.float32]
    """N: with the best outside of the neighbourhood of the best; -inf where there is nothing."""

    @property
    def landing(self) -> NDArray[np.intp]:
        """N: where one lands in the first picture by going there and back."""
        return self.backward[self.forward]

    @property
    def mutual(self) -> NDArray[np.bool_]:
        """N: whether the way there and back ends where it began."""
        ends: NDArray[np.bool_] = self.landing == np.arange(len(self.forward))
        return ends

    @property
    def best_buddies(self) -> float:
        """Share (0-1) of mutual pairs in the most there could be, min(N, M) (Dekel et al. 2015, sec. 3)."""
        return int(self.mutual.sum()) / min(len(self.forward), len(self.backward))


def correspond(
    first: UnitGrid,
    second: UnitGrid,
    *,
    radius: int | None = None,
    apart: bool = False,
    block_mb: float = BLOCK_MB,
) -> Correspondence:
    """Return the nearest neighbours of all patches in both directions, the first of equals.

    The matrix of similarities is never there as a whole: besides the result it takes `block_mb` and 4 MB
    more, whatever the size of the grids (at least a row of the matrix).

    Args:
        radius, apart: As in `core.features.matching.ask`.

    Raises:
        InputError: Nothing is left to compare with.
        ValueError: `apart`, and the grids differ.
    """
    check_apart(apart, first, second)
    n, m = len(first.flat), len(second.flat)
    radius = neighbourhood(second.grid) if radius is None else radius
    forward, backward = np.empty(n, np.intp), np.zeros(m, np.intp)
    score, second_score = np.empty(n, np.float32), np.empty(n, np.float32)
    back_score = np.full(m, -np.inf, np.float32)
    for rows, block in similarity_blocks(first, second, block_mb):
        if apart:
            _hide(block, np.arange(rows.start, rows.stop), second.grid, radius)
        _improve(backward, back_score, block, rows.start)
        forward[rows] = best = block.argmax(axis=1)
        score[rows] = block[np.arange(len(block)), best]
        _hide(block, best, second.grid, radius)
        second_score[rows] = block.max(axis=1)
    if (score == -np.inf).any():
        raise nothing_left()
    return Correspondence(forward, backward, score, second_score)


def _improve(
    best: NDArray[np.intp], best_score: NDArray[np.float32], block: NDArray[np.float32], start: int
) -> None:
    """Take over, for each column, the row of a block (the first one is row `start`) that is better."""
    for left in range(0, block.shape[1], _COLUMNS):
        columns = slice(left, left + _COLUMNS)
        part = block[:, columns]
        rows = part.argmax(axis=0)
        values = part[rows, np.arange(len(rows))]
        better = values > best_score[columns]
        best[columns][better] = start + rows[better]
        best_score[columns][better] = values[better]


def _hide(block: NDArray[np.float32], centres: NDArray[np.intp], grid: tuple[int, int], radius: int) -> None:
    """Set to -inf, in each row of a block, the neighbourhood of that row's patch of the second picture."""
    rows, columns = np.divmod(centres, grid[1])
    for down, right in product(range(-radius, radius + 1), repeat=2):
        row, column = rows + down, columns + right
        inside = np.flatnonzero((row >= 0) & (row < grid[0]) & (column >= 0) & (column < grid[1]))
        block[inside, row[inside] * grid[1] + column[inside]] = -np.inf


def check_apart(apart: bool, first: UnitGrid, second: UnitGrid) -> None:
    """Raise a ValueError where neighbourhoods cannot be left out, because the grids differ."""
    if apart and first.grid != second.grid:
        raise ValueError(f"grids {first.grid} and {second.grid} are not of the same picture")


def nothing_left() -> InputError:
    """Return what to raise where every patch is left out."""
    return InputError(
        "Every patch lies in the neighbourhood that is left out.",
        "Leave less out, or give the model a larger input.",
    )
