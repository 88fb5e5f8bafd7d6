"""The report page: what will be in a report, making it, taking it away; each visitor's own runs only."""

import io
import json
from urllib.parse import parse_qs

import pypdf
import pytest

from core.runs import LOCAL_OWNER
from db import Store
from tests.pages.conftest import Visit
from tests.support.runs import draft


@pytest.fixture
def measured(store: Store) -> Store:
    """Twelve runs of this machine's own person on two models, and one of somebody else."""
    for i in range(12):
        store.record(draft(owner=LOCAL_OWNER, model_id=f"vit_{i % 2}", duration_ms=10.0 + i))
    store.record(draft(owner="somebody", model_id="strange_model"))
    return store


def test_an_empty_store_says_so_and_makes_nothing(visit: Visit) -> None:
    session = visit("report")
    assert not session.exception
    assert "Nothing has run yet" in session.info[0].value
    assert session.button(key="report_make").disabled


def test_a_report_is_made_and_taken_away_of_own_runs_only(visit: Visit, measured: Store) -> None:
    session = visit("report")
    assert "12 runs" in " ".join(text.value for text in session.markdown)
    assert "strange_model" not in json.dumps([text.value for text in session.caption])
    session.button(key="report_make").click().run()
    assert not session.exception
    assert "PDF, " in session.success[0].value
    made = session.session_state["report_made"]
    words = "".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(made.data)).pages)
    assert "vit_0" in words
    assert "strange_model" not in words
    session.run()
    assert session.success  # a rerun keeps it
    session.multiselect(key="report_model").set_value(["vit_1"]).run()
    assert not session.success
    assert any("choices have changed" in text.value for text in session.caption)
    assert "6 runs" in " ".join(text.value for text in session.markdown)
    session.multiselect(key="report_kind").set_value(["attention"]).run()
    assert not session.info


def test_a_link_asks_for_a_report(visit: Visit, measured: Store) -> None:
    session = visit("report", report_form="HTML", report_model="vit_1")
    session.button(key="report_make").click().run()
    assert session.session_state["report_made"].data.startswith(b"<!doctype html>")
    assert session.session_state["report_made"].name.endswith(".html")


def test_no_section_is_an_error_with_its_remedy(visit: Visit, measured: Store) -> None:
    session = visit("report")
    session.pills(key="report_sections").set_value([]).run()
    assert "no section" in session.error[0].value
    assert not session.exception


def test_days_of_a_persons_choice(visit: Visit, measured: Store) -> None:
    session = visit("report")
    session.selectbox(key="report_period").set_value("Days of my choice").run()
    assert not session.exception
    assert "12 runs" in " ".join(text.value for text in session.markdown)


def test_the_history_hands_its_whole_filter_over(visit: Visit, store: Store) -> None:
    wanted = {"kind": "vlm", "model_id": "a/x, the first", "status": "failed", "error_class": "timeout"}
    said = {"parameters": {"prompt": "Where is the zebra?"}, "tags": ["a+b & c"], "duration_ms": 50.0}
    others = [
        {"model_id": "b/y"},
        {"kind": "attention"},
        {"error_class": "blocked"},
        {"parameters": {"prompt": "Where is the horse?"}},
        {"tags": []},
        {"duration_ms": 500.0},
    ]
    for changes in ({}, *others):
        store.record(draft(owner=LOCAL_OWNER, **(wanted | said | changes)))
    address = {"kind": "vlm", "model": "a/x, the first", "status": "failed", "outcome": "timeout"}
    address |= {"q": "zebra", "tag": "a+b & c", "period": "day", "tz": "Asia/Seoul", "at_high": "100.0"}
    history = visit("history", **address)
    (link,) = [one.proto for one in history.get("page_link") if one.proto.label == "Make a report"]
    assert not link.disabled
    handed = {name: values[0] for name, values in parse_qs(link.query_string).items()}
    session = visit("report", **handed)
    assert not session.exception and not session.error
    words = " ".join(text.value for text in [*session.markdown, *session.caption])
    assert "**1 run**" in words and "Asia/Seoul" in words
    assert session.selectbox(key="report_period").value == "As in the history"
    session.segmented_control(key="report_form").set_value("HTML").run()
    session.button(key="report_make").click().run()
    document = session.session_state["report_made"].data.decode()
    assert "a+b &amp; c" in document and "less than 100 ms" in document and "zebra" in document
    assert "--statuses failed --outcomes timeout" in document
    session.multiselect(key="report_tag").set_value([]).run()
    assert "**2 runs**" in " ".join(text.value for text in session.markdown)


def test_a_filter_of_what_nobody_ran_stays_and_says_so(visit: Visit, measured: Store) -> None:
    session = visit("report", report_model="gone/model", report_device="no device", report_from="yesterday")
    assert session.multiselect(key="report_model").value == ["gone/model"]
    assert session.multiselect(key="report_device").value == ["no device"]
    assert "No run fits" in session.info[0].value
    assert session.selectbox(key="report_period").value == "All time"


def test_deleted_runs_make_no_report(visit: Visit, measured: Store) -> None:
    session = visit("history", deleted="yes")
    (link,) = [one.proto for one in session.get("page_link") if one.proto.label == "Make a report"]
    assert link.disabled and "restore them first" in link.help
