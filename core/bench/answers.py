"""What a model made of one picture, one value a kind of model. Free of torch."""

from dataclasses import dataclass
from typing import Any, Union

import numpy as np
from numpy.typing import NDArray

Answer = Union["Classes", "Features", "Outline", "Said"]
TOP = 5
"""How many classes are named."""


@dataclass(frozen=True, slots=True)
class Classes:
    """The likeliest classes, the likeliest first."""

    names: tuple[str, ...]
    scores: tuple[float, ...]
    """Softmax over all classes, 0-1."""

    def __str__(self) -> str:
        found = zip(self.names, self.scores, strict=True)
        return ", ".join(f"{name} {score:.1%}" for name, score in found)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"kind": "classes", "names": list(self.names), "scores": list(self.scores)}


@dataclass(frozen=True, eq=False, slots=True)
class Features:
    """The features of a picture."""

    grid: tuple[int, int]
    """Rows and columns of patches."""
    vector: NDArray[np.float32]
    """D: the CLS token's, or the mean of the patches where there is none."""

    def __str__(self) -> str:
        rows, columns = self.grid
        return f"{rows} x {columns} patches, {len(self.vector)} numbers each"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values, without the features themselves."""
        return {"kind": "features", "grid": list(self.grid), "dim": len(self.vector)}


@dataclass(frozen=True, eq=False, slots=True)
class Outline:
    """The best of the masks that answer one click into the middle of the picture."""

    mask: NDArray[np.bool_]
    """H W."""
    predicted_iou: float
    """How well the model thinks that it fits, about 0-1."""
    count: int | None = None
    """Masks of the whole picture, where somebody counted them."""

    def __str__(self) -> str:
        share = f"{self.mask.mean():.1%} of the picture around its middle"
        return share if self.count is None else f"{self.count} masks; {share}"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values, without the mask's pixels."""
        return {
            "kind": "mask",
            "share": float(self.mask.mean()),
            "predicted_iou": self.predicted_iou,
            "count": self.count,
        }


@dataclass(frozen=True, slots=True)
class Said:
    """A caption."""

    text: str
    tokens: int

    def __str__(self) -> str:
        return self.text

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"kind": "text", "text": self.text, "tokens": self.tokens}
