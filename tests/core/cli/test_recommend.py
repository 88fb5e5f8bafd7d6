"""`recommend` on the command line: the answer as JSON and text, its run, errors with remedies."""

import json
from typing import Any

import pytest

from core.cli import USAGE, main
from core.environment import describe_environment
from core.recommend.figures import MARKS
from core.runs import LOCAL_OWNER, Metric, RunDraft
from core.settings import settings
from db import Store

TASK = ("--task", "classification")
NET = "random/resnet18"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the one JSON object of a command."""
    code = main(["recommend", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def benchmark(owner: str, ms: float, **more: Any) -> RunDraft:
    """Return a benchmark of a network that the catalogue has."""
    numbers = {"p50_ms": ms, "p50_ms_low": ms - 1, "p50_ms_high": ms + 1, "model_ms": ms, "samples": 300}
    options = {"batches": [1], "precision": "fp32", "compiled": False, "threads": None, "size": None}
    facts: dict[str, Any] = {
        "kind": "benchmark",
        "model_id": NET,
        "model_revision": "seed 0",
        "environment": describe_environment("cpu", "float32"),
        "owner": owner,
        "duration_ms": ms,
        "parameters": {"options": options, "input_size": [224, 224], "noise": "calm", "what": "classes"},
        "metrics": [Metric(name, value, "ms") for name, value in numbers.items()],
    }
    return RunDraft(**{**facts, **more})


def test_own_measurements_are_marked_and_the_answer_is_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    with Store.open(settings().database_url) as store:
        measured = store.record(benchmark(LOCAL_OWNER, 40.0))
        store.record(benchmark("visitor", 4.0))
        store.record(benchmark(LOCAL_OWNER, 1.0, status="failed", error_class="E", error_message="m"))
    code, answer = run(capsys, *TASK, "--latency-ms", "60")
    assert code == 0
    mine = [one for one in answer["recommendations"] if one["title"].startswith("ResNet-18")]
    latency = mine[0]["figures"]["latency"]
    assert (latency["value"], latency["mark"], latency["n"], latency["source"]) == (
        40.0,
        "measured",
        300,
        measured,
    )
    marks = {
        figure["mark"] for one in answer["recommendations"] for figure in one["figures"].values() if figure
    }
    assert marks <= set(MARKS)
    limits = {one["constraint"] for one in answer["excluded"]}
    assert "latency" in limits
    assert answer["nearest_miss"]["relax"]
    with Store.open(settings().database_url) as store:
        saved = store.run(answer["run"], LOCAL_OWNER)
    assert (saved.kind, saved.parameters["request"]["latency_ms"]) == ("recommendation", 60.0)


def test_without_any_run_accuracy_is_known_and_speed_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    code, answer = run(capsys, *TASK, "--no-store")
    assert (code, answer["run"]) == (0, None)
    assert answer["recommendations"][0]["figures"]["accuracy"]["mark"] == "published"
    assert all(one["figures"]["latency"] is None for one in answer["recommendations"])
    code, answer = run(capsys, *TASK, "--speed", "fast", "--no-store")
    assert answer["recommendations"] == []
    assert all(one["unknown"] for one in answer["excluded"])
    assert answer["measure_next"]


def test_as_text_it_names_the_first_with_its_marks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", *TASK, "--deployment", "edge", "--latency-ms", "30", "--no-store"]) == 0
    text = capsys.readouterr().out
    assert "\n1. " in text
    assert "published" in text
    assert "Nearest miss: " in text
    assert "do not fit:" in text


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--task", "cooking"), "cooking"),
        ((*TASK, "--latency-ms", "-3"), "latency"),
        ((*TASK, "--latency-ms", "5", "--speed", "fast"), "Both"),
        ((*TASK, "--speed", "soon"), "soon"),
        ((*TASK, "--licence", "mine"), "mine"),
        ((*TASK, "--min-accuracy", "120"), "120"),
        ((*TASK, "--device", "abacus"), "abacus"),
        ((*TASK, "--batch", "0"), "batch"),
        ((*TASK, "--deployment", "edge", "--access", "api"), "API"),
    ],
)
def test_bad_input(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], word: str) -> None:
    code, answer = run(capsys, *arguments)
    assert code == USAGE
    assert word in answer["error"]["message"]
    assert answer["error"]["remedy"]
