"""What narrows a report beside models and kinds, and how the history hands its filter over.

Each choice is a parameter of the address by its widget's name: a link can ask for any report.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from typing import Any

import streamlit as st

from db.records import Facets, RunFilter
from pages.ui.history_view import MOST_VALUES, zone_of
from pages.ui.text import browser_zone, local_time, plain

PAGE = "report"
HANDED = "As in the history"
"""The period that a link gives as two moments."""
LISTS = {"outcomes": "Outcome", "statuses": "Status", "devices": "Device", "tags": "Tag"}
"""Field of a filter and of facets, to its title."""
KEYS = {
    "models": "model",
    "kinds": "kind",
    "statuses": "status",
    "outcomes": "outcome",
    "devices": "device",
    "tags": "tag",
    "text": "words",
    "min_ms": "min_ms",
    "max_ms": "max_ms",
    "measured_only": "measured",
}
"""Field of a filter to the last part of its widget's name."""


def report_address(where: RunFilter, zone: str = "") -> dict[str, str | list[str]]:
    """Return the parameters of the report page that ask for a report on the runs of a filter.

    Args:
        zone: Name of the time zone; the browser's where it is empty.
    """
    found: dict[str, str | list[str]] = {}
    for field, key in KEYS.items():
        value = getattr(where, field)
        if value not in ((), "", None, False):
            found[f"{PAGE}_{key}"] = list(value) if isinstance(value, tuple) else _word(value)
    for key, moment in (("from", where.since), ("to", where.until)):
        if moment is not None:
            found |= {f"{PAGE}_period": HANDED, f"{PAGE}_{key}": moment.astimezone(UTC).isoformat()}
    return found | ({f"{PAGE}_tz": zone} if zone else {})


def _word(value: object) -> str:
    return "true" if value is True else str(value)


def report_zone() -> tzinfo:
    """Return the time zone of the report: the one that the link names, else the browser's."""
    return zone_of(st.query_params.get(f"{PAGE}_tz", "")) or browser_zone()


def handed_period() -> tuple[datetime | None, datetime | None]:
    """Return the moments that the link bounds its period by."""
    return _moment("from"), _moment("to")


def _moment(name: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(st.query_params.get(f"{PAGE}_{name}", ""))
    except ValueError:
        return None
    return None if found.tzinfo is None else found.astimezone(UTC)


def period_words(since: datetime | None, until: datetime | None, zone: tzinfo) -> str:
    """Return the handed period in words."""
    begin = "the first run" if since is None else local_time(since, zone)
    end = "the last run" if until is None else f"before {local_time(until, zone)}"
    return f"From {begin} to {end} ({zone})."


def options(name: str, counted: Iterable[str]) -> list[str]:
    """Return the values to choose from: those that runs have, and those that the link asks for."""
    key = f"{PAGE}_{name}"
    asked = st.query_params.get_all(key)[:MOST_VALUES]
    return list(dict.fromkeys([*counted, *asked, *st.session_state.get(key, ())]))


def more_filters(facets: Facets) -> dict[str, Any]:
    """Draw the filters that few reports need, open where one is in use, and return the fields they set."""
    used = any(f"{PAGE}_{key}" in st.query_params for key in KEYS.values() if key not in ("model", "kind"))
    found: dict[str, Any] = {}
    with st.expander("More filters", icon=":material/tune:", expanded=used, key=f"{PAGE}_more"):
        found["text"] = st.text_input(
            "Search",
            placeholder="Words in prompts, answers and notes",
            max_chars=200,
            icon=":material/search:",
            key=f"{PAGE}_words",
            bind="query-params",
        ).strip()
        for place, (field, title) in zip(st.columns(len(LISTS)), LISTS.items(), strict=True):
            found[field] = tuple(
                place.multiselect(
                    title,
                    options(KEYS[field], getattr(facets, field)),
                    placeholder="any",
                    key=f"{PAGE}_{KEYS[field]}",
                    bind="query-params",
                )
            )
        least, most = st.columns(2)
        for place, field, title in (
            (least, "min_ms", "Took at least (ms)"),
            (most, "max_ms", "Took less than (ms)"),
        ):
            found[field] = place.number_input(
                title,
                min_value=0.0,
                value=None,
                placeholder="any",
                key=f"{PAGE}_{KEYS[field]}",
                bind="query-params",
            )
        found["measured_only"] = st.toggle(
            "Leave out what a test server answered", key=f"{PAGE}_measured", bind="query-params"
        )
    return found


def times_zone_note(zone: tzinfo) -> None:
    """Say that the times are not those of this browser's clock, where they are not."""
    if str(zone) != str(browser_zone()):
        st.caption(f"Days and times are those of {plain(str(zone))}, as in the history.")
