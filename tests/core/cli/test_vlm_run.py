"""`vlm-run` on the command line: an estimate, a budget, one JSON object, and going on where it stopped."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.cli import main
from core.runs import LOCAL_OWNER
from core.settings import settings
from db import RunFilter, Store
from tests.support.vlm_server import VlmServer

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
    """Return a function that runs the command and returns its object."""

    def run(*arguments: str | Path | int, code: int = 0) -> dict[str, Any]:
        assert main(["vlm-run", *map(str, arguments), "--json"]) == code
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return run


def test_a_run_stops_at_its_budget_and_goes_on(server: VlmServer, answer: Json) -> None:
    asked = ("--data", "scenes:4@3", "--models", "openai/ok,together/ORG/ok", "--tasks", "ocr,caption")
    first = answer(*asked, "--budget-calls", 5)
    assert (first["phase"], first["calls"], first["done"]) == ("budget", 16, 5)
    assert len(server.requests) == 5
    resumed = ("--data", "scenes:4@3", "--resume", first["set"])
    second = answer(*resumed, "--budget-calls", 100)
    assert (second["phase"], second["done"], second["failed"]) == ("done", 16, 0)
    assert len(server.requests) == 16
    assert {(row["model"], row["task"], row["calls"]) for row in second["models"]} == {
        (model, task, 4) for model in ("openai/ok", "together/ORG/ok") for task in ("ocr", "caption")
    }
    assert all(row["cost_usd"] is None and row["usd_per_right"] is None for row in second["models"])
    assert {pair["task"]: pair["questions"] for pair in second["differences"]} == {"ocr": 4, "caption": 4}
    assert all(pair["sentence"].startswith("Too few to tell") for pair in second["differences"])
    with Store.open(settings().database_url) as store:
        assert store.count(RunFilter(owner=LOCAL_OWNER)) == 17


def test_an_estimate_asks_nobody_and_unknown_is_not_nothing(server: VlmServer, answer: Json) -> None:
    found = answer(
        "--data",
        "scenes:10",
        "--models",
        "shipped/captioner-small,compatible/ok",
        "--tasks",
        "ocr",
        "--estimate",
    )["estimate"]
    assert (found["calls"], found["usd"], found["most_usd"], found["seconds"]) == (20, None, None, None)
    assert [model["usd"] for model in found["models"]] == [0.0, None]
    assert server.requests == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "scenes:2"), "--models is empty"),
        (("--data", "scenes:2", "--models", "openai/ok", "--tasks", "sing"), "There is no task 'sing'"),
        (("--data", "scenes:2", "--models", "openai/ok", "--tasks", "free"), "A scene has no prompt"),
        (("--data", "nowhere.csv", "--models", "openai/ok", "--tasks", "ocr"), "There is no file or folder"),
        (("--data", "scenes:2", "--models", "a,a", "--tasks", "ocr"), "The model a is chosen twice"),
        (
            ("--data", "scenes:2", "--models", "compatible/ok", "--tasks", "ocr", "--budget-usd", "1"),
            "The price of compatible/ok is unknown",
        ),
        (("--data", "scenes:2", "--resume", "x", "--models", "a"), "has its own models"),
    ],
)
def test_what_cannot_be_run_is_one_sentence(
    server: VlmServer, answer: Json, arguments: tuple[str, ...], message: str
) -> None:
    error = answer(*arguments, code=2)["error"]
    assert message in error["message"]
    assert error["remedy"]
    assert server.requests == ()
