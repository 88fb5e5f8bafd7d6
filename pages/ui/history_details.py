"""One run, whole: what ran, what it measured, on what it ran, and what a person says about it."""

from __future__ import annotations

import json
from collections.abc import Mapping

import streamlit as st

from db.errors import RunDeletedError, RunNotFoundError
from db.records import ArtifactRecord, RunRecord
from pages.ui.history_actions import DAYS_KEPT
from pages.ui.history_state import PAGE, change, zone
from pages.ui.history_view import HistoryView
from pages.ui.history_words import outcome_words
from pages.ui.runs import PAGES
from pages.ui.session import store, visitor
from pages.ui.text import MISSING, local_time, megabytes, milliseconds, plain

LONGEST_VALUE = 1_000
"""Characters of a parameter that are shown; the export has all."""
MOST_METRICS = 60


def details(view: HistoryView) -> None:
    """Draw everything about the run in the address, or why it cannot be shown."""
    try:
        run = store().run(view.run, visitor())
    except RunDeletedError as error:
        st.warning(f"{plain(error.message)} It is kept for {DAYS_KEPT} days.", icon=":material/delete:")
        if st.button("Restore this run", icon=":material/restore_from_trash:"):
            store().restore([view.run], visitor())
            st.rerun()
        return
    except RunNotFoundError:
        st.warning(
            "This address names a run that is not here: it was deleted for good, or it is somebody else's.",
            icon=":material/link_off:",
        )
        st.button("Close", on_click=change, kwargs={"run": ""}, key=f"{PAGE}_close_missing")
        return
    _head(run)
    picture, facts, numbers = st.columns([1, 2, 2], gap="medium")
    with picture:
        _pictures(run)
    with facts:
        _facts(run, view)
    with numbers:
        _measured(run)
    _files(run.artifacts, run.id)
    _note(run)


def _head(run: RunRecord) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key=f"{PAGE}_run_head"):
        st.subheader(f"Run {run.id}", anchor=False, width="content")
        if run.kind in PAGES:
            st.page_link(
                PAGES[run.kind],
                label="Open on its page",
                icon=":material/open_in_new:",
                query_params={"run": run.id},
            )
        st.button("Close", icon=":material/close:", on_click=change, kwargs={"run": ""}, key=f"{PAGE}_close")
    if run.error_message or run.error_class:
        st.error(
            f"{plain(outcome_words(run.error_class))}: {plain(run.error_message)}", icon=":material/error:"
        )


def _pictures(run: RunRecord) -> None:
    for item in run.inputs:
        st.image(item.thumbnail, caption=f"{plain(item.name)}, {item.width} x {item.height}")
        if not item.kept:
            st.caption("Only the digest and this thumbnail were kept.")


def _facts(run: RunRecord, view: HistoryView) -> None:
    st.markdown("**What ran**")
    _pairs(
        {
            "Time": local_time(run.time, zone(view)),
            "Model": run.model_id,
            "Revision": run.model_revision or MISSING,
            "Outcome": outcome_words(run.error_class if run.status == "failed" else run.status),
            "Duration": milliseconds(run.duration_ms),
            **{name: _value(value) for name, value in run.parameters.items()},
        }
    )


def _value(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def _measured(run: RunRecord) -> None:
    whole = [metric for metric in run.metrics if metric.step is None]
    st.markdown("**Measured**")
    _pairs({m.name: f"{m.value:.4g} {m.unit}" for m in whole[:MOST_METRICS]} or {"Metrics": MISSING})
    if len(whole) > MOST_METRICS:
        st.caption(f"{len(whole) - MOST_METRICS} more are in the export.")
    env = run.environment
    versions = ", ".join(f"{name} {version}" for name, version in env.versions.items())
    st.markdown("**Ran on**")
    _pairs({"Device": f"{env.device}, {env.device_name}", "Precision": env.dtype, "Versions": versions})


def _pairs(values: Mapping[str, str]) -> None:
    lines = (f"{plain(name)}: {plain(value)}".replace("\n", " ") for name, value in values.items())
    st.markdown("  \n".join(lines))


def _files(artifacts: tuple[ArtifactRecord, ...], run_id: str) -> None:
    if not artifacts:
        return
    with st.expander(
        f"{len(artifacts)} file{'' if len(artifacts) == 1 else 's'}", icon=":material/attach_file:"
    ):
        for artifact in artifacts:
            st.markdown(
                f"{plain(artifact.name)} · {plain(artifact.media_type)} · {megabytes(artifact.size / 1e6)}"
            )
        st.caption(f"They are read with the run's id: `{run_id}`.")


def _note(run: RunRecord) -> None:
    if run.owner != visitor():
        return
    with st.form(f"note_{run.id}", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
        tags = st.text_input("Tags", " ".join(run.tags), placeholder="words, separated by spaces")
        note = st.text_input("Note", run.note)
        if st.form_submit_button("Save"):
            store().annotate(run.id, visitor(), tags=tags.split(), note=note)
            st.rerun()
