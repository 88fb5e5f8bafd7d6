"""A number with where it comes from: measured here, published, or estimated.

A figure's interval is of 95 %. A published figure has the sampling error of its benchmark where that is
known, and an estimated one the error of the estimate.
"""

import datetime
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Mark = Literal["measured", "published", "estimated"]
MARKS: tuple[Mark, ...] = get_args(Mark)


@dataclass(frozen=True, slots=True)
class Figure:
    """One number.

    Raises:
        ValueError: It is not finite, or its interval does not hold it.
    """

    value: float
    unit: str
    mark: Mark
    low: float | None = None
    high: float | None = None
    n: int | None = None
    """Samples behind it, where it was measured here."""
    date: datetime.date | None = None
    """Of the newest run, or of the source."""
    source: str = ""
    """Address of a source, or ids of runs."""
    device: str = ""
    """What it ran on, as the device's maker calls it."""
    about: str = ""
    """Under which conditions, or how it was estimated: a few words."""

    def __post_init__(self) -> None:
        numbers = [one for one in (self.value, self.low, self.high) if one is not None]
        if not all(math.isfinite(one) for one in numbers):
            raise ValueError(f"{numbers} are not all finite")
        if self.mark not in MARKS:
            raise ValueError(f"the mark is {self.mark!r}, expected one of {MARKS}")
        if self.least > self.value or self.most < self.value:
            raise ValueError(f"{self.value} is not within {self.low} to {self.high}")

    @property
    def least(self) -> float:
        """The lower end of the interval; the value itself where none is known."""
        return self.value if self.low is None else self.low

    @property
    def most(self) -> float:
        """The upper end of the interval; the value itself where none is known."""
        return self.value if self.high is None else self.high

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**asdict(self), "date": self.date.isoformat() if self.date else None}


def ms_words(ms: float) -> str:
    """Return a time as people write it: `12.5 ms`, `4.67 s`."""
    return f"{ms:.3g} ms" if ms < 999.5 else f"{ms / 1000:,.3g} s"


def figure_from_json(raw: Mapping[str, Any]) -> Figure:
    """Return the figure that `to_json` wrote.

    Raises:
        ValueError: It is none.
    """
    try:
        day = raw.get("date")
        return Figure(**{**raw, "date": datetime.date.fromisoformat(day) if day else None})
    except (TypeError, AttributeError) as error:
        raise ValueError(f"this is no figure: {error}") from error
