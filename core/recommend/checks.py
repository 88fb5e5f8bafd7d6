"""What a request demands of a model, one by one: does it fit, and by how much not."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core.recommend.candidates import Candidate
from core.recommend.entries import Axis
from core.recommend.figures import Figure, ms_words
from core.recommend.request import DEPLOYMENTS, Request


@dataclass(frozen=True, slots=True)
class Check:
    """One constraint, held against one model."""

    constraint: str
    """`retired`, `latency`, `accuracy`, `memory`, `weights`, `cost`, `licence` or `access`."""
    fits: bool
    sentence: str
    """What is demanded, and what the model has."""
    unknown: bool = False
    """Whether it does not fit only because nobody knows."""
    certain: bool = True
    """Whether the figure's whole interval says the same."""
    limit: float | None = None
    value: float | None = None
    gap: float = 0.0
    """By which share of the limit it is missed; 0 where it fits or is no number."""

    @property
    def is_final(self) -> bool:
        """Whether no other request would have it fit."""
        return self.constraint == "retired"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "constraint": self.constraint,
            "sentence": self.sentence,
            "unknown": self.unknown,
            "limit": self.limit,
            "value": self.value,
        }


def checks(candidate: Candidate, request: Request, axis: Axis | None) -> tuple[Check, ...]:
    """Return every constraint of a request, held against a model."""
    return tuple(
        one
        for one in (
            _retired(candidate),
            _licence(candidate, request),
            _access(candidate, request),
            _latency(candidate, request),
            _accuracy(candidate, request, axis),
            *_sizes(candidate, request),
            _cost(candidate, request),
        )
        if one is not None
    )


def _retired(candidate: Candidate) -> Check | None:
    day = candidate.entry.retired
    return (
        None if day is None else Check("retired", False, f"it can no longer be had since {day.isoformat()}")
    )


def _licence(candidate: Candidate, request: Request) -> Check | None:
    if not request.commercial:
        return None
    entry = candidate.entry
    if entry.commercial is None:
        return Check(
            "licence", False, f"whether {entry.licence} allows commercial use is unclear", unknown=True
        )
    allowed = "allows" if entry.commercial else "does not allow"
    return Check("licence", entry.commercial, f"{entry.licence} {allowed} commercial use")


def _access(candidate: Candidate, request: Request) -> Check | None:
    access, where = candidate.entry.access, DEPLOYMENTS[request.deployment]
    if request.access != "any":
        wanted = {"weights": "weights that run offline", "api": "a provider's API"}
        return Check(
            "access",
            access == request.access,
            f"it is {wanted[access]}, and {wanted[request.access]} is asked for",
        )
    if not where.apis:
        return Check("access", access == "weights", f"an API does not run on the deployment {where.title}")
    return None


def _latency(candidate: Candidate, request: Request) -> Check | None:
    limit = request.limit_of(candidate.batch)
    if limit is None:
        return None
    return _at_most("latency", "its latency", candidate.latency, limit, ms_words)


def _accuracy(candidate: Candidate, request: Request, axis: Axis | None) -> Check | None:
    if request.min_accuracy is None or axis is None:
        return None
    if not axis.higher_is_better:
        return _at_most(
            "accuracy", axis.title, candidate.accuracy, request.min_accuracy, lambda v: f"{v:g}{axis.unit}"
        )
    found, limit = candidate.accuracy, request.min_accuracy
    if found is None:
        return Check("accuracy", False, f"nobody published its {axis.title}", unknown=True, limit=limit)
    unit = f" {axis.unit}" if axis.unit else ""
    fits = found.value >= limit
    return Check(
        "accuracy",
        fits,
        f"its {axis.title} is {found.value:.4g}{unit}, and at least {limit:g}{unit} is asked for",
        certain=(found.least >= limit) if fits else (found.most < limit),
        limit=limit,
        value=found.value,
        gap=0.0 if fits else (limit - found.value) / abs(limit),
    )


def _sizes(candidate: Candidate, request: Request) -> tuple[Check | None, ...]:
    if candidate.entry.access == "api":
        return ()
    memory, weights = request.memory_limit_mb, request.weights_limit_mb
    return (
        None if memory is None else _at_most("memory", "its memory", candidate.memory, memory, _mb),
        None if weights is None else _at_most("weights", "its weights", candidate.weights, weights, _mb),
    )


def _cost(candidate: Candidate, request: Request) -> Check | None:
    if request.cost_per_1000 is None:
        return None
    words = "its cost for 1,000 pictures"
    return _at_most("cost", words, candidate.cost, request.cost_per_1000, lambda usd: f"${usd:.4g}")


def _at_most(
    constraint: str, what: str, found: Figure | None, limit: float, write: Callable[[float], str]
) -> Check:
    if found is None:
        return Check(constraint, False, f"{what} is not known", unknown=True, limit=limit)
    fits = found.value <= limit
    return Check(
        constraint,
        fits,
        f"{what} is {write(found.value)}, and at most {write(limit)} is asked for",
        certain=(found.most <= limit) if fits else (found.least > limit),
        limit=limit,
        value=found.value,
        gap=0.0 if fits else (found.value - limit) / abs(limit) if limit else 1.0,
    )


def _mb(value: float) -> str:
    return f"{value:.3g} MB" if value < 1000 else f"{value / 1000:.3g} GB"
