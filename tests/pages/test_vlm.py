"""The head-to-head page against the loopback server: what it shows is what came, and what is stored."""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.scenes import generate_scene
from core.settings import settings
from core.vlm.tasks import truth_of
from db import RunFilter, Store
from pages.ui.vlm_files import answers_csv, answers_json
from pages.ui.vlm_handover import region
from pages.ui.vlm_state import Shown
from tests.conftest import skip_or_fail
from tests.pages.conftest import Visit
from tests.support.vlm_server import SENTENCE, SUCCESSOR, VlmServer, key_digest

PAGE = "vlm_head_to_head"
EVERY = RunFilter(kinds=("vlm",))
SHIPPED = Path("checkpoints")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[VlmServer]:
    """The loopback server, and no model on this machine: the page starts without an answer."""
    with VlmServer() as running:
        monkeypatch.setenv("VISION_BENCH_LOOPBACK_URL", running.url)
        monkeypatch.setenv("VISION_BENCH_CHECKPOINTS", str(tmp_path))
        settings.cache_clear()
        yield running


def ask(session: AppTest, *models: str, task: str = "free", prompt: str = "What is there?") -> AppTest:
    """Put a question to models, as a person does."""
    session.session_state["vlm_task"] = task
    session.session_state["vlm_models"] = list(models)
    session.run()
    session.text_area(key=f"vlm_prompt_{task}").set_value(prompt)
    session.run()
    session.button(key="vlm_ask").click()
    return session.run()


def words_of(session: AppTest) -> str:
    """Return every text that the page shows, its widgets' values aside."""
    kinds = ("markdown", "caption", "text", "error", "warning", "info", "success", "subheader", "code")
    return "\n".join(str(element.value) for kind in kinds for element in session.get(kind))


def type_key(session: AppTest, provider: str, key: str) -> AppTest:
    session.text_input(key=f"vlm_typed_{provider}").set_value(key)
    session.button(key=f"FormSubmitter:vlm_key_{provider}-Use").click()
    return session.run()


def test_the_first_view_is_the_small_captioner_against_the_large(visit: Visit, store: Store) -> None:
    if not (SHIPPED / "captioner-small.json").exists():
        skip_or_fail("the shipped captioners are not there")
    session = visit(PAGE)
    assert not session.exception and not session.error
    runs = [store.run(run.id, None) for run in store.runs(EVERY)]
    assert {run.model_id for run in runs} == {"shipped/captioner-small", "shipped/captioner-large"}
    assert {run.status for run in runs} == {"ok"}
    answers = {store.artifact(run.id, "answer.txt", None).decode() for run in runs}
    assert answers == {text.value for text in session.text}
    shapes = {item.shape for item in generate_scene(1).objects}
    assert all(set(run.parameters["references"]) == shapes for run in runs)
    assert session.query_params["run"] in {run.id for run in runs}


def test_answers_stand_side_by_side_and_another_model_is_said(
    visit: Visit, store: Store, server: VlmServer
) -> None:
    session = ask(visit(PAGE), "gemini/ok", "openai/other-model", "together/loopback/ok")
    assert not session.exception and not session.error
    assert [text.value for text in session.text] == [SENTENCE] * 3
    assert any(SUCCESSOR in warning.value.replace("\\", "") for warning in session.warning)
    assert any(warning.value.startswith("loopback server") for warning in session.warning)
    runs = [store.run(run.id, None) for run in store.runs(EVERY)]
    assert len(runs) == 3
    assert len({run.parameters["comparison"] for run in runs}) == 1
    assert all(run.parameters["loopback"] for run in runs)
    assert {seen.service for seen in server.requests} == {"gemini", "openai", "together"}
    assert len({seen.picture.digest for seen in server.requests if seen.picture}) == 1


def test_the_truth_of_a_scene_is_filled_in_and_scored(visit: Visit, server: VlmServer) -> None:
    scene = generate_scene(1)
    ((prompt, (truth,)),) = truth_of(scene, "caption")
    server.teach(scene.rgb, prompt, truth)
    session = visit(PAGE)
    session.session_state["vlm_task"] = "caption"
    session.session_state["vlm_models"] = ["openai/truth-1.0", "openai/ok"]
    session.run()
    session.button(key="vlm_ask").click().run()
    assert not session.exception and not session.error
    assert [text.value for text in session.text] == [truth, SENTENCE]
    assert truth.replace(" ", "") in words_of(session).replace("\\", "").replace(" ", "")


def test_only_the_one_that_failed_is_asked_again(visit: Visit, store: Store, server: VlmServer) -> None:
    session = ask(visit(PAGE), "openai/ok", "openai/flaky-3")
    assert not session.exception
    assert "failed" in session.error[0].value
    assert any(expander.label == "3 attempts" for expander in session.expander)
    session.button(key="vlm_again_1").click().run()
    assert not session.exception and not session.error
    assert [text.value for text in session.text] == [SENTENCE] * 2
    assert [seen.model for seen in server.requests].count("ok") == 1
    runs = [store.run(run.id, None) for run in store.runs(EVERY)]
    assert sorted(run.status for run in runs) == ["failed", "ok", "ok"]
    assert len({run.parameters["comparison"] for run in runs}) == 1


@pytest.mark.parametrize(
    ("model", "outcome"),
    [
        ("http-401", "auth"),
        ("quota", "quota"),
        ("http-404", "model_gone"),
        ("blocked-answer", "blocked"),
        ("truncated", "truncated"),
        ("empty", "empty"),
        ("refused", "refused"),
    ],
)
def test_a_failure_is_no_answer(
    visit: Visit, store: Store, server: VlmServer, model: str, outcome: str
) -> None:
    session = ask(visit(PAGE), "openai/ok", f"openai/{model}")
    assert not session.exception
    assert len(session.error) == 1
    failed = next(run for run in store.runs(EVERY) if run.model_id.endswith(model))
    assert (failed.status, store.run(failed.id, None).error_class) == ("failed", outcome)


def test_two_sessions_ask_with_their_own_keys(visit: Visit, store: Store, server: VlmServer) -> None:
    keys = {"alice": "alices-own-key-000111", "bob": "bobs-own-key-222333"}
    sessions = {name: visit(PAGE) for name in keys}
    for name, session in sessions.items():
        assert not type_key(session, "openai", keys[name]).exception
    for name in ("alice", "bob", "alice"):
        server.reset()
        own = f"openai/key-{key_digest(keys[name])}"
        session = ask(sessions[name], own, "openai/ok")
        assert not session.exception and not session.error
        assert {seen.key_digest for seen in server.requests} == {key_digest(keys[name])}
    session = ask(sessions["bob"], f"openai/key-{key_digest(keys['alice'])}", "openai/ok")
    assert len(session.error) == 1
    for session in sessions.values():
        shown = words_of(session) + repr([element.value for element in session.text_input])
        assert not any(key in shown for key in keys.values())
    rows = "\n".join(json.dumps(run.to_json(), default=str) for run in store.export(EVERY))
    assert not any(key in rows for key in keys.values())

    session = sessions["alice"].button(key="vlm_forget").click().run()
    server.reset()
    ask(session, "openai/ok", "openai/echo")
    assert {seen.key_digest for seen in server.requests} == {key_digest("loopback")}


def test_a_key_in_the_wrong_field_is_said_and_not_taken(visit: Visit, server: VlmServer) -> None:
    session = visit(PAGE)
    key = "AIza" + "Sy0123456789abcdefghijklmnopqrstuvw"
    session = type_key(session, "openai", key)
    assert not session.exception
    assert "Gemini" in session.error[0].value
    assert key not in session.error[0].value
    session = type_key(session, "openai", "with a space")
    assert "space" in session.error[0].value


def test_hostile_answers_are_shown_as_text(visit: Visit, store: Store, server: VlmServer) -> None:
    session = ask(visit(PAGE), "openai/hostile", "gemini/hostile", "openai/ok")
    assert not session.exception
    for text in session.text:
        assert not any(ord(letter) < 32 and letter not in "\n\t" for letter in text.value)
        assert not any(letter in text.value for letter in "\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u200b")
    assert all(not element.proto.allow_html for element in session.markdown)
    session.toggle(key="vlm_formatted").set_value(True).run()
    assert not session.exception
    for element in session.markdown:
        assert "![beacon](" not in element.value
        assert not re.search(r"(?<!\\)\]\((http:|javascript)", element.value)


def test_the_files_hold_every_answer_and_no_formula(visit: Visit, store: Store, server: VlmServer) -> None:
    ask(visit(PAGE), "openai/hostile", "openai/echo", prompt='=1+1 "quoted", and\na line')
    runs = [store.run(run.id, None) for run in store.runs(EVERY)]
    shown = tuple(Shown(run, store.artifact(run.id, "answer.txt", None).decode()) for run in runs)
    rows = json.loads(answers_json(shown))
    assert {row["text"] for row in rows} == {one.text for one in shown}
    table = list(csv.DictReader(io.StringIO(answers_csv(shown).decode(), newline="")))
    assert len(table) == 2
    echoed = next(row for row in table if row["model"] == "openai/echo")
    assert echoed["text"].startswith("'=1+1")
    assert not any(cell[:1] in tuple("=+-@\t\r") for row in table for cell in row.values() if cell)


def test_a_blind_vote_hides_names_until_it_is_given_and_counts_once(
    visit: Visit, store: Store, server: VlmServer
) -> None:
    session = visit(PAGE)
    session.toggle(key="vlm_blind").set_value(True)
    session = ask(session, "openai/ok", "gemini/echo", prompt="Say nothing")
    assert not session.exception and not session.error
    assert "Left" in words_of(session) and "Right" in words_of(session)
    assert "openai" not in words_of(session) and "gemini" not in words_of(session)
    assert "run" not in session.query_params
    texts = [text.value for text in session.text]
    session.button(key="vlm_vote_first").click().run()
    assert not session.exception
    assert not [button for button in session.button if (button.key or "").startswith("vlm_vote")]
    (vote,) = store.votes(None)
    assert (vote.choice, vote.blind, vote.loopback) == ("first", True, True)
    first = store.artifact(str(vote.first_run), "answer.txt", None).decode()
    assert [text.value for text in session.text] == texts
    assert texts[0] == first
    assert {vote.first_model, vote.second_model} == {"openai/ok", "gemini/echo"}
    assert any("set aside" in warning.value for warning in session.warning)  # of the loopback server
    session.run()
    assert len(store.votes(None)) == 1


def test_a_blind_answer_that_names_its_maker_is_set_aside(
    visit: Visit, store: Store, server: VlmServer
) -> None:
    session = visit(PAGE)
    session.toggle(key="vlm_blind").set_value(True)
    session = ask(session, "openai/ok", "gemini/echo", prompt="I am Gemini, made by Google.")
    session.button(key="vlm_vote_tie").click().run()
    assert not session.exception
    (vote,) = store.votes(None)
    assert "names its maker" in vote.set_aside
    assert any("names its maker" in warning.value for warning in session.warning)


def test_a_run_opened_by_its_address_asks_nobody(visit: Visit, store: Store, server: VlmServer) -> None:
    first = ask(visit(PAGE), "openai/ok", "gemini/echo", prompt="Is it red?")
    run_id = first.query_params["run"]
    server.reset()
    again = visit(PAGE, run=run_id)
    assert not again.exception and not again.error
    assert [text.value for text in again.text] == [SENTENCE, "Is it red?"]
    assert again.text_area(key="vlm_prompt_free").value == "Is it red?"
    assert again.session_state["vlm_models"] == ["openai/ok", "gemini/echo"]
    assert server.requests == ()
    assert store.count(EVERY) == 2


def test_fewer_than_two_models_cannot_be_asked(visit: Visit, server: VlmServer) -> None:
    session = visit(PAGE)
    assert not session.exception
    assert session.button(key="vlm_ask").disabled
    session.session_state["vlm_models"] = ["nonsense"]
    session.run()
    assert not session.exception
    assert "no model id" in session.error[0].value


def test_a_visitor_cannot_make_a_public_site_read_its_files(
    visit: Visit, server: VlmServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISION_BENCH_ACCESS", "public")
    settings.cache_clear()
    session = visit(PAGE)
    session.session_state["vlm_models"] = ["file//etc/passwd", "openai/ok"]
    session.run()
    assert "not offered here" in session.error[0].value


def test_a_region_is_the_mask_with_room_around_it() -> None:
    from core.samples import load_sample

    image, scene = load_sample("scene/1"), generate_scene(1)
    mask = scene.largest.mask
    crop = region(image, mask)
    rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
    assert crop.height >= rows[-1] - rows[0] + 1 and crop.width >= columns[-1] - columns[0] + 1
    assert crop.height < image.height or crop.width < image.width
    assert "scene/1" in crop.name


def test_the_segmentation_page_hands_a_region_over(visit: Visit) -> None:
    session = visit("segment_anything")
    session.button(key="segment_ask").click().run()
    session.switch_page(f"pages/{PAGE}.py").run()
    assert not session.exception
    assert session.session_state["vlm_source"] == "Upload"
    assert any("scene/1 region" in caption.value.replace("\\", "") for caption in session.caption)
