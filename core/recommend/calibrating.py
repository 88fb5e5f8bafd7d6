"""Timing the references of a calibration, and models to see how wrong it is: a benchmark like any other."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from core.bench.options import Options
from core.bench.plan import ROUNDS, Plan
from core.bench.results import ACCURACY
from core.errors import InputError
from core.recommend.calibration import REFERENCES
from core.recommend.entries import Catalog, Entry
from core.recommend.scaling import work_of
from core.runs import RunDraft

TAG = "calibration"
"""What its runs are tagged with."""
PICTURE = "scene/1"
SECONDS = 5.0
SLOWEST_MS = 500.0
"""Published time of a model beyond which it is not worth the wait to hold it out."""


def calibration_plan(
    catalog: Catalog, check: int = 0, *, seconds: float = SECONDS, rounds: int = ROUNDS
) -> Plan:
    """Return the benchmark of the references and of `check` more models, which are held out.

    Args:
        seconds: How long each is timed once it is warm.

    Raises:
        InputError: The catalogue has not so many, or a number is out of range.
    """
    models = (*REFERENCES, *(f"random/{entry.timm}" for entry in held_out_models(catalog, check)))
    return Plan(models, (PICTURE,), (Options(seconds=seconds),), rounds=rounds)


def held_out_models(catalog: Catalog, n: int) -> tuple[Entry, ...]:
    """Return models that say how wrong a calibration is, the quickest first: spread over speeds and families.

    Raises:
        InputError: The catalogue has not so many.
    """
    known = _publishable(catalog)
    if not 0 <= n <= len(known):
        raise InputError(f"{n} models cannot be held out.", f"Choose 0 to {len(known)}.")
    taken: Counter[str] = Counter()
    chosen = []
    for at in range(n):
        some = known[at * len(known) // n : (at + 1) * len(known) // n]
        middle = len(some) // 2
        best = min(range(len(some)), key=lambda i: (taken[some[i].family], abs(i - middle)))
        taken[some[best].family] += 1
        chosen.append(some[best])
    return tuple(chosen)


def _publishable(catalog: Catalog) -> list[Entry]:
    """Return an entry of each architecture with a published time of one picture, the quickest first.

    On the processor for which most models have one, at the model's own picture size.
    """
    cpus = [device.id for device in catalog.devices.values() if device.kind == "cpu"]
    found = max((_timed_on(catalog, device) for device in cpus), key=len, default={})
    quick = [pair for pair in found.values() if pair[0] <= SLOWEST_MS]
    return [entry for _, entry in sorted(quick, key=lambda pair: (pair[0], pair[1].timm))]


def _timed_on(catalog: Catalog, device: str) -> dict[str, tuple[float, Entry]]:
    references = {name.removeprefix("random/") for name in REFERENCES}
    found: dict[str, tuple[float, Entry]] = {}
    for entry in catalog.entries.values():
        work = work_of(entry, device, entry.input_size)
        is_classifier = "classification" in entry.tasks  # others see pictures of any size
        if work is not None and is_classifier and entry.timm and entry.timm not in references:
            found.setdefault(entry.timm, (work.amount, entry))
    return found


@dataclass(frozen=True, slots=True)
class FreshRun:
    """A run that was just made, as the evidence takes it: with or without a store."""

    run_id: str
    time: datetime
    kind: str
    model_id: str
    model_revision: str
    device: str
    device_name: str
    dtype: str
    threads: int
    duration_ms: float | None
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    accuracy: bytes | None


def fresh_runs(runs: Iterable[tuple[str | None, RunDraft]]) -> tuple[FreshRun, ...]:
    """Return runs as evidence, each with its id in the store; those that failed are none."""
    now = datetime.now(UTC)
    return tuple(
        _fresh(run_id or f"run {at + 1}", now, run)
        for at, (run_id, run) in enumerate(runs)
        if run.status == "ok"
    )


def _fresh(run_id: str, now: datetime, run: RunDraft) -> FreshRun:
    where = run.environment
    return FreshRun(
        run_id,
        now,
        run.kind,
        run.model_id,
        run.model_revision,
        where.device,
        where.device_name,
        where.dtype,
        where.threads,
        run.duration_ms,
        run.parameters,
        {metric.name: metric.value for metric in run.metrics if metric.step is None},
        next((one.data for one in run.artifacts if one.name == ACCURACY), None),
    )
