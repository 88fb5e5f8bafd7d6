"""What a vision transformer says about each part of a picture: plain values, without torch."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.preprocess import Frame

Facet = Literal["token", "key", "query", "value"]
"""What is read in a layer.

`token`: what leaves the layer, after the model's last norm, as with `norm=True` in DINOv2's
    `get_intermediate_layers`; for the last layer that is transformers' `last_hidden_state`. Where a model
    norms only what it pooled, no norm follows.
`key`, `query`, `value`: what the layer's attention projects its tokens to, heads concatenated, biases
    included, before rotary positions and before norms of queries and keys (Amir et al. 2021, section 3).
"""
FACETS: tuple[Facet, ...] = get_args(Facet)

MAX_SIZE = 4096
"""Largest shorter side of the model's input, in pixels."""


@dataclass(frozen=True, slots=True)
class FeatureOptions:
    """Which features of a picture.

    Raises:
        InputError: A value cannot be used, whichever the model.
    """

    layer: int = -1
    """Which block, from 0; a negative one counts from the end."""
    facet: Facet = "token"
    stride: int | None = None
    """Pixels of the model's input between the centres of neighbouring patches; None is the side of a patch,
    so that patches do not overlap."""
    size: int | None = None
    """Shorter side of the model's input in pixels, rounded to whole patches; None is the model's own."""

    def __post_init__(self) -> None:
        if self.facet not in FACETS:
            raise InputError(f"There is no facet {self.facet!r}.", f"Choose one of {', '.join(FACETS)}.")
        if self.stride is not None and self.stride < 1:
            raise InputError(f"The stride is {self.stride}.", "Give 1 pixel or more.")
        if self.size is not None and not 1 <= self.size <= MAX_SIZE:
            raise InputError(f"The size is {self.size}.", f"Give 1 to {MAX_SIZE} pixels.")

    def as_json(self) -> dict[str, Any]:
        """Return the options as JSON values, by name: `FeatureOptions(**as_json())` are the same again."""
        return asdict(self)


@dataclass(frozen=True, eq=False, slots=True)
class ImageFeatures:
    """The features of one picture by one model.

    Raises:
        ValueError: Shapes or dtypes do not fit each other.
    """

    patches: NDArray[np.float16]
    """rows columns D, row by row from the top left; not normalised."""
    cls: NDArray[np.float16] | None
    """D: the CLS token's; None for a model without one."""
    frame: Frame
    """Where the patches lie in the picture. With overlapping patches its cells have the side `stride` and lie
    around the centres of the patches, so they do not reach the edge of the picture."""
    sha256: str
    """Digest of the picture."""
    model_id: str
    revision: str
    options: FeatureOptions

    def __post_init__(self) -> None:
        if self.patches.ndim != 3 or self.patches.shape[:2] != self.frame.grid:
            raise ValueError(f"patches of shape {self.patches.shape}, expected {(*self.frame.grid, 'D')}")
        if self.cls is not None and self.cls.shape != self.patches.shape[2:]:
            raise ValueError(f"cls of shape {self.cls.shape}, expected {self.patches.shape[2:]}")
        if self.patches.dtype != np.float16 or (self.cls is not None and self.cls.dtype != np.float16):
            raise ValueError("features are kept as float16")
        for values in (self.patches, self.cls):  # shared by everybody who asks for them
            if values is not None:
                values.setflags(write=False)

    @property
    def dim(self) -> int:
        """D: how many numbers describe a patch."""
        return int(self.patches.shape[2])

    @property
    def mean(self) -> NDArray[np.float32]:
        """The mean of the patches, D: the picture as a whole where there is no CLS token."""
        mean: NDArray[np.float32] = self.patches.mean(axis=(0, 1), dtype=np.float32)
        return mean

    @property
    def memory_mb(self) -> float:
        """What the values take, in MB (10^6 bytes)."""
        return (self.patches.nbytes + (0 if self.cls is None else self.cls.nbytes)) / 1e6
