"""History: what is filtered is what is counted, charted, listed, exported and deleted."""

import csv
import io
import sqlite3
from datetime import timedelta

import pytest

from core.environment import describe_environment
from core.runs import LOCAL_OWNER, Metric, RunDraft, RunInput
from core.samples import load_sample
from core.settings import settings
from db import RunFilter, Store
from pages.ui.history import runs_csv
from tests.pages.conftest import Visit, figures


def draft(model: str, **changes: object) -> RunDraft:
    values = {"duration_ms": 10.0, "metrics": [Metric("model_ms", 9.5, "ms")], "status": "ok"} | changes
    return RunDraft(
        kind=str(values.pop("kind", "attention")),
        model_id=model,
        model_revision="r1",
        environment=describe_environment("cpu", "float32"),
        owner=str(values.pop("owner", LOCAL_OWNER)),
        parameters={"fit": "whole", "layer": 2},
        inputs=[RunInput("picture", load_sample("coffee"))],
        **values,  # type: ignore[arg-type]
    )


@pytest.fixture
def runs(store: Store) -> list[str]:
    """Return the ids of five runs of two models, one of them failed, and one by somebody else."""
    drafts = [
        draft("a/fast", duration_ms=10.0),
        draft("a/fast", duration_ms=30.0),
        draft("a/fast", status="failed", error_class="InputError", error_message="It *broke*."),
        draft("b/slow", duration_ms=500.0, kind="classification"),
        draft("b/slow", duration_ms=700.0, note="look, a comma"),
        draft("c/strange", owner="visitor-x"),
    ]
    return [store.record(d) for d in drafts]


def test_an_empty_history_says_where_to_start(visit: Visit) -> None:
    session = visit("history")
    assert not session.exception
    assert "Nothing has run yet" in session.info[0].value
    assert not session.dataframe


def test_list_and_charts_show_the_visitor_s_own_runs(visit: Visit, runs: list[str]) -> None:
    session = visit("history")
    assert not session.exception
    table = session.dataframe[-1].value
    assert set(table["id"]) == set(runs[:5])
    assert list(table["id"]) == sorted(runs[:5], reverse=True)
    activity, latency = figures(session)
    assert {trace["name"] for trace in activity["data"]} == {"a/fast", "b/slow"}
    medians = {trace["name"]: trace["y"] for trace in latency["data"]}
    assert [float(next(iter(values))) for values in _plain(medians)] == [20.0, 600.0]


def _plain(medians: dict[str, object]) -> list[list[float]]:
    from tests.pages.test_attention_maps import array

    return [list(array(medians[name])) for name in sorted(medians)]


def test_filters_come_from_the_address_and_narrow_everything(visit: Visit, runs: list[str]) -> None:
    session = visit("history", model="a/fast", status="failed")
    assert not session.exception
    assert list(session.dataframe[-1].value["id"]) == [runs[2]]
    assert any("1 run" in caption.value for caption in session.caption)


def test_a_filter_that_fits_nothing_can_be_cleared(visit: Visit, runs: list[str], store: Store) -> None:
    _age(store, days=40)
    session = visit("history")
    session.selectbox(key="period").set_value("Last week")
    session.run()
    assert "No run fits" in session.info[0].value
    session.button[0].click().run()
    assert not session.exception
    assert len(session.dataframe[-1].value) == 5


def _age(store: Store, days: int) -> None:
    """Move every run back in time, as if it had been made earlier."""
    path = settings().database_url.removeprefix("sqlite:///")
    with sqlite3.connect(path) as connection:
        connection.execute(
            "UPDATE run SET time = time - ?", (timedelta(days=days) // timedelta(milliseconds=1),)
        )


def test_the_export_is_exactly_what_is_filtered(store: Store, runs: list[str]) -> None:
    import pandas as pd

    frame = pd.read_csv(io.StringIO(runs_csv(store, RunFilter(owner=LOCAL_OWNER, models=("b/slow",)))))
    assert set(frame["id"]) == {runs[3], runs[4]}
    by_id = frame.set_index("id")
    assert by_id.loc[runs[4], "note"] == "look, a comma"
    assert by_id.loc[runs[3], "model_ms (ms)"] == 9.5
    assert by_id.loc[runs[3], "pictures"] == "coffee"


def test_nobody_writes_a_formula_or_turned_text_into_the_history(visit: Visit, store: Store) -> None:
    """Names and messages come from strangers."""
    trap = draft("=HYPERLINK(1)", status="failed", error_class="X", error_message="@SUM(1) \u202etxt")
    store.record(trap)
    (row,) = csv.DictReader(io.StringIO(runs_csv(store, RunFilter(owner=LOCAL_OWNER))))
    assert (row["model_id"], row["error_message"][:8]) == ("'=HYPERLINK(1)", "'@SUM(1)")
    session = visit("history")
    session.run()
    assert not session.exception
