"""History: what is filtered is what is counted, charted, listed, compared, deleted; the address says it."""

import re
import sqlite3
from datetime import timedelta

import pytest
from streamlit.testing.v1 import AppTest

from core.environment import describe_environment
from core.runs import LOCAL_OWNER, Metric, RunDraft, RunInput
from core.samples import load_sample
from core.settings import settings
from db import RunFilter, Store
from pages.ui.history_view import CHARTS
from tests.pages.conftest import Visit, figures

MARKUP = "<img src=x onerror=alert(1)> '); DROP TABLE run; -- \u202etxt"


def draft(model: str, **changes: object) -> RunDraft:
    values = {"duration_ms": 10.0, "metrics": [Metric("model_ms", 9.5, "ms")], "status": "ok"} | changes
    return RunDraft(
        kind=str(values.pop("kind", "attention")),
        model_id=model,
        model_revision="r1",
        environment=describe_environment("cpu", "float32"),
        owner=str(values.pop("owner", LOCAL_OWNER)),
        parameters=values.pop("parameters", {"fit": "whole", "layer": 2}),  # type: ignore[arg-type]
        inputs=[RunInput("picture", load_sample("coffee"))],
        **values,  # type: ignore[arg-type]
    )


@pytest.fixture
def runs(store: Store) -> list[str]:
    """Return the ids of five runs of two models, one of them failed, and one by somebody else."""
    drafts = [
        draft("a/fast", duration_ms=10.0),
        draft("a/fast", duration_ms=30.0, parameters={"fit": "whole", "layer": 7}),
        draft("a/fast", status="failed", error_class="timeout", error_message="It *broke*."),
        draft("b/slow", duration_ms=500.0, kind="vlm", parameters={"prompt": "Where is the zebra?"}),
        draft("b/slow", duration_ms=700.0, note="look, a comma", tags=["good"]),
        draft("c/strange", owner="visitor-x"),
    ]
    return [store.record(d) for d in drafts]


def listed(session: AppTest) -> list[str]:
    """Return the ids in the list of runs."""
    return list(next(frame.value for frame in session.dataframe if "id" in frame.value)["id"])


def written(session: AppTest) -> str:
    """Return all that is written on the page."""
    parts = [*session.markdown, *session.caption, *session.info, *session.warning, *session.error]
    return "\n".join(str(part.value) for part in [*parts, *session.subheader])


def test_an_empty_history_says_where_to_start(visit: Visit) -> None:
    session = visit("history")
    assert not session.exception
    assert "Nothing has run yet" in session.info[0].value
    assert not session.dataframe


def test_list_and_chart_show_the_visitor_s_own_runs(visit: Visit, runs: list[str]) -> None:
    session = visit("history")
    assert not session.exception
    assert listed(session) == sorted(runs[:5], reverse=True)
    assert "**5 runs**" in written(session)
    (chart,) = figures(session)
    assert {trace["name"] for trace in chart["data"] if trace.get("name")} == {"a/fast", "b/slow"}


ADDRESSES = (
    ({"model": "a/fast", "status": "failed"}, [2]),
    ({"outcome": "timeout"}, [2]),
    ({"kind": "vlm"}, [3]),
    ({"tag": "good"}, [4]),
    ({"q": "ZEBRA where"}, [3]),
    ({"q": "comma"}, [4]),
    ({"sort": "duration", "down": "no", "status": "ok"}, [0, 1, 3, 4]),
    ({"at_model": "a/fast", "at_outcome": "ok", "at_low": "20.0", "at_high": "40.0"}, [1]),
)


def test_the_address_filters_and_orders(visit: Visit, runs: list[str]) -> None:
    session = visit("history")
    for address, wanted in ADDRESSES:
        session.query_params.clear()
        session.query_params.update(address)
        session.run()
        assert not session.exception
        assert listed(session) == [runs[i] for i in wanted], address


def test_a_widget_writes_its_choice_into_the_address_and_back(visit: Visit, runs: list[str]) -> None:
    session = visit("history", at_model="a/fast")
    session.session_state["history_more"] = True
    session.run()
    session.multiselect(key="history_model").set_value(["b/slow"]).run()
    assert session.query_params["model"] == "b/slow"
    assert "at_model" not in session.query_params  # the clicked point hung on the earlier chart
    assert listed(session) == [runs[4], runs[3]]
    session.text_input(key="history_q").set_value(" zebra ").run()
    assert session.query_params["q"] == "zebra"
    assert listed(session) == [runs[3]]
    session.button(key="history_clear").click().run()
    assert not session.query_params
    assert session.multiselect(key="history_model").value == []
    assert len(listed(session)) == 5


def test_facets_say_how_many_runs_each_value_would_show(visit: Visit, runs: list[str]) -> None:
    session = visit("history", status="failed", model="gone/model")
    session.session_state["history_more"] = True
    session.run()
    assert session.multiselect(key="history_model").options == ["a/fast (1)", "gone/model (0)"]
    assert session.multiselect(key="history_model").value == ["gone/model"]
    assert "No run fits these filters" in session.info[0].value


def test_a_filter_that_fits_nothing_can_be_cleared(visit: Visit, runs: list[str], store: Store) -> None:
    session = visit("history", first="1999-01-01", last="1999-01-02", period="dates")
    assert "No run fits" in session.info[0].value
    session.button(key="history_clear").click().run()
    assert not session.exception
    assert len(listed(session)) == 5


def test_each_chart_has_a_question_and_its_numbers_and_only_it_is_drawn(visit: Visit, store: Store) -> None:
    for model, score in (("a/x", 0.5), ("b/y", 0.7)):
        store.record(
            draft(model, kind="vlm", metrics=[Metric("score_f1", score), Metric("cost_usd", 0.25, "USD")])
        )
    for seconds in (1.0, 2.0):
        store.record(draft("c/z", status="failed", error_class="timeout", duration_ms=seconds * 1000))
    session = visit("history", kind="vlm")
    for chart in CHARTS:
        session.query_params["kind"] = "attention" if chart == "failures" else "vlm"
        session.query_params["chart"] = chart
        session.session_state[f"history_{chart}_numbers"] = True
        session.run()
        assert not session.exception
        assert len(figures(session)) == 1
        assert any("?" in text.value for text in session.markdown)
        table = next(frame.value for frame in session.dataframe if "id" not in frame.value)
        assert len(table) == (1 if chart in ("calendar", "failures") else 2), chart


def test_a_chart_without_numbers_says_so(visit: Visit, runs: list[str]) -> None:
    session = visit("history")
    for chart in ("pareto", "cost", "failures"):
        session.query_params["chart"] = chart
        session.query_params["status"] = "ok"
        session.run()
        assert not session.exception
        assert not figures(session)
        assert "No run of this selection" in session.info[0].value


def test_the_view_comes_back_with_the_page(visit: Visit, runs: list[str]) -> None:
    session = visit("history", model="a/fast", chart="outcomes")
    session.switch_page("pages/overview.py").run()
    session.query_params.clear()
    session.switch_page("pages/history.py").run()
    assert session.query_params["model"] == "a/fast"
    assert len(listed(session)) == 3


def test_times_are_those_of_the_chosen_zone(visit: Visit, store: Store) -> None:
    run_id = store.record(draft("a/x"))
    at = store.run(run_id, LOCAL_OWNER).time
    session = visit("history", run=run_id)
    for zone, hours in (("Asia/Seoul", 9), ("UTC", 0)):
        session.query_params["tz"] = zone
        session.run()
        frame = next(frame.value for frame in session.dataframe if "id" in frame.value)
        assert frame["time"][0] == (at + timedelta(hours=hours)).replace(tzinfo=None)
        assert f"{at + timedelta(hours=hours):%Y\\-%m\\-%d %H\\:%M}" in written(session)


def test_one_run_is_shown_whole(visit: Visit, runs: list[str]) -> None:
    session = visit("history", run=runs[2])
    assert not session.exception
    text = written(session)
    assert f"Run {runs[2]}" in text
    assert "No answer in time: It \\*broke\\*\\." in text
    assert "layer: 2" in text


def test_a_comparison_shows_only_what_differs(visit: Visit, runs: list[str]) -> None:
    session = visit("history")
    session.query_params["compare"] = [runs[0], runs[1], runs[5], "nonsense"]
    session.run()
    assert not session.exception
    assert "2 of the runs in this address are not here" in written(session)
    table = session.dataframe[-1].value
    facts = dict(zip(table["fact"], zip(table["1"], table["2"], strict=True), strict=True))
    assert facts["layer"] == ("2", "7")
    assert "fit" not in facts
    session.toggle(key="history_alike").set_value(True).run()
    assert "fit" in list(session.dataframe[-1].value["fact"])


def test_a_deleted_run_is_gone_everywhere_and_can_be_restored(
    visit: Visit, runs: list[str], store: Store
) -> None:
    store.trash([runs[0]], LOCAL_OWNER)
    session = visit("history", run=runs[0])
    assert runs[0] not in listed(session)
    assert "was deleted" in written(session)
    inside = visit("history", deleted="yes")
    assert listed(inside) == [runs[0]]
    assert not figures(inside)
    next(button for button in session.button if button.label == "Restore this run").click().run()
    assert runs[0] in listed(session)
    assert store.count(RunFilter(deleted=True)) == 0


def test_an_address_of_no_run_says_so_and_the_rest_works(visit: Visit, runs: list[str]) -> None:
    session = visit("history")
    for run_id in ("01ARZ3NDEKTSV4RRFFQ69G5FAV", "' OR 1=1 --", "\x00"):
        session.query_params["run"] = run_id
        session.run()
        assert not session.exception
        assert "names a run that is not here" in written(session)
        assert len(listed(session)) == 5


def test_nobody_sees_what_somebody_else_ran(visit: Visit, runs: list[str]) -> None:
    session = visit("history", run=runs[5], model="c/strange")
    assert "names a run that is not here" in written(session)
    assert "No run fits" in written(session)


def test_what_strangers_wrote_is_letters_everywhere(visit: Visit, store: Store) -> None:
    run_id = store.record(
        draft(
            MARKUP,
            status="failed",
            error_class=MARKUP,
            error_message=MARKUP,
            note=MARKUP,
            tags=[MARKUP],
            parameters={"prompt": MARKUP},
        )
    )
    session = visit(
        "history", run=run_id, model=MARKUP, tag=MARKUP, outcome=MARKUP, q="img", chart="outcomes"
    )
    session.session_state["history_more"] = True
    session.run()
    assert not session.exception
    assert listed(session) == [run_id]
    assert not re.search(r"(?<!\\)<img", written(session))
    assert "\u202e" not in written(session)
    (chart,) = figures(session)
    names = [trace["name"] for trace in chart["data"]] + [a["text"] for a in chart["layout"]["annotations"]]
    assert all("<img" not in name for name in names)
    assert store.count(RunFilter()) == 1


def test_a_store_that_cannot_be_read_says_so(visit: Visit, runs: list[str]) -> None:
    path = settings().database_url.removeprefix("sqlite:///")
    session = visit("history")
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE run_tag")
    session.run()
    assert not session.exception
    assert session.error


def test_a_view_is_kept_by_its_name_opened_again_and_deleted(
    visit: Visit, runs: list[str], store: Store
) -> None:
    session = visit("history", kind="vlm", q="zebra", chart="outcomes", run=runs[3])
    session.session_state["history_saved"] = True
    session.run()
    assert "None yet." in written(session)
    name = next(one for one in session.text_input if one.label == "Name of this view" and not one.key)
    name.set_value("*odd* <b>")
    keep = next(one for one in session.button if one.label == "Keep this view")
    keep.click().run()
    assert not session.exception and not [one.value for one in session.error]
    assert session.query_params["name"] == "*odd* <b>"
    (kept,) = store.views(LOCAL_OWNER)
    assert (kept.name, "run" in kept.address) == ("*odd* <b>", False)
    session.button(key="history_clear").click().run()
    assert len(listed(session)) == 5
    session.session_state["history_saved"] = True
    session.run()
    assert session.button(key="history_saved_0_open").label == r"\*odd\* \<b\>"
    session.button(key="history_saved_0_open").click().run()
    assert listed(session) == [runs[3]]
    assert (session.query_params["q"], session.query_params["chart"]) == ("zebra", "outcomes")
    session.session_state["history_saved"] = True
    session.run()
    session.button(key="history_saved_0_delete").click().run()
    assert store.views(LOCAL_OWNER) == () and not session.exception


def test_a_view_without_a_name_is_not_kept_and_nobody_sees_those_of_others(
    visit: Visit, runs: list[str], store: Store
) -> None:
    store.keep_view("visitor-x", "theirs", "q=zebra")
    session = visit("history")
    session.session_state["history_saved"] = True
    session.run()
    assert not [one for one in session.button if one.key and one.key.startswith("history_saved_0")]
    next(one for one in session.button if one.label == "Keep this view").click().run()
    assert "A view needs a name" in session.error[0].value.replace("\\", "") and not session.exception
    assert store.views(LOCAL_OWNER) == ()
