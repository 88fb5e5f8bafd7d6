"""On which days something ran, in the viewer's own time zone. Numbers, then looks."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple, Protocol

import plotly.graph_objects as go

from core.charts.history_shared import faint, framed

ROWS = 9
"""Lines of a year: its title, seven days, and a gap."""
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
WEEKS = 54
COLOUR = "#1F8FCC"
"""Lets the page through where there are few runs, so that it is even on white and on black."""


class Day(Protocol):
    """How many runs began on a day; `db`'s `DayCount` has this shape."""

    @property
    def day(self) -> date: ...
    @property
    def count(self) -> int: ...
    @property
    def failed(self) -> int: ...


class Cell(NamedTuple):
    """A day that has runs, and where it stands."""

    day: date
    runs: int
    failed: int
    week: int
    """Column: weeks since the one with the first of January."""
    line: int
    """Row: Mondays of the first year shown are 1."""


class CalendarInfo(NamedTuple):
    """What the chart shows."""

    years: list[int]
    """Newest first."""
    cells: list[Cell]
    zone: str


def calendar_info(days: Sequence[Day], zone: str) -> CalendarInfo:
    """Place each day in its week; a year is a strip of its own.

    Args:
        zone: Name of the time zone that the days are of.
    """
    years = sorted({one.day.year for one in days}, reverse=True)
    cells = [
        Cell(one.day, one.count, one.failed, week_of(one.day), line_of(one.day, years))
        for one in sorted(days, key=lambda one: one.day)
    ]
    return CalendarInfo(years, cells, zone)


def week_of(day: date) -> int:
    """Return how many Mondays lie between the first of January and a day, the day itself included."""
    first = date(day.year, 1, 1)
    return ((day - first).days + first.weekday()) // 7


def line_of(day: date, years: Sequence[int]) -> int:
    """Return the line of a day."""
    return years.index(day.year) * ROWS + 1 + day.weekday()


def calendar_table(info: CalendarInfo) -> list[dict[str, object]]:
    """Return a row for each day that has runs."""
    return [
        {"day": cell.day.isoformat(), "weekday": WEEKDAYS[cell.day.weekday()], "runs": cell.runs}
        | {"failed": cell.failed}
        for cell in info.cells
    ]


def calendar_figure(info: CalendarInfo) -> go.Figure:
    """Draw a cell for each day of each year, the darker the more began on it."""
    figure = go.Figure()
    _add_days(figure, info)
    _add_runs(figure, info)
    _add_words(figure, info)
    lines = len(info.years) * ROWS
    figure.update_xaxes(range=[-2.4, WEEKS - 0.5], visible=False)
    figure.update_yaxes(range=[lines - 1.4, -0.8], visible=False)
    return framed(figure, 90 + 16 * lines, showlegend=False)


def _add_days(figure: go.Figure, info: CalendarInfo) -> None:
    """Add every day of the years, so that a day without runs is seen as one."""
    z: list[list[float | None]] = [[None] * WEEKS for _ in range(len(info.years) * ROWS)]
    for year in info.years:
        day = date(year, 1, 1)
        while day.year == year:
            z[line_of(day, info.years)][week_of(day)] = 0.0
            if day == date.max:
                break
            day += timedelta(days=1)
    figure.add_heatmap(
        z=z,
        colorscale=[[0, "rgba(127,127,127,0.16)"], [1, "rgba(127,127,127,0.16)"]],
        showscale=False,
        xgap=1.5,
        ygap=1.5,
        hoverinfo="skip",
    )


def _add_runs(figure: go.Figure, info: CalendarInfo) -> None:
    z: list[list[float | None]] = [[None] * WEEKS for _ in range(len(info.years) * ROWS)]
    for cell in info.cells:
        z[cell.line][cell.week] = float(cell.runs)
    figure.add_heatmap(
        z=z,
        zmin=0,
        zmax=max([cell.runs for cell in info.cells] or [1]),
        colorscale=[[0, faint(COLOUR, 0.3)], [1, faint(COLOUR, 1.0)]],
        xgap=1.5,
        ygap=1.5,
        hoverinfo="skip",
        colorbar={
            "orientation": "h",
            "thickness": 8,
            "len": 0.5,
            "x": 0,
            "xanchor": "left",
            "y": 0,
            "yanchor": "top",
            "title": {"text": "runs a day", "side": "top"},
        },
    )
    unseen = {"marker": {"opacity": 0}}
    figure.add_scatter(
        x=[cell.week for cell in info.cells],
        y=[cell.line for cell in info.cells],
        mode="markers",
        marker={"size": 14, "opacity": 0, "symbol": "square"},
        selected=unseen,
        unselected=unseen,
        customdata=[
            [cell.day.isoformat(), f"{WEEKDAYS[cell.day.weekday()]} {cell.day}", cell.runs, cell.failed]
            for cell in info.cells
        ],
        hovertemplate="%{customdata[1]}<br>%{customdata[2]:,} runs, %{customdata[3]:,} failed<extra></extra>",
    )


def _add_words(figure: go.Figure, info: CalendarInfo) -> None:
    found = []  # given at once: each one added would make Plotly check all of them again
    for i, year in enumerate(info.years):
        words = [(-1.0, i * ROWS, str(year))]
        words += [(-1.2, i * ROWS + 1 + day, WEEKDAYS[day][:2]) for day in (0, 2, 4)]
        words += [(week_of(date(year, m, 15)), i * ROWS, MONTHS[m - 1]) for m in range(2, 13, 2)]
        found += [
            {"x": x, "y": y, "text": text, "showarrow": False, "font": {"size": 11}} for x, y, text in words
        ]
    figure.update_layout(annotations=found)
