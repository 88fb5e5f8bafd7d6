"""`report`: what ran in a period, as a PDF or an HTML file, from the store alone."""

import os
import re
from datetime import UTC, date, datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from core.cli.shared import Answer, JsonOption, names, new_file, open_store, writing
from core.environment import git_revision
from core.errors import InputError
from core.runs import LOCAL_OWNER
from core.settings import settings

if TYPE_CHECKING:
    from core.report.document import Document
    from core.report.request import Request

DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
FORMATS = (".pdf", ".html")
STATUSES = ("ok", "failed", "cancelled", "running")


def write_report(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Ends in .pdf or .html.")],
    since: Annotated[
        str, typer.Option("--from", metavar="DAY", help="First day, or a time as in 2026-11-01T08:00.")
    ] = "",
    until: Annotated[
        str, typer.Option("--to", metavar="DAY", help="Last day, which is in; a time is where it ends.")
    ] = "",
    models: Annotated[str, typer.Option("--models", metavar="A,B", help="Only these models.")] = "",
    kinds: Annotated[str, typer.Option("--kinds", metavar="K,L", help="Only these kinds of run.")] = "",
    statuses: Annotated[
        str, typer.Option("--statuses", metavar="A,B", help=f"Only runs that are {', '.join(STATUSES)}.")
    ] = "",
    outcomes: Annotated[
        str, typer.Option("--outcomes", metavar="A,B", help="Only these: ok, running or a class of failure.")
    ] = "",
    devices: Annotated[str, typer.Option("--devices", metavar="A,B", help="Only runs on these.")] = "",
    tags: Annotated[str, typer.Option("--tags", metavar="A,B", help="Only runs with any of these.")] = "",
    words: Annotated[
        str, typer.Option("--words", metavar="TEXT", help="All of them in prompt, answers or note.")
    ] = "",
    min_ms: Annotated[float | None, typer.Option("--min-ms", help="Only runs that took as long.")] = None,
    max_ms: Annotated[float | None, typer.Option("--max-ms", help="Only runs that took less.")] = None,
    measured_only: Annotated[
        bool, typer.Option("--without-test-server", help="Leave out what a test server answered.")
    ] = False,
    sections: Annotated[str, typer.Option("--sections", metavar="S,T", help="Only these sections.")] = "",
    zone: Annotated[
        str, typer.Option("--zone", metavar="ZONE", help="As in Asia/Seoul; this machine's if left out.")
    ] = "",
    as_json: JsonOption = False,
) -> Answer:
    """Write a report on what ran: what was measured, with intervals, verdicts, failures and costs."""
    from core.report.build import build_report
    from core.report.request import SECTIONS, Request, store_name
    from db import RunFilter

    if out.suffix.lower() not in FORMATS:
        raise InputError(f"{out.name} is neither a .pdf nor a .html file.", "Name one with --out.")
    chosen = time_zone(zone)
    request = Request(
        since=moment(since, chosen, "--from", last=False),
        until=moment(until, chosen, "--to", last=True),
        zone=chosen,
        kinds=names(kinds),
        models=names(models),
        statuses=_statuses(statuses),
        outcomes=names(outcomes),
        devices=names(devices),
        tags=names(tags),
        text=words.strip(),
        min_ms=min_ms,
        max_ms=max_ms,
        measured_only=measured_only,
        sections=names(sections) or tuple(SECTIONS),
        store=store_name(settings().database_url),
        revision=git_revision(),
    )
    where = RunFilter(owner=LOCAL_OWNER, **request.which)
    with open_store() as store:
        runs = store.count(where)
        with store.report(where) as reader:
            document = build_report(reader, request, step=lambda what, _: typer.echo(what, err=True))
    data = _file(document, out)
    with writing(out):
        part = new_file(out.with_name(f"{out.name}.part"))
        part.write_bytes(data)
        part.replace(out)
    return _answer(out, data, runs, request)


def _file(document: "Document", out: Path) -> bytes:
    if out.suffix.lower() == ".html":
        from core.report.html import to_html

        return to_html(document)
    from core.report.pdf import to_pdf

    return to_pdf(document)


def _answer(out: Path, data: bytes, runs: int, request: "Request") -> Answer:
    payload = {"out": str(out), "bytes": len(data), "runs": runs, "sections": list(request.sections)}
    text = f"The report on {runs:,} runs is in {out}, {len(data) / 1e6:.1f} MB."
    return Answer(payload, text if runs else f"{text} No run fits; it says so.")


def _statuses(text: str) -> tuple[str, ...]:
    """Return statuses between commas.

    Raises:
        InputError: There is no such status.
    """
    found = names(text)
    unknown = [status for status in found if status not in STATUSES]
    if unknown:
        raise InputError(f"There is no status {unknown[0]!r}.", f"They are {', '.join(STATUSES)}.")
    return found


def time_zone(text: str) -> tzinfo:
    """Return a time zone by its name; this machine's own where there is none.

    Raises:
        InputError: There is no such time zone.
    """
    try:
        return ZoneInfo(text) if text else _own_zone()
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InputError(
            f"There is no time zone {text!r}.", "Name one as in Europe/Berlin, or UTC, with --zone."
        ) from error


def _own_zone() -> tzinfo:
    """Return this machine's zone by name: an offset alone would be wrong half of the year."""
    told = (
        os.environ.get("TZ", "").lstrip(":") or os.path.realpath("/etc/localtime").partition("zoneinfo/")[2]
    )
    try:
        return ZoneInfo(told or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def moment(text: str, zone: tzinfo, option: str, *, last: bool) -> datetime | None:
    """Return the begin of a day, or the end where it is the last; a time as it is; None for no text.

    Raises:
        InputError: It is neither.
    """
    from core.report.request import whole_days

    if not text:
        return None
    try:
        if DAY.fullmatch(text):
            day = date.fromisoformat(text)
            return whole_days(None, day, zone)[1] if last else whole_days(day, None, zone)[0]
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"{option} is {text!r}, which is no day or time.", f"Write it as in {option} 2026-11-01."
        ) from error
