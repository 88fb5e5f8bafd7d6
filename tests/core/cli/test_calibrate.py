"""`calibrate`: the command over real processes, what it prints of what was measured, and what is refused."""

import json
from dataclasses import replace
from typing import Any

import pytest

from core.bench.plan import Entry
from core.bench.progress import Phase, Progress
from core.bench.suite import Outcome
from core.cli import SETUP, calibrate, main
from core.recommend import calibrating, calibration
from core.recommend.calibration import REFERENCES
from core.recommend.entries import read_catalog
from core.recommend.scaling import work_of
from core.runs import LOCAL_OWNER
from core.settings import settings
from db import RunFilter, Store
from tests.support.bench_runs import bench_run, numbers_of

QUICK = "random/mobilenetv4_conv_small"
ENDED = Progress("b", Phase.DONE, 3, 3, 0, 1.0, 9.0, 0.0, "")


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main(["calibrate", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def outcomes(check: int) -> tuple[Outcome, ...]:
    """Return what a machine comes to that takes twice as long as an i7, and 3 ms beside the network."""
    plan = calibrating.calibration_plan(read_catalog(), check)
    entries = {f"random/{entry.timm}": entry for entry in read_catalog().entries.values() if entry.timm}
    found = []
    for name in plan.models:
        work = work_of(entries[name], "i7-12700h")
        assert work is not None
        numbers = numbers_of(2 * work.amount + 3, model_ms=2 * work.amount)
        run = bench_run(plan, name, numbers, input_size=[work.input_size, work.input_size])
        found.append(Outcome(Entry(name, plan.options[0]), run, f"run of {name}", {}))
    return tuple(found)


def test_a_model_is_timed_tagged_and_calibrates(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (calibrating, calibration):
        monkeypatch.setattr(module, "REFERENCES", (QUICK,))
    code, found = said(capsys, "--seconds", "0.1", "--rounds", "1")
    assert (code, found["phase"], found["failed"]) == (0, "done", [])
    scale = found["calibration"]["scales"][0]
    assert scale["models"] == [QUICK.removeprefix("random/")]
    assert scale["factor"] > 0
    with Store.open(settings().database_url) as store:
        (run,) = store.runs(RunFilter(owner=LOCAL_OWNER, tags=(calibrating.TAG,)))
    assert (run.model_id, [run.id]) == (QUICK, found["runs"])


def test_the_table_of_what_was_held_out() -> None:
    answer = calibrate._answer(outcomes(12), ENDED)
    best = answer.payload["calibration"]["scales"][0]
    assert best["basis"] == "i7-12700h"
    assert best["factor"] == pytest.approx(2.0)
    assert best["error"]["is_own"] and best["error"]["n"] == 12
    assert best["error"]["median_percent"] == pytest.approx(0.0, abs=1e-6)
    assert best["error"]["rank_correlation"] == pytest.approx(1.0)
    assert best["published_percent"] > 40
    lines = answer.text.splitlines()
    assert lines[0].split() == [
        "held",
        "out",
        "published",
        "ms",
        "estimated",
        "ms",
        "measured",
        "ms",
        "error",
    ]
    rows = [line.split() for line in lines[1:13]]
    assert all(row[2] == row[3] and row[4] in ("+0.0%", "-0.0%") for row in rows)
    assert "Intel Core i7-12700H" in lines[15]
    assert lines[-1].startswith("This machine takes 2 times as long")


def test_without_held_out_models_there_is_no_table() -> None:
    answer = calibrate._answer(outcomes(0), ENDED)
    assert "held out  " not in answer.text
    assert "on another machine" in answer.text


def test_a_busy_machine_is_told() -> None:
    first, *others = outcomes(0)
    noisy = replace(first, run=replace(first.run, parameters={**first.run.parameters, "noise": "very noisy"}))
    answer = calibrate._answer((noisy, *others), ENDED)
    assert answer.payload["very_noisy"] == [first.run.model_id]
    assert answer.text.splitlines()[-1].startswith("1 of 3 models were timed while the machine was busy")
    assert "busy" not in calibrate._answer((first, *others), ENDED).text


def test_a_model_that_failed_is_told_and_the_others_count() -> None:
    first, *others = outcomes(0)
    failed = bench_run(
        calibrating.calibration_plan(read_catalog()), REFERENCES[0], {}, error=("SetupError", "no memory")
    )
    lost = Outcome(first.entry, failed, "x", {})
    answer = calibrate._answer((lost, *others), ENDED)
    assert answer.text.startswith(f"{REFERENCES[0]} failed: no memory")
    assert len(answer.payload["calibration"]["scales"][0]["models"]) == 2


def test_what_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = said(capsys, "--check", "100000")
    assert code == 2 and "held out" in found["error"]["message"]
    code, found = said(capsys, "--seconds", "nan")
    assert code == 2


def test_nothing_that_could_be_timed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (calibrating, calibration):
        monkeypatch.setattr(module, "REFERENCES", ("random/no_such_network",))
    code, found = said(capsys, "--no-store", "--seconds", "0.1", "--rounds", "1")
    assert code == SETUP
    assert "no_such_network" in found["error"]["message"]
    assert "bench" in found["error"]["remedy"]
