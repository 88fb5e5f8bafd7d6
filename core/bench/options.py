"""How a model is run while it is measured: plain values, without torch."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

from core.errors import InputError

Precision = Literal["fp32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
MAX_BATCH = 1024
MAX_SIDE_PX = 4096
MAX_THREADS = 1024
MAX_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Options:
    """How a model is run, and for how long.

    Raises:
        InputError: A value cannot be used, whichever the model.
    """

    batches: tuple[int, ...] = (1,)
    """Pictures in one pass, for the throughput. Times of single calls are always those of one picture."""
    precision: Precision = "fp32"
    """What weights and pictures are kept and multiplied in."""
    size: int | None = None
    """Shorter side of the model's input in pixels, rounded to whole patches; None is the model's own."""
    compiled: bool = False
    """Whether `torch.compile` rewrites the network first."""
    threads: int | None = None
    """Threads of the CPU's kernels; None leaves PyTorch's choice."""
    seconds: float = 5.0
    """How long calls are timed once the model is warm, all batch sizes and pictures together."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "batches", tuple(self.batches))  # JSON has lists
        if not self.batches or len(set(self.batches)) < len(self.batches):
            raise InputError("No batch size is given, or one twice.", "Give each size once, as in 1 4 16.")
        for batch in self.batches:
            _whole("batch size", batch, MAX_BATCH)
        if self.precision not in PRECISIONS:
            raise InputError(
                f"There is no precision {self.precision!r}.", f"Choose one of {', '.join(PRECISIONS)}."
            )
        if self.size is not None:
            _whole("input size", self.size, MAX_SIDE_PX)
        if self.threads is not None:
            _whole("number of threads", self.threads, MAX_THREADS)
        if not 0 < self.seconds <= MAX_SECONDS or not math.isfinite(self.seconds):
            raise InputError(
                f"{self.seconds} seconds cannot be measured.", f"Give above 0, up to {MAX_SECONDS:,.0f}."
            )

    def to_json(self) -> dict[str, Any]:
        """Return the options as JSON values: `from_json` makes the same of them."""
        return {**asdict(self), "batches": list(self.batches)}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """Return the options that `to_json` wrote; those that are left out are as usual.

        Raises:
            InputError: There is no such option, or a value cannot be used.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(raw) - known):
            offered = ", ".join(sorted(known))
            raise InputError(f"There is no option {unknown[0]!r}.", f"Choose from {offered}.")
        try:
            return cls(**raw)
        except TypeError as error:
            raise InputError(
                "An option has a value of the wrong kind.", "Give numbers where numbers belong."
            ) from error


def _whole(what: str, value: object, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise InputError(f"The {what} cannot be {value}.", f"Give a whole number, 1 to {most:,}.")
