"""What a similarity is worth: where it lies among others."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False, slots=True)
class Background:
    """Similarities that mean nothing in particular, to hold one against.

    Raises:
        ValueError: There is none, or they are not in order.
    """

    scores: NDArray[np.float32]
    """n, ascending."""

    def __post_init__(self) -> None:
        if self.scores.ndim != 1 or not len(self.scores):
            raise ValueError(f"background of shape {self.scores.shape}, expected at least one score")
        if not (np.diff(self.scores) >= 0).all():
            raise ValueError("the background is not in ascending order")

    @classmethod
    def of(cls, scores: NDArray[Any]) -> Self:
        """Return a background of these values, whatever their shape and order."""
        return cls(np.sort(scores, axis=None).astype(np.float32))

    @property
    def n(self) -> int:
        """How many similarities it is made of."""
        return len(self.scores)

    def percentile(self, score: float) -> float:
        """Return the share of the background below `score`, in percent; of what equals it, half counts."""
        value = np.float32(score)  # as the background is, or rounding would take a value for a smaller one
        below, through = (int(np.searchsorted(self.scores, value, side)) for side in ("left", "right"))
        return 50.0 * (below + through) / self.n
