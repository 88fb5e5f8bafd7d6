"""The parts of the report page: what to report, what will be in it, making it, taking it away."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

import streamlit as st

from core.environment import git_revision
from core.report.request import SECTIONS, Request, store_name, whole_days
from core.settings import settings
from db.records import Facets, RunFilter
from pages.ui import state
from pages.ui.report_filters import (
    HANDED,
    PAGE,
    handed_period,
    more_filters,
    options,
    period_words,
    report_zone,
    times_zone_note,
)
from pages.ui.session import on_private_machine, store, visitor
from pages.ui.text import local_time, plain

CHOSEN = "Days of my choice"
PERIODS = {"Last 7 days": 7, "Last 30 days": 30, "Last 90 days": 90, "All time": None, CHOSEN: None}
PDF, HTML = "PDF", "HTML"
MEDIA = {PDF: "application/pdf", HTML: "text/html"}
MOST_NAMED = 8


@dataclass(frozen=True)
class Asked:
    """What the report is to be of, and as what."""

    request: Request
    form: str

    @property
    def where(self) -> RunFilter:
        """The runs that it is about: this visitor's own."""
        return RunFilter(owner=visitor(), **self.request.which)


@dataclass(frozen=True)
class Made:
    """A report that was made."""

    asked: Asked
    name: str
    data: bytes
    time: datetime


def inputs() -> Asked:
    """Draw the choices and return them. They live in the address: a report can be asked for by a link."""
    facets = store().facets(RunFilter(owner=visitor()))
    zone = report_zone()
    with st.container(border=True):
        period, form = st.columns([3, 1])
        with period:
            since, until = _period(zone)
        with form:
            chosen_form = st.segmented_control(
                "Format", [PDF, HTML], default=PDF, required=True, key=f"{PAGE}_form", bind="query-params"
            )
        left, right = st.columns(2)
        models = left.multiselect(
            "Models",
            options("model", facets.models),
            placeholder="all",
            key=f"{PAGE}_model",
            bind="query-params",
        )
        kinds = right.multiselect(
            "Kinds of run",
            options("kind", facets.kinds),
            placeholder="all",
            key=f"{PAGE}_kind",
            bind="query-params",
        )
        more = more_filters(facets)
        sections = st.pills(
            "Sections",
            list(SECTIONS),
            selection_mode="multi",
            default=list(SECTIONS),
            format_func=SECTIONS.__getitem__,
            key=f"{PAGE}_sections",
        )
    request = Request(
        since,
        until,
        zone,
        tuple(kinds),
        tuple(models),
        tuple(key for key in SECTIONS if key in sections),
        store_name(settings().database_url, whole=on_private_machine()),
        git_revision(),
        **more,
    )
    return Asked(request, str(chosen_form))


def _period(zone: tzinfo) -> tuple[datetime | None, datetime | None]:
    """Draw the choice of days of a time zone, and return their begin and end."""
    today = datetime.now(UTC).astimezone(zone).date()
    handed = handed_period()
    choices = [*PERIODS, *([HANDED] if handed != (None, None) else [])]
    left, right = st.columns([1, 1], vertical_alignment="bottom")
    chosen = left.selectbox("Period", choices, index=3, key=f"{PAGE}_period", bind="query-params")
    if chosen == HANDED:
        right.caption(plain(period_words(*handed, zone)))
        return handed
    times_zone_note(zone)
    if chosen == CHOSEN:
        days = right.date_input(
            "Days",
            (today - timedelta(days=6), today),
            max_value=today,
            format="YYYY-MM-DD",
            key=f"{PAGE}_days",
        )
        first, last = _both(days, today)
        return whole_days(first, last, zone)
    back = PERIODS[chosen]
    return whole_days(None if back is None else today - timedelta(days=back - 1), None, zone)


def _both(days: object, today: date) -> tuple[date, date]:
    """Return first and last day; while only one is chosen, that one day."""
    found = tuple(days) if isinstance(days, tuple | list) else (days,)
    chosen = [day for day in found if isinstance(day, date)] or [today]
    return chosen[0], chosen[-1]


def totals(asked: Asked) -> Facets:
    """Draw how many runs the report is about, and return what they consist of."""
    facets = store().facets(asked.where)
    runs = sum(facets.statuses.values())
    if not runs and not store().count(RunFilter(owner=visitor())):
        st.info("Nothing has run yet: there is nothing to report.", icon=":material/summarize:")
    elif not runs:
        st.info("No run fits this period and these filters.", icon=":material/filter_alt_off:")
    else:
        first = store().runs(asked.where, limit=1, descending=False)
        last = store().runs(asked.where, limit=1)
        ends = [local_time(run.time, asked.request.zone) for run in (*first, *last)]
        outcomes = ", ".join(f"{n:,} {status}" for status, n in facets.statuses.items())
        span = f" from {plain(' to '.join(ends))}" if len(ends) == 2 else ""
        st.markdown(f"**{runs:,} run{'s' if runs > 1 else ''}**{span}: {outcomes}.")
    return facets


def preview(facets: Facets) -> None:
    """Draw what the report will be about, with counts."""
    if not facets.statuses:
        return
    left, right = st.columns(2, gap="large")
    with left:
        _counted("Models", facets.models)
    with right:
        _counted("Kinds of run", facets.kinds)


def _counted(title: str, counts: Mapping[str, int]) -> None:
    """Draw the most frequent values with their numbers of runs."""
    lines = [f"{n:,} · {plain(value)}" for value, n in list(counts.items())[:MOST_NAMED]]
    more = len(counts) - MOST_NAMED
    st.caption("  \n".join([f"**{title}**", *lines, *([f"and {more:,} more"] if more > 0 else [])]))


def make_button(asked: Asked, facets: Facets) -> None:
    """Draw the button that makes the report, and make it while saying how far it is."""
    pressed = st.button(
        "Make the report",
        type="primary",
        icon=":material/summarize:",
        disabled=not facets.statuses,
        key=f"{PAGE}_make",
    )
    if not pressed:
        return
    state.REPORT.clear()
    bar = st.progress(0.0, "Counting")
    try:
        data = _made(asked, lambda what, share: bar.progress(share * 0.7, what))
    finally:
        bar.empty()
    state.REPORT.set(Made(asked, _file_name(asked), data, datetime.now(UTC)))


def _made(asked: Asked, step: Callable[[str, float], None]) -> bytes:
    from core.report.build import build_report

    with store().report(asked.where) as reader:
        document = build_report(reader, asked.request, step=step)
    step(f"Writing the {asked.form} file", 1.0)
    if asked.form == HTML:
        from core.report.html import to_html

        return to_html(document)
    from core.report.pdf import to_pdf

    return to_pdf(document)


def _file_name(asked: Asked) -> str:
    day = datetime.now(UTC).astimezone(asked.request.zone).strftime("%Y-%m-%d")
    return f"vision-bench-report-{day}.{asked.form.lower()}"


def result(asked: Asked) -> None:
    """Draw the download of the report that was made, unless something else is asked for now."""
    made = state.REPORT.get()
    if made is None:
        return
    if made.asked != asked:
        st.caption("The choices have changed since the last report. Make it again to take it away.")
        return
    pages = f", {_pages(made.data)} pages" if asked.form == PDF else ""
    size = len(made.data) / 1e6
    st.success(
        f"The report is ready: {asked.form}{pages}, {size:.1f} MB, made {plain(local_time(made.time))}.",
        icon=":material/task:",
    )
    st.download_button(
        f"Download {asked.form}",
        made.data,
        made.name,
        MEDIA[asked.form],
        icon=":material/download:",
        on_click="ignore",
        key=f"{PAGE}_download",
    )


def _pages(data: bytes) -> str:
    """Return the number of pages that a PDF of ours says it has."""
    counts = [int(count) for count in re.findall(rb"/Type\s*/Pages[^>]*?/Count (\d+)", data)]
    return str(max(counts)) if counts else "several"
