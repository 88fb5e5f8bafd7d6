"""`bench`: one model over a real process, resumed from the store, and what is refused before any."""

import json
from typing import Any

import pytest

from core.cli import main
from core.settings import settings
from db import Store

VIT = "shipped/vit-scenes"


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main(["bench", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_model_is_measured_and_a_resume_measures_nothing_twice(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (VIT, "--seconds", "0.1", "--rounds", "1", "--scenes", "4", "--batch", "1", "--batch", "2")
    code, found = said(capsys, *arguments)
    assert code == 0
    assert (found["phase"], found["done"], found["failed"]) == ("done", 1, 0)
    (row,) = found["models"]
    assert row["metrics"]["p50_ms"] > 0
    assert row["metrics"]["images_per_s_batch_2"] > 0
    assert row["metrics"]["top1_n"] == 4
    with Store.open(settings().database_url, keep_pictures=False) as store:
        assert store.run(row["run"], "local").parameters["benchmark"] == found["benchmark"]

    code, again = said(capsys, *arguments, "--resume", found["benchmark"])
    assert code == 0
    assert (again["phase"], again["done"], again["total"], again["models"]) == ("done", 1, 1, [])
    code, other = said(capsys, *arguments, "--picture", "sample:coffee", "--resume", found["benchmark"])
    assert code == 2
    assert "other pictures" in other["error"]["message"]


def test_the_estimate_starts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = said(capsys, VIT, "--precision", "fp32", "--precision", "bf16", "--estimate")
    assert code == 0
    assert found["estimate"]["entries"] == 2
    assert found["estimate"]["seconds"] > 10


@pytest.mark.parametrize(
    "arguments",
    [
        ("nothing",),
        (VIT, VIT),
        (VIT, "--precision", "int8"),
        (VIT, "--batch", "0"),
        (VIT, "--seconds", "nan"),
        (VIT, "--scenes", "2", "--data", "x.zip"),
        (VIT, "--picture", "no-such-file.png"),
        (VIT, "--resume", "nothing"),
        (VIT, "--resume", "nothing", "--no-store"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_its_remedy(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    code, found = said(capsys, *arguments)
    assert code == 2
    assert found["error"]["remedy"]
