"""What was measured, on which models, and how often."""

from collections import Counter
from collections.abc import Sequence

from core.charts.report import GREY, BarsInfo, Part, colour_at
from core.charts.theme import CATEGORIES
from core.report.document import Block, Cell, Chart, Column, Section, Table, Text
from core.report.facts import Group, Reader, SpanFacts, Totals
from core.report.request import SECTIONS, Request, local, span_bounds
from core.report.words import count, many, name, when

MOST_ROWS = 60
MOST_PARTS = 7


def runs_section(reader: Reader, request: Request, totals: Totals) -> Section:
    """Return the section on what ran."""
    groups = reader.groups()
    ended = (("ok", totals.ok), ("failed", totals.failed), ("cancelled", totals.cancelled))
    parts = [f"{n:,} {status}" for status, n in (*ended, ("still running", totals.running)) if n]
    head = f"{many(totals.runs, 'run')}: {', '.join(parts)}. "
    head += f"{many(totals.groups, 'pair')} of a kind of run and a model."
    blocks: list[Block] = [Text(head)]
    if totals.loopback:
        loopback = (
            f"{many(totals.loopback, 'of these runs was', 'of these runs were')} answered by a test server"
        )
        blocks.append(
            Text(f"{loopback} on this machine: its times and scores say nothing of a model.", "warning")
        )
    if totals.first is not None and totals.last is not None:
        bounds, span = span_bounds(totals.first, totals.last, request.zone)
        if len(bounds) > 2:
            blocks.append(_chart(reader.spans(bounds), bounds, span, request))
    blocks.append(_table(groups, totals, request))
    return Section("runs", SECTIONS["runs"], blocks)


def _chart(spans: Sequence[SpanFacts], bounds: list, span: str, request: Request) -> Chart:  # type: ignore[type-arg]
    kinds = Counter[str]()
    for found in spans:
        kinds[found.kind] += found.ok + found.other
    named = [kind for kind, _ in kinds.most_common(MOST_PARTS)]
    times = local(bounds, request.zone)
    parts = {kind: [0.0] * len(times) for kind in [*named, ""]}
    for found in spans:
        parts[found.kind if found.kind in named else ""][found.span] += found.ok + found.other
    shown = [Part(name(kind), parts[kind], colour_at(i)) for i, kind in enumerate(named)]
    if any(parts[""]):
        shown.append(Part("other kinds", parts[""], GREY))
    title = f"Runs per {span} ({request.zone})"
    info = BarsInfo([], shown, f"runs per {span}", times)
    return Chart(info, title, f"Bars: {title.lower()}, by kind; the same by model is in the table.")


def _table(groups: Sequence[Group], totals: Totals, request: Request) -> Table:
    columns = (
        Column("Kind", width=2),
        Column("Model", width=4),
        *(Column(title, "right") for title in ("Runs", "OK", "Failed", "Cancelled")),
        Column("First", width=2),
        Column("Last", width=2),
    )
    rows = [
        [
            Cell(name(group.kind)),
            Cell(name(group.model_id)),
            *(Cell(count(n)) for n in (group.runs, group.ok, group.failed, group.cancelled)),
            Cell(when(group.first, request.zone)),
            Cell(when(group.last, request.zone)),
        ]
        for group in groups[:MOST_ROWS]
    ]
    return Table(columns, rows, left_out(len(rows), totals.groups, "pairs of kind and model", "most runs"))


def left_out(shown: int, total: int, what: str, by: str) -> str:
    """Return what a table's caption says of what it does not show."""
    return f"The {shown} {what} with the {by}, of {total:,}." if total > shown else ""


def outcome_colours(titles: Sequence[str]) -> list[str]:
    """Return a colour for each outcome; green is that of what went well."""
    others = [CATEGORIES[i] for i in (4, 1, 3, 5, 6, 0)]
    return [CATEGORIES[2] if i == 0 else others[(i - 1) % len(others)] for i in range(len(titles))]
