"""The view in the address: read once a rerun, shown by the widgets, written when one of them changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import streamlit as st

from db.records import RunFilter
from pages.ui import state
from pages.ui.bound import bound_fields
from pages.ui.history_view import HistoryView, Point, from_address, to_address, zone_of
from pages.ui.session import visitor
from pages.ui.text import browser_zone

PAGE = "history"
KEEPS_PAGE = frozenset({"page", "run", "compare", "name", "chart", "per", "value", "lower"})
"""What changes without going back to the first page of the list."""
KEEPS_POINT = KEEPS_PAGE - {"chart", "per", "value", "lower"} | {"sort", "down", "tz"}
"""What changes without letting go of the point that was clicked in the chart."""


def arrive() -> None:
    """Bring the last view of this session back where the page is opened without any.

    A widget's key is gone as soon as another page was shown; going back in the browser keeps it.
    """
    kept = state.HISTORY_VIEW.get()
    if f"{PAGE}_period" not in st.session_state and kept is not None and not st.query_params:
        show(kept)
    state.HISTORY_VIEW.set(current())


def current() -> HistoryView:
    """Return the view that the address describes."""
    return from_address({name: st.query_params.get_all(name) for name in st.query_params})


def show(view: HistoryView) -> None:
    """Write a view into the address, and remember it for this session."""
    state.HISTORY_VIEW.set(view)
    st.query_params.from_dict(to_address(view))


def change(**values: Any) -> None:
    """Show the present view with some fields changed; what hangs on them is let go."""
    loose: dict[str, Any] = {}
    if not values.keys() <= KEEPS_PAGE:
        loose["page"] = 1
    if not values.keys() <= KEEPS_POINT | {"point"}:
        loose["point"] = Point()
    show(replace(current(), **(loose | values)))


def zone(view: HistoryView) -> tzinfo:
    """Return the time zone of a view: the chosen one, else the browser's."""
    return zone_of(view.tz) or browser_zone()


bound = bound_fields(PAGE, change)
"""Return `key` and `on_change` of a widget that shows a field of the view and changes it."""


def filter_of(view: HistoryView) -> RunFilter:
    """Return which runs a view is about. "The last hour" begins at a whole minute."""
    now = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    since, until = view.bounds(now, zone(view))
    return RunFilter(
        owner=visitor(),
        kinds=view.kind,
        models=view.model,
        statuses=view.status,
        outcomes=view.outcome,
        devices=view.device,
        tags=view.tag,
        since=since,
        until=until,
        text=view.q,
        measured_only=view.measured,
        deleted=view.deleted,
    )


def behind(where: RunFilter, point: Point) -> RunFilter:
    """Return which of some runs are behind a point of a chart."""
    return replace(
        where,
        models=(point.model,) if point.model else where.models,
        outcomes=(point.outcome,) if point.outcome else where.outcomes,
        since=max((t for t in (where.since, point.since) if t is not None), default=None),
        until=min((t for t in (where.until, point.until) if t is not None), default=None),
        min_ms=point.low if where.min_ms is None else where.min_ms,
        max_ms=point.high if where.max_ms is None else where.max_ms,
    )
