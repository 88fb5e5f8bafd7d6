"""What the runs of this store say of models: how long they take, how right they are, what they need and cost.

A time belongs to an architecture (`speed_key`): other weights take the same. An accuracy belongs to weights
and to the pictures that it was measured on, and never to another model.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from core.bench.options import Options
from core.recommend.entries import Axis
from core.recommend.figures import Figure
from core.recommend.pooling import mean_figure, pooled, pooled_figure
from core.recommend.readings import (
    BENCHMARK,
    PAGES,
    QUESTIONS,
    SCORES,
    Condition,
    EvidenceRun,
    Reading,
    Scored,
    accuracies,
    axis_of,
    cost,
    data_set,
    is_random,
    memory,
    options_of,
    score,
    speed_key,
    tasks,
    times,
)

__all__ = ["KINDS", "Condition", "EvidenceRun", "OwnEvidence", "OwnSpeed", "gather", "speed_key"]

KINDS = (BENCHMARK, QUESTIONS, *PAGES)
"""Kinds of run that say something about a model."""
NOT_A_BENCHMARK = "a page's whole run, not a benchmark"

Known = Mapping[str, Options | None]
"""Run to how its model was measured."""
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class OwnSpeed:
    """How long a model takes under one condition."""

    condition: Condition
    latency: Figure
    """ms for the whole batch, from pictures to answers."""
    is_benchmark: bool
    usual_threads: bool
    """Whether PyTorch chose the number of threads in any of the runs."""
    network_ms: float | None = None
    """The network's part of it, where that is known."""


@dataclass(frozen=True, slots=True)
class OwnEvidence:
    """What is known from own runs."""

    axes: Mapping[str, Axis] = field(default_factory=dict)
    """On which something was measured here, by id: `here:scenes-top1`, `here:<digest of a set>-top1` …"""
    models: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Models that ran, newest first, but for random ones; each with the catalogue's tasks it is for."""
    _speeds: Mapping[str, tuple[OwnSpeed, ...]] = field(default_factory=dict)
    _accuracies: Mapping[str, Mapping[str, Figure]] = field(default_factory=dict)
    _memory: Mapping[str, Figure] = field(default_factory=dict)
    _costs: Mapping[str, Figure] = field(default_factory=dict)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of which there are times."""
        return tuple(self._speeds)

    def speeds(self, key: str) -> tuple[OwnSpeed, ...]:
        """Return the times of a `speed_key`: as usual first, then the newest."""
        return self._speeds.get(key, ())

    def accuracies(self, model_id: str) -> Mapping[str, Figure]:
        """Return the accuracies of a model by axis."""
        return self._accuracies.get(model_id, {})

    def memory(self, key: str) -> Figure | None:
        """Return what a model takes beyond Python and its libraries, in MB (10^6 bytes)."""
        return self._memory.get(key)

    def cost(self, model_id: str) -> Figure | None:
        """Return what 1,000 pictures cost in US dollars, one question each."""
        return self._costs.get(model_id)


def gather(runs: Iterable[EvidenceRun]) -> OwnEvidence:
    """Return what runs say. Their order does not matter, and one that is given twice counts once."""
    once = {run.run_id: run for run in runs}
    ordered = sorted(once.values(), key=lambda run: (run.time, run.run_id), reverse=True)
    options = options_of(ordered)
    scored = {model: _accuracies(found) for model, found in _scored(ordered, options).items()}
    axes = {one.axis.id: one.axis for found in scored.values() for one, _ in found}
    return OwnEvidence(
        dict(sorted(axes.items())),
        _models(ordered),
        _speeds(ordered, options),
        {model: {one.axis.id: figure for one, figure in found} for model, found in scored.items()},
        _memories(ordered, options),
        _costs(ordered),
    )


def _models(runs: Sequence[EvidenceRun]) -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {}
    for run in runs:
        if run.kind in (BENCHMARK, *PAGES) and not is_random(run.model_id):
            found.setdefault(run.model_id, {}).update(dict.fromkeys(tasks(run)))
    return {model: tuple(some) for model, some in found.items()}


def _speeds(runs: Sequence[EvidenceRun], options: Known) -> dict[str, tuple[OwnSpeed, ...]]:
    found: dict[str, dict[tuple[bool, Condition], list[Reading]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        for condition, reading in times(run, options[run.run_id]):
            found[speed_key(run.model_id)][run.kind == BENCHMARK, condition].append(reading)
    return {key: _of_key(some, options) for key, some in found.items()}


def _of_key(found: Mapping[tuple[bool, Condition], list[Reading]], options: Known) -> tuple[OwnSpeed, ...]:
    """Return the times of a model; a page's runs only of devices where it was not benchmarked."""
    benchmarked = {condition.device_name for is_benchmark, condition in found if is_benchmark}
    speeds = [
        _speed(condition, readings, is_benchmark, options)
        for (is_benchmark, condition), readings in found.items()
        if is_benchmark or condition.device_name not in benchmarked
    ]
    newest = sorted(speeds, key=lambda one: (one.latency.date, one.latency.source), reverse=True)
    return tuple(
        sorted(newest, key=lambda one: (not one.is_benchmark, one.condition.compiled, not one.usual_threads))
    )


def _speed(condition: Condition, readings: Sequence[Reading], is_benchmark: bool, options: Known) -> OwnSpeed:
    kept = pooled(readings)
    about = str(condition) if is_benchmark else f"{condition}, {NOT_A_BENCHMARK}"
    networks = sorted(one.network for one in kept.readings if one.network is not None)
    chosen = [options[one.run.run_id] for one in kept.readings] if is_benchmark else []
    return OwnSpeed(
        condition,
        pooled_figure(kept, "ms", about, condition.device_name),
        is_benchmark,
        not is_benchmark or any(one is not None and one.threads is None for one in chosen),
        _middle(networks) if len(networks) == len(kept.readings) else None,
    )


def _middle(values: Sequence[float]) -> float:
    half = len(values) // 2
    return values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2


def _memories(runs: Sequence[EvidenceRun], options: Known) -> dict[str, Figure]:
    """Return what each model takes, as most recently measured: on that device, in that precision and size."""
    pairs = ((speed_key(run.model_id), memory(run, options[run.run_id])) for run in runs)
    found = _grouped(
        ((key, reading) for key, reading in pairs if reading is not None),
        lambda reading: _memory_condition(reading.run, options[reading.run.run_id]),
    )
    return {
        key: pooled_figure(pooled(readings), "MB", about, readings[0].run.device_name)
        for key, (about, readings) in found.items()
    }


def _memory_condition(run: EvidenceRun, options: Options | None) -> str:
    where = "on the GPU" if run.device.startswith("cuda") else "beyond Python and its libraries"
    precision = "" if options is None else options.precision
    size = f"{options.size} px" if options is not None and options.size else ""
    return ", ".join(filter(None, (precision, "batch 1", size, where)))


def _grouped(pairs: Iterable[tuple[str, V]], condition: Callable[[V], K]) -> dict[str, tuple[K, list[V]]]:
    """Return for each key the values of the condition that its first value has."""
    found: dict[str, tuple[K, list[V]]] = {}
    for key, value in pairs:
        first, some = found.setdefault(key, (condition(value), []))
        if condition(value) == first:
            some.append(value)
    return found


def _costs(runs: Sequence[EvidenceRun]) -> dict[str, Figure]:
    found: dict[str, list[tuple[float, EvidenceRun]]] = defaultdict(list)
    for run in runs:
        paid = cost(run)
        if paid is not None:
            found[run.model_id].append((1000 * paid, run))
    return {model: mean_figure(some, "USD", "mean of answered questions") for model, some in found.items()}


def _scored(runs: Sequence[EvidenceRun], options: Known) -> dict[str, list[Scored]]:
    """Return the accuracies of each model's newest revision, those of benchmarks and those of questions."""
    found: dict[str, list[Scored]] = defaultdict(list)
    for run in runs:
        for one in accuracies(run, options[run.run_id]):
            found[run.model_id].append(one)
    for model, one in _answered(runs):
        found[model].append(one)
    return found


def _answered(runs: Sequence[EvidenceRun]) -> list[tuple[str, Scored]]:
    """Return the mean scores of questions about data sets; of a question asked twice, the newest answer."""
    sets = {
        run.run_id: data_set(run.parameters.get("data"), run.parameters.get("digest"))
        for run in runs
        if run.kind == QUESTIONS
    }
    found: dict[tuple[str, str], dict[str, tuple[float, EvidenceRun]]] = defaultdict(dict)
    axes: dict[str, Axis] = {}
    for run in runs:
        item, judged = run.parameters.get("item"), score(run)
        data = sets.get(str(item.get("set"))) if isinstance(item, Mapping) else None
        if data is None or judged is None or not isinstance(item, Mapping):
            continue
        task, value = judged
        _, of, title, higher = SCORES[task]
        axis = axis_of(data, task, of, title, higher=higher)
        axes[axis.id] = axis
        found[run.model_id, axis.id].setdefault(str(item.get("id")), (100 * value, run))
    return [
        (model, _mean_score(axes[axis], list(answers.values()))) for (model, axis), answers in found.items()
    ]


def _mean_score(axis: Axis, answers: Sequence[tuple[float, EvidenceRun]]) -> Scored:
    figure = mean_figure(answers, "%", "")
    newest = answers[0][1]
    reading = Reading(figure.value, figure.low, figure.high, figure.n, newest)
    return Scored(axis, reading, True, f"mean of {len(answers):,} answers")


def _accuracies(found: Sequence[Scored]) -> list[tuple[Scored, Figure]]:
    """Return one accuracy an axis: of the newest weights, run as usual, on most pictures, then the newest.

    Several runs are not put together: they may have looked at the same pictures.
    """
    best: dict[str, Scored] = {}
    for one in found:
        known = best.get(one.axis.id)
        if known is None or _rank(one, found) > _rank(known, found):
            best[one.axis.id] = one
    return [(one, _figure(one)) for one in best.values()]


def _rank(one: Scored, found: Sequence[Scored]) -> tuple[bool, bool, int]:
    newest = next(other for other in found if other.axis.id == one.axis.id)
    is_newest = one.reading.run.model_revision == newest.reading.run.model_revision
    return is_newest, one.is_usual, one.reading.n or 0


def _figure(one: Scored) -> Figure:
    reading = one.reading
    return Figure(
        reading.value,
        one.axis.unit,
        "measured",
        low=reading.low,
        high=reading.high,
        n=reading.n,
        date=reading.run.time.date(),
        source=reading.run.run_id,
        device=reading.run.device_name,
        about=", ".join(filter(None, (f"on {one.axis.benchmark}", one.about))),
    )
