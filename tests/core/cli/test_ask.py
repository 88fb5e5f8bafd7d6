"""`ask` and `vlm-models` on the command line, at the loopback server."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.cli import main
from core.runs import LOCAL_OWNER
from core.settings import settings
from db import RunFilter, Store
from tests.support.vlm_server import LISTED, SENTENCE, VlmServer

Json = Callable[..., dict[str, Any]]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[VlmServer]:
    """A loopback server that every provider is spoken to at."""
    with VlmServer() as running:
        monkeypatch.setenv("VISION_BENCH_LOOPBACK_URL", running.url)
        settings.cache_clear()
        yield running


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str]) -> Json:
    """Return a function that runs a command and returns its object."""

    def run(*arguments: str, code: int = 0) -> dict[str, Any]:
        assert main([*arguments, "--json"]) == code
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return run


def test_two_models_answer_the_same_question(server: VlmServer, answer: Json) -> None:
    asked = ("ask", "sample:astronaut", "--model", "gemini/ok", "--model", "together/ORG/echo")
    found = answer(*asked, "--prompt", "Is it red?", "--reference", SENTENCE)
    first, second = found["answers"]
    assert (first["text"], second["text"]) == (SENTENCE, "Is it red?")
    assert (first["scores"]["chrf"], first["outcome"]) == (1.0, "ok")
    assert first["cost_usd"] is None and first["total_ms"] > 0
    with Store.open(settings().database_url) as store:
        runs = {run.id for run in store.runs(RunFilter(owner=LOCAL_OWNER))}
    assert runs == {first["run"], second["run"]}
    assert len({seen.prompt for seen in server.requests}) == 1


def test_one_that_fails_does_not_keep_the_others_from_being_asked(server: VlmServer, answer: Json) -> None:
    asked = ("ask", "sample:astronaut", "--model", "openai/http-401", "--model", "shipped/none")
    found = answer(*asked, "--model", "openai/ok", code=3)
    assert [one["outcome"] for one in found["answers"]] == ["auth", "not_asked", "ok"]
    assert "There is no model shipped/none" in found["answers"][1]["message"]
    assert found["answers"][0]["text"] == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "gpt-9"), "is no model that can be asked"),
        (("--model", "openai/ok", "--task", "sing"), "There is no task 'sing'"),
        (("--model", "openai/ok", "--task", "question"), "has no prompt of its own"),
        (("--model", "openai/ok", "--max-tokens", "0"), "limited to 0 tokens"),
        (("--model", "shipped/none"), "There is no model shipped/none"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(
    server: VlmServer, answer: Json, arguments: tuple[str, ...], message: str
) -> None:
    error = answer("ask", "sample:astronaut", *arguments, code=2)["error"]
    assert message in error["message"] and error["remedy"]
    assert server.requests == ()


def test_a_missing_key_says_where_it_goes(answer: Json, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOGETHER_API_KEY", raising=False)
    error = answer("ask", "sample:astronaut", "--model", "together/a/b", code=3)["error"]
    assert "TOGETHER_API_KEY" in error["remedy"]


def test_models_are_what_providers_offer_now(server: VlmServer, answer: Json) -> None:
    found = answer("vlm-models")
    ids = {model["id"] for model in found["models"]}
    assert {f"openai/{name}" for name in LISTED} <= ids
    assert {f"gemini/{name}" for name in LISTED} <= ids
    assert found["problems"] == {}


def test_a_provider_without_a_key_is_a_problem_and_no_failure(
    answer: Json, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "OPENAI_API_KEY", "TOGETHER_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    found = answer("vlm-models")
    assert {"gemini", "openai", "together", "compatible"} == set(found["problems"])
    assert all(model["usd_per_million_tokens"]["input"] == 0.0 for model in found["models"])


def test_a_hostile_answer_is_plain_on_a_terminal(
    server: VlmServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ask", "sample:astronaut", "--model", "openai/hostile"]) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said and "\u202e" not in said and "[U+001B]" in said
