"""What failed, by class, with the last message of each."""

from collections import Counter
from collections.abc import Sequence

from core.charts.report import BarsInfo, Part
from core.report.document import Block, Cell, Chart, Column, Section, Table, Text
from core.report.facts import Failure, Group, Reader, Totals
from core.report.intervals import share_of
from core.report.overview import left_out, outcome_colours
from core.report.request import SECTIONS, Request
from core.report.words import between, count, many, name, percent, shown, when

MOST_ROWS = 40
MOST_IN_CHART = 16
MOST_CLASSES = 6
MESSAGE = 300


def failures_section(reader: Reader, request: Request, totals: Totals) -> Section:
    """Return the section on failures."""
    failures, groups = reader.failures(), reader.groups()
    ended = totals.ok + totals.failed + totals.cancelled
    if not failures:
        return Section(
            "failures", SECTIONS["failures"], (Text(f"None of {many(ended, 'finished run')} failed."),)
        )
    failed = share_of(totals.failed, ended)
    head = f"{many(totals.failed, 'run')} of {count(ended)} failed: {between(failed, percent)}."
    if totals.cancelled:
        head += f" {many(totals.cancelled, 'run was', 'runs were')} cancelled."
    blocks: list[Block] = [Text(head), _chart(failures, groups), _table(failures, request)]
    return Section("failures", SECTIONS["failures"], blocks)


def _class(failure: Failure) -> str:
    return name(failure.error_class or failure.status)


def _chart(failures: Sequence[Failure], groups: Sequence[Group]) -> Chart:
    """Return how the runs of the models with most failures ended."""
    by_model = Counter[str]()
    classes = Counter[str]()
    for failure in failures:
        by_model[failure.model_id] += failure.runs
        classes[_class(failure)] += failure.runs
    models = [model for model, _ in by_model.most_common(MOST_IN_CHART)]
    named = [title for title, _ in classes.most_common(MOST_CLASSES)]
    titles = ["ok", *named, *(["other failures"] if len(classes) > len(named) else [])]
    counts = {title: Counter[str]() for title in titles}
    for failure in failures:
        title = _class(failure)
        counts[title if title in named else titles[-1]][failure.model_id] += failure.runs
    for group in groups:
        counts["ok"][group.model_id] += group.ok
    whole = {model: sum(found[model] for found in counts.values()) for model in models}
    parts = [
        Part(title, [100 * counts[title][model] / whole[model] for model in models], colour)
        for title, colour in zip(titles, outcome_colours(titles), strict=True)
    ]
    labels = [f"{name(model)} ({whole[model]:,})" for model in models]
    title = "How the runs of each model ended"
    return Chart(BarsInfo(labels, parts, "% of the runs"), title, f"{title}, by class; the table has counts.")


def _table(failures: Sequence[Failure], request: Request) -> Table:
    columns = (
        Column("Class", width=1.9),
        Column("Kind", width=1.1),
        Column("Model", width=1.8),
        Column("Runs", "right"),
        Column("Last", width=1.5),
        Column("What the last one said", width=3.6),
    )
    rows = [
        [
            Cell(_class(failure)),
            Cell(name(failure.kind)),
            Cell(name(failure.model_id)),
            Cell(count(failure.runs)),
            Cell(when(failure.last, request.zone)),
            Cell(shown(failure.message, MESSAGE)),
        ]
        for failure in failures[:MOST_ROWS]
    ]
    return Table(columns, rows, left_out(len(rows), len(failures), "kinds of failure", "most runs"))
