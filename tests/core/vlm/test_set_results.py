"""Results of a data-set run, by hand-made rows with values worked out by hand."""

import numpy as np
import pytest

from core.vlm.setrun.results import Show, differences, lines, read_rows, summaries
from db.records import CallResult


def row(position: int, model: str, item: str, score: float | None, **more: float | str) -> CallResult:
    """Return a call about a question; without a score it failed."""
    metrics = {"total_ms": 100.0 + position, "cost_usd": 0.01} | {
        name: value for name, value in more.items() if isinstance(value, float)
    }
    if score is None:
        outcome = str(more.get("outcome", "blocked"))
        return CallResult(position, model, "question", item, f"r{position}", "failed", outcome, {})
    metrics["score_exact"] = score
    return CallResult(position, model, "question", item, f"r{position}", "ok", "", metrics)


ROWS = [
    row(0, "a", "x", 1.0),
    row(1, "b", "x", 1.0),
    row(2, "a", "y", 1.0),
    row(3, "b", "y", 0.0),
    row(4, "a", "z", 1.0),
    row(5, "b", "z", None),
]


def test_filters() -> None:
    assert [line.item for line in lines(ROWS)] == ["x", "y", "z"]
    assert [line.item for line in lines(ROWS, Show.FAILURES)] == ["z"]
    assert [line.item for line in lines(ROWS, Show.DIFFERENT)] == ["y", "z"]
    assert set(lines(ROWS)[0].cells) == {"a", "b"}


def test_a_failure_is_counted_and_is_no_score() -> None:
    first, second = summaries(ROWS)
    assert (first.calls, first.right, first.mean_score, first.reliability) == (3, 3, 1.0, 1.0)
    assert first.usd_per_right == pytest.approx(0.01)
    assert second.outcomes == {"ok": 2, "blocked": 1}
    assert (second.scores, second.right, second.reliability) == ((1.0, 0.0), 1, pytest.approx(2 / 3))
    assert second.cost_usd is None  # what the blocked one cost is not known
    assert second.usd_per_right is None


def test_percentiles_wait_for_enough_answers() -> None:
    rows = [row(position, "a", str(position), 1.0) for position in range(64)]
    (summary,) = summaries(rows)
    assert summary.latency_ms(50) == pytest.approx(np.percentile(np.arange(100, 164), 50))
    assert summary.latency_ms(90) is not None
    assert summary.latency_ms(99) is None
    (few,) = summaries(rows[:10])
    assert few.latency_ms(50) is None


def test_differences_are_on_what_both_answered() -> None:
    (found,) = differences(ROWS)
    assert (found.first, found.second, found.comparison.n) == ("a", "b", 2)
    assert found.comparison.mean == pytest.approx(0.5)
    many = [
        row(2 * n + at, "ab"[at], str(n), float(at == 0 or n % 4 > 0)) for n in range(200) for at in (0, 1)
    ]
    (told,) = differences(many)
    assert told.sentence.startswith("a is better than b by 25 points, between ")
    assert told.comparison.discordant is not None
    assert (told.comparison.discordant.first_only, told.comparison.discordant.second_only) == (50, 0)


def test_rows_are_read_a_page_at_a_time() -> None:
    asked: list[int] = []

    def page(after: int) -> list[CallResult]:
        asked.append(after)
        return [row for row in ROWS if row.position > after][:4]

    assert read_rows(page) == ROWS
    assert asked == [-1, 3, 5]
