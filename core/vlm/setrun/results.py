"""What a data-set run came to: tables, distributions, what a right answer costs, differences in pairs.

A failure is counted as one and never as a score of 0; scores are of answers, and two models are compared on
the questions that both answered.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from typing import Protocol, TypeVar

import numpy as np

from core.enough import ENOUGH
from core.vlm.pairs import Comparison, compare

LATENCY, FIRST_TOKEN, COST = "total_ms", "ttft_ms", "cost_usd"


@dataclass(frozen=True, slots=True)
class Main:
    """The score that a task is judged by."""

    metric: str
    """Its name among the metrics of a run."""
    higher_is_better: bool
    right: float | None
    """What a right answer has, or is better than; None where there is no right and wrong."""

    def is_right(self, score: float) -> bool:
        """Say whether an answer is right."""
        if self.right is None:
            return False
        return score >= self.right if self.higher_is_better else score <= self.right


MAIN = {
    "caption": Main("score_chrf", True, None),
    "question": Main("score_exact", True, 1.0),
    "ocr": Main("score_cer_normalised", False, 0.0),
    "objects": Main("score_f1", True, 1.0),
}
"""By task; a free prompt has none."""
METRICS = (LATENCY, FIRST_TOKEN, COST, *(main.metric for main in MAIN.values()))
"""Names of the numbers that rows must bring."""


class Row(Protocol):
    """What a call came to; `db.records.CallResult` has this shape."""

    @property
    def position(self) -> int: ...
    @property
    def model_id(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def item(self) -> str: ...
    @property
    def run_id(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def error_class(self) -> str: ...
    @property
    def metrics(self) -> Mapping[str, float]: ...


R = TypeVar("R", bound=Row)


class Show(StrEnum):
    """Which lines of the table."""

    ALL = "all"
    FAILURES = "failures"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class Line:
    """One question and what each model made of it."""

    task: str
    item: str
    cells: Mapping[str, Row]
    """By model; one that has not been asked yet is missing."""

    @property
    def has_failure(self) -> bool:
        """Whether a model gave no answer."""
        return any(row.status != "ok" for row in self.cells.values())

    @property
    def differs(self) -> bool:
        """Whether models differ in their outcome or in their score."""
        return len({(row.status, row.error_class, score_of(row)) for row in self.cells.values()}) > 1


@dataclass(frozen=True, slots=True)
class Summary:
    """One model at one task."""

    model_id: str
    task: str
    metric: str
    """Name of the task's main score; empty where it has none."""
    calls: int
    outcomes: Mapping[str, int]
    """How many calls ended how: `ok`, or the class of the failure; the most frequent first."""
    scores: tuple[float, ...]
    """Of the answers that have one, by the task's main score."""
    latencies_ms: tuple[float, ...]
    """Of the answers."""
    right: int | None
    """Right answers; None where the task has no right and wrong."""
    cost_usd: float | None
    """Of all calls, failures included; None where the cost of one is unknown."""

    @property
    def mean_score(self) -> float | None:
        """None where no answer has a score."""
        return float(np.mean(self.scores)) if self.scores else None

    @property
    def reliability(self) -> float:
        """Share of the calls that brought an answer, 0-1."""
        return self.outcomes.get("ok", 0) / self.calls

    @property
    def usd_per_right(self) -> float | None:
        """What a right answer costs; None where there is none, or a cost is unknown."""
        return self.cost_usd / self.right if self.right and self.cost_usd is not None else None

    def latency_ms(self, percentile: int) -> float | None:
        """Return a percentile of `ENOUGH`; None where there are too few answers for it."""
        if len(self.latencies_ms) < ENOUGH[percentile]:
            return None
        return float(np.percentile(self.latencies_ms, percentile))


@dataclass(frozen=True, slots=True)
class Difference:
    """Two models at one task, on the questions that both answered."""

    task: str
    first: str
    second: str
    comparison: Comparison
    sentence: str


def read_rows(page: Callable[[int], Sequence[R]]) -> list[R]:
    """Return all rows, read a page at a time.

    Args:
        page: Returns the rows behind a position; none behind the last.
    """
    rows: list[R] = []
    while found := page(rows[-1].position if rows else -1):
        rows += found
    return rows


def score_of(row: Row) -> float | None:
    """Return the main score of a call; None where it has none."""
    main = MAIN.get(row.task)
    return row.metrics.get(main.metric) if main and row.status == "ok" else None


def lines(rows: Iterable[Row], show: Show = Show.ALL) -> tuple[Line, ...]:
    """Return a line for each question, in order."""
    cells: dict[tuple[str, str], dict[str, Row]] = {}
    for row in sorted(rows, key=lambda row: row.position):
        cells.setdefault((row.task, row.item), {})[row.model_id] = row
    found = (Line(task, item, by_model) for (task, item), by_model in cells.items())
    if show is Show.FAILURES:
        return tuple(line for line in found if line.has_failure)
    return tuple(line for line in found if show is Show.ALL or line.differs)


def summaries(rows: Iterable[Row]) -> tuple[Summary, ...]:
    """Return one summary for each task and model, in the order of their first calls."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.position):
        groups[row.task, row.model_id].append(row)
    return tuple(_summary(task, model, group) for (task, model), group in groups.items())


def _summary(task: str, model: str, rows: Sequence[Row]) -> Summary:
    outcomes = Counter("ok" if row.status == "ok" else row.error_class for row in rows)
    scores = tuple(score for row in rows if (score := score_of(row)) is not None)
    main = MAIN.get(task)
    has_right = main is not None and main.right is not None and bool(scores)
    costs = [row.metrics.get(COST) for row in rows]
    known = [cost for cost in costs if cost is not None]
    return Summary(
        model,
        task,
        main.metric.removeprefix("score_") if main else "",
        len(rows),
        dict(outcomes.most_common()),
        scores,
        tuple(row.metrics[LATENCY] for row in rows if row.status == "ok" and LATENCY in row.metrics),
        sum(main.is_right(score) for score in scores) if main and has_right else None,
        sum(known) if len(known) == len(costs) else None,
    )


def differences(rows: Iterable[Row], *, seed: int = 0) -> tuple[Difference, ...]:
    """Compare every two models at every task on the questions that both answered and that have a score.

    Pairs without such a question are left out.
    """
    scores: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in sorted(rows, key=lambda row: row.position):
        if (score := score_of(row)) is not None:
            scores[row.task][row.model_id][row.item] = score
    found = []
    for task, models in scores.items():
        for first, second in combinations(models, 2):
            both = [item for item in models[first] if item in models[second]]
            if both:
                values = [[models[model][item] for item in both] for model in (first, second)]
                found.append(_difference(task, first, second, values, seed))
    return tuple(found)


def _difference(task: str, first: str, second: str, values: list[list[float]], seed: int) -> Difference:
    compared = compare(*values, higher_is_better=MAIN[task].higher_is_better, seed=seed)
    return Difference(task, first, second, compared, compared.sentence(first, second))
