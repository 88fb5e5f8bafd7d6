"""What questions to models cost; what is not known is said, and never counted as nothing."""

from collections.abc import Sequence

from core.charts.report import BarsInfo, Part
from core.charts.theme import CATEGORIES
from core.report.document import Block, Cell, Chart, Column, Section, Table, Text
from core.report.facts import CostFacts, Reader, Totals
from core.report.overview import left_out
from core.report.request import SECTIONS, Request, local, span_bounds
from core.report.words import MISSING, count, many, name, usd

MOST_ROWS = 40
MOST_IN_CHART = 16


def costs_section(reader: Reader, request: Request, totals: Totals) -> Section:
    """Return the section on costs."""
    costs = reader.costs()
    runs, known = sum(cost.runs for cost in costs), sum(cost.known for cost in costs)
    if not costs:
        nothing = "No question was put to a vision-language model; nothing else here costs money."
        return Section("costs", SECTIONS["costs"], (Text(nothing),))
    total = sum(cost.usd for cost in costs)
    head = f"{usd(total)} for {many(known, 'run')} of a known cost, by the prices of their day."
    blocks: list[Block] = [Text(head)]
    if known < runs:
        unknown = f"The cost of {many(runs - known, 'run')} is not known, and not in the sums: "
        why = "they failed before anything was counted, or their model has no known price."
        blocks.append(Text(unknown + why, "warning"))
    if total > 0:
        blocks.append(_by_model(costs))
        blocks += _over_time(reader, request, totals)
    blocks.append(_table(costs))
    return Section("costs", SECTIONS["costs"], blocks)


def _by_model(costs: Sequence[CostFacts]) -> Chart:
    dearest = [cost for cost in costs if cost.usd > 0][:MOST_IN_CHART]
    labels = [f"{name(cost.model_id)} · {name(cost.kind)}" for cost in dearest]
    info = BarsInfo(labels, [Part("cost", [cost.usd for cost in dearest], CATEGORIES[0])], "US dollars")
    return Chart(info, "Cost by model", "Bars: cost by model; the table beneath has the numbers.")


def _over_time(reader: Reader, request: Request, totals: Totals) -> list[Block]:
    """Return the cost over time; nothing where all of it was within one span."""
    if totals.first is None or totals.last is None:
        return []
    bounds, span = span_bounds(totals.first, totals.last, request.zone)
    if len(bounds) == 2:
        return []
    values = [0.0] * (len(bounds) - 1)
    for found in reader.spans(bounds):
        values[found.span] += found.usd
    title = f"Cost per {span} ({request.zone})"
    info = BarsInfo([], [Part("cost", values, CATEGORIES[0])], "US dollars", local(bounds, request.zone))
    return [Chart(info, title, f"Bars: {title.lower()}.")]


def _table(costs: Sequence[CostFacts]) -> Table:
    columns = (
        Column("Kind", width=1.4),
        Column("Model", width=4),
        *(Column(title, "right") for title in ("Runs", "Cost known", "Cost", "Per run")),
    )
    rows = [
        [
            Cell(name(cost.kind)),
            Cell(name(cost.model_id)),
            Cell(count(cost.runs)),
            Cell(count(cost.known)),
            Cell(usd(cost.usd) if cost.known else MISSING),
            Cell(usd(cost.usd / cost.known) if cost.known else MISSING),
        ]
        for cost in costs[:MOST_ROWS]
    ]
    return Table(columns, rows, left_out(len(rows), len(costs), "models", "highest cost"))
