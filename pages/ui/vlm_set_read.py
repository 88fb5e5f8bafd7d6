"""The results of a data-set run, read once for each moment, and single answers as they are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.vlm.providers import LOCAL
from core.vlm.setrun.plan import provider_of
from core.vlm.setrun.results import (
    MAIN,
    METRICS,
    Difference,
    Line,
    Summary,
    differences,
    read_rows,
    score_of,
    summaries,
)
from db.errors import StoreError
from db.records import CallResult, RunRecord
from pages.ui import state
from pages.ui.session import store, visitor
from pages.ui.vlm_set_progress import counts_of
from pages.ui.vlm_state import Shown

if TYPE_CHECKING:
    from core.vlm.setrun.results import Row
    from db import Store

ANSWER, PARTIAL = "answer.txt", "partial.txt"
METRIC_TITLES = {"chrf": "chrF", "exact": "Exact match", "cer_normalised": "CER", "f1": "F1"}
"""Main scores by the words that people call them."""


@dataclass(eq=False)
class Read:
    """What a run had come to at one moment."""

    key: tuple[str, str, int]
    """Run, its status, and how many calls were done."""
    rows: Sequence[CallResult]
    summaries: tuple[Summary, ...]
    differences: tuple[Difference, ...]
    is_loopback: bool
    """Whether the loopback test server gave answers."""
    cider: Mapping[str, tuple[float, int]] | None = field(default=None)
    """CIDEr-D and captions by model, once it is worked out."""


def read(run: RunRecord) -> Read:
    """Return the results as they are now."""
    key = (run.id, run.status, counts_of(run.id)["done"])
    held = state.VLM_SET_READ.get()
    if held is None or held.key != key:
        owner = visitor()
        rows = read_rows(lambda after: store().set_results(run.id, owner, metrics=METRICS, after=after))
        found = Read(key, rows, summaries(rows), differences(rows), _is_loopback(rows))
        held = state.VLM_SET_READ.set(found)
    return held


def _is_loopback(rows: Sequence[CallResult]) -> bool:
    """Look at the first and the last answer of each remote model: sittings may have differed."""
    ends: dict[str, list[CallResult]] = {}
    for row in rows:
        if provider_of(row.model_id) not in LOCAL:
            ends.setdefault(row.model_id, []).append(row)
    seen = [row for of_one in ends.values() for row in (of_one[0], of_one[-1])]
    shown = (stored(row, store(), visitor()) for row in seen)
    return any(one is not None and one.is_loopback for one in shown)


def stored(row: Row, sink: Store, owner: str) -> Shown | None:
    """Return the run of a call with its text; None where it was deleted. For any thread."""
    with suppress(StoreError):
        run = sink.run(row.run_id, owner)
        name = next((file.name for file in run.artifacts if file.name in (ANSWER, PARTIAL)), "")
        text = sink.artifact(run.id, name, owner).decode(errors="replace") if name else ""
        return Shown(run, text)
    return None


def references_of(line: Line, sink: Store, owner: str) -> tuple[str, ...]:
    """Return what is right; none where it is not known or every run of the line was deleted."""
    for row in line.cells.values():
        with suppress(StoreError):
            return tuple(str(one) for one in sink.run(row.run_id, owner).parameters.get("references") or ())
    return ()


def score_words(row: Row) -> str:
    """Return the score of a call: `Right`, `Wrong`, `F1 0.67`; empty where it has none."""
    score, main = score_of(row), MAIN.get(row.task)
    if score is None or main is None:
        return ""
    title = metric_title(main.metric.removeprefix("score_"))
    if row.task == "question":
        return "Right" if main.is_right(score) else "Wrong"
    return f"{title} {score:.2f}"


def metric_title(metric: str) -> str:
    """Return what people call a main score."""
    return METRIC_TITLES.get(metric, metric)
