"""`search` on the command line: the pictures of earlier runs, one JSON object, a run in the store."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from core.cli import main
from core.features.kinds import SEARCH
from core.images import encode_png
from core.runs import LOCAL_OWNER
from core.scenes import generate_scene
from core.settings import settings
from db import RunFilter, Store

MODEL = ("--model", "shipped/vit-scenes")
Json = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str]) -> Json:
    """Return a function that runs a command and returns its object."""

    def run(*arguments: str | Path | int, code: int = 0) -> dict[str, Any]:
        assert main([*map(str, arguments), "--json"]) == code
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return run


@pytest.fixture
def scenes(tmp_path: Path) -> list[Path]:
    """Three scenes, and the first one again a little darker."""
    paths = [tmp_path / f"{name}.png" for name in ("a", "b", "c", "dark")]
    pictures = [generate_scene(seed).rgb for seed in (1, 2, 3)]
    for path, rgb in zip(paths, [*pictures, pictures[0] - pictures[0] // 16], strict=True):
        path.write_bytes(encode_png(rgb))
    return paths


@pytest.mark.parametrize("by", ["cls", "mean"])
def test_the_pictures_of_earlier_runs_are_found(answer: Json, scenes: list[Path], by: str) -> None:
    *earlier, dark = scenes
    answer("classify", *earlier, *MODEL)
    found = answer("search", dark, *MODEL, "--top", 2, "--by", by)
    assert [hit["rank"] for hit in found["hits"]] == [1, 2]
    assert found["hits"][0]["name"] == "a.png"
    assert found["hits"][0]["score"] > found["hits"][1]["score"]
    assert (found["indexed"], found["failed"], found["by"]) == (3, [], by)
    with Store.open(settings().database_url) as store:
        run = store.run(found["run"], LOCAL_OWNER)
        assert run.kind == SEARCH
        assert [picture.name for picture in run.inputs] == ["dark.png"]
        kept = store.run(found["hits"][0]["run"], LOCAL_OWNER)
        assert kept.inputs[0].sha256 == found["hits"][0]["sha256"]
    again = answer("search", scenes[0], *MODEL, "--by", by)
    assert again["indexed"] == 1
    assert again["hits"][0]["name"] == "dark.png"
    assert again["hits"][0]["score"] == pytest.approx(found["hits"][0]["score"], abs=1e-5)


def test_without_a_store_no_run_is_left(answer: Json, scenes: list[Path]) -> None:
    answer("classify", scenes[0], *MODEL)
    found = answer("search", scenes[3], *MODEL, "--no-store", "--layer", 2, "--facet", "key", "--size", 128)
    assert found["run"] is None
    assert (found["layer"], found["facet"], found["size"]) == (2, "key", 128)
    assert [hit["name"] for hit in found["hits"]] == ["a.png"]
    with Store.open(settings().database_url) as store:
        assert store.count(RunFilter()) == 1


def test_text_for_a_person(scenes: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", str(scenes[0]), *MODEL]) == 0
    assert capsys.readouterr().out == "The store keeps no other picture.\n"
    assert main(["search", str(scenes[1]), *MODEL]) == 0
    out = capsys.readouterr().out
    assert "a.png" in out
    assert len(out.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(("--top", 0), "0 pictures"), (("--by", "name"), "'name'"), (("--layer", 99), "99")],
)
def test_what_cannot_be_asked_is_refused(
    answer: Json, scenes: list[Path], arguments: tuple[str | int, ...], told: str
) -> None:
    error = answer("search", scenes[0], *MODEL, *arguments, code=2)["error"]
    assert error["class"] == "InputError"
    assert told in error["message"]
