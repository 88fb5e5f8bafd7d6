"""Durations as counts of narrow bins: small, exact to add and to take away, good to a quarter per cent.

A bin is half a per cent wide, on a logarithmic scale from `LEAST_MS` up. A sketch is the counts of the bins
that are not empty, as bytes: pairs of bin (2 bytes) and count (4 bytes), little-endian, in order of the bins.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_MS = 1e-4
"""Smaller durations are in the first bin, together with these."""
WIDTH = math.log(1.005)
LAST = 2**16 - 1
PAIR = np.dtype([("bin", "<u2"), ("n", "<u4")])
ENTRY = Struct("<HI")
"""A pair without numpy, which takes longer for a few."""

Counts = NDArray[np.int64]


def bin_of(ms: float) -> int:
    """Return the bin of a duration."""
    if ms <= LEAST_MS:
        return 0
    return min(int((math.log(ms) - math.log(LEAST_MS)) / WIDTH), LAST)


def bins_of(ms: NDArray[np.float64]) -> Counts:
    """Return the bins of durations."""
    numbers = (np.log(np.maximum(ms, LEAST_MS)) - math.log(LEAST_MS)) / WIDTH
    return np.minimum(numbers.astype(np.int64), LAST)


def lower_edge(number: float | NDArray[Any]) -> Any:
    """Return where a bin begins, in ms."""
    return LEAST_MS * np.exp(np.multiply(number, WIDTH))


def changed(sketch: bytes, more: Mapping[int, int]) -> bytes:
    """Return a sketch with counts of bins added; negative ones take away."""
    counts = dict(ENTRY.iter_unpack(sketch))
    for number, n in more.items():
        counts[number] = counts.get(number, 0) + n
    return packed((number, n) for number, n in sorted(counts.items()) if n > 0)


def packed(pairs: Iterable[tuple[int, int]]) -> bytes:
    """Return bins, in order, and their counts as bytes."""
    return b"".join(ENTRY.pack(number, n) for number, n in pairs)


def merged(groups: Sequence[int] | Counts, sketches: Sequence[bytes]) -> tuple[Counts, Counts, Counts]:
    """Add up sketches by group.

    Args:
        groups: Of each sketch, from 0 to 2^31.

    Returns:
        Groups, bins and counts, in order of group and bin.
    """
    pairs = np.frombuffer(b"".join(sketches), PAIR)
    lengths = np.fromiter(map(len, sketches), np.int64, len(sketches)) // PAIR.itemsize
    keys = np.repeat(np.asarray(groups, np.int64), lengths) << 16 | pairs["bin"]
    return summed(keys, pairs["n"].astype(np.int64))


def summed(keys: Counts, counts: Counts) -> tuple[Counts, Counts, Counts]:
    """Add up counts of equal keys (`group << 16 | bin`), as `merged` does."""
    if counts.size and counts.max() < 2**16 and keys.max() < 2**47:  # one sort of one array: far quicker
        both = np.sort(keys << 16 | counts)
        keys, counts = both >> 16, both & 0xFFFF
    else:
        order = np.argsort(keys, kind="stable")
        keys, counts = keys[order], counts[order]
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    counts = np.add.reduceat(counts, starts) if starts.size else counts
    return keys[starts] >> 16, keys[starts] & 0xFFFF, counts


def quantiles(
    found: tuple[Counts, Counts, Counts], shares: Sequence[float]
) -> tuple[Counts, Counts, NDArray[np.float64]]:
    """Return the quantiles of each group, by nearest rank: the middle of the bin that the rank falls in.

    Returns:
        Groups in order, their counts, and quantiles of shape (groups, shares) in ms.
    """
    groups, bins, counts = found
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    if not starts.size:
        return groups, counts, np.empty((0, len(shares)))
    totals = np.add.reduceat(counts, starts)
    below = np.concatenate(([0], np.cumsum(counts)))
    ranks = np.maximum(np.ceil(np.outer(totals, shares) - 1e-9), 1)  # 1 to the group's total
    at = np.searchsorted(below, below[starts][:, None] + ranks, side="left") - 1
    return groups[starts], totals, lower_edge(bins[at] + 0.5)
