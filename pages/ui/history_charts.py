"""One chart at a time, each the answer to a question; a click on a point lists the runs behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from core.charts.history_shared import MOST_MODELS
from db.records import RunFilter
from pages.ui.errors import page_errors
from pages.ui.history_numbers import numbers
from pages.ui.history_quality import quality_chart
from pages.ui.history_shown import Shown, nothing
from pages.ui.history_state import PAGE, bound, change, current, zone
from pages.ui.history_view import HistoryView, Point
from pages.ui.history_words import CHANGED, outcome_words
from pages.ui.session import store
from pages.ui.text import plain

if TYPE_CHECKING:
    from core.charts.history_latency import LatencyInfo

TITLES = {
    "latency": "Duration over time",
    "spread": "Distribution",
    "pareto": "Quality against speed",
    "cost": "Cost",
    "outcomes": "Reliability",
    "failures": "Failures over time",
    "calendar": "Calendar",
}
QUESTIONS = {
    "latency": "Has a model become slower, and what changed when it did? The line is the median of "
    "successful runs, the band the middle half of them; it ends where a number marks a change.",
    "spread": "How long does a run take, and is it always the same? A second hill is a second kind of run, "
    "such as another picture size or device.",
    "pareto": "Which models does no other one beat in both? The filled dots; for every other model there is "
    "one that is at least as good and at least as fast.",
    "cost": "Where does the money go? Failed calls are paid for, too; runs without a known price, such as "
    "those on this machine, are not in it.",
    "outcomes": "Which models fail, how often, and in which way? The range in brackets holds the true share "
    "in 95 of 100 cases: few runs say little.",
    "failures": "When did runs fail, and in which way? The share of the runs that ended in a span of time; "
    "of few runs a single failure is a large share, so point at a bar to read how many there were.",
    "calendar": "On which days did something run? Days are those of the time zone {zone}.",
}
FEW_CHANGES = 3
COUNTED = "Of so many runs the quantiles are within 0.25 % of the exact ones."
HOURS_UP_TO, DAYS_UP_TO = timedelta(days=4), timedelta(days=400)


@st.fragment
def charts(view: HistoryView, where: RunFilter) -> None:
    """Draw the chosen chart. Only this one is computed."""
    if current().point != view.point:
        st.rerun()
    with page_errors():
        _chart(view, where)


def _chart(view: HistoryView, where: RunFilter) -> None:
    now = current()
    view = replace(view, chart=now.chart, per=now.per, value=now.value, lower=now.lower)
    st.segmented_control(
        "Chart",
        list(TITLES),
        format_func=TITLES.__getitem__,
        required=True,
        label_visibility="collapsed",
        wrap=True,
        **bound("chart", view.chart),
    )
    st.markdown(QUESTIONS[view.chart].format(zone=plain(str(zone(view)))))
    shown = DRAW[view.chart](view, where)
    if shown is None:
        return
    key = f"{PAGE}_{view.chart}_chart"
    st.plotly_chart(
        shown.figure,
        key=key,
        on_select=partial(_clicked, key, shown.aim),
        selection_mode="points",
        config={"displaylogo": False, "displayModeBar": False},
        alt=f"{TITLES[view.chart]}. {QUESTIONS[view.chart]}",
    )
    notes = list(shown.notes)
    if shown.models > MOST_MODELS:
        notes.append(
            f"The {MOST_MODELS} models with most runs of {shown.models} are drawn, the table has all: filter "
            "by model to see others."
        )
    if notes:
        st.caption(" ".join(notes))
    numbers(view.chart, shown.rows)


def _clicked(key: str, aim: Callable[[list[Any]], Point]) -> None:
    points = st.session_state[key]["selection"]["points"]
    told = next((point["customdata"] for point in points if point.get("customdata")), None)
    try:
        point = Point() if told is None else aim(list(told))
    except (TypeError, ValueError, IndexError, OverflowError):  # it comes from the browser
        point = Point()
    change(point=point)


def _bucket(view: HistoryView, where: RunFilter) -> str | None:
    """Draw how wide a point is, and return it; what fits the period where nothing was chosen."""
    fitting = _fitting(where)
    if fitting is None:
        return None
    shown = view.per or fitting
    st.segmented_control(
        "A point for each",
        ["hour", "day", "week"],
        format_func=str.capitalize,
        required=True,
        help="Hours are shown in your time zone. Days and weeks begin at midnight UTC.",
        **bound("per", shown, lambda given: "" if given == fitting else given),
    )
    return shown


def _fitting(where: RunFilter) -> str | None:
    since, until = where.since, where.until or datetime.now(UTC)
    if since is None:
        first = store().runs(where, limit=1, descending=False)
        last = store().runs(where, limit=1) if first else ()
        if not first or not last:
            return None
        since, until = first[0].time, last[0].time
    width = until - since
    return "hour" if width <= HOURS_UP_TO else "day" if width <= DAYS_UP_TO else "week"


def _in_bucket(told: list[Any], **more: Any) -> Point:
    return Point(
        model=str(told[0]),
        since=datetime.fromisoformat(told[1]).astimezone(UTC),
        until=datetime.fromisoformat(told[2]).astimezone(UTC),
        **more,
    )


def _latency(view: HistoryView, where: RunFilter) -> Shown | None:
    from core.charts.history_latency import MOST_BANDS, latency_figure, latency_info, latency_table

    bucket = _bucket(view, where)
    found = store().latency_chart(where, bucket) if bucket else None  # type: ignore[arg-type]
    if found is None or not found.points:
        nothing("No run of this selection succeeded and was timed.")
        return None
    info = latency_info(found.points, found.breaks, found.bucket, zone(view))
    _changes(info)
    bands = f"Bands are drawn for up to {MOST_BANDS} models." if len(info.series) > MOST_BANDS else ""
    return Shown(
        latency_figure(info),
        latency_table(info),
        partial(_in_bucket, outcome="ok"),
        len(info.series),
        tuple(note for note in (bands, "" if found.exact else COUNTED) if note),
    )


def _changes(info: LatencyInfo) -> None:
    """Say what changed at each marked line."""
    from core.charts.history_latency import changes_table, shown_signs
    from core.charts.history_shared import said_time

    signs = shown_signs(info)
    if not signs:
        return
    left_out = f" The newest {len(signs)} are marked." if len(info.signs) > len(signs) else ""
    number = len(info.signs)
    title = f"{number} change{'s' if number > 1 else ''} that end{'' if number > 1 else 's'} a line."
    are_few = len(signs) <= FEW_CHANGES
    with st.expander(f"{title}{left_out}", are_few, icon=":material/vertical_align_center:"):
        for i, sign in enumerate(signs, 1):
            models = ", ".join(sign.models[:5]) + (" …" if len(sign.models) > 5 else "")
            st.markdown(
                f"**{i}** · {said_time(sign.time, 'hour', info.zone)} · {CHANGED.get(sign.what, sign.what)}: "
                f"{plain(sign.before)} → {plain(sign.after)} · {plain(models)}"
            )
        numbers("changes", changes_table(info))


def _spread(view: HistoryView, where: RunFilter) -> Shown | None:
    from core.charts.history_spread import spread_figure, spread_info, spread_table

    found = store().spread(where)
    if not found.models:
        nothing("No run of this selection succeeded and was timed.")
        return None
    info = spread_info(found.edges_ms, found.models)
    notes = () if found.exact else (COUNTED,)
    return Shown(spread_figure(info), spread_table(info), _in_bin, len(info.models), notes)


def _in_bin(told: list[Any]) -> Point:
    bounds = {"low": float(told[1]), "high": float(told[2])} if len(told) > 1 else {}
    return Point(model=str(told[0]), outcome="ok", **bounds)


def _cost(view: HistoryView, where: RunFilter) -> Shown | None:
    from core.charts.history_cost import cost_figure, cost_info, cost_table

    bucket = _bucket(view, where)
    rows = store().cost_over_time(where, bucket) if bucket else ()  # type: ignore[arg-type]
    if not rows:
        nothing("No run of this selection has a known price.")
        return None
    info = cost_info(rows, str(bucket), zone(view))
    st.markdown(f"**\\${info.total_usd:,.4f}** for {info.priced:,} runs with a known price.")
    return Shown(cost_figure(info), cost_table(info), _in_bucket)


def _outcomes(view: HistoryView, where: RunFilter) -> Shown | None:
    from core.charts.history_outcomes import outcomes_figure, outcomes_info, outcomes_table

    info = outcomes_info(store().outcomes(where))
    if not info.models:
        nothing("No run fits this selection.")
        return None
    titles = {name: outcome_words(name) for name in info.classes}
    return Shown(
        outcomes_figure(info, titles),
        outcomes_table(info),
        lambda told: Point(model=str(told[0]), outcome=str(told[1])),
        len(info.models),
    )


def _failures(view: HistoryView, where: RunFilter) -> Shown | None:
    from core.charts.history_failures import failures_figure, failures_info, failures_table

    bucket = _bucket(view, where)
    rows = store().outcomes_over_time(where, bucket) if bucket else ()  # type: ignore[arg-type]
    info = failures_info(rows, str(bucket), zone(view))
    if not info.classes:
        nothing("No run of this selection failed." if info.buckets else "No run of this selection ended.")
        return None
    titles = {name: outcome_words(name) for name in info.classes}
    return Shown(failures_figure(info, titles), failures_table(info), _in_span)


def _in_span(told: list[Any]) -> Point:
    found = _in_bucket(["", *told[1:]])
    return replace(found, outcome=str(told[0]))


def _calendar(view: HistoryView, where: RunFilter) -> Shown | None:
    from core.charts.history_calendar import calendar_figure, calendar_info, calendar_table

    place = zone(view)
    info = calendar_info(store().calendar(where, place), str(place))
    if not info.cells:
        nothing("No run fits this selection.")
        return None

    def on_day(told: list[Any]) -> Point:
        day = date.fromisoformat(told[0])
        since, until = HistoryView(period="dates", first=day, last=day).bounds(datetime.now(UTC), place)
        return Point(since=since, until=until)

    return Shown(calendar_figure(info), calendar_table(info), on_day)


DRAW: dict[str, Callable[[HistoryView, RunFilter], Shown | None]] = {
    "latency": _latency,
    "spread": _spread,
    "pareto": quality_chart,
    "cost": _cost,
    "outcomes": _outcomes,
    "failures": _failures,
    "calendar": _calendar,
}
