"""The charts of a data-set run: what is shown is what was counted."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from core.charts.vlm_set import (
    MOST_POINTS,
    latencies_figure,
    latencies_info,
    outcomes_figure,
    outcomes_info,
    scores_figure,
    scores_info,
)


@dataclass(frozen=True)
class Part:
    model_id: str
    calls: int = 0
    outcomes: Mapping[str, int] = field(default_factory=dict)
    scores: tuple[float, ...] = ()
    latencies_ms: tuple[float, ...] = ()


def test_outcomes_are_added_over_tasks_and_answers_come_first() -> None:
    parts = [
        Part("a", 4, {"timeout": 3, "ok": 1}),
        Part("b", 4, {"ok": 4}),
        Part("a", 4, {"ok": 2, "blocked": 2}),
    ]
    info = outcomes_info(parts, {"ok": "Answered", "timeout": "No answer in time"})
    assert info.models == ["a", "b"]
    assert [outcome.title for outcome in info.outcomes] == ["Answered", "No answer in time", "blocked"]
    assert [outcome.counts for outcome in info.outcomes] == [[3, 4], [3, 0], [2, 0]]
    assert info.outcomes[0].shares == [3 / 8, 1.0]
    drawn = json.loads(outcomes_figure(info).to_json())
    assert [bar["x"] for bar in drawn["data"]] == [outcome.shares for outcome in info.outcomes]
    assert drawn["layout"]["barmode"] == "stack"


def test_scores_are_counted_in_tenths_and_one_is_inside() -> None:
    info = scores_info([Part("a", scores=(0.0, 0.3, 0.35, 1.0)), Part("b"), Part("c", scores=(0.95,))])
    assert info.labels[0] == "0–0.1"
    assert len(info.labels) == 10
    assert [bars.model_id for bars in info.models] == ["a", "c"]
    assert info.models[0].counts == [1, 0, 0, 2, 0, 0, 0, 0, 0, 1]
    assert info.models[0].shares[3] == 0.5
    assert info.models[1].counts[9] == 1


def test_error_rates_over_one_have_a_bar_of_their_own() -> None:
    info = scores_info([Part("a", scores=(0.0, 2.5, 1.0)), Part("b", scores=(0.5,))])
    assert info.labels[-1] == "over 1"
    assert [bars.counts[-1] for bars in info.models] == [1, 0]
    assert sum(info.models[0].counts) == 3


def test_right_and_wrong_are_two_bars() -> None:
    info = scores_info([Part("a", scores=(1.0, 0.0, 1.0))])
    assert info.labels == ["wrong", "right"]
    assert info.models[0].counts == [1, 2]
    drawn = json.loads(scores_figure(info, "exact").to_json())
    assert drawn["data"][0]["y"] == [pytest.approx(1 / 3), pytest.approx(2 / 3)]
    assert drawn["layout"]["xaxis"]["title"]["text"] == "exact"


def test_latencies_are_sorted_over_tasks() -> None:
    info = latencies_info([Part("a", latencies_ms=(30.0, 10.0)), Part("a", latencies_ms=(20.0, 40.0))])
    (line,) = info.models
    assert (line.ms, line.shares, line.n) == ([10.0, 20.0, 30.0, 40.0], [0.25, 0.5, 0.75, 1.0], 4)
    drawn = json.loads(latencies_figure(info).to_json())
    assert drawn["data"][0]["x"] == line.ms
    assert drawn["layout"]["xaxis"]["type"] == "log"


def test_long_lines_are_thinned_and_keep_both_ends() -> None:
    (line,) = latencies_info([Part("a", latencies_ms=tuple(float(n) for n in range(1, 10_001)))]).models
    assert len(line.ms) == MOST_POINTS
    assert (line.ms[0], line.ms[-1], line.shares[-1], line.n) == (1.0, 10_000.0, 1.0, 10_000)


def test_models_of_one_colour_are_told_apart() -> None:
    models = [Part(f"openai/m{n}", latencies_ms=(1.0, 2.0)) for n in range(9)]  # more than there are colours
    traces = latencies_figure(latencies_info(models)).data
    assert len({(trace.line.color, trace.line.dash) for trace in traces}) == 9


def test_nothing_gives_empty_charts() -> None:
    assert outcomes_figure(outcomes_info([], {})).data == ()
    assert scores_figure(scores_info([Part("a")]), "").data == ()
    assert latencies_figure(latencies_info([Part("a")])).data == ()
