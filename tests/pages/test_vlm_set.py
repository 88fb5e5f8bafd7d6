"""Data-set runs on the page, against the loopback server and the real store."""

import csv
import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.runs import LOCAL_OWNER
from core.scenes import generate_scene
from core.settings import settings
from core.vlm.addresses import Addresses
from core.vlm.datasets import scene_items
from core.vlm.keys import Keys
from core.vlm.setrun.plan import Plan
from core.vlm.setrun.results import METRICS, lines, read_rows
from core.vlm.setrun.run import SetRun
from core.vlm.workflow import Providers
from db import RunFilter, Store
from pages.ui.session import live_runs
from pages.ui.vlm_set_files import results_csv, results_json
from tests.pages.conftest import Visit, figures
from tests.pages.test_vlm import words_of
from tests.support.vlm_server import HOSTILE, VlmServer
from tests.support.vlm_server.truths import teach_items

PAGE = "vlm_head_to_head"
SETS, CALLS = RunFilter(kinds=("vlm-set",)), RunFilter(kinds=("vlm",))
PATIENCE_S = 60
ALL_TASKS = "vlm_set_tasks_caption_question_ocr_objects_free"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[VlmServer]:
    """The loopback server, and no model on this machine."""
    with VlmServer() as running:
        monkeypatch.setenv("VISION_BENCH_LOOPBACK_URL", running.url)
        monkeypatch.setenv("VISION_BENCH_CHECKPOINTS", str(tmp_path / "none"))
        settings.cache_clear()
        yield running
        for owner in {live.owner for live in live_runs()._held.values()}:
            for live in live_runs().of(owner):
                live.run.cancel()
                live.wait(PATIENCE_S)


def planned(visit: Visit, *models: str, count: int = 4, tasks: tuple[str, ...] = ("question",)) -> AppTest:
    """Open the view and fill in a run over fresh scenes."""
    session = visit(PAGE)
    session.session_state["vlm_view"] = "Data set"
    session.session_state["vlm_set_models"] = list(models)
    session.session_state["vlm_set_count"] = count
    session.session_state[ALL_TASKS] = list(tasks)
    return session.run()


def started(session: AppTest) -> str:
    """Press Start and return the run's id."""
    session.button(key="vlm_set_start").click().run()
    assert not session.exception and not session.error
    return session.query_params["run"]


def ended(session: AppTest, set_id: str, owner: str = LOCAL_OWNER) -> AppTest:
    """Wait for the end of a run and draw the page anew."""
    live = live_runs().find(set_id, owner)
    assert live is not None
    live.wait(PATIENCE_S)
    assert not live.is_alive
    return session.run()


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def numbers(session: AppTest) -> dict[str, str]:
    """Return what the page says of a run, by label."""
    return {metric.label: metric.value.replace("\\", "") for metric in session.metric}


def upload(session: AppTest, *files: tuple[str, bytes]) -> AppTest:
    session.session_state["vlm_set_source"] = "Upload"
    session.run()
    session.file_uploader(key="vlm_set_upload").set_value(
        [(name, data, "application/octet-stream") for name, data in files]
    )
    return session.run()


def png(seed: int) -> bytes:
    return generate_scene(seed).png()


def test_a_run_over_scenes_from_plan_to_results(visit: Visit, store: Store, server: VlmServer) -> None:
    teach_items(server, scene_items(12, 0))
    session = planned(visit, "openai/truth-1.0", "gemini/http-401", count=12)
    assert not session.exception and not session.error
    said = words_of(session).replace("\\", "")
    assert "24 calls" in said
    assert "No price for openai/truth-1.0, gemini/http-401" in said
    set_id = started(session)
    session = ended(session, set_id)
    assert not session.exception and not session.error
    assert numbers(session)["Done"] == "24 of 24"
    assert numbers(session)["Failed"] == "12"
    assert any(one.value == "Every call is done." for one in session.success)
    assert any(one.value.startswith("loopback server") for one in session.warning)
    right, wrong = session.dataframe[0].value.to_dict("records")
    assert (right["Answered"], right["Right"], right["Score"]) == (
        "12 of 12",
        "12 of 12",
        "Exact match 1.000",
    )
    assert (wrong["Answered"], wrong["Right"], wrong["Score"]) == ("0 of 12", "–", "–")
    assert right["Median time"].endswith("ms")
    assert right["90 % within"] == "– (52 more)"
    assert right["99 % within"] == "– (650 more)"
    assert right["Cost"] == "–"
    outcomes = figures(session)[0]
    assert [bar["name"] for bar in outcomes["data"]] == ["Answered", "The key was refused"]
    assert [bar["customdata"] for bar in outcomes["data"]] == [[12, 0], [0, 12]]
    assert store.count(CALLS) == 24
    assert len({(seen.model, seen.picture.digest) for seen in server.requests if seen.picture}) == 24


def test_filters_and_files_hold_the_same_lines(visit: Visit, store: Store, server: VlmServer) -> None:
    teach_items(server, scene_items(12, 0))
    session = planned(visit, "openai/truth-1.0", "openai/truth-0.5", count=12)
    session = ended(session, set_id := started(session))
    rows = read_rows(lambda after: store.set_results(set_id, None, metrics=METRICS, after=after))
    different = [line for line in lines(rows) if line.differs]
    assert 0 < len(different) < 12
    assert session.number_input(key="vlm_set_page_2").value == 1  # 12 lines are two pages
    session.session_state["vlm_set_show"] = "different"
    session.run()
    assert not session.exception
    said = words_of(session).replace("\\", "")
    assert f"{len(different)} of 12 questions" in said
    assert all(line.item in said for line in different[:10])
    table = list(csv.DictReader(io.StringIO(results_csv(different, store, LOCAL_OWNER).decode(), newline="")))
    listed = json.loads(results_json(different, store, LOCAL_OWNER))
    assert [row["run"] for row in table] == [row["run"] for row in listed]
    assert len(table) == 2 * len(different)
    assert {row["item"] for row in listed} == {line.item for line in different}
    assert all(row["loopback"] and row["references"] for row in listed)
    session.session_state["vlm_set_show"] = "failures"
    session.run()
    assert any("No question fits" in info.value for info in session.info)
    assert "truth-1.0 is better" in said or "Too few to tell" in said


def test_captions_have_a_score_of_the_set(visit: Visit, server: VlmServer) -> None:
    teach_items(server, scene_items(3, 0))
    session = planned(visit, "openai/truth-1.0", "openai/ok", count=3, tasks=("caption",))
    session = ended(session, started(session))
    assert not session.exception
    (said,) = (text.value.replace("\\", "") for text in session.markdown if "CIDEr-D" in text.value)
    assert "openai/truth-1.0 **10.00**" in said


def test_every_wrong_row_of_a_table_is_said(visit: Visit, server: VlmServer) -> None:
    table = b"image,task,reference\na.png,ocr,LAMP\nb.png,ocr,x\na.png,sing,x\n,ocr,x\n"
    session = upload(planned(visit, "openai/ok"), ("set.csv", table), ("a.png", png(1)))
    assert not session.exception
    (error,) = session.error
    said = error.value.replace("\\", "")
    assert "3 rows of set.csv cannot be used" in said
    assert "Row 3 of set.csv: there is no file 'b.png'" in said
    assert "Row 4 of set.csv: there is no task 'sing'" in said
    assert "Row 5 of set.csv: image is empty" in said
    assert not [button for button in session.button if button.key == "vlm_set_start"]


def test_an_uploaded_table_asks_its_own_tasks(visit: Visit, store: Store, server: VlmServer) -> None:
    table = b"id,image,task,reference\nfirst,pictures/a.png,ocr,LAMP\nsecond,b.png,caption,A star\n"
    session = upload(planned(visit, "openai/echo"), ("set.csv", table), ("a.png", png(1)), ("b.png", png(2)))
    assert not session.exception and not session.error
    session = ended(session, set_id := started(session))
    rows = store.set_results(set_id, None)
    assert {(row.item, row.task) for row in rows} == {("first", "ocr"), ("second", "caption")}
    run = store.run(next(row.run_id for row in rows if row.item == "first"), None)
    assert run.parameters["references"] == ["LAMP"]


def test_a_zip_is_a_data_set(visit: Visit, store: Store, server: VlmServer) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.png", png(1))
        archive.writestr("set.jsonl", json.dumps({"image": "a.png", "task": "ocr", "reference": "=1+1"}))
    session = upload(planned(visit, "openai/ok"), ("set.zip", buffer.getvalue()))
    assert not session.exception and not session.error
    session = ended(session, set_id := started(session))
    assert store.run(set_id, None).parameters["data"] == "set.zip"
    assert numbers(session)["Done"] == "1 of 1"


def test_a_folder_is_offered_to_the_own_machine_only(
    visit: Visit, server: VlmServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "a.png").write_bytes(png(1))
    session = planned(visit, "openai/ok", tasks=("ocr",))
    session.session_state["vlm_set_source"] = "Folder"
    session.run()
    session.text_input(key="vlm_set_path").set_value(str(folder)).run()
    assert not session.exception and not session.error
    assert "1 picture." in words_of(session).replace("\\", "")
    session.text_input(key="vlm_set_path").set_value("/nowhere").run()
    assert "There is no file or folder" in session.error[0].value
    monkeypatch.setenv("VISION_BENCH_ACCESS", "public")
    settings.cache_clear()
    other = planned(visit, "openai/ok")
    assert "Folder" not in repr([group.options for group in other.get("button_group")])


def test_a_budget_of_calls_ends_the_run_and_can_be_raised(
    visit: Visit, store: Store, server: VlmServer
) -> None:
    session = planned(visit, "openai/ok", count=6)
    session.number_input(key="vlm_set_calls").set_value(4).run()
    assert any("Only 4 of the 6 calls" in warning.value for warning in session.warning)
    session = ended(session, set_id := started(session))
    assert not session.exception
    assert any("The budget of 4 calls is used up" in info.value.replace("\\", "") for info in session.info)
    assert (numbers(session)["Done"], len(server.requests)) == ("4 of 6", 4)
    session.number_input(key=f"vlm_set_more_{set_id}_calls").set_value(6).run()
    session.button(key="vlm_set_resume").click().run()
    assert not session.exception and not session.error
    session = ended(session, set_id)
    assert numbers(session)["Done"] == "6 of 6"
    assert len(server.requests) == 6


def test_money_alone_cannot_bind_an_unknown_price(visit: Visit, store: Store, server: VlmServer) -> None:
    session = planned(visit, "openai/ok")
    session.number_input(key="vlm_set_calls").set_value(None).run()
    session.button(key="vlm_set_start").click().run()
    assert not session.exception
    assert "is unknown" in session.error[0].value
    assert store.count(SETS) == 0
    assert server.requests == ()


def test_pause_go_on_and_cancel(visit: Visit, store: Store, server: VlmServer) -> None:
    session = planned(visit, "openai/delay-2000", count=200)
    set_id = started(session)
    live = live_runs().find(set_id, LOCAL_OWNER)
    assert live is not None
    until(lambda: live.progress.done >= 2)
    session.button(key="vlm_set_pause").click().run()
    assert not session.exception
    until(lambda: live.progress.under_way == 0)
    time.sleep(0.3)
    asked = len(server.requests)
    time.sleep(0.7)
    assert len(server.requests) == asked < 200
    other = visit(PAGE, run=set_id)  # another tab of the same person finds it, and goes on with it
    assert not other.exception
    other.button(key="vlm_set_go_on").click().run()
    until(lambda: live.progress.done > asked)
    other.button(key="vlm_set_cancel").click().run()
    session = ended(session, set_id)
    assert not session.exception
    assert any("cancelled" in info.value for info in session.info)
    assert store.run(set_id, None).status == "cancelled"
    session.button(key="vlm_set_new").click().run()
    assert not session.exception
    assert "run" not in session.query_params
    assert [button for button in session.button if button.key == "vlm_set_start"]


def interrupted(store: Store, server: VlmServer, count: int = 5) -> str:
    """Return a run over scenes as a killed process leaves it."""
    plan = Plan(scene_items(count, 0), ("openai/ok",), ("question",), budget_calls=2, concurrency=1)
    with Providers(Keys(), Addresses(loopback=server.url)) as providers:
        run = SetRun.begin(plan, providers=providers, ledger=store, owner=LOCAL_OWNER)
        run.work()
    store.reopen(run.set_id, LOCAL_OWNER)
    store.claim_calls(run.set_id, 1)
    store.finish(
        run.set_id,
        status="failed",
        duration_ms=None,
        error_class="Interrupted",
        error_message="The process ended.",
    )
    return run.set_id


def test_an_interrupted_run_resumes_and_asks_nothing_twice(
    visit: Visit, store: Store, server: VlmServer
) -> None:
    set_id = interrupted(store, server)
    server.reset()
    session = visit(PAGE, run=set_id)
    assert not session.exception
    assert any("The app ended while this run was under way" in one.value for one in session.warning)
    session.number_input(key=f"vlm_set_more_{set_id}_calls").set_value(50).run()
    session.button(key="vlm_set_resume").click().run()
    assert not session.exception and not session.error
    session = ended(session, set_id)
    assert numbers(session)["Done"] == "5 of 5"
    assert len(server.requests) == 3
    assert len({row.item for row in store.set_results(set_id, None)}) == 5


def test_an_upload_is_asked_for_again_after_a_restart(visit: Visit, store: Store, server: VlmServer) -> None:
    import streamlit

    files = (("a.png", png(1)), ("b.png", png(2)))
    session = upload(planned(visit, "openai/ok", tasks=("ocr",)), *files)
    session.session_state[ALL_TASKS] = ["ocr"]
    session.number_input(key="vlm_set_calls").set_value(1).run()
    set_id = started(session)
    ended(session, set_id)
    streamlit.cache_resource.clear()  # a new process knows the store alone
    session = visit(PAGE, run=set_id)
    assert not session.exception
    assert session.button(key="vlm_set_resume").disabled
    again = session.file_uploader(key="vlm_set_again")
    again.set_value([(name, data, "image/png") for name, data in files[:1]]).run()
    assert any("another data set" in warning.value for warning in session.warning)
    again = session.file_uploader(key="vlm_set_again")
    again.set_value([(name, data, "image/png") for name, data in files]).run()
    session.number_input(key=f"vlm_set_more_{set_id}_calls").set_value(2).run()
    session.button(key="vlm_set_resume").click().run()
    assert not session.exception and not session.error
    session = ended(session, set_id)
    assert numbers(session)["Done"] == "2 of 2"
    assert len(server.requests) == 2


def test_two_visitors_do_not_see_each_others_runs(
    visit: Visit, store: Store, server: VlmServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISION_BENCH_ACCESS", "public")
    settings.cache_clear()
    alice = planned(visit, "openai/ok", count=2)
    set_id = started(alice)
    owner = store.run(set_id, None).owner
    ended(alice, set_id, owner)
    assert numbers(alice)["Done"] == "2 of 2"
    bob = visit(PAGE, run=set_id)
    assert not bob.exception
    assert bob.error
    assert not bob.metric
    bob = planned(visit, "openai/ok")
    assert any("None yet" in caption.value for caption in bob.caption)
    assert live_runs().find(set_id, "visitor-other") is None
    assert live_runs().find(set_id, owner) is not None


def test_hostile_text_is_shown_letter_by_letter(visit: Visit, store: Store, server: VlmServer) -> None:
    item = "<b>x</b> ![i](http://127.0.0.1:9/a.png) \u202egnp :red[y]"
    rows = io.StringIO(newline="")
    csv.writer(rows).writerows(
        [["id", "image", "task", "reference"], [item, "a.png", "ocr", "=HYPERLINK(1) <script> [a](b)"]]
    )
    session = upload(
        planned(visit, "openai/hostile", "openai/formula"),
        ("=set.csv", rows.getvalue().encode()),
        ("a.png", png(1)),
    )
    assert not session.exception and not session.error
    session = ended(session, set_id := started(session))
    assert not session.exception
    for element in [*session.markdown, *session.caption]:
        assert "![i](" not in element.value
        assert "[a](b)" not in element.value
        assert "<script>" not in element.value and "<b>" not in element.value
        assert "\u202e" not in element.value
        assert not element.proto.allow_html
    for text in session.text:
        assert not any(ord(letter) < 32 and letter not in "\n\t" for letter in text.value)
        assert "\u202e" not in text.value
    found = lines(read_rows(lambda after: store.set_results(set_id, None, metrics=METRICS, after=after)))
    table = list(csv.DictReader(io.StringIO(results_csv(found, store, LOCAL_OWNER).decode(), newline="")))
    assert not any(cell[:1] in tuple("=+-@\t\r") for row in table for cell in row.values() if cell)
    listed = json.loads(results_json(found, store, LOCAL_OWNER))
    assert next(row for row in listed if "hostile" in row["model"])["answer"].startswith(HOSTILE[0].strip())


def test_a_call_and_its_set_open_by_their_addresses(visit: Visit, store: Store, server: VlmServer) -> None:
    session = planned(visit, "openai/ok", "gemini/ok", count=2)
    session = ended(session, set_id := started(session))
    server.reset()
    again = visit(PAGE, run=set_id)
    assert not again.exception and not again.error
    assert again.session_state["vlm_view"] == "Data set"
    assert numbers(again)["Done"] == "4 of 4"
    run_id = store.set_results(set_id, None)[0].run_id
    one = visit(PAGE, run=run_id)
    assert not one.exception and not one.error
    assert one.session_state["vlm_view"] == "Compare"
    assert server.requests == ()
    listed = visit("history", kind="vlm-set")
    assert not listed.exception
