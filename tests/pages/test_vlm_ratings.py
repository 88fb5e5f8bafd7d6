"""Ratings by votes in the store, and a judge, against the loopback server."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.scenes import generate_scene
from core.settings import settings
from core.vlm.judge import judge_prompt
from core.vlm.judging import KIND
from core.vlm.ratings import rate_groups
from core.vlm.votes import Vote
from db import RunFilter, Store
from pages.ui.vlm_ratings import ratings_csv, ratings_json
from tests.pages.conftest import Visit, figures
from tests.support.runs import draft
from tests.support.vlm_server import SENTENCE, VlmServer

PAGE = "vlm_head_to_head"
LOCAL = "local"
QUESTION = "What is there?"
JUDGE = "together/loopback/truth-1.0"


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[VlmServer]:
    """The loopback server, and no model on this machine: the page starts without an answer."""
    with VlmServer() as running:
        monkeypatch.setenv("VISION_BENCH_LOOPBACK_URL", running.url)
        monkeypatch.setenv("VISION_BENCH_CHECKPOINTS", str(tmp_path))
        settings.cache_clear()
        yield running


def cast(store: Store, first: str, second: str, choice: str, n: int, owner: str = LOCAL, **more: Any) -> None:
    """Put n votes that are alike into the store, each on two answers of its own."""
    plain = {"task": "caption", "blind": True, "set_aside": "", "loopback": False}
    lengths = {"first_length": 10, "second_length": 10}
    for _ in range(n):
        one, two = (store.record(draft(kind="vlm", model_id=m, owner=owner)) for m in (first, second))
        store.vote(Vote(owner, one, two, first, second, choice=choice, **(plain | lengths | more)), owner)


def ratings(session: AppTest) -> AppTest:
    session.session_state["vlm_view"] = "Ratings"
    return session.run()


def words_of(session: AppTest) -> str:
    """Return every text that the page shows, without the marks that keep Markdown from reading it."""
    kinds = ("markdown", "caption", "text", "error", "warning", "info", "success", "subheader")
    return "\n".join(str(e.value) for kind in kinds for e in session.get(kind)).replace("\\", "")


def test_votes_give_the_order_the_sentence_and_the_table(visit: Visit, store: Store) -> None:
    cast(store, "gemini/a", "openai/b", "first", 40)
    cast(store, "openai/b", "gemini/a", "first", 4)
    cast(store, "openai/b", "together/x/c", "first", 20)
    cast(store, "openai/b", "together/x/c", "tie", 3)
    cast(store, "together/x/c", "openai/b", "both_bad", 2)
    session = ratings(visit(PAGE))
    assert not session.exception and not session.error
    (wanted,) = rate_groups(store.vote_tallies(LOCAL))
    assert wanted.sentence.startswith("gemini/a is ahead of openai/b by ")
    assert wanted.sentence in words_of(session)
    assert "69 votes." in words_of(session)
    table = session.dataframe[0].value
    assert list(table["Model"]) == ["gemini/a", "openai/b", "together/x/c"]
    assert list(table["Rank"]) == [model.rank for model in wanted.models]
    assert list(table["Points"]) == pytest.approx([model.raw.value for model in wanted.models])
    assert list(table.iloc[1][["Votes", "Wins", "Losses", "Ties", "Both bad"]]) == [69, 24, 40, 3, 2]
    (chart,) = figures(session)
    assert len(chart["data"]) == 2
    names = [name["text"] for name in chart["layout"]["annotations"]]
    assert names == [f"{model.rank}. {model.model_id}" for model in wanted.models]


def test_too_few_votes_say_how_many_more(visit: Visit, store: Store) -> None:
    cast(store, "gemini/a", "openai/b", "first", 3)
    cast(store, "gemini/a", "openai/b", "second", 1)
    session = ratings(visit(PAGE))
    assert "Too few votes to tell gemini/a from openai/b: about " in words_of(session)


def test_what_does_not_count_is_left_out_and_counted_by_why(visit: Visit, store: Store) -> None:
    cast(store, "gemini/a", "openai/b", "first", 5)
    cast(store, "gemini/x", "openai/y", "second", 4, loopback=True)
    cast(store, "gemini/a", "openai/b", "second", 3, set_aside="the left answer names its maker (google)")
    cast(store, "gemini/a", "openai/b", "second", 2, blind=False)
    session = ratings(visit(PAGE))
    assert not session.exception
    table = session.dataframe[0].value
    assert list(table["Model"]) == ["gemini/a", "openai/b"]
    assert list(table["Votes"]) == [5, 5] and list(table["Wins"]) == [5, 0]
    words = words_of(session)
    assert "9 votes are set aside" in words
    for part in (
        "4 because an answer came from the loopback",
        "3 because an answer names",
        "2 because the names",
    ):
        assert part in words


def test_without_votes_it_says_how_to_vote_and_leads_there(visit: Visit, store: Store) -> None:
    cast(store, "gemini/x", "openai/y", "second", 1, loopback=True)
    session = ratings(visit(PAGE))
    assert not session.exception and not session.dataframe
    assert "No vote counts yet" in words_of(session)
    assert "1 vote is set aside" in words_of(session)
    session.button(key="vlm_to_vote").click().run()
    assert not session.exception
    assert session.toggle(key="vlm_blind").value is True


def test_the_task_narrows_and_a_new_vote_is_seen(visit: Visit, store: Store) -> None:
    cast(store, "gemini/a", "openai/b", "first", 3, task="ocr")
    cast(store, "gemini/a", "openai/b", "second", 2)
    session = ratings(visit(PAGE))
    assert list(session.dataframe[0].value["Votes"]) == [5, 5]
    session.selectbox(key="vlm_ratings_task").set_value("ocr").run()
    assert list(session.dataframe[0].value["Wins"]) == [3, 0]
    cast(store, "gemini/a", "openai/b", "first", 1, task="ocr")
    assert list(session.run().dataframe[0].value["Wins"]) == [4, 0]
    session.selectbox(key="vlm_ratings_task").set_value("objects").run()
    assert "No vote on the task" in words_of(session)


def test_models_that_never_met_stand_in_groups(visit: Visit, store: Store) -> None:
    cast(store, "gemini/a", "openai/b", "first", 5)
    cast(store, "gemini/c", "openai/d", "second", 3)
    session = ratings(visit(PAGE))
    assert "2 groups that were never compared" in words_of(session)
    assert [list(frame.value["Model"]) for frame in session.dataframe] == [
        ["gemini/a", "openai/b"],
        ["openai/d", "gemini/c"],
    ]


def test_two_visitors_see_the_ratings_of_their_own_votes(
    visit: Visit, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISION_BENCH_ACCESS", "public")
    settings.cache_clear()
    sessions = [ratings(visit(PAGE)) for _ in range(2)]
    owners = [session.session_state["visitor"] for session in sessions]
    cast(store, "gemini/a", "openai/b", "first", 5, owner=owners[0])
    cast(store, "gemini/c", "openai/d", "first", 7)
    for session in sessions:
        session.run()
    assert list(sessions[0].dataframe[0].value["Model"]) == ["gemini/a", "openai/b"]
    assert "nobody else's" in words_of(sessions[0])
    assert not sessions[1].dataframe and "No vote counts yet" in words_of(sessions[1])


def test_the_files_hold_what_is_shown_and_no_formula(store: Store) -> None:
    cast(store, "gemini/a", "=1+1/b", "first", 5)
    groups = rate_groups(store.vote_tallies(LOCAL))
    rows = list(csv.DictReader(io.StringIO(ratings_csv(groups).decode(), newline="")))
    assert [row["model"] for row in rows] == ["gemini/a", "'=1+1/b"]
    assert float(rows[0]["points"]) == groups[0].models[0].raw.value
    told = json.loads(ratings_json(groups, None, {"loopback": 2}))
    assert told["set_aside"] == {"loopback": 2}
    assert told["groups"][0]["models"][0]["points_low"] == groups[0].models[0].raw.low


# A judge


def answered(session: AppTest, *models: str, judge_id: str | None = None) -> AppTest:
    """Put the question to models, as a person does.

    Args:
        judge_id: A judge that was typed in. The test's own session cannot hold it for longer than one run.
    """
    session.session_state["vlm_task"] = "free"
    session.session_state["vlm_models"] = list(models)
    session.run()
    session.text_area(key="vlm_prompt_free").set_value(QUESTION)
    session.run()
    if judge_id is not None:
        session.session_state["vlm_judge"] = judge_id
    session.button(key="vlm_ask").click()
    return session.run()


def choose_judge(session: AppTest, judge_id: str) -> AppTest:
    """Choose a judge among those that its provider says it has."""
    session.button(key=f"vlm_list_{judge_id.partition('/')[0]}").click().run()
    return session.selectbox(key="vlm_judge").set_value(judge_id).run()


def judged(session: AppTest, judge_id: str) -> AppTest:
    choose_judge(session, judge_id)
    session.button(key="vlm_judge_ask").click()
    return session.run()


def teach(server: VlmServer, one: str, two: str) -> None:
    """Tell the judge what to say where `openai/ok` is A, and where `gemini/echo` is."""
    texts = (SENTENCE, QUESTION)
    for (a, b), better in ((texts, one), (texts[::-1], two)):
        prompt = judge_prompt(QUESTION, a, b)
        server.teach(generate_scene(1).rgb, prompt, json.dumps({"better": better}))


def test_a_verdict_that_holds_in_both_orders_is_shown_and_kept(
    visit: Visit, store: Store, server: VlmServer
) -> None:
    teach(server, "A", "B")
    session = judged(answered(visit(PAGE), "openai/ok", "gemini/echo"), JUDGE)
    assert not session.exception and not session.error
    words = words_of(session)
    assert "Verdict: openai/ok is better, in both orders." in words
    assert words.count("openai/ok is better**") == 2
    assert [text.value for text in session.text][-2:] == ['{"better": "A"}', '{"better": "B"}']
    assert "Cost unknown" in words and "Tokens in " in words
    assert "same family" not in words
    (run,) = (store.run(run.id, None) for run in store.runs(RunFilter(kinds=(KIND,))))
    assert (run.model_id, run.status, run.parameters["choice"]) == (JUDGE, "ok", "first")
    assert run.parameters["rulings"] == ["first", "first"] and run.parameters["loopback"] is True
    assert [store.run(one, None).model_id for one in run.parameters["runs"]] == ["openai/ok", "gemini/echo"]
    assert store.votes(None) == () and store.vote_tallies(None) == ()

    server.reset()
    for run_id in (run.id, run.parameters["runs"][1]):
        again = visit(PAGE, run=run_id)
        assert not again.exception and not again.error
        assert "Verdict: openai/ok is better, in both orders." in words_of(again)
        assert [text.value for text in again.text][:2] == [SENTENCE, QUESTION]
    assert server.requests == ()


def test_a_judge_that_prefers_a_place_gives_no_verdict(visit: Visit, store: Store, server: VlmServer) -> None:
    teach(server, "A", "A")
    session = judged(answered(visit(PAGE), "openai/ok", "gemini/echo"), JUDGE)
    assert "No verdict. The judge's choice depends on which answer comes first." in words_of(session)
    (run,) = store.runs(RunFilter(kinds=(KIND,)))
    assert store.run(run.id, None).parameters["choice"] is None


def test_a_judge_of_a_contestants_family_is_said_before_and_after(visit: Visit, server: VlmServer) -> None:
    teach(server, "tie", "tie")
    session = answered(visit(PAGE), "openai/ok", "gemini/echo")
    choose_judge(session, "openai/truth-1.0")
    said = "openai/truth-1.0 is of the same family as openai/ok."
    assert words_of(session).count(said) == 1
    session.button(key="vlm_judge_ask").click().run()
    assert "both are equally good" in words_of(session)
    assert words_of(session).count(said) == 2


@pytest.mark.parametrize(
    ("judge_id", "said"),
    [
        ("openai/gpt-latest", "names another model from time to time"),
        ("nonsense", "no model id"),
        ("shipped/captioner-small", "know scenes only"),
    ],
)
def test_a_judge_that_cannot_judge_is_not_asked(visit: Visit, judge_id: str, said: str) -> None:
    session = answered(visit(PAGE), "openai/ok", "gemini/echo", judge_id=judge_id)
    assert not session.exception
    assert said in words_of(session)
    assert not [button for button in session.button if button.key == "vlm_judge_ask"]


def test_a_judge_that_fails_is_said_and_stored_as_failed(visit: Visit, store: Store) -> None:
    session = judged(answered(visit(PAGE), "openai/ok", "gemini/echo"), "openai/http-404")
    assert not session.exception
    assert "No verdict. The judge gave no answer" in words_of(session)
    (run,) = store.runs(RunFilter(kinds=(KIND,)))
    assert (run.status, store.run(run.id, None).error_class) == ("failed", "model_gone")


def test_what_a_judge_says_is_shown_as_text(visit: Visit) -> None:
    session = judged(answered(visit(PAGE), "openai/ok", "gemini/echo"), "together/loopback/hostile")
    assert not session.exception
    assert "What the judge said is no verdict" in words_of(session)
    for text in session.text:
        assert not any(ord(letter) < 32 and letter not in "\n\t" for letter in text.value)
    assert all(not element.proto.allow_html for element in session.markdown)


def test_no_judge_while_names_are_hidden(visit: Visit) -> None:
    session = visit(PAGE)
    session.toggle(key="vlm_blind").set_value(True)
    session = answered(session, "openai/ok", "gemini/echo")
    assert not [box for box in session.selectbox if box.key == "vlm_judge"]
    session.button(key="vlm_vote_tie").click().run()
    assert [box for box in session.selectbox if box.key == "vlm_judge"]
