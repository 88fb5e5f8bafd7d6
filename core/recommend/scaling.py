"""Proportions between what was published of models and what was measured here, and how wrong they are.

`Scale.factor` is how many ms this machine takes for each published one, or for each unit of work. It comes
from a few reference models; its error is measured on models that it was not made from.
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from core.recommend.entries import CATALOG, Entry

WORK: Mapping[str, str] = {
    "macs-activations": "multiply-adds and activations",
    "macs": "multiply-adds alone",
}
"""What stands for a time that nobody published, the better first."""
TEXT_TASKS = frozenset({"captioning", "vqa", "ocr"})
"""Models that write call their network again for each word, so that its multiply-adds say little."""
ENOUGH_HELD_OUT = 8
"""Models from which an error is worth more than the one that comes with the app."""
CONTRADICTION = 3.0
"""A factor between references beyond which one of them must be wrong."""
FEW = 3
"""Models, of which each moves the factor; more of them always differ by more."""
ONE_MODEL = 1.5
"""By which factor an estimate may be further off that rests on a single model."""
SHARE = 0.95


class Work(NamedTuple):
    """What stands for a model's time."""

    amount: float
    """Published ms, or units of work."""
    input_size: int


class Timed(NamedTuple):
    """A model that was timed here."""

    model: str
    """Architecture of timm."""
    input_size: int
    whole_ms: float
    """From picture to answer."""
    network_ms: float
    """The network alone, where that is known."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A model that was estimated, and measured."""

    model: str
    amount: float
    """What was published: ms, or units of work."""
    predicted_ms: float
    measured_ms: float

    @property
    def error(self) -> float:
        """By which share of the measured time the prediction is off: above 0 where it is too long."""
        return self.predicted_ms / self.measured_ms - 1


@dataclass(frozen=True, slots=True)
class Error:
    """How wrong estimates are.

    Raises:
        ValueError: A number is impossible.
    """

    median_percent: float
    """Middle of the absolute errors, in % of the measured time."""
    factor_95: float
    """95 % of the estimates are off by at most this factor."""
    rank_correlation: float
    """Spearman's, between estimated and measured."""
    n: int
    device: str
    date: date
    is_own: bool = True
    """Whether it was measured on this machine; otherwise it came with the app."""

    def __post_init__(self) -> None:
        numbers = self.median_percent >= 0 and 1 <= self.factor_95 < math.inf and self.n >= 1
        if not numbers or not -1 <= self.rank_correlation <= 1:
            raise ValueError(f"{self!r} is no error of an estimate")

    def __str__(self) -> str:
        where = "here" if self.is_own else f"on another machine ({self.device})"
        return (
            f"median error {self.median_percent:.0f} %, 95 % within a factor of {self.factor_95:.2f}, on "
            f"{self.n} held-out models {where}"
        )


@dataclass(frozen=True, slots=True)
class Scale:
    """How this machine's times follow from something published."""

    basis: str
    """Id of the published device, or one of `WORK`."""
    title: str
    factor: float
    spread: float
    """Factor between the models whose proportions differ most."""
    models: tuple[str, ...]
    """What it was made from."""
    error: Error
    held_out: tuple[HeldOut, ...]

    @property
    def is_work(self) -> bool:
        """Whether it rests on work and not on published times."""
        return self.basis in WORK

    @property
    def contradicts(self) -> bool:
        """Whether the few models that it was made from contradict each other."""
        return not self.is_work and len(self.models) <= FEW and self.spread > CONTRADICTION

    @property
    def off_by(self) -> float:
        """The factor by which an estimate may be wrong, at 95 %."""
        return self.error.factor_95 * (ONE_MODEL if len(self.models) == 1 else 1.0)

    @property
    def published_rank_correlation(self) -> float | None:
        """Spearman's, between what was published and what was measured; None of fewer than 3 models."""
        return correlation([one.amount for one in self.held_out], [one.measured_ms for one in self.held_out])

    @property
    def published_percent(self) -> float | None:
        """The middle absolute error in % of times taken as they were published; None where there are none."""
        if self.is_work or not self.held_out:
            return None
        return 100 * median(abs(one.amount / one.measured_ms - 1) for one in self.held_out)


def work_of(entry: Entry, basis: str, size: int | None = None) -> Work | None:
    """Return what stands for the time of a model of one picture; None where nothing was published.

    Args:
        basis: Id of a device, or one of `WORK`.
        size: Only at this picture size; None is the nearest to the model's own.
    """
    if basis in WORK:
        if entry.macs is None or entry.input_size is None or TEXT_TASKS & set(entry.tasks):
            return None
        if size not in (None, entry.input_size) or (basis != "macs" and entry.activations is None):
            return None
        macs = entry.macs / 1e9
        amount = macs if basis == "macs" else math.sqrt(macs * (entry.activations or 0) / 1e6)
        return Work(amount, entry.input_size)
    own = entry.input_size or 0
    found = [
        one
        for one in entry.speed
        if (one.device, one.batch, one.precision) == (basis, 1, "fp32") and size in (None, one.input_size)
    ]
    best = min(found, key=lambda one: abs(one.input_size - own), default=None)
    return None if best is None else Work(best.latency_ms, best.input_size)


def make_scale(
    basis: str,
    title: str,
    timed: Sequence[tuple[Timed, float]],
    references: Sequence[str],
    overhead_ms: float,
    where: tuple[str, date],
) -> Scale | None:
    """Return a scale from models that were timed, each with what stands for its time; None without any.

    The references are what it is made from. Where fewer than two of them were timed it is made from all
    models, and the error of each is that of a scale which is made without it.

    Args:
        where: This machine, and the day of the error.
    """
    named = [pair for pair in timed if pair[0].model in references]
    used = named if len(named) > 1 else list(timed)
    if not used:
        return None
    logs = [math.log(one.network_ms / amount) for one, amount in used]
    factor, spread = _centre(logs), _factor(logs)
    others = [pair for pair in timed if pair not in used]
    held_out = tuple(_held_out(one, amount, factor, overhead_ms) for one, amount in others)
    if used is not named and len(used) > 1:
        without = [_centre(logs[:at] + logs[at + 1 :]) for at in range(len(logs))]
        held_out = tuple(
            _held_out(one, amount, other, overhead_ms)
            for (one, amount), other in zip(used, without, strict=True)
        )
    own = _error(held_out, where) if len(held_out) >= ENOUGH_HELD_OUT else None
    names = tuple(one.model for one, _ in used)
    return Scale(basis, title, factor, spread, names, own or shipped_error(basis), held_out)


def _centre(logs: Sequence[float]) -> float:
    """Return the geometric mean of a few proportions, and of many the middle, which a wrong one leaves."""
    return math.exp(math.fsum(logs) / len(logs) if len(logs) <= FEW else median(logs))


def odd_one(proportions: Sequence[Sequence[tuple[Timed, float]]], references: Sequence[str]) -> str | None:
    """Return the one reference that contradicts all others, which agree; None where there is none.

    Args:
        proportions: For each published device, what was timed here with what was published.
    """
    found: list[tuple[float, str | None]] = []
    for pairs in proportions:
        logs = {
            one.model: math.log(one.network_ms / amount) for one, amount in pairs if one.model in references
        }
        if len(logs) < 3:
            continue
        middle = median(logs.values())
        odd = max(logs, key=lambda model: abs(logs[model] - middle))
        others = [log for model, log in logs.items() if model != odd]
        apart, rest = _factor(list(logs.values())), _factor(others)
        found.append((rest, odd) if apart > CONTRADICTION >= rest else (apart, None))
    return min(found, key=lambda one: one[0])[1] if found else None


def _factor(logs: Sequence[float]) -> float:
    return math.exp(max(logs) - min(logs))


def _held_out(one: Timed, amount: float, factor: float, overhead_ms: float) -> HeldOut:
    return HeldOut(one.model, amount, factor * amount + overhead_ms, one.whole_ms)


def _error(held_out: Sequence[HeldOut], where: tuple[str, date]) -> Error:
    n = len(held_out)
    logs = sorted(abs(math.log(one.predicted_ms / one.measured_ms)) for one in held_out)
    at = min(n, math.ceil(SHARE * (n + 1)))  # the next model is within the at-th at least so often
    rank = correlation([one.predicted_ms for one in held_out], [one.measured_ms for one in held_out])
    percent = 100 * median(abs(one.error) for one in held_out)
    return Error(percent, math.exp(logs[at - 1]), rank or 0.0, n, *where)


def correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation; None of fewer than 3 pairs, or where all of one side are equal."""
    if len(first) < 3 or min(first) == max(first) or min(second) == max(second):
        return None
    return float(np.clip(np.corrcoef(_ranks(first), _ranks(second))[0, 1], -1.0, 1.0))


def _ranks(values: Sequence[float]) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Return the rank of each value, the mean one of equal values."""
    ordered = np.sort(np.asarray(values, np.float64))
    below, upto = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    return (below + upto + 1) / 2


def shipped_error(basis: str) -> Error:
    """Return the error that came with the app; of an unknown device, the largest of a device."""
    errors = shipped_errors()
    if basis in errors:
        return errors[basis]
    devices = [error for name, error in errors.items() if name not in WORK]
    return max(devices, key=lambda error: error.factor_95)


@lru_cache(maxsize=1)
def shipped_errors(path: Path = CATALOG / "calibration.toml") -> Mapping[str, Error]:
    """Return the errors that come with the app, by basis.

    Raises:
        ValueError: The file is not as it should be.
    """
    rows = tomllib.loads(path.read_text(encoding="utf-8"))["error"]
    return {row.pop("basis"): Error(**row, is_own=False) for row in rows}
