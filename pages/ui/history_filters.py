"""Which runs: words, period, and the values of each field with how many runs each would show."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any
from zoneinfo import available_timezones

import streamlit as st

from core.vlm.safe import plain as readable
from db.records import Facets, RunFilter
from pages.ui.history_state import PAGE, bound, change, current, show
from pages.ui.history_view import DATES, PERIODS, HistoryView
from pages.ui.history_words import outcome_words
from pages.ui.session import store
from pages.ui.text import STATUS_ICONS, browser_zone, plain

PERIOD_WORDS = {
    "hour": "Last hour",
    "day": "Last 24 hours",
    "week": "Last 7 days",
    "month": "Last 30 days",
    "year": "Last 365 days",
    "all": "All time",
    DATES: "Between two days",
}
FACETS = {
    "model": ("Model", "models"),
    "kind": ("Kind", "kinds"),
    "outcome": ("Outcome", "outcomes"),
    "status": ("Status", "statuses"),
    "device": ("Device", "devices"),
    "tag": ("Tag", "tags"),
}
"""Field of the view to its title and its field of `Facets`."""
LONGEST_CHIP = 40


def filters(view: HistoryView, where: RunFilter) -> bool:
    """Draw the filters, and say whether all of them are open. What is chosen goes into the address."""
    words, period = st.columns([5, 2])
    with words:
        st.text_input(
            "Search",
            type="search",
            placeholder="Words in prompts, answers and notes",
            max_chars=200,
            icon=":material/search:",
            **bound("q", view.q, str.strip),
        )
    with period:
        st.selectbox(
            "Time", [*PERIODS, DATES], format_func=PERIOD_WORDS.__getitem__, **bound("period", view.period)
        )
    if view.period == DATES:
        _dates(view)
    more = st.expander("More filters", icon=":material/tune:", key=f"{PAGE}_more", on_change="rerun")
    if more.open:
        with more:
            _facets(view, where)
    return bool(more.open)


def _dates(view: HistoryView) -> None:
    first, last = st.columns(2)
    for place, name, title, value in (
        (first, "first", "From the day", view.first),
        (last, "last", "To the day, itself inside", view.last),
    ):
        with place:
            given = bound(name, value)
            st.date_input(title, value=None, min_value="1970-01-01", **given)


def _facets(view: HistoryView, where: RunFilter) -> None:
    found = store().choices(where)
    places = [st.container(), *st.columns(3), *st.columns(3)]  # names of models are long
    for place, (name, (title, field)) in zip(places, FACETS.items(), strict=False):
        with place:
            _facet(name, title, getattr(found, field), getattr(view, name))
    with places[-1]:
        st.selectbox(
            "Time zone",
            ["", "UTC", *sorted(available_timezones() - {"UTC"})],
            format_func=lambda name: name or f"This browser's ({browser_zone()})",
            **bound("tz", view.tz),
        )
    if found.loopback or view.measured:
        st.toggle("Leave out what a test server answered", **bound("measured", view.measured))


def _facet(name: str, title: str, counts: Mapping[str, int], chosen: tuple[str, ...]) -> None:
    """Draw the values of a field, most frequent first, each with how many runs it would show."""
    options = list(dict.fromkeys([*counts, *chosen]))
    st.multiselect(
        title,
        options,
        format_func=partial(_counted, name, counts),
        placeholder="Any" if options else "None yet",
        disabled=not options,
        select_all=False,
        wrap=True,
        **bound(name, list(chosen), tuple, afresh=True),
    )


def _counted(name: str, counts: Mapping[str, int], value: str) -> str:
    words = outcome_words(value) if name == "outcome" else readable(value)
    return f"{words} ({counts.get(value, 0):,})"


def summary(found: Facets, everything: int) -> None:
    """Draw how many runs there are and how they ended."""
    statuses = (
        f"{STATUS_ICONS.get(name, '')} {n:,} {plain(name)}" for name, n in found.statuses.items() if n
    )
    of = f" of {everything:,}" if found.total != everything else ""
    word = "run" if found.total == 1 and not of else "runs"
    st.markdown(f"**{found.total:,}{of} {word}** · " + " · ".join(statuses))
    if found.capped:
        st.caption("These words are in more runs than one search takes: the newest 20,000 are counted.")
    if found.loopback:
        st.caption(
            f":material/science: {found.loopback:,} of them were answered by the test server on this "
            "machine, not by the models they are named after."
        )


def chips(view: HistoryView, are_open: bool) -> None:
    """Draw each filter that is not to be seen above with a button that takes it away, and one for all."""
    if not view.narrowing:
        return
    hidden = [name for name in view.narrowing if name not in ("q", "period") and not are_open]
    with st.container(horizontal=True, gap="small", key=f"{PAGE}_chips"):
        for name in hidden:
            value = getattr(view, name)
            for one in value if isinstance(value, tuple) else (value,):
                st.button(
                    _chip(name, one),
                    icon=":material/close:",
                    key=f"{PAGE}_chip_{name}_{one}",
                    on_click=_take_away,
                    args=(name, one if isinstance(value, tuple) else ""),
                    help="Take this filter away",
                )
        st.button("Clear all filters", type="tertiary", key=f"{PAGE}_clear", on_click=clear)


def _chip(name: str, value: Any) -> str:
    if name == "measured":
        return "Without the test server"
    return f"{FACETS[name][0]}: {_short(outcome_words(value) if name == 'outcome' else value)}"


def _short(text: str) -> str:
    return plain(text if len(text) <= LONGEST_CHIP else f"{text[: LONGEST_CHIP - 1]}…")


def _take_away(name: str, value: str) -> None:
    show(current().without(name, value))


def clear() -> None:
    """Show all runs again."""
    show(current().unfiltered())


def nothing_found(view: HistoryView, everything: int) -> None:
    """Draw the empty state: no runs at all, none that fit, or none in the bin."""
    if view.deleted:
        st.info("No deleted run fits." if view.narrowing else "Nothing was deleted in the last 30 days.")
        st.button("Back to the runs", on_click=change, kwargs={"deleted": False})
    elif everything == 0:
        st.info("Nothing has run yet. Every result of every page appears here.", icon=":material/history:")
        st.page_link(
            "pages/attention_maps.py", label="Start with attention maps", icon=":material/arrow_forward:"
        )
    else:
        st.info("No run fits these filters.", icon=":material/filter_alt_off:")
