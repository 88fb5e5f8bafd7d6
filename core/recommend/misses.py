"""What did not fit, by which constraint, and what would have to be relaxed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.recommend.candidates import Candidate
from core.recommend.checks import Check
from core.recommend.figures import ms_words

RELAXING = {
    "latency": "allow {value} instead of {limit}",
    "accuracy": "take an accuracy of {value} instead of {limit}",
    "memory": "give it {value} MB of memory instead of {limit} MB",
    "weights": "allow {value} MB of weights instead of {limit} MB",
    "cost": "pay ${value} for 1,000 pictures instead of ${limit}",
    "licence": "allow licences that exclude commercial use",
    "access": "allow the other way to run a model",
}
DIGITS = {"latency": 3}
"""Digits of a relaxed limit, where they are not 4."""


@dataclass(frozen=True, slots=True)
class Excluded:
    """A model that does not fit, with every constraint that it misses."""

    candidate: Candidate
    missed: tuple[Check, ...]

    @property
    def unknown(self) -> bool:
        """Whether it misses none that is known: a figure is missing."""
        return all(one.unknown for one in self.missed)

    @property
    def constraint(self) -> str:
        """The first constraint that it misses; one that is known comes first."""
        return min(self.missed, key=lambda one: one.unknown).constraint

    @property
    def sentence(self) -> str:
        """Why it is out."""
        text = "; ".join(one.sentence for one in self.missed)
        return f"{text[:1].upper()}{text[1:]}."

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "model": self.candidate.entry.id,
            "constraint": self.constraint,
            "unknown": self.unknown,
            "why": self.sentence,
            "missed": [one.to_json() for one in self.missed],
        }


@dataclass(frozen=True, slots=True)
class NearestMiss:
    """The model for which the least would have to be relaxed, and what."""

    candidate: Candidate
    relax: tuple[str, ...]
    """Each a clause, such as `allow 14 ms instead of 10 ms`."""

    @property
    def sentence(self) -> str:
        """What to do to have it fit."""
        return f"{self.candidate.entry.title} would fit: {' and '.join(self.relax)}."

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "model": self.candidate.entry.id,
            "relax": list(self.relax),
            "why": self.sentence,
            "figures": {n: f and f.to_json() for n, f in self.candidate.figures().items()},
        }


def nearest_miss(excluded: Sequence[Excluded]) -> NearestMiss | None:
    """Return the model that misses the fewest constraints, and of these the one that misses least.

    Those with a missing figure are left out, since nobody knows what they would take, and those that can no
    longer be had. A licence or a way to run counts as more than any number.
    """
    known = [one for one in excluded if not any(check.unknown or check.is_final for check in one.missed)]
    if not known:
        return None
    best = min(known, key=_distance)
    return NearestMiss(best.candidate, tuple(_relax(check) for check in best.missed))


def _distance(one: Excluded) -> tuple[int, int, float, str]:
    kinds = sum(check.value is None for check in one.missed)
    return len(one.missed), kinds, max(check.gap for check in one.missed), one.candidate.entry.id


def enough(check: Check) -> float | None:
    """Return to what a limit has to be relaxed so that the model fits; None where it is no number.

    In a few digits, rounded to where it still fits: 14.24 ms need 14.3 ms to be allowed.
    """
    if check.value is None or check.limit is None:
        return None
    sign = 1 if check.value > check.limit else -1
    return sign * rounded_up(sign * check.value, DIGITS.get(check.constraint, 4))


def rounded_up(value: float, digits: int) -> float:
    """Return the least number of so many digits that is not below another."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - digits + 1)
    return float(f"{math.ceil(round(value / unit, 9)) * unit:.12g}")


def _relax(check: Check) -> str:
    write = ms_words if check.constraint == "latency" else lambda value: f"{value:,.12g}"
    found = {"value": enough(check), "limit": check.limit}
    return RELAXING[check.constraint].format(**{n: write(v) for n, v in found.items() if v is not None})
