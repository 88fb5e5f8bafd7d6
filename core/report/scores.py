"""How good answers and masks were, and what can be told of any two models."""

from collections import defaultdict
from collections.abc import Sequence

from core.charts.report import IntervalRow, IntervalsInfo
from core.charts.theme import model_colour
from core.enough import ENOUGH
from core.report.benchmarks import benchmark_verdicts
from core.report.document import Block, Cell, Chart, Column, Section, Table, Text
from core.report.facts import MetricFacts, Reader, Totals
from core.report.intervals import Estimate, mean_of, share_of, wanted_ranks
from core.report.overview import left_out
from core.report.request import SECTIONS, Request
from core.report.verdicts import Verdict, methods, score_verdicts, speed_verdicts, work
from core.report.words import between, count, digits, many, name, percent
from core.vlm.setrun.results import COST, MAIN

MOST_ROWS = 60
MOST_CHARTS = 4
SCORE = "score_"
BENCHMARK = "benchmark"
FEW = ENOUGH[50]


def scores_section(reader: Reader, request: Request, totals: Totals) -> Section:
    """Return the section on scores, and on every other number that runs measured."""
    metrics = reader.metrics()
    scores = sorted(filter(_is_score, metrics), key=_order)
    others = [metric for metric in metrics if not _is_score(metric) and _is_general(metric)]
    blocks: list[Block] = []
    if scores:
        blocks.append(
            Text(
                "Scores of successful runs. Shares of right answers have Wilson's interval, other scores "
                "that of a mean (Student's), both with 95 %. Failures are not counted as wrong. "
                f"Grey: under {FEW} runs."
            )
        )
        blocks += _charts(scores)
        blocks.append(_table(scores, len(scores)))
    else:
        blocks.append(Text("No run here was scored."))
    if others:
        blocks += [Text("Every other number that runs measured once each:"), _numbers(others)]
    return Section("scores", SECTIONS["scores"], blocks)


def verdicts_section(reader: Reader, request: Request, totals: Totals) -> Section:
    """Return the section on comparisons."""
    speed = [*benchmark_verdicts(reader.benchmarks()), *speed_verdicts(reader.timings(wanted_ranks))]
    better = score_verdicts(reader.pairs({task: main.metric for task, main in MAIN.items()}))
    if not speed and not better:
        alone = "No two models did the same here, so there is nothing to compare."
        return Section("verdicts", SECTIONS["verdicts"], (Text(alone),))
    found: list[Block] = []
    for group, members in _grouped([*better, *speed]).items():
        found.append(Text(group, "group"))
        found += [Text(one.sentence, "verdict" if one.is_told else "open") for one in members]
    told = sum(verdict.is_told for verdict in (*speed, *better))
    head = f"{told} of {many(len(speed) + len(better), 'comparison')} can be told."
    return Section("verdicts", SECTIONS["verdicts"], (Text(head), *found, Text(methods(), "note")))


def _grouped(verdicts: Sequence[Verdict]) -> dict[str, list[Verdict]]:
    groups: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        groups[verdict.group].append(verdict)
    return groups


def _is_score(metric: MetricFacts) -> bool:
    return metric.name.startswith(SCORE)


def _is_general(metric: MetricFacts) -> bool:
    """Say whether a number has no section of its own."""
    return metric.name != COST and metric.kind != BENCHMARK


def _is_share(metric: MetricFacts) -> bool:
    return metric.ones + metric.zeros == metric.n


def _order(metric: MetricFacts) -> tuple[bool, str, str, float]:
    main = MAIN.get(metric.task)
    is_main = main is not None and main.metric == metric.name
    return (not is_main, metric.task, metric.name, -metric.mean)


def _estimate(metric: MetricFacts) -> Estimate:
    if _is_share(metric) and _is_score(metric):
        return share_of(metric.ones, metric.n)
    return mean_of(metric.mean, metric.variance, metric.n)


def _charts(scores: Sequence[MetricFacts]) -> list[Chart]:
    """Return a chart for each task's main score."""
    tasks: dict[tuple[str, str], list[MetricFacts]] = defaultdict(list)
    for metric in scores:
        if not _order(metric)[0]:
            tasks[metric.task, metric.name].append(metric)
    return [_chart(task, title, found) for (task, title), found in list(tasks.items())[:MOST_CHARTS]]


def _chart(task: str, metric: str, found: Sequence[MetricFacts]) -> Chart:
    rows = []
    for one in found[:16]:
        estimate = _estimate(one)
        note = f"{between(estimate, percent)}, n = {one.n:,}"
        bounds = (estimate.low, estimate.high)
        colour = model_colour(one.model_id)
        rows.append(IntervalRow(name(one.model_id), estimate.value, *bounds, (), note, one.n < FEW, colour))
    title = f"Task {name(task)}: {metric.removeprefix(SCORE)}, with the interval that holds it with 95 %"
    is_percent = all(0 <= row.value <= 1 for row in rows)
    info = IntervalsInfo(rows, metric.removeprefix(SCORE), log=False, percent=is_percent)
    return Chart(info, title, f"{title}; the table beneath has the numbers.")


def _table(scores: Sequence[MetricFacts], total: int) -> Table:
    columns = (
        Column("Kind", width=1.6),
        Column("Score", width=1.6),
        Column("Model", width=3),
        Column("n", "right"),
        Column("Value", "right", 2.4),
        Column("What it is", width=1.6),
    )
    rows = []
    for metric in scores[:MOST_ROWS]:
        estimate, share = _estimate(metric), _is_share(metric)
        is_few = metric.n < FEW
        rows.append(
            [
                Cell(work(name(metric.kind), metric.task)),
                Cell(name(metric.name.removeprefix(SCORE))),
                Cell(name(metric.model_id)),
                Cell(count(metric.n)),
                Cell(between(estimate, percent if share else digits), grey=is_few),
                Cell(f"share of {metric.n:,}" if share else "mean"),
            ]
        )
    return Table(columns, rows, left_out(len(rows), total, "scores", "most runs"))


def _numbers(metrics: Sequence[MetricFacts]) -> Table:
    columns = (
        Column("Kind", width=1.6),
        Column("Model", width=2.6),
        Column("Number", width=2),
        Column("n", "right"),
        Column("Mean", "right", 2.4),
        Column("Least", "right", 1.2),
        Column("Most", "right", 1.2),
    )
    chosen = sorted(metrics[:MOST_ROWS], key=lambda m: (m.kind, m.task, m.name, m.model_id))
    rows = [
        [
            Cell(work(name(metric.kind), metric.task)),
            Cell(name(metric.model_id)),
            Cell(name(f"{metric.name} ({metric.unit})" if metric.unit else metric.name)),
            Cell(count(metric.n)),
            Cell(between(_estimate(metric), digits), grey=metric.n < FEW),
            Cell(digits(metric.minimum)),
            Cell(digits(metric.maximum)),
        ]
        for metric in chosen
    ]
    return Table(columns, rows, left_out(len(rows), len(metrics), "numbers", "most runs"))
