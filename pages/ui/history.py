"""The parts of the history page."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import partial

import pandas as pd
import streamlit as st

from core.charts.history import (
    HistoryInfo,
    activity_figure,
    activity_info,
    latency_figure,
    latency_info,
)
from core.vlm.safe import csv_cell
from db import Store
from db.records import MetricRecord, RunFilter, RunRecord, RunSummary
from pages.ui.runs import COLUMNS, PAGES, runs_frame
from pages.ui.session import store, visitor
from pages.ui.text import MISSING, STATUS_ICONS, count, local_time, milliseconds, plain

PERIODS = {"Last hour": 1 / 24, "Last day": 1.0, "Last week": 7.0, "Last month": 30.0, "All time": None}
PAGE_SIZE = 100
FILTER_KEYS = ("kind", "model", "status", "period")


def filters() -> RunFilter:
    """Draw the filters and return them. They live in the address: a filtered view is a link."""
    facets = store().facets(RunFilter(owner=visitor()))
    kind, model, status, period = st.columns([2, 3, 2, 2])
    with kind:
        kinds = st.multiselect("Kind", list(facets.kinds), key="kind", bind="query-params")
    with model:
        models = st.multiselect("Model", list(facets.models), key="model", bind="query-params")
    with status:
        statuses = st.multiselect("Status", list(facets.statuses), key="status", bind="query-params")
    with period:
        chosen = st.selectbox(
            "Time", list(PERIODS), index=len(PERIODS) - 1, key="period", bind="query-params"
        )
    days = PERIODS[chosen]
    return RunFilter(
        owner=visitor(),
        kinds=tuple(kinds),
        models=tuple(models),
        statuses=tuple(statuses),
        since=None if days is None else datetime.now(UTC) - timedelta(days=days),
    )


def totals(where: RunFilter) -> int:
    """Draw how many runs there are by outcome and return their number."""
    statuses = store().facets(where).statuses
    total = sum(statuses.values())
    parts = [f"{STATUS_ICONS.get(name, '')} {n} {name}" for name, n in statuses.items()]
    if total:
        st.caption(f"**{total} run{'s' if total != 1 else ''}** · " + " · ".join(parts))
    return total


def nothing_found(where: RunFilter) -> None:
    """Draw the empty state: no runs at all, or none that fit."""
    if store().count(RunFilter(owner=where.owner)) == 0:
        st.info("Nothing has run yet. Every result of every page appears here.", icon=":material/history:")
        st.page_link(
            "pages/attention_maps.py", label="Start with attention maps", icon=":material/arrow_forward:"
        )
        return
    st.info("No run fits these filters.", icon=":material/filter_alt_off:")
    st.button("Clear the filters", on_click=_clear_filters)


def _clear_filters() -> None:
    for key in FILTER_KEYS:
        st.session_state.pop(key, None)


def charts(where: RunFilter) -> None:
    """Draw runs over time and latency over time, each with its numbers as a table."""
    span = "hour" if where.since and datetime.now(UTC) - where.since < timedelta(days=3) else "day"
    left, right = st.columns(2, gap="large")
    with left:
        info = activity_info(store().runs_over_time(where, span), span)
        st.subheader("Runs over time", anchor=False)
        st.plotly_chart(activity_figure(info), key="activity_chart", config={"displaylogo": False})
        _numbers(info, "runs", "activity")
    with right:
        info = latency_info(store().latency_over_time(where, span), span)
        st.subheader("Duration over time", anchor=False)
        if info.series:
            st.plotly_chart(latency_figure(info), key="latency_chart", config={"displaylogo": False})
            _numbers(info, "median_ms", "latency")
        else:
            st.caption("No finished run in this selection.")


def _numbers(info: HistoryInfo, value: str, name: str) -> None:
    frame = pd.DataFrame(
        [
            {
                "time": time,
                "model": s.model_id,
                value: y,
                **({"p90_ms": s.upper[i]} if s.upper else {}),
                "n": s.n[i],
            }
            for s in info.series
            for i, (time, y) in enumerate(zip(s.times, s.values, strict=True))
        ]
    )
    with st.popover("Numbers", icon=":material/table:", type="tertiary"):
        st.dataframe(frame, hide_index=True, key=f"{name}_table")
        st.download_button(
            "Download CSV",
            frame.to_csv(index=False),
            f"{name}.csv",
            "text/csv",
            key=f"{name}_csv",
            on_click="ignore",
        )


def table(where: RunFilter, total: int) -> list[RunSummary]:
    """Draw one page of the list and return the selected runs."""
    pages = -(-total // PAGE_SIZE)
    page = 1
    if pages > 1:
        page = st.number_input(f"Page of {pages}", 1, pages, 1, key="history_page", width=140)
    runs = store().runs(where, limit=PAGE_SIZE, offset=(page - 1) * PAGE_SIZE)
    thumbnails = store().thumbnails([run.picture_sha256 for run in runs if run.picture_sha256], visitor())
    event = st.dataframe(
        runs_frame(runs, thumbnails),
        column_config=COLUMNS,
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        row_height=44,
        key=f"history_table_{page}",
        alt="List of runs",
    )
    return [runs[i] for i in event.selection.rows if i < len(runs)]


def actions(where: RunFilter, selected: list[RunSummary], total: int) -> None:
    """Draw what can be done with the selection and with all that is filtered."""
    with st.container(horizontal=True):
        if len(selected) == 1 and selected[0].kind in PAGES:
            page = PAGES[selected[0].kind]
            if st.button("Open this run", icon=":material/open_in_new:", type="primary"):
                st.switch_page(page, query_params={"run": selected[0].id})
        if selected and st.button(f"Delete {len(selected)} selected", icon=":material/delete:"):
            _confirm_delete([run.id for run in selected])
        st.download_button(
            "Export CSV",
            partial(runs_csv, store(), where),
            "runs.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
            help=f"The {count(total)} runs of this selection, one row each, with their metrics.",
        )
    if not selected:
        st.caption("Select a row to see all of it, to open it again or to delete it.")


def runs_csv(opened: Store, where: RunFilter) -> str:
    """Return the filtered runs as CSV, newest first, a row each; no cell is taken for a formula."""
    rows = [{name: csv_cell(value) for name, value in _flat(run).items()} for run in opened.export(where)]
    return pd.DataFrame(rows).to_csv(index=False)


def _flat(run: RunRecord) -> dict[str, object]:
    """Return a run as one row; each metric of the whole run is a column."""
    plain_fields = ("id", "kind", "model_id", "model_revision", "status", "error_class", "error_message")
    return {
        "time": run.time.isoformat(),
        **{name: getattr(run, name) for name in plain_fields},
        "duration_ms": run.duration_ms,
        "device": run.environment.device,
        "tags": " ".join(run.tags),
        "note": run.note,
        "pictures": " ".join(picture.name for picture in run.inputs),
        "pictures_sha256": " ".join(picture.sha256 for picture in run.inputs),
        "parameters": json.dumps(dict(run.parameters), sort_keys=True),
        **{_column(metric): metric.value for metric in run.metrics if metric.step is None},
    }


def _column(metric: MetricRecord) -> str:
    return f"{metric.name} ({metric.unit})" if metric.unit else metric.name


@st.dialog("Delete runs")
def _confirm_delete(run_ids: list[str]) -> None:
    n = len(run_ids)
    st.write(
        f"Delete {n} run{'s' if n > 1 else ''} with {'their' if n > 1 else 'its'} metrics and pictures? "
        "This cannot be undone."
    )
    with st.container(horizontal=True):
        if st.button("Delete", type="primary", icon=":material/delete:"):
            store().delete(run_ids, visitor())
            st.rerun()
        if st.button("Keep"):
            st.rerun()


def details(summary: RunSummary) -> None:
    """Draw everything about one run."""
    run = store().run(summary.id, visitor())
    st.subheader(f"Run {run.id}", anchor=False)
    if run.error_message:
        st.error(f"{plain(run.error_class)}: {plain(run.error_message)}", icon=":material/error:")
    picture, facts, numbers = st.columns([1, 2, 2], gap="medium")
    with picture:
        for item in run.inputs:
            st.image(item.thumbnail, caption=f"{plain(item.name)}, {item.width} x {item.height}")
            if not item.kept:
                st.caption("Only the digest and this thumbnail were kept.")
    with facts:
        st.markdown("**What ran**")
        _pairs(
            {
                "Time": local_time(run.time),
                "Model": run.model_id,
                "Revision": run.model_revision or MISSING,
                "Duration": milliseconds(run.duration_ms),
                **{f"{k}": json.dumps(v) for k, v in run.parameters.items()},
            }
        )
    with numbers:
        st.markdown("**Measured**")
        _pairs(
            {m.name: f"{m.value:.4g} {m.unit}" for m in run.metrics if m.step is None} or {"Metrics": MISSING}
        )
        st.markdown("**Ran on**")
        env = run.environment
        versions = ", ".join(f"{k} {v}" for k, v in env.versions.items())
        _pairs({"Device": f"{env.device}, {env.device_name}", "Precision": env.dtype, "Versions": versions})
    _note(run)


def _pairs(values: dict[str, str]) -> None:
    st.markdown("  \n".join(f"{plain(name)}: {plain(value)}" for name, value in values.items()))


def _note(run: RunRecord) -> None:
    with st.form(f"note_{run.id}", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
        tags = st.text_input("Tags", " ".join(run.tags), placeholder="words, separated by spaces")
        note = st.text_input("Note", run.note)
        if st.form_submit_button("Save"):
            store().annotate(run.id, visitor(), tags=tags.split(), note=note)
            st.rerun()
