"""Benchmarks: each by itself, since each has samples, intervals and conditions of its own."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations

from core.charts.report import IntervalRow, IntervalsInfo
from core.charts.theme import model_colour
from core.enough import ENOUGH
from core.report.document import Block, Cell, Chart, Column, Section, Table, Text
from core.report.facts import Benchmark, Reader, Totals
from core.report.intervals import MOST_ARMS, Estimate
from core.report.request import SECTIONS, Request
from core.report.verdicts import Verdict, arm, compared_speed, hardware
from core.report.words import MISSING, between, count, digits, ms, name, percent, when

MOST_IN_CHART = 16
BATCH = "images_per_s_batch_"
LOW, HIGH, NUMBER = "_low", "_high", "_n"
NO_SCORES = ("p50_ms", "p90_ms", "p99_ms")


def benchmarks_section(reader: Reader, request: Request, totals: Totals) -> Section:
    """Return the section on benchmarks: the newest ones, each as it was measured."""
    found = reader.benchmarks()
    if not found:
        return Section("benchmarks", SECTIONS["benchmarks"], (Text("No benchmark ran in this period."),))
    few = ", ".join(f"{n} for the {percentile}th" for percentile, n in ENOUGH.items())
    head = f"The {len(found)} newest benchmarks: steady calls after warming up, with intervals of 95 %. "
    blocks: list[Block] = [Text(f"{head}Grey: too few samples for that percentile ({few}).")]
    timed = [one for one in found if _estimate(one, "p50_ms") is not None]
    if timed:
        blocks.append(_chart(timed))
    blocks += [_times(found, request), _costs(found)]
    scores = _scores(found)
    if scores.rows:
        blocks += [Text("Accuracy on labelled pictures, with intervals of 95 %:"), scores]
    return Section("benchmarks", SECTIONS["benchmarks"], blocks)


def benchmark_verdicts(found: Iterable[Benchmark]) -> list[Verdict]:
    """Compare the medians of benchmarks on the same pictures and hardware, the newest of each model."""
    groups: dict[tuple[str, str], dict[str, Benchmark]] = defaultdict(dict)
    for one in found:
        if _estimate(one, "p50_ms") is not None:
            pictures = json.dumps(one.parameters.get("pictures", []))
            groups[hardware(one), pictures].setdefault(_title(one), one)
    verdicts = []
    for (where, _), arms in groups.items():
        title = f"benchmark on {where}, the same pictures; each interval holds with 95 % by itself"
        chosen = list(arms.items())[:MOST_ARMS]
        for (first, one), (second, other) in combinations(chosen, 2):
            medians = (_estimate(one, "p50_ms"), _estimate(other, "p50_ms"))
            if medians[0] is not None and medians[1] is not None:
                verdicts.append(compared_speed(title, (first, medians[0]), (second, medians[1])))
    return verdicts


def _title(one: Benchmark) -> str:
    """Return the model with the options that change its speed."""
    options = one.parameters.get("options")
    given = options if isinstance(options, dict) else {}
    size = f" at {given['size']} px" if isinstance(given.get("size"), int) else ""
    return f"{arm(one)}{' compiled' if given.get('compiled') is True else ''}{size}"


def _estimate(one: Benchmark, metric: str) -> Estimate | None:
    """Return a number with its interval; None where it was not measured."""
    value = one.metrics.get(metric)
    if value is None:
        return None
    n = one.metrics.get(f"{metric}{NUMBER}", one.metrics.get("samples", 0))
    return Estimate(value, one.metrics.get(f"{metric}{LOW}"), one.metrics.get(f"{metric}{HIGH}"), int(n))


def _chart(found: Sequence[Benchmark]) -> Chart:
    rows = []
    for one in found[:MOST_IN_CHART]:
        median = _estimate(one, "p50_ms")
        assert median is not None
        tails = [_estimate(one, f"p{p}_ms") for p in (90, 99) if median.n >= ENOUGH[p]]
        rows.append(
            IntervalRow(
                label=f"{_title(one)} · {hardware(one)}",
                value=median.value,
                low=median.low,
                high=median.high,
                marks=tuple(tail.value for tail in tails if tail is not None),
                note=f"median {between(median)}, n = {median.n:,}",
                grey=median.n < ENOUGH[50],
                colour=model_colour(one.model_id),
            )
        )
    title = "Median of a call with its interval; small marks: 90th and 99th percentile"
    info = IntervalsInfo(rows, "ms, logarithmic", all(row.value > 0 for row in rows), percent=False)
    return Chart(info, title, f"{title}; the table beneath has the numbers.")


def _times(found: Sequence[Benchmark], request: Request) -> Table:
    columns = (
        Column("Model", width=2),
        Column("Hardware", width=1.8),
        Column("When", width=1.3),
        Column("n", "right"),
        Column("Median", "right", 2.1),
        Column("90th", "right", 2.1),
        Column("99th", "right", 1.9),
    )
    rows = []
    for one in found:
        cells = [Cell(_title(one)), Cell(hardware(one)), Cell(when(one.time, request.zone))]
        cells.append(Cell(count(int(one.metrics.get("samples", 0)))))
        for percentile, enough in ENOUGH.items():
            value = _estimate(one, f"p{percentile}_ms")
            few = value is not None and value.n < enough
            cells.append(Cell(MISSING if value is None else between(value), grey=few))
        rows.append(cells)
    return Table(columns, rows)


def _costs(found: Sequence[Benchmark]) -> Table:
    """Return what else a benchmark measured: loading, first call, pictures a second, memory, noise."""
    columns = (
        Column("Model", width=2.4),
        Column("Loading", "right", 1),
        Column("First call", "right", 1),
        Column("Pictures a second", "right", 1.9),
        Column("Batch", "right"),
        Column("Peak memory", "right", 1.2),
        Column("Noise", width=1),
    )
    rows = [
        [
            Cell(_title(one)),
            *(Cell(_written(one, metric, ms)) for metric in ("load_ms", "first_ms")),
            *_fastest(one),
            Cell(_written(one, "peak_memory_mb", lambda mb: f"{digits(mb)} MB")),
            Cell(name(str(one.parameters.get("noise", MISSING)))),
        ]
        for one in found
    ]
    return Table(columns, rows)


def _written(one: Benchmark, metric: str, write: object) -> str:
    assert callable(write)
    value = one.metrics.get(metric)
    return MISSING if value is None else str(write(value))


def _fastest(one: Benchmark) -> list[Cell]:
    """Return the most pictures a second, and the batch that brings them."""
    sizes = [key.removeprefix(BATCH) for key in one.metrics if key.startswith(BATCH)]
    best = max((size for size in sizes if size.isdigit()), key=lambda s: one.metrics[BATCH + s], default=None)
    value = None if best is None else _estimate(one, BATCH + best)
    return [Cell(MISSING if value is None else between(value, digits)), Cell(best or MISSING)]


def _scores(found: Sequence[Benchmark]) -> Table:
    columns = (
        Column("Model", width=2.4),
        Column("Score", width=1.6),
        Column("n", "right"),
        Column("Value", "right", 2),
        Column("By chance", "right", 1),
    )
    rows = []
    for one in found:
        names = [key.removesuffix(NUMBER) for key in one.metrics if key.endswith(NUMBER)]
        for score in sorted(set(names) & set(one.metrics) - set(NO_SCORES)):
            value = _estimate(one, score)
            if value is not None:
                write = percent if 0 <= value.value <= 1 else digits
                chance = _written(one, f"{score}_chance", percent)
                cells = [Cell(_title(one)), Cell(name(score)), Cell(count(value.n))]
                few = value.n < ENOUGH[50]
                rows.append([*cells, Cell(between(value, write), grey=few), Cell(chance)])
    return Table(columns, rows[:80])
