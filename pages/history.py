"""History: every run, filtered, charted, opened again, exported or deleted."""

import streamlit as st

from pages.ui import history as ui
from pages.ui.errors import page_errors
from pages.ui.layout import page_head

page_head(
    "History",
    "What ran here, how long it took, and how to get back to it.",
    "Every result of every page is one run: its picture, model, parameters, times, environment and, when it "
    "failed, why. Failed runs are kept as failures and never counted in latencies. "
    "Select a row to see all of it and to open it again. Times are in your browser's time zone.",
)

with page_errors():
    where = ui.filters()
    total = ui.totals(where)
    if total == 0:
        ui.nothing_found(where)
        st.stop()
    ui.charts(where)
    selected = ui.table(where, total)
    ui.actions(where, selected, total)
    if len(selected) == 1:
        ui.details(selected[0])
