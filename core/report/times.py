"""How long runs took: percentiles with their intervals, grey where the samples are too few."""

from collections.abc import Sequence
from dataclasses import dataclass

from core.charts.report import ChartInfo, IntervalRow, IntervalsInfo, Line, LinesInfo, colour_at
from core.charts.theme import model_colour
from core.enough import ENOUGH
from core.report.document import Block, Cell, Chart, Column, Section, Table, Text
from core.report.facts import Reader, Timing, Totals, Trend
from core.report.intervals import Estimate, percentile_of, wanted_ranks
from core.report.overview import left_out
from core.report.request import SECTIONS, Request, local, span_bounds
from core.report.verdicts import arm, hardware, work
from core.report.words import between, count, many, name

MOST_ROWS = 60
MOST_IN_CHART = 16
MOST_LINES = 6
FIRST_TOKEN = "ttft_ms"


@dataclass(frozen=True, slots=True)
class Row:
    """Runs that are comparable, with their percentiles."""

    timing: Timing
    percentiles: dict[int, Estimate]

    @property
    def label(self) -> str:
        """Return what ran, and where."""
        return f"{arm(self.timing)} · {work(name(self.timing.kind), self.timing.task)}"

    def is_enough(self, percentile: int) -> bool:
        """Say whether there are enough runs for a percentile."""
        return self.timing.n >= ENOUGH[percentile]


def times_section(reader: Reader, request: Request, totals: Totals) -> Section:
    """Return the section on durations, over time as well, and on first tokens."""
    rows = _rows(reader.timings(wanted_ranks))
    few = ", ".join(f"{n} for the {percentile}th" for percentile, n in ENOUGH.items())
    blocks: list[Block] = [
        Text(
            "Durations of successful runs, by kind, task, model, precision and hardware. In parentheses: the "
            f"interval that holds the percentile with 95 %. Grey: too few runs for that percentile ({few})."
        )
    ]
    if not rows:
        return Section("times", SECTIONS["times"], [Text("No successful run has a duration.")])
    if any(row.timing.n >= 2 for row in rows):
        blocks.append(
            Chart(
                _intervals(rows),
                "Median with its interval; small marks: 90th and 99th percentile",
                _alt(rows),
            )
        )
    blocks.append(_table(rows, "runs"))
    trend = _trend(reader, request, totals, rows)
    if trend is not None:
        blocks.append(trend)
    first = _rows(reader.timings(wanted_ranks, FIRST_TOKEN))
    if first:
        blocks += [
            Text("Until the first token of an answer, where one was streamed:"),
            _table(first, "answers"),
        ]
    return Section("times", SECTIONS["times"], blocks)


def _rows(timings: Sequence[Timing]) -> list[Row]:
    rows = [Row(t, {p: percentile_of(t.at, t.n, p) for p in ENOUGH}) for t in timings]
    return sorted(rows, key=lambda row: (row.timing.kind, row.timing.task, row.percentiles[50].value))


def _intervals(rows: Sequence[Row]) -> ChartInfo:
    most = sorted(rows, key=lambda row: -row.timing.n)[:MOST_IN_CHART]
    chosen = [row for row in rows if row in most]
    shown = [
        IntervalRow(
            label=f"{row.label} · {hardware(row.timing)}",
            value=row.percentiles[50].value,
            low=row.percentiles[50].low,
            high=row.percentiles[50].high,
            marks=tuple(row.percentiles[p].value for p in (90, 99) if row.is_enough(p)),
            note=f"median {between(row.percentiles[50])}, n = {row.timing.n:,}",
            grey=not row.is_enough(50),
            colour=model_colour(row.timing.model_id),
        )
        for row in chosen
    ]
    return IntervalsInfo(shown, "ms, logarithmic", all(row.value > 0 for row in shown), percent=False)


def _alt(rows: Sequence[Row]) -> str:
    return f"Medians of {many(len(rows), 'group')} of runs with intervals; the table beneath has the numbers."


def _table(rows: Sequence[Row], what: str) -> Table:
    columns = (
        Column("Kind", width=1.4),
        Column("Model", width=1.9),
        Column("Hardware", width=1.6),
        Column("n", "right"),
        Column("Median", "right", 2.1),
        Column("90th", "right", 2.1),
        Column("99th", "right", 2.1),
    )
    cells = [
        [
            Cell(work(name(row.timing.kind), row.timing.task)),
            Cell(arm(row.timing)),
            Cell(hardware(row.timing)),
            Cell(count(row.timing.n)),
            *(Cell(between(row.percentiles[p]), grey=not row.is_enough(p)) for p in ENOUGH),
        ]
        for row in rows[:MOST_ROWS]
    ]
    return Table(columns, cells, left_out(len(cells), len(rows), f"groups of {what}", f"most {what}"))


def _trend(reader: Reader, request: Request, totals: Totals, rows: Sequence[Row]) -> Chart | None:
    """Return medians over time of the groups with the most runs; None where there is one span only."""
    if totals.first is None or totals.last is None:
        return None
    bounds, span = span_bounds(totals.first, totals.last, request.zone)
    most = sorted(rows, key=lambda row: -row.timing.n)
    groups = {_place(row.timing): row for row in reversed(most)}
    chosen = [_place(row.timing) for row in most if groups[_place(row.timing)] is row][:MOST_LINES]
    found = reader.trends(bounds, chosen)
    if len({trend.span for trend in found}) < 2:
        return None
    lines = []
    for i, place in enumerate(sorted(chosen)):
        own = [trend for trend in found if _place(trend) == place]
        row = groups[place].timing
        title = f"{arm(row)} · {name(row.kind)} · {hardware(row)}"
        spans, values = [trend.span for trend in own], [trend.median_ms for trend in own]
        lines.append(Line(title, spans, values, [trend.n for trend in own], colour_at(i)))
    title = f"Median duration per {span}, of the groups with the most runs ({request.zone})"
    return Chart(
        LinesInfo(local(bounds, request.zone), lines, "median, ms"), title, f"Lines: {title.lower()}."
    )


def _place(found: Timing | Trend) -> tuple[str, str, str, str]:
    return found.kind, found.model_id, found.device_name, found.dtype
