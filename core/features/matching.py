"""Which patch of another picture corresponds to one here, and how far to trust it.

Four marks of trust, none of which needs the truth:

    mutual        the patch found finds this one back (best buddies)
    margin        how much better it is than the best one elsewhere
    cycle error   how far from the start one lands by going there and back
    percentile    where the similarity lies among those that mean nothing
"""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.features.background import Background
from core.features.nearest import Correspondence, check_apart, correspond, nothing_left
from core.features.query import Patch, PatchQuery, patch_centres
from core.features.similarity import (
    UnitGrid,
    is_flat,
    near,
    neighbourhood,
    query_vector,
    vector_map,
)

if TYPE_CHECKING:
    from core.features.unrelated import Unrelated


@dataclass(frozen=True, slots=True)
class Peak:
    """A place in a map."""

    patch: Patch
    score: float


@dataclass(frozen=True, slots=True)
class Match:
    """A patch of the first picture, or a query there, and the patch of the second that is most like it."""

    first: Patch
    """Row and column; of a query of several, the included patch that is most like `second`."""
    second: Patch
    first_xy: tuple[float, float]
    """Centre of the patch in its picture's pixels."""
    second_xy: tuple[float, float]
    score: float
    """Cosine, -1 to 1."""
    mutual: bool
    """Whether the patch of the first picture that is most like `second` is `first`, or in the query."""
    margin: float | None
    """Score minus the best one outside of the neighbourhood of `second`; None where there is nothing."""
    cycle_error_patches: float
    """Distance from the start, or from the nearest patch of the query, to the patch that is most like
    `second`, between centres; 0 for a mutual pair."""
    cycle_error_px: float
    """The same in pixels of the first picture."""
    others_percentile: float | None
    """Where the score lies among those of the query and all other patches of its own picture, 0-100; None
    where there are none. (Among those of the second picture it is the highest.)"""
    unrelated_percentile: float | None
    """Where it lies among those of patches of unrelated pictures, 0-100; None where these were not asked."""

    def as_json(self) -> dict[str, Any]:
        """Return the match as JSON values."""
        return asdict(self)


@dataclass(frozen=True, eq=False, slots=True)
class QueryAnswer:
    """What a query finds in its own picture and in another."""

    self_map: NDArray[np.float32]
    """Rows columns of the first picture, -1 to 1."""
    cross_map: NDArray[np.float32]
    """Rows columns of the second picture, -1 to 1."""
    match: Match
    peaks: tuple[Peak, ...]
    """The best places of the cross map, each outside of the neighbourhood of the better ones."""
    others: Background | None
    """The self map without the query; None where there is nothing else."""
    unrelated: Background | None
    flat: bool
    """Whether the cross map says nothing: its similarities are all alike."""


def best_match(values: NDArray[np.float32]) -> Peak:
    """Return the highest place of a map, the first in reading order among equals."""
    row, column = divmod(int(values.argmax()), values.shape[1])
    return Peak((row, column), float(values[row, column]))


def top_k(values: NDArray[np.float32], k: int, radius: int | None = None) -> tuple[Peak, ...]:
    """Return up to `k` highest places of a map, each outside of the neighbourhood of the better ones.

    Args:
        values: rows columns; a place that is -inf does not count.
        radius: How far a neighbourhood reaches in rows and columns; None is `neighbourhood`'s, and with 0
            it is the patch alone.
    """
    radius = neighbourhood(values.shape) if radius is None else radius
    left = values.copy()
    found: list[Peak] = []
    while len(found) < k and (peak := best_match(left)).score > -np.inf:
        found.append(peak)
        left[near(left.shape, (peak.patch,), radius)] = -np.inf
    return tuple(found)


def ask(
    query: PatchQuery,
    first: UnitGrid,
    second: UnitGrid,
    *,
    top: int = 5,
    radius: int | None = None,
    apart: bool = False,
    unrelated: "Unrelated | None" = None,
) -> QueryAnswer:
    """Return what a query in the first picture finds in the second, and how far to trust it.

    Args:
        top: How many peaks.
        radius: How far a neighbourhood reaches in the second picture; None is `neighbourhood`'s.
        apart: Leave out what lies in the neighbourhood of the query itself: for a picture against itself.

    Raises:
        InputError: A patch of the query is outside of the grid, or nothing is left to compare with.
        ValueError: `apart`, and the grids differ.
    """
    check_apart(apart, first, second)
    vector = query_vector(query, first)
    cross_map = vector_map(vector, second)
    radius = neighbourhood(second.grid) if radius is None else radius
    searched = _without(cross_map, query.include, radius) if apart else cross_map
    peaks = top_k(searched, max(2, top), radius)
    if not peaks:
        raise nothing_left()
    self_map = vector_map(vector, first)
    others = _others(self_map, query.include)
    against = unrelated.background(vector) if unrelated else None
    return QueryAnswer(
        self_map,
        cross_map,
        _match(query, first, second, peaks, radius if apart else None, others, against),
        peaks[:top],
        others,
        against,
        is_flat(cross_map),
    )


def _match(
    query: PatchQuery,
    first: UnitGrid,
    second: UnitGrid,
    peaks: tuple[Peak, ...],
    apart: int | None,
    others: Background | None,
    unrelated: Background | None,
) -> Match:
    """Return the best of `peaks` with its marks; `apart` is the radius of what the way back leaves out."""
    place, score = peaks[0].patch, peaks[0].score
    back_map = vector_map(second.vectors[place], first)
    start = max(query.include, key=lambda patch: float(back_map[patch]))
    back = best_match(_without(back_map, (place,), apart) if apart is not None else back_map).patch
    patches = [np.hypot(back[0] - row, back[1] - column) for row, column in query.include]
    centres = patch_centres(first.frame)
    pixels = [np.hypot(*(centres[back] - centres[patch])) for patch in query.include]
    return Match(
        first=start,
        second=place,
        first_xy=_xy(centres, start),
        second_xy=_xy(patch_centres(second.frame), place),
        score=score,
        mutual=back in query.include,
        margin=score - peaks[1].score if len(peaks) > 1 else None,
        cycle_error_patches=float(min(patches)),
        cycle_error_px=float(min(pixels)),
        others_percentile=_percentile(others, score),
        unrelated_percentile=_percentile(unrelated, score),
    )


def matches(
    first: UnitGrid,
    second: UnitGrid,
    n: int,
    *,
    found: Correspondence | None = None,
    radius: int | None = None,
    apart: bool = False,
    unrelated: "Unrelated | None" = None,
) -> tuple[Match, ...]:
    """Return the `n` best mutual pairs, spread over the first picture, the best first.

    The pairs are taken in the order of their scores, each at least so many rows or columns away from those
    taken before; that spacing is the widest, up to that of `n` patches evenly spread, with which `n` pairs
    are found. Where there are fewer than `n` mutual pairs, all are returned.

    Args:
        found: What `correspond` returned for the two, with the same `radius` and `apart`.

    Raises:
        InputError: Nothing is left to compare with, or `n` is below 1.
    """
    if n < 1:
        raise InputError(f"{n} matches were asked for.", "Ask for at least 1.")
    found = found or correspond(first, second, radius=radius, apart=apart)
    chosen = spread_pairs(found, first.grid, n)
    return tuple(_pair(int(index), first, second, found, unrelated) for index in chosen)


def spread_pairs(found: Correspondence, grid: tuple[int, int], n: int) -> NDArray[np.intp]:
    """Return the patches of the first picture (its `grid`) whose pairs `matches` chooses, the best first."""
    mutual = np.flatnonzero(found.mutual)
    ranked: NDArray[np.intp] = mutual[np.argsort(-found.score[mutual], kind="stable")]
    for spacing in range(round((grid[0] * grid[1] / n) ** 0.5), 1, -1):
        chosen = _spaced(ranked, grid, n, spacing)
        if len(chosen) == n:
            return chosen
    return ranked[:n]


def _spaced(ranked: NDArray[np.intp], grid: tuple[int, int], n: int, spacing: int) -> NDArray[np.intp]:
    taken, chosen = np.zeros(grid, bool), []
    for index in ranked:
        patch = divmod(int(index), grid[1])
        if not taken[patch]:
            chosen.append(index)
            taken |= near(grid, (patch,), spacing - 1)
        if len(chosen) == n:
            break
    return np.array(chosen, np.intp)


def _pair(
    index: int,
    first: UnitGrid,
    second: UnitGrid,
    found: Correspondence,
    unrelated: "Unrelated | None",
) -> Match:
    """Return one mutual pair with its marks."""
    start, place = divmod(index, first.grid[1]), divmod(int(found.forward[index]), second.grid[1])
    score = float(found.score[index])
    others = _others(vector_map(first.vectors[start], first), (start,))
    against = unrelated.background(first.vectors[start]) if unrelated else None
    margin = score - float(found.second_score[index])
    return Match(
        first=start,
        second=place,
        first_xy=_xy(patch_centres(first.frame), start),
        second_xy=_xy(patch_centres(second.frame), place),
        score=score,
        mutual=True,
        margin=margin if np.isfinite(margin) else None,
        cycle_error_patches=0.0,
        cycle_error_px=0.0,
        others_percentile=_percentile(others, score),
        unrelated_percentile=_percentile(against, score),
    )


def _without(values: NDArray[np.float32], patches: tuple[Patch, ...], radius: int) -> NDArray[np.float32]:
    """Return a map that is -inf around some patches."""
    return np.where(near(values.shape, patches, radius), np.float32(-np.inf), values)


def _others(values: NDArray[np.float32], patches: tuple[Patch, ...]) -> Background | None:
    """Return a map without some patches as what to hold a score against."""
    rest = values[~near(values.shape, patches, 0)]
    return Background.of(rest) if len(rest) else None


def _percentile(background: Background | None, score: float) -> float | None:
    return background.percentile(score) if background else None


def _xy(centres: NDArray[np.float64], patch: Patch) -> tuple[float, float]:
    x, y = centres[patch]
    return float(x), float(y)
