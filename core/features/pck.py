"""How often the best match is right, where the truth is known: PCK, the percentage of correct key points.

Protocol. Key points are the centres of patches of the first picture whose place in the second is known and
visible there. The prediction for one is the centre of the patch of the second picture with the highest
cosine; no match is left out. It is correct at alpha where it lies at most alpha times the longer side of the
second picture away from the truth (Yang and Ramanan 2013, with the picture as the box). Shares are over all
key points of all pairs.

    scene pairs   two views of a drawn scene, by a known homography; key points lie on objects
    stereo pair   the motorcycle of Middlebury 2014, by its measured disparity; key points lie anywhere that
                  the right eye sees, too
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.features.nearest import correspond
from core.features.query import patch_centres
from core.features.similarity import UnitGrid
from core.features.values import FeatureOptions, ImageFeatures
from core.images import ImageInput, from_rgb
from core.preprocess import Frame
from core.samples import load_sample, motorcycle_disparity, samples
from core.scenes import ScenePair, apply_homography, generate_pair

if TYPE_CHECKING:
    from core.features.cache import FeatureCache
    from core.loaders import ModelPool
    from core.registry import ModelSpec

ALPHAS = (0.05, 0.1)
PAIR_SEEDS = 4 * 10**12
"""First seed of the pairs; training and other evaluations have other ones."""
MAX_PAIRS = 1000
_TOGETHER = 8
"""Pairs whose features are in memory at once."""
_HIDDEN_PX = 1.0
"""A point whose disparity is smaller by more than that of another at the same place is behind that."""


class KeyPoints(NamedTuple):
    """Patches of a first picture, and where their centres are in a second one."""

    patches: NDArray[np.intp]
    """N: counted row by row."""
    xy: NDArray[np.float64]
    """N 2, in the second picture's pixels."""
    longer_px: int
    """Longer side of the second picture."""


class PointErrors(NamedTuple):
    """How far off predictions are: N key points of one pair."""

    error_px: NDArray[np.float64]
    """N: from the prediction to the truth."""
    least_px: NDArray[np.float64]
    """N: from the nearest centre of any patch to the truth."""
    still_px: NDArray[np.float64]
    """N: from the key point's own place in the first picture to the truth."""
    chance: NDArray[np.float64]
    """N and `ALPHAS`: the share of patches that are correct."""
    chance_px: NDArray[np.float64]
    """N: mean distance of all patches to the truth."""
    longer_px: int


@dataclass(frozen=True, slots=True)
class PckScore:
    """The scores of one kind of pairs. Tuples run over `ALPHAS`; shares are 0-1."""

    pairs: int
    points: int
    """How many key points in all."""
    pck: tuple[float, ...]
    chance: tuple[float, ...]
    """What a patch chosen blindly would score."""
    same_place: tuple[float, ...]
    """What guessing that nothing moved would score: features of place alone bring a model that far."""
    best_possible: tuple[float, ...]
    """What the nearest patch would score: the grid allows no more."""
    mean_error_px: float
    """Mean distance of prediction and truth, in pixels of the second picture."""
    chance_error_px: float
    """That of a patch chosen blindly."""

    def as_json(self) -> dict[str, Any]:
        """Return the numbers by name, shares by alpha."""
        by_alpha = ("pck", "chance", "same_place", "best_possible")
        return asdict(self) | {
            name: {str(alpha): share for alpha, share in zip(ALPHAS, getattr(self, name), strict=True)}
            for name in by_alpha
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the scores that `as_json` wrote.

        Raises:
            KeyError: Something is missing.
        """
        by_alpha = ("pck", "chance", "same_place", "best_possible")
        tuples = {name: tuple(float(value[name][str(alpha)]) for alpha in ALPHAS) for name in by_alpha}
        return cls(**(dict(value) | tuples))


@dataclass(frozen=True, slots=True)
class PairScores:
    """What a model scores on all pairs."""

    scenes: PckScore
    stereo: PckScore | None
    """None where scikit-image's pictures are not installed."""

    def as_json(self) -> dict[str, Any]:
        """Return the numbers as JSON values."""
        return {"scenes": self.scenes.as_json(), "stereo": self.stereo.as_json() if self.stereo else None}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the scores that `as_json` wrote."""
        stereo = value["stereo"]
        return cls(PckScore.from_json(value["scenes"]), PckScore.from_json(stereo) if stereo else None)


def point_errors(first: UnitGrid, second: UnitGrid, truth: KeyPoints) -> PointErrors:
    """Return how far off the best match of each key point is, and any patch would be."""
    centres = patch_centres(second.frame).reshape(-1, 2)  # M 2
    predicted = centres[correspond(first, second).forward[truth.patches]]  # N 2
    limits = np.array(ALPHAS) * truth.longer_px
    least, mean, chance = [], [], []
    for point in truth.xy:  # one at a time, because all distances of all points would not fit a large grid
        distances = np.hypot(*(centres - point).T)
        least.append(distances.min())
        mean.append(distances.mean())
        chance.append((distances[:, None] <= limits).mean(axis=0))
    return PointErrors(
        np.hypot(*(predicted - truth.xy).T),
        np.array(least),
        np.hypot(*(patch_centres(first.frame).reshape(-1, 2)[truth.patches] - truth.xy).T),
        np.reshape(chance, (-1, len(ALPHAS))),
        np.array(mean),
        truth.longer_px,
    )


def pck(errors: Sequence[PointErrors]) -> PckScore:
    """Return the scores of pairs together.

    Raises:
        InputError: There is no key point in any.
    """
    points = sum(len(one.error_px) for one in errors)
    if not points:
        raise InputError("No patch of the pairs is a key point.", "Take more pairs, or a larger input.")
    error, least, still = (
        np.concatenate([getattr(one, name) for one in errors])
        for name in ("error_px", "least_px", "still_px")
    )
    longer = np.concatenate([np.full(len(one.error_px), one.longer_px) for one in errors])
    chance = np.concatenate([one.chance for one in errors]).mean(axis=0)
    return PckScore(
        pairs=len(errors),
        points=points,
        pck=_shares(error / longer),
        chance=tuple(map(float, chance)),
        same_place=_shares(still / longer),
        best_possible=_shares(least / longer),
        mean_error_px=float(error.mean()),
        chance_error_px=float(np.concatenate([one.chance_px for one in errors]).mean()),
    )


def _shares(relative: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float((relative <= alpha).mean()) for alpha in ALPHAS)


# The truth


def scene_key_points(pair: ScenePair, frame: Frame) -> KeyPoints:
    """Return the patches of the first view (its `frame`) on an object that the second view shows."""
    height, width = pair.second.shape[:2]
    centres = patch_centres(frame).reshape(-1, 2)  # N 2
    xy = apply_homography(pair.matrix, centres)
    covered = np.any([item.mask for item in pair.first.objects], axis=0)
    x, y = centres.astype(np.intp).T
    chosen = np.flatnonzero(covered[y, x] & ((xy >= 0) & (xy < (width, height))).all(axis=1))
    return KeyPoints(chosen, xy[chosen], max(height, width))


def stereo_key_points(disparity: NDArray[np.float32], frame: Frame) -> KeyPoints:
    """Return the patches of the left picture (its `frame`) that the right one shows.

    Args:
        disparity: H W, in pixels, as `core.samples.motorcycle_disparity` gives it.
    """
    height, width = disparity.shape
    centres = patch_centres(frame).reshape(-1, 2)  # N 2
    x, y = centres.astype(np.intp).T
    moved = disparity[y, x].astype(np.float64)
    seen = np.flatnonzero(visible_right(disparity)[y, x])
    xy = centres[seen] - np.stack([moved[seen], np.zeros(len(seen))], axis=1)
    return KeyPoints(seen, xy, max(height, width))


def visible_right(disparity: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which pixels of the left picture the right one shows: H W.

    Not those of unknown disparity, those that lie beyond its left edge, and those behind something nearer:
    of all pixels that fall on one, the largest disparity is in front.
    """
    height, width = disparity.shape
    rows, columns = np.indices((height, width))
    known = np.isfinite(disparity)
    target = np.round(columns - np.where(known, disparity, 0)).astype(np.intp)
    inside = known & (target >= 0) & (target < width)
    front = np.full((height, width), -np.inf, np.float32)
    np.maximum.at(front, (rows[inside], target[inside]), disparity[inside])
    seen = np.zeros((height, width), bool)
    seen[inside] = disparity[inside] >= front[rows[inside], target[inside]] - _HIDDEN_PX
    return seen


# A model's scores


def score_pairs(
    spec: "ModelSpec",
    n: int,
    seed: int,
    options: FeatureOptions,
    *,
    cache: "FeatureCache",
    pool: "ModelPool",
    progress: Callable[[int, int], object] | None = None,
) -> PairScores:
    """Return how often a model's best match is right, on `n` fresh scene pairs and on the stereo pair.

    The same for the same model, `n` and `seed`. `progress` is told how many pairs are done, of
    how many, and may raise to cancel.

    Raises:
        InputError: `n` or `seed` is of no use.
    """
    if not 1 <= n <= MAX_PAIRS or not 0 <= seed < 10**6:
        raise InputError(
            f"There are no {n} pairs of seed {seed}.",
            f"Choose 1 to {MAX_PAIRS} pairs, and a seed below 10^6.",
        )

    def features(images: Sequence[ImageInput]) -> list[ImageFeatures]:
        return [found.features for found in cache.get_many(spec, images, options, pool)]

    errors: list[PointErrors] = []
    pairs = scene_pairs(n, seed)
    while some := list(islice(pairs, _TOGETHER)):
        views = features([view for pair in some for view in _views(pair)])
        errors += [
            point_errors(UnitGrid.of(first), UnitGrid.of(second), scene_key_points(pair, first.frame))
            for pair, first, second in zip(some, views[::2], views[1::2], strict=True)
        ]
        if progress:
            progress(len(errors), n + 1)
    stereo = _stereo(features)
    if progress:
        progress(n + 1, n + 1)
    return PairScores(pck(errors), stereo)


def scene_pairs(n: int, seed: int) -> Iterator[ScenePair]:
    """Yield `n` pairs that nothing was trained on; another seed, other pairs."""
    first = PAIR_SEEDS + seed * MAX_PAIRS
    return (generate_pair(number) for number in range(first, first + n))


def _views(pair: ScenePair) -> tuple[ImageInput, ImageInput]:
    name = f"scene pair {pair.first.seed}"
    return from_rgb(pair.first.rgb, f"{name}, first"), from_rgb(pair.second, f"{name}, second")


def _stereo(features: Callable[[Sequence[ImageInput]], list[ImageFeatures]]) -> PckScore | None:
    names = ("motorcycle-left", "motorcycle-right")
    disparity = motorcycle_disparity()
    if disparity is None or not set(names) <= {sample.id for sample in samples()}:
        return None
    left, right = features([load_sample(name) for name in names])
    truth = stereo_key_points(disparity, left.frame)
    return pck([point_errors(UnitGrid.of(left), UnitGrid.of(right), truth)])
