"""From aggregates to the document: which sections there are, and what each is made of."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from core.report import benchmarks, costs, examples, failures, overview, places, scores, times
from core.report.document import Document, Facts, Section, Text
from core.report.facts import Reader, Totals
from core.report.request import SECTIONS, Request
from core.report.words import many, moment, ms, name

Step = Callable[[str, float], None]
"""Is told what is being done, and the share of all that is done, 0 to 1."""

MAKERS: Mapping[str, Callable[[Reader, Request, Totals], Section]] = {
    "runs": overview.runs_section,
    "times": times.times_section,
    "benchmarks": benchmarks.benchmarks_section,
    "scores": scores.scores_section,
    "verdicts": scores.verdicts_section,
    "failures": failures.failures_section,
    "costs": costs.costs_section,
    "examples": examples.examples_section,
    "environment": places.environment_section,
    "reproduce": places.reproduce_section,
}


def silent(what: str, share: float) -> None:
    """Tell nobody."""


def build_report(
    reader: Reader, request: Request, *, now: datetime | None = None, step: Step = silent
) -> Document:
    """Return the report on the runs that a reader sees.

    Args:
        now: When it is made; the present by default.
    """
    made = now or datetime.now(UTC)
    step("Counting", 0.0)
    totals = reader.totals()
    keys = [key for key in SECTIONS if key in request.sections]
    sections = []
    for i, key in enumerate(keys if totals.runs else ()):
        step(SECTIONS[key], (i + 1) / (len(keys) + 1))
        sections.append(MAKERS[key](reader, request, totals))
    if not totals.runs:
        sections.append(_nothing(request))
    step("Done", 1.0)
    return Document(
        "Report of Vision Bench",
        Facts(_facts(request, totals, made)),
        sections,
        made.astimezone(request.zone).isoformat(timespec="seconds"),
    )


def _nothing(request: Request) -> Section:
    narrowed = "the period and the filters above" if request.narrowed else "the period above"
    return Section(
        "nothing",
        "Nothing was measured",
        (
            Text(f"No run fits {narrowed}: there is nothing to report.", "warning"),
            Text("Choose a longer period or fewer filters, or run something first."),
        ),
    )


def _facts(request: Request, totals: Totals, made: datetime) -> list[tuple[str, str]]:
    zone = request.zone
    begin = "the first run" if request.since is None else moment(request.since, zone)
    end = "the last run" if request.until is None else f"before {moment(request.until, zone)}"
    found = [
        ("Made", moment(made, zone)),
        ("Time zone", str(zone)),
        ("Period", f"from {begin} to {end}"),
        ("Models", ", ".join(map(name, request.models)) or "all"),
        ("Kinds of run", ", ".join(map(name, request.kinds)) or "all"),
        *_filters(request),
        ("Runs", many(totals.runs, "run")),
    ]
    if totals.first is not None and totals.last is not None:
        found.append(("First and last run", f"{moment(totals.first, zone)}, {moment(totals.last, zone)}"))
    found += [("Store", request.store or "not named"), ("App revision", request.revision or "not known")]
    return found


def _filters(request: Request) -> list[tuple[str, str]]:
    """Return what else leaves runs out; nothing is said of what does not."""
    lists = (
        ("Status", request.statuses),
        ("Outcome", request.outcomes),
        ("Device", request.devices),
        ("Tagged any of", request.tags),
    )
    found = [(title, ", ".join(map(name, values))) for title, values in lists if values]
    if request.text.strip():
        found.append(("Words in prompt, answers or note", name(request.text)))
    bounds = (("at least", request.min_ms), ("less than", request.max_ms))
    took = [f"{word} {ms(bound)}" for word, bound in bounds if bound is not None]
    if took:
        found.append(("Duration", ", ".join(took)))
    if request.measured_only:
        found.append(("Left out", "what a test server answered"))
    return found
