"""What patches differ in most, as colours: principal components of one or of several pictures.

    basis = fit_pca(pictures)            where the colours lie, for all pictures together
    colours(basis, picture)              rows columns 3, for these pictures and for any other
    two_step(pictures, rule)             fitted again on the foreground alone, as DINOv2's figures are

The sign of a component is fixed: the side to which the fitted patches reach further is positive (their third
moment; where they are symmetric, the largest loading is positive). So it depends on no solver, on no order of
patches, and colours stay the same when the features are turned or mirrored as a whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.features.foreground import normalised_cut
from core.features.values import FeatureOptions, ImageFeatures

Mask = NDArray[np.bool_]
"""rows columns."""
Foreground = Literal["none", "first", "cut"]
"""How the foreground is told from the rest.

`none`: everything is fitted.
`first`: where the first component is on one side of a threshold. The foreground is the side that is rarer
    among the patches on the borders of the pictures than among all; where that does not tell, it is above.
`cut`: the normalised cut of each picture by itself (`core.features.foreground`).
"""
FOREGROUNDS: tuple[Foreground, ...] = get_args(Foreground)

COLOURS = 3
"""Components that a colour shows: red, green, blue."""
SHOWN_PERCENT = (1.0, 99.0)
"""Percentiles of the fitted patches at which a colour ends; a few odd patches would take all of it."""
ROUNDING = 2.0**-11
"""Features are kept as float16: a difference of this share of them is rounding."""
LEAST_SHARE = 1e-6
"""A component that explains less of the variance is rounding of float32."""
SYMMETRIC = 1e-3
"""Skewness below which a component is taken for symmetric."""


@dataclass(frozen=True, eq=False, slots=True)
class PcaBasis:
    """Principal components of patches, and where colours begin and end on each.

    A component that the patches do not have, because they are too few or all alike, is 0 and explains 0.

    Raises:
        ValueError: Shapes do not fit each other, or a value is not finite.
    """

    mean: NDArray[np.float32]
    """D."""
    components: NDArray[np.float32]
    """k D: orthogonal, of length 1 (or 0), the first explains most."""
    explained: NDArray[np.float32]
    """k: share (0-1) of the variance of the fitted patches."""
    low: NDArray[np.float32]
    """k: where a colour is 0."""
    high: NDArray[np.float32]
    """k: where a colour is full."""
    patches: int
    """How many were fitted."""
    model_id: str
    revision: str
    options: FeatureOptions

    def __post_init__(self) -> None:
        k, dim = self.components.shape if self.components.ndim == 2 else (0, 0)
        shapes = [self.mean.shape, *(values.shape for values in (self.explained, self.low, self.high))]
        if k < COLOURS or shapes != [(dim,), (k,), (k,), (k,)] or self.patches < 1:
            raise ValueError(f"a basis of {self.components.shape} components does not fit {shapes}")
        for values in (self.mean, self.components, self.explained, self.low, self.high):
            if values.dtype != np.float32 or not np.isfinite(values).all():
                raise ValueError("a basis holds finite values of float32")
            values.setflags(write=False)  # shared by everybody who asks for it

    @property
    def flat(self) -> bool:
        """Whether the fitted patches are all alike: then no colour says anything."""
        return not self.explained.any()

    def check(self, features: ImageFeatures) -> None:
        """Raise an InputError unless the features are of the model, revision and options fitted to."""
        own = (self.model_id, self.revision, self.options)
        for what, mine, theirs in zip(("model", "revision", "options"), own, identity(features), strict=True):
            if mine != theirs:
                raise InputError(
                    f"The colours were fitted to features of another {what}: {mine}, not {theirs}.",
                    "Choose the same model and options, or fit them again.",
                )


def identity(features: ImageFeatures) -> tuple[str, str, FeatureOptions]:
    """Return what two pictures must share for their features to be compared."""
    return features.model_id, features.revision, features.options


def fit_pca(
    pictures: Sequence[ImageFeatures], components: int = COLOURS, keep: Sequence[Mask] | None = None
) -> PcaBasis:
    """Return the principal components of the patches of all pictures together.

    Args:
        components: At least 3.
        keep: Which patches of each picture are fitted; None for all.

    Raises:
        InputError: No patch is left, or the pictures are of different models, revisions or options.
        ValueError: A mask has another shape than its picture's grid, or there are too few components.
    """
    vectors = _kept(pictures, keep)  # n D
    mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = vectors - mean
    found, explained = _principal(centred, vectors, components)
    values = centred @ found.T  # n k
    low, high = np.percentile(values, SHOWN_PERCENT, axis=0).astype(np.float32)
    return PcaBasis(mean, found, explained, low, high, len(vectors), *identity(pictures[0]))


def _kept(pictures: Sequence[ImageFeatures], keep: Sequence[Mask] | None) -> NDArray[np.float32]:
    if len({identity(picture) for picture in pictures}) != 1:
        raise InputError(
            "The pictures' features are not of one model, revision and options.",
            "Compute them alike.",
        )
    masks = keep if keep is not None else [np.ones(picture.frame.grid, bool) for picture in pictures]
    for picture, mask in zip(pictures, masks, strict=True):
        if mask.shape != picture.frame.grid:
            raise ValueError(f"mask of shape {mask.shape}, expected {picture.frame.grid}")
    vectors = np.concatenate([p.patches[mask] for p, mask in zip(pictures, masks, strict=True)])
    if not len(vectors):
        raise InputError("No patch is left to fit colours to.", "Choose another foreground.")
    return vectors.astype(np.float32)  # n D


def _principal(
    centred: NDArray[np.float32], vectors: NDArray[np.float32], components: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return components k D and the share of variance of each, zeros where there are no more."""
    from sklearn.decomposition import PCA

    if not COLOURS <= components <= centred.shape[1]:
        raise ValueError(f"{components} components, expected {COLOURS} to {centred.shape[1]}")
    found, explained = np.zeros((components, centred.shape[1]), np.float32), np.zeros(components, np.float32)
    if _square(centred) <= ROUNDING**2 * _square(vectors):
        return found, explained
    fitted = PCA(min(components, len(centred) - 1), svd_solver="covariance_eigh").fit(centred)
    real = fitted.explained_variance_ratio_ > LEAST_SHARE
    n = int(real.sum())
    found[:n], explained[:n] = fitted.components_[real], fitted.explained_variance_ratio_[real]
    return found * _signs(found, centred @ found.T)[:, None], explained


def _square(values: NDArray[np.float32]) -> float:
    return float(np.einsum("nd,nd->", values, values, dtype=np.float64))


def _signs(components: NDArray[np.float32], values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return 1 or -1 for each component; see the module."""
    spread = values.std(axis=0, dtype=np.float64)
    third = (values.astype(np.float64) ** 3).mean(axis=0)
    skewness = np.divide(third, spread**3, out=np.zeros_like(third), where=spread > 0)
    largest = components[np.arange(len(components)), np.abs(components).argmax(axis=1)]
    signs: NDArray[np.float32] = np.where(np.abs(skewness) > SYMMETRIC, skewness, largest) >= 0
    return np.where(signs, np.float32(1), np.float32(-1))


def project(basis: PcaBasis, features: ImageFeatures) -> NDArray[np.float32]:
    """Return a picture's patches on the components of a basis: rows columns k, float32.

    Raises:
        InputError: The basis was fitted to features of another model, revision or options.
    """
    basis.check(features)
    centred = features.patches.astype(np.float32) - basis.mean
    values: NDArray[np.float32] = np.matmul(centred, basis.components.T)  # rows columns k
    return values


def colours(basis: PcaBasis, features: ImageFeatures) -> NDArray[np.uint8]:
    """Return a picture's patches as colours: rows columns 3, 0-255, one component each for red, green, blue.

    A component without variance is 128 everywhere, so a picture that is all alike is grey.

    Raises:
        InputError: The basis was fitted to features of another model, revision or options.
    """
    values, low, high = project(basis, features)[..., :COLOURS], basis.low[:COLOURS], basis.high[:COLOURS]
    span = high - low
    share = np.divide(values - low, span, out=np.full_like(values, 0.5), where=span > 0)
    shown: NDArray[np.uint8] = (share.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    return shown


# The foreground


@dataclass(frozen=True, slots=True)
class ForegroundRule:
    """How the foreground is told from the rest.

    Raises:
        InputError: There is no such rule, or the threshold is not between 0 and 1.
    """

    kind: Foreground = "none"
    threshold: float | None = None
    """Of `first`: 0 is the lowest value of the first component, 1 the highest; None is Otsu's threshold."""
    swap: bool = False
    """Take the other side."""

    def __post_init__(self) -> None:
        if self.kind not in FOREGROUNDS:
            raise InputError(
                f"There is no foreground rule {self.kind!r}.", f"Choose one of {', '.join(FOREGROUNDS)}."
            )
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise InputError(f"The threshold is {self.threshold}.", "Give a number from 0 to 1.")


@dataclass(frozen=True, eq=False, slots=True)
class PcaView:
    """Colours of pictures that were fitted together, and what was taken for the foreground."""

    basis: PcaBasis
    """Fitted to the foreground."""
    colours: tuple[NDArray[np.uint8], ...]
    """rows columns 3 of each picture, 0-255; outside of the foreground, too."""
    masks: tuple[Mask, ...]
    """What was fitted, of each picture."""
    threshold: float | None
    """Of the first component where that decided, 0-1 as in `ForegroundRule`."""
    above: bool | None
    """Whether the foreground is above it."""


def two_step(
    pictures: Sequence[ImageFeatures], rule: ForegroundRule | None = None, components: int = COLOURS
) -> PcaView:
    """Tell the foreground, fit to it alone, and colour all (Oquab et al. 2023, section 7.5 and figure 1).

    Raises:
        InputError: The rule leaves too few patches, or the features do not belong together.
    """
    rule = rule or ForegroundRule()
    masks, threshold, above = _foreground(pictures, rule)
    if rule.swap and rule.kind != "none":
        masks, above = tuple(~mask for mask in masks), None if above is None else not above
    basis = fit_pca(pictures, components, masks)
    return PcaView(basis, tuple(colours(basis, p) for p in pictures), masks, threshold, above)


def _foreground(
    pictures: Sequence[ImageFeatures], rule: ForegroundRule
) -> tuple[tuple[Mask, ...], float | None, bool | None]:
    if rule.kind == "none":
        return tuple(np.ones(picture.frame.grid, bool) for picture in pictures), None, None
    if rule.kind == "cut":
        return tuple(normalised_cut(picture.patches).mask for picture in pictures), None, None
    first = fit_pca(pictures)
    values = [project(first, picture)[..., 0] for picture in pictures]
    if first.flat:
        raise InputError("The pictures' patches are all alike.", "Choose no foreground.")
    together = np.concatenate([grid.ravel() for grid in values])
    low, high = float(together.min()), float(together.max())
    threshold = _otsu(together) if rule.threshold is None else low + rule.threshold * (high - low)
    over = tuple(grid > threshold for grid in values)
    above = _rarer_on_border(over)
    masks = over if above else tuple(~mask for mask in over)
    return masks, (threshold - low) / (high - low), above


def _otsu(values: NDArray[Any]) -> float:
    from skimage.filters import threshold_otsu

    return float(threshold_otsu(values))


def _rarer_on_border(masks: Sequence[Mask]) -> bool:
    """Say whether what the masks hold is not more frequent on the borders than it is everywhere."""
    border = np.concatenate([np.concatenate([m[0], m[-1], m[1:-1, 0], m[1:-1, -1]]) for m in masks])
    return bool(border.mean() <= np.concatenate([mask.ravel() for mask in masks]).mean())
