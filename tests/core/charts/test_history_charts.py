"""The charts of the history: what is shown is what was counted, and a click leads to the runs behind it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.charts.history_calendar import calendar_figure, calendar_info, calendar_table, week_of
from core.charts.history_cost import OTHERS, cost_figure, cost_info, cost_table
from core.charts.history_failures import failures_figure, failures_info, failures_table
from core.charts.history_latency import (
    changes_table,
    latency_figure,
    latency_info,
    latency_table,
    shown_signs,
)
from core.charts.history_outcomes import outcomes_figure, outcomes_info, outcomes_table
from core.charts.history_pareto import pareto_figure, pareto_info, pareto_table
from core.charts.history_shared import MOST_MODELS, marks, name_of, shown_time, ticks
from core.charts.history_spread import spread_figure, spread_info, spread_table
from core.charts.theme import model_colour

SEOUL = ZoneInfo("Asia/Seoul")
DAY = datetime(2026, 3, 1, tzinfo=UTC)
NASTY = "hf/<b>x</b>\u202ey"


@dataclass(frozen=True)
class Timed:
    time: datetime
    model_id: str
    count: int
    median_ms: float
    p25_ms: float
    p75_ms: float
    p90_ms: float


@dataclass(frozen=True)
class Changed:
    time: datetime
    model_id: str
    what: str
    before: str
    after: str


def timed(day: int, model: str = "a", ms: float = 10.0, n: int = 3) -> Timed:
    return Timed(DAY + timedelta(days=day), model, n, ms, ms * 0.8, ms * 1.5, ms * 2)


def drawn(figure: go.Figure) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(figure.to_json())
    return found


def told(figure: go.Figure, name: str) -> list[Any]:
    """Return what the points of a trace tell when they are clicked."""
    return next(list(trace.customdata) for trace in figure.data if trace.name == name)


class TestLatency:
    def test_points_are_those_of_the_store_and_say_which_runs_they_are_of(self) -> None:
        info = latency_info([timed(0), timed(1, ms=20.0), timed(1, "b", 500.0, 9)], [], "day", SEOUL)
        assert [one.model_id for one in info.series] == ["b", "a"]  # most runs first
        figure = latency_figure(info)
        assert told(figure, "a")[1][:3] == ["a", "2026-03-02T00:00:00+00:00", "2026-03-03T00:00:00+00:00"]
        assert told(figure, "a")[1][4:] == [3, 16.0, 30.0, 40.0]
        assert latency_table(info)[2] == {
            "time": "2026-03-02",
            "model": "a",
            "runs": 3,
            "25 % within (ms)": 16.0,
            "median (ms)": 20.0,
            "75 % within (ms)": 30.0,
            "90 % within (ms)": 40.0,
        }

    def test_a_line_ends_where_something_changed_and_only_the_line_of_that_model(self) -> None:
        points = [timed(day, model) for day in range(4) for model in ("a", "b")]
        change = Changed(DAY + timedelta(days=2, hours=5), "a", "versions", "torch 1", "torch 2")
        by_model = {one.model_id: one.points for one in latency_info(points, [change], "day", UTC).series}
        assert [p and p.time.day for p in by_model["a"]] == [1, 2, None, 3, 4]
        assert None not in by_model["b"]

    def test_a_change_on_a_day_without_runs_ends_the_line_too(self) -> None:
        change = Changed(DAY + timedelta(days=3), "a", "device", "cpu", "cuda:0")
        (one,) = latency_info([timed(0), timed(5)], [change], "day", UTC).series
        assert [p and p.time.day for p in one.points] == [1, None, 6]

    def test_a_change_that_befalls_two_models_on_a_day_is_one_mark(self) -> None:
        changes = [
            Changed(DAY + timedelta(hours=1), "a", "versions", "torch 1", "torch 2"),
            Changed(DAY + timedelta(hours=3), "b", "versions", "torch 1", "torch 2"),
            Changed(DAY + timedelta(hours=4), "b", "device", "cpu", "cuda:0"),
        ]
        info = latency_info([timed(0), timed(0, "b")], changes, "day", SEOUL)
        assert [sign.models for sign in info.signs] == [["a", "b"], ["b"]]
        assert changes_table(info)[0]["time"] == "2026-03-01 10:00"  # in the viewer's zone
        marked = [one["text"] for one in drawn(latency_figure(info))["layout"]["annotations"]]
        assert marked == ["<b>1</b>", "<b>2</b>"]

    def test_marks_are_few_however_often_something_changed(self) -> None:
        changes = [
            Changed(DAY + timedelta(days=day), "a", "device", "cpu", f"cuda:{day}") for day in range(100)
        ]
        info = latency_info([timed(day) for day in range(100)], changes, "day", UTC)
        assert (len(info.signs), shown_signs(info)[-1].after) == (100, "cuda:99")
        assert len(shown_signs(info)) < 20
        assert len(latency_figure(info).data) > 0

    def test_axes_are_logarithmic_only_where_values_differ_by_orders(self) -> None:
        near = latency_figure(latency_info([timed(0), timed(1, ms=12.0)], [], "day", UTC))
        far = latency_figure(latency_info([timed(0), timed(1, ms=5000.0)], [], "day", UTC))
        assert (near.layout.yaxis.type, near.layout.yaxis.rangemode) == ("linear", "tozero")
        assert far.layout.yaxis.type == "log"
        assert "1,000" in far.layout.yaxis.ticktext

    def test_hours_are_the_viewer_s_days_are_utc(self) -> None:
        assert shown_time(DAY, "hour", SEOUL) == datetime(2026, 3, 1, 9)  # noqa: DTZ001
        assert shown_time(DAY, "day", SEOUL) == datetime(2026, 3, 1)  # noqa: DTZ001
        assert latency_figure(latency_info([timed(0)], [], "hour", SEOUL)).layout.xaxis.title.text == (
            "hour, time zone Asia/Seoul"
        )


@dataclass(frozen=True)
class Spread:
    model_id: str
    count: int
    bins: tuple[int, ...]
    min_ms: float = 1.0
    p10_ms: float = 2.0
    p25_ms: float = 3.0
    median_ms: float = 4.0
    p75_ms: float = 5.0
    p90_ms: float = 6.0
    p99_ms: float = 7.0
    max_ms: float = 8.0


class TestSpread:
    def test_each_bin_with_runs_can_be_clicked_and_tells_its_bounds(self) -> None:
        info = spread_info([1.0, 2.0, 4.0, 8.0], [Spread("a", 3, (2, 0, 1)), Spread("b", 9, (0, 9, 0))])
        assert [one.model_id for one in info.models] == ["b", "a"]
        targets = [
            t for t in spread_figure(info).data if t.customdata is not None and len(t.customdata[0]) > 1
        ]
        assert [list(row) for t in targets for row in t.customdata] == [
            ["b", 2.0, 4.0, 9],
            ["a", 1.0, 2.0, 2],
            ["a", 4.0, 8.0, 1],
        ]

    def test_the_table_has_every_quantile(self) -> None:
        (row,) = spread_table(spread_info([1.0, 8.0], [Spread("a", 3, (3,))]))
        assert list(row.values()) == ["a", 3, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]


@dataclass(frozen=True)
class Trade:
    model_id: str
    quality: float
    speed: float
    quality_error: float | None = 0.1
    quality_n: int = 5
    speed_n: int = 7


numbers = st.integers(0, 6).map(float)


class TestPareto:
    @given(st.lists(st.tuples(numbers, numbers), max_size=9), st.booleans())
    def test_the_front_is_what_a_plain_loop_finds(
        self, values: list[tuple[float, float]], higher: bool
    ) -> None:
        rows = [Trade(str(i), quality, speed) for i, (quality, speed) in enumerate(values)]
        sign = 1 if higher else -1

        def is_beaten(one: Trade) -> bool:
            return any(
                other.speed <= one.speed
                and sign * other.quality >= sign * one.quality
                and (other.speed, other.quality) != (one.speed, one.quality)
                for other in rows
            )

        info = pareto_info(rows, quality="q", higher_is_better=higher)
        assert {s.model_id for s in info.spots if s.is_best} == {r.model_id for r in rows if not is_beaten(r)}

    def test_one_run_has_no_interval_and_names_are_no_tags(self) -> None:
        info = pareto_info(
            [Trade(NASTY, 0.5, 10.0, None, 1), Trade("b", 0.4, 20.0)], quality="f1", higher_is_better=True
        )
        rows = pareto_table(info)
        assert (rows[0]["± (95 %)"], rows[0]["best trade-off"], rows[1]["best trade-off"]) == (
            None,
            True,
            False,
        )
        assert rows[1]["± (95 %)"] == pytest.approx(0.196, abs=1e-4)
        text = pareto_figure(info).to_json()
        assert "<b>x" not in text.replace(json.dumps(NASTY)[1:-1], "")
        assert pareto_figure(info).layout.xaxis.title.text == "median duration (ms), faster to the left"


@dataclass(frozen=True)
class Cost:
    time: datetime
    model_id: str
    usd: float
    priced: int


class TestCost:
    def test_what_is_drawn_adds_up_and_many_models_are_put_together(self) -> None:
        rows = [Cost(DAY + timedelta(days=day), f"m{i}", float(i), 2) for i in range(30) for day in range(2)]
        info = cost_info(rows, "day", UTC)
        assert (info.total_usd, info.priced, len(info.bars)) == (sum(r.usd for r in rows), 120, MOST_MODELS)
        assert sum(sum(one.usd) for one in info.bars) == info.total_usd
        assert (info.bars[0].model_id, info.bars[-1].model_id) == ("m29", "")
        figure = cost_figure(info)
        assert figure.data[-1].name == OTHERS
        assert told(figure, OTHERS)[0][0] == ""  # any model
        assert len(cost_table(info)) == 60


@dataclass(frozen=True)
class Ended:
    model_id: str
    outcome: str
    count: int


class TestOutcomes:
    def test_where_none_ended_nothing_is_known(self) -> None:
        (one,) = outcomes_info([Ended("a", "running", 4)]).models
        assert (one.ended, one.low, one.high) == (0, 0.0, 1.0)

    def test_shares_are_of_the_runs_that_ended(self) -> None:
        info = outcomes_info([Ended("a", "ok", 3), Ended("a", "timeout", 1), Ended("a", "running", 4)])
        (row,) = outcomes_table(info)
        assert (row["runs"], row["succeeded"], row["timeout"], row["running"]) == (8, 0.75, 1, 4)
        assert info.classes == ["ok", "timeout", "running"]

    def test_nothing_ended_is_no_share(self) -> None:
        (row,) = outcomes_table(outcomes_info([Ended("a", "running", 2)]))
        assert row["succeeded"] is None

    def test_rare_failures_are_put_together_and_no_run_is_lost(self) -> None:
        rows = [Ended("a", "ok", 50)] + [Ended("a", f"fault {i}", 20 - i) for i in range(12)]
        figure = outcomes_figure(outcomes_info(rows), {"ok": "Succeeded"})
        assert sum(trace.x[0] for trace in figure.data) == pytest.approx(1.0)
        assert told(figure, "Succeeded")[0][:3] == ["a", "ok", 50]
        assert told(figure, "other failures")[0][1] == ""


@dataclass(frozen=True)
class EndedThen:
    time: datetime
    outcome: str
    count: int


class TestFailures:
    DAY, NEXT = datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 3, 30, tzinfo=UTC)

    def test_shares_are_of_the_runs_that_ended_in_each_day(self) -> None:
        rows = [
            EndedThen(self.NEXT, "timeout", 1),
            EndedThen(self.DAY, "ok", 3),
            EndedThen(self.DAY, "blocked", 2),
            EndedThen(self.DAY, "timeout", 5),
            EndedThen(self.NEXT, "running", 7),
        ]
        info = failures_info(rows, "day", UTC)
        assert info.classes == ["timeout", "blocked"]
        first, second = failures_table(info)
        assert (first["time"], first["runs that ended"], first["share that failed"]) == (
            "2026-03-29",
            10,
            0.7,
        )
        assert (first["timeout"], first["blocked"]) == (5, 2)
        assert (second["runs that ended"], second["share that failed"], second["blocked"]) == (1, 1.0, 0)
        timeouts, blocked = failures_figure(info, {"timeout": "Too late"}).data
        assert (timeouts.name, list(timeouts.y), list(blocked.y)) == ("Too late", [0.5, 1.0], [0.2, 0.0])
        assert list(timeouts.customdata[0]) == [
            "timeout",
            *(time.isoformat() for time in (self.DAY, self.NEXT)),
            *("2026-03-29", 5, 10),
        ]

    def test_rare_classes_share_a_bar_whose_click_narrows_time_only(self) -> None:
        rows = [EndedThen(self.DAY, f"class {i}", 20 - i) for i in range(9)]
        *own, others = failures_figure(failures_info(rows, "day", UTC), {}).data
        assert [trace.name for trace in own] == [f"class {i}" for i in range(5)]
        assert (others.name, others.customdata[0][0], others.customdata[0][4]) == ("other failures", "", 54)

    def test_where_nothing_failed_there_is_no_class(self) -> None:
        info = failures_info([EndedThen(self.DAY, "ok", 3), EndedThen(self.DAY, "running", 1)], "day", UTC)
        assert info.classes == [] and [one.ended for one in info.buckets] == [3]


@dataclass(frozen=True)
class Day:
    day: date
    count: int
    failed: int


class TestCalendar:
    @given(st.dates())
    def test_a_week_begins_on_monday(self, day: date) -> None:
        first = date(day.year, 1, 1)
        mondays = sum(
            date.fromordinal(n).weekday() == 0 for n in range(first.toordinal() + 1, day.toordinal() + 1)
        )
        assert week_of(day) == mondays
        assert 0 <= week_of(day) <= 53

    def test_no_two_days_share_a_place_and_each_tells_itself(self) -> None:
        days = [Day(date(2024, 1, 1) + timedelta(days=i), i + 1, i % 2) for i in range(1_000)]
        info = calendar_info(days, "Asia/Seoul")
        assert len({(cell.week, cell.line) for cell in info.cells}) == 1_000
        assert info.years == [2026, 2025, 2024]
        last = calendar_figure(info).data[-1].customdata[-1]
        assert list(last) == ["2026-09-26", "Sat 2026-09-26", 1000, 1]
        assert calendar_table(info)[0] == {"day": "2024-01-01", "weekday": "Mon", "runs": 1, "failed": 0}

    def test_the_ends_of_the_calendar_can_be_drawn(self) -> None:
        for day in (date.min, date.max):
            assert calendar_figure(calendar_info([Day(day, 1, 0)], "UTC")).data


def test_a_model_has_its_colour_and_those_that_share_one_differ_in_the_rest() -> None:
    models = [f"m/{i}" for i in range(20)]
    found = marks(models)
    assert all(found[model].colour == model_colour(model) for model in models)
    assert len({(mark.colour, mark.dash) for mark in found.values()}) > len(
        {m.colour for m in found.values()}
    )


def test_names_are_no_markup_and_not_endless() -> None:
    assert name_of(NASTY) == "hf/&lt;b&gt;x&lt;/b&gt;[U+202E]y"
    assert len(name_of("x" * 500)) == 60


@given(st.lists(st.floats(1e-3, 1e9), min_size=1, max_size=5))
def test_ticks_go_around_the_values(values: list[float]) -> None:
    at = ticks(values)["tickvals"]
    assert at[0] <= min(values) * 1.0001
    assert at == sorted(set(at))
    assert at[-1] >= max(values) * 0.9999


EMPTY: dict[str, Callable[[], go.Figure]] = {
    "latency": lambda: latency_figure(latency_info([], [], "day", UTC)),
    "spread": lambda: spread_figure(spread_info([], [])),
    "pareto": lambda: pareto_figure(pareto_info([], quality="q", higher_is_better=True)),
    "cost": lambda: cost_figure(cost_info([], "week", UTC)),
    "outcomes": lambda: outcomes_figure(outcomes_info([]), {}),
    "calendar": lambda: calendar_figure(calendar_info([], "UTC")),
}


@pytest.mark.parametrize("chart", EMPTY)
def test_nothing_gives_an_empty_chart(chart: str) -> None:
    assert EMPTY[chart]().layout.height


NASTY_CHARTS: dict[str, Callable[[], go.Figure]] = {
    "latency": lambda: latency_figure(
        latency_info([timed(0, NASTY)], [Changed(DAY, NASTY, "device", NASTY, NASTY)], "day", UTC)
    ),
    "spread": lambda: spread_figure(spread_info([1.0, 2.0], [Spread(NASTY, 1, (1,))])),
    "cost": lambda: cost_figure(cost_info([Cost(DAY, NASTY, 1.0, 1)], "day", UTC)),
    "outcomes": lambda: outcomes_figure(outcomes_info([Ended(NASTY, NASTY, 1)]), {}),
}


@pytest.mark.parametrize("chart", NASTY_CHARTS)
def test_what_strangers_wrote_is_letters(chart: str) -> None:
    """What a point tells is not drawn, so it may hold a name as it is; nothing else may."""
    figure = drawn(NASTY_CHARTS[chart]())
    for trace in figure["data"]:
        trace.pop("legendgroup", None)
        trace["customdata"] = [row and [v for v in row if v != NASTY] for row in trace.get("customdata", [])]
    assert "<b>x" not in json.dumps(figure)
