"""History: every run, filtered, charted, compared, opened again, exported or deleted."""

import streamlit as st

from db.records import RunFilter
from pages.ui import history_state
from pages.ui.errors import page_errors
from pages.ui.history_charts import charts
from pages.ui.history_compare import comparison
from pages.ui.history_details import details
from pages.ui.history_export import export
from pages.ui.history_filters import chips, filters, nothing_found, summary
from pages.ui.history_links import bin_toggle, link, report_link, view_name
from pages.ui.history_saved import saved_views
from pages.ui.history_table import point_line, runs_list
from pages.ui.layout import page_head
from pages.ui.session import store, visitor

page_head(
    "History",
    "What ran here, how long it took, and how to get back to it.",
    "Every result of every page is one run: its picture, model, parameters, times, environment and, when it "
    "failed, why. Failed runs are kept as failures and never counted in durations. Click a point of a chart "
    "to list the runs behind it; select runs in the table to open, compare, tag or delete them. Times are in "
    "your browser's time zone unless you choose another, and the address bar holds the whole view.",
)

with page_errors():
    history_state.arrive()
    view = history_state.current()
    where = history_state.filter_of(view)
    view_name(view)
    are_open = filters(view, where)
    everything = store().count(RunFilter(owner=visitor(), deleted=view.deleted))
    found = store().facets(where)
    behind = history_state.behind(where, view.point)
    total = store().count(behind) if view.point else found.total
    if found.total == 0:
        nothing_found(view, everything)
    else:
        summary(found, everything)
    chips(view, are_open)
    with st.container(horizontal=True, vertical_alignment="center", key="history_tools"):
        saved_views(view)
        link(view)
        export(view, behind, total)
        report_link(view, behind)
        bin_toggle(view)
    if found.total:
        if not view.deleted:
            charts(view, where)
        point_line(view, total)
        runs_list(view, behind, total)
    if view.compare:
        comparison(view)
    elif view.run:
        details(view)
