"""A benchmark as the store has it: the runs of its models, whichever page or command measured them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from core.bench.plan import MAX_ENTRIES, Plan, key_of
from core.bench.results import ANSWERS, KIND
from core.bench.suite import recorded_keys, tag_of
from core.errors import InputError
from core.registry import catalog
from core.vlm.safe import plain as readable
from db.errors import StoreError
from db.records import RunFilter, RunRecord
from pages.ui import state
from pages.ui.bench_models import title_of
from pages.ui.bench_words import answer_words, options_words
from pages.ui.session import live_benchmarks, store, visitor

TAG = "benchmark "
"""How the tags begin that tell benchmarks apart."""
MOST_HELD = 4


@dataclass(frozen=True, eq=False)
class Row:
    """One model with options, measured or failed. Charts take it as it is."""

    run: RunRecord
    title: str
    """Of the model."""
    words: str
    """What tells its options from the others; empty where nothing does."""
    metrics: Mapping[str, float]
    answers: Mapping[str, str] = field(default_factory=dict)
    """Picture to what the model made of it."""

    @property
    def label(self) -> str:
        """Return what it is called in charts."""
        return f"{self.title} · {self.words}" if self.words else self.title

    @property
    def model_id(self) -> str:
        """Id of the model."""
        return self.run.model_id

    @property
    def is_ok(self) -> bool:
        """Whether it was measured."""
        return self.run.status == "ok"

    @property
    def options(self) -> Mapping[str, Any]:
        """How it was run."""
        found = self.run.parameters.get("options")
        return found if isinstance(found, Mapping) else {}


@dataclass(frozen=True, eq=False)
class Bench:
    """A benchmark, as far as it is recorded."""

    id: str
    plan: Plan
    rows: tuple[Row, ...]
    """In the plan's order."""
    left: int
    """Entries of the plan that have no run yet."""
    key: tuple[str, int, str] = ("", 0, "")

    @property
    def measured(self) -> tuple[Row, ...]:
        """The rows that did not fail, the fastest first."""
        rows = [row for row in self.rows if row.is_ok]
        return tuple(sorted(rows, key=lambda row: row.metrics.get("p50_ms", float("inf"))))

    @property
    def failed(self) -> tuple[Row, ...]:
        """The rows that failed."""
        return tuple(row for row in self.rows if not row.is_ok)


def read_benchmark(benchmark_id: str, run_id: str = "") -> Bench | None:
    """Return a benchmark of this visitor as it is now; None where nothing of it can be seen.

    Args:
        run_id: One of its runs that may be seen though it is somebody else's, or has lost its tag.
    """
    owner = visitor()
    where = RunFilter(owner=owner, kinds=(KIND,), tags=(tag_of(benchmark_id),))
    key = (benchmark_id, store().count(where), run_id)
    held = state.BENCH_READ.get() or {}
    if benchmark_id in held and held[benchmark_id].key == key:
        return held[benchmark_id]
    runs = [run for run in store().export(where, limit=MAX_ENTRIES) if _is_of(run, benchmark_id)]
    if run_id and run_id not in {run.id for run in runs}:
        with suppress(StoreError):
            runs.append(store().run(run_id, owner))
    plan = _plan(benchmark_id, runs, owner)
    if plan is None:
        return None
    found = _made(benchmark_id, plan, runs, key, owner)
    state.BENCH_READ.set(dict(list({**held, benchmark_id: found}.items())[-MOST_HELD:]))
    return found


def _is_of(run: RunRecord, benchmark_id: str) -> bool:
    return run.parameters.get("benchmark") == benchmark_id


def _plan(benchmark_id: str, runs: Sequence[RunRecord], owner: str) -> Plan | None:
    """Return the plan: of the benchmark at work here, or as a run has it."""
    live = live_benchmarks().find(benchmark_id, owner)
    if live is not None:
        return live.run.plan
    with suppress(InputError):
        return next((Plan.from_json(run.parameters["plan"]) for run in runs), None)
    return None


def _made(
    benchmark_id: str, plan: Plan, runs: Sequence[RunRecord], key: tuple[str, int, str], owner: str
) -> Bench:
    order = {entry.key: at for at, entry in enumerate(plan.entries())}
    newest: dict[str, RunRecord] = {}
    for run in sorted(runs, key=lambda run: run.id):
        if isinstance(options := run.parameters.get("options"), Mapping):
            newest[key_of(run.model_id, options)] = run
    sets = [one.to_json() for one in plan.options]
    known = {spec.id: spec for spec in catalog()}
    rows = []
    for entry in sorted(newest, key=lambda entry: order.get(entry, len(order))):
        run = newest[entry]
        words = options_words(run.parameters["options"], sets)
        metrics = {one.name: one.value for one in run.metrics if one.step is None}
        rows.append(Row(run, title_of(run.model_id, known), words, metrics, _answers(run, owner)))
    done = recorded_keys([(run.model_id, run.parameters) for run in newest.values()])
    return Bench(benchmark_id, plan, _distinct(rows), len(order.keys() - done), key)


def _distinct(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Give rows whose labels are equal their ids: two models of one title are two."""
    labels = [row.label for row in rows]
    return tuple(
        row if labels.count(row.label) == 1 else replace(row, title=f"{row.title} ({readable(row.model_id)})")
        for row in rows
    )


def _answers(run: RunRecord, owner: str) -> dict[str, str]:
    if not any(file.name == ANSWERS for file in run.artifacts):
        return {}
    with suppress(StoreError, ValueError):
        raw = json.loads(store().artifact(run.id, ANSWERS, owner))
        return {str(name): answer_words(one) for name, one in raw.items()}
    return {}


def benchmark_of(run: RunRecord) -> str:
    """Return the id of the benchmark that a run is of; empty where it is of none."""
    found = run.parameters.get("benchmark")
    return found if run.kind == KIND and isinstance(found, str) else ""
