"""The answer to a request: what fits, in order and why; what does not, and by what; what to measure next."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import InputError
from core.recommend.candidates import Candidate, Facts, candidate_of, device_of, device_title
from core.recommend.checks import Check, checks
from core.recommend.entries import Axis, Choice, Entry
from core.recommend.measuring import NextRun, next_runs
from core.recommend.misses import Excluded, NearestMiss, nearest_miss
from core.recommend.own import own_axes, own_entries
from core.recommend.rank import front, is_tied, ordered, why
from core.recommend.request import HERE, SPEED_MS, Request


@dataclass(frozen=True, slots=True)
class Recommended:
    """A model that fits, at its place."""

    candidate: Candidate
    why: str
    checks: tuple[Check, ...]
    tied: bool
    """Whether its accuracy is not told apart from that of the model before it."""

    @property
    def certain(self) -> bool:
        """Whether it fits at both ends of every interval."""
        return all(one.certain for one in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "model": self.candidate.entry.id,
            "title": self.candidate.entry.title,
            "why": self.why,
            "certain": self.certain,
            "tied_with_previous": self.tied,
            "images_per_s": self.candidate.images_per_s,
            "batch": self.candidate.batch,
            "figures": {name: one and one.to_json() for name, one in self.candidate.figures().items()},
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything that a recommendation says."""

    request: Request
    axis: Axis | None
    axes: tuple[Axis, ...]
    """What accuracy could mean for the task, published or measured here."""
    device: str
    """Id of the device whose speeds count; empty where none is known."""
    device_title: str
    recommended: tuple[Recommended, ...]
    excluded: tuple[Excluded, ...]
    front: tuple[str, ...]
    """Ids on the Pareto front of what fits, the fastest first."""
    nearest_miss: NearestMiss | None
    next_runs: tuple[NextRun, ...]
    quick: tuple[Choice, ...]
    """The quick answer to the task at the speed asked for."""
    calibration: str
    """How published speeds were scaled to this machine, in a sentence or two; empty where they were not."""
    catalog: str
    """Digest of the catalogue."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "request": self.request.to_json(),
            "axis": self.axis
            and {"id": self.axis.id, "title": self.axis.title, "protocol": self.axis.protocol},
            "device": {"id": self.device, "title": self.device_title},
            "recommendations": [one.to_json() for one in self.recommended],
            "excluded": [one.to_json() for one in self.excluded],
            "front": list(self.front),
            "nearest_miss": self.nearest_miss and self.nearest_miss.to_json(),
            "measure_next": [one.to_json() for one in self.next_runs],
            "quick": [{"model": one.model, "why": one.why} for one in self.quick],
            "calibration": self.calibration,
            "catalog": self.catalog,
        }


def recommend(
    request: Request, facts: Facts, runnable: Callable[[Entry], str | None] = lambda entry: None
) -> Answer:
    """Return which models fit a request, in order, and everything around it.

    Args:
        runnable: The registry's id under which this machine can measure a model; None where it cannot.

    Raises:
        InputError: The axis or the device is not known, or an accuracy is asked for that no axis can have.
    """
    axes = (*facts.catalog.axes_of(request.task), *own_axes(request.task, facts))
    axis = _axis(request, axes)
    _check_device(request, facts)
    entries = (*facts.catalog.of(request.task), *own_entries(request.task, facts))
    device = device_of(request, facts.catalog)
    candidates = [candidate_of(entry, request, axis, device, facts) for entry in entries]
    ranked = _ranked(candidates, request, axis)
    recommended = _recommended(ranked, request, axis)
    excluded = _excluded(candidates, request, axis)
    return Answer(
        request,
        axis,
        axes,
        device,
        device_title(device, facts),
        recommended,
        excluded,
        tuple(one.entry.id for one in front(ranked, axis)),
        nearest_miss(excluded),
        _next(candidates, request, axis, runnable) if device == HERE else (),
        quick_answer(request, facts),
        "" if facts.calibration is None or device != HERE else facts.calibration.sentence,
        facts.catalog.digest,
    )


def quick_answer(request: Request, facts: Facts) -> tuple[Choice, ...]:
    """Return what people take for a task at a speed: the word whose time is the longest that is allowed."""
    limit = SPEED_MS["normal"] if request.limit_ms is None else request.limit_ms / request.batch
    word = next((word for word, ms in reversed(list(SPEED_MS.items())) if ms <= limit * 1.001), "real-time")
    return tuple(one for one in facts.catalog.choices if (one.task, one.speed) == (request.task, word))


def _axis(request: Request, axes: Sequence[Axis]) -> Axis | None:
    if request.axis is None:
        return _within(request, axes[0]) if axes else None
    for axis in axes:
        if axis.id == request.axis:
            return _within(request, axis)
    known = ", ".join(axis.id for axis in axes) or "none"
    raise InputError(f"There is no axis {request.axis!r} for {request.task}.", f"Choose from: {known}.")


def _within(request: Request, axis: Axis) -> Axis:
    asked = request.min_accuracy
    if asked is not None and axis.unit == "%" and not 0 <= asked <= 100:
        raise InputError(f"{axis.title} cannot be {asked:g} %.", "Give 0 to 100.")
    return axis


def _check_device(request: Request, facts: Facts) -> None:
    known = (HERE, *facts.catalog.devices)
    if request.device is not None and request.device not in known:
        raise InputError(f"There is no device {request.device!r}.", f"Choose one of {', '.join(known)}.")


def _fits(candidate: Candidate, request: Request, axis: Axis | None) -> bool:
    return all(one.fits for one in checks(candidate, request, axis))


def _ranked(candidates: Sequence[Candidate], request: Request, axis: Axis | None) -> tuple[Candidate, ...]:
    return ordered([one for one in candidates if _fits(one, request, axis)], axis, request.prefer)


def _recommended(ranked: Sequence[Candidate], request: Request, axis: Axis | None) -> tuple[Recommended, ...]:
    best = {one.entry.id for one in front(ranked, axis)}
    return tuple(
        Recommended(
            one,
            why(at, one, ranked, axis, one.entry.id in best),
            checks(one, request, axis),
            at > 0 and is_tied(one.accuracy, ranked[at - 1].accuracy),
        )
        for at, one in enumerate(ranked)
    )


def _excluded(candidates: Sequence[Candidate], request: Request, axis: Axis | None) -> tuple[Excluded, ...]:
    found = [
        Excluded(one, missed)
        for one in candidates
        if (missed := tuple(check for check in checks(one, request, axis) if not check.fits))
    ]
    return tuple(sorted(found, key=lambda one: (one.unknown, one.constraint, one.candidate.entry.id)))


def _next(
    candidates: Sequence[Candidate],
    request: Request,
    axis: Axis | None,
    runnable: Callable[[Entry], str | None],
) -> tuple[NextRun, ...]:
    fits = {id(one): _fits(one, request, axis) for one in candidates}  # a changed one is a new object

    def order(some: Sequence[Candidate]) -> tuple[str, ...]:
        known = [one for one in some if (fits[id(one)] if id(one) in fits else _fits(one, request, axis))]
        return tuple(one.entry.id for one in ordered(known, axis, request.prefer))

    return next_runs(candidates, order, lambda one: runnable(one.entry))
