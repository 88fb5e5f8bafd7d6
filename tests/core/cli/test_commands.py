"""What each command does, in this process."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.cli import main
from core.cli.attend import View
from core.cli.shared import Answer, read_picture
from core.cli.train import field_help
from core.errors import InputError
from core.explain.maps import Fusion, attention_row, patch_map, rollout_row
from core.images import from_rgb
from core.loaders import ModelPool
from core.registry import SOURCES, TASKS, resolve
from core.runs import LOCAL_OWNER, RunDraft, RunInput
from core.samples import load_sample
from core.scenes import generate_scene
from core.settings import settings
from core.training.config import TrainConfig
from core.workflows import attend
from db import RunFilter, Store
from tests.support.runs import CPU

TINY = "random/vit_tiny_patch16_224"
Json = Callable[..., dict[str, Any]]


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str]) -> Json:
    """Return a function that runs a command that succeeds and returns its object."""

    def run(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
        assert main([*map(str, arguments), "--json"]) == code
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return run


@pytest.fixture
def two_runs() -> list[str]:
    """Put two runs with the same picture into the store."""
    picture = RunInput("picture", from_rgb(np.full((4, 5, 3), 7, np.uint8), "grey"))
    draft = RunDraft("attention", "model", "1", CPU, LOCAL_OWNER, inputs=[picture])
    with Store.open(settings().database_url) as store:
        return [store.record(draft), store.record(draft)]


def test_scenes_are_the_truth_of_their_seeds(answer: Json, tmp_path: Path) -> None:
    assert answer("scenes", "--n", 3, "--seed", 40, "--out", tmp_path / "new")["count"] == 3
    for index in range(3):
        scene, folder = generate_scene(40 + index), tmp_path / "new"
        truth = json.loads((folder / f"{index:04d}.json").read_text())
        assert np.array_equal(np.asarray(Image.open(folder / f"{index:04d}.png")), scene.rgb)
        assert (truth["seed"], truth["class"], truth["text"]) == (40 + index, scene.label, scene.text)
        assert (truth["caption"], len(truth["qa"])) == (scene.caption, len(scene.qa))
        for item, found in zip(truth["objects"], scene.objects, strict=True):
            mask = np.asarray(Image.open(folder / item["mask"])) > 0
            x0, y0, x1, y1 = item["bbox"]
            assert (item["class"], item["colour"]) == (found.shape, found.colour)
            assert np.array_equal(mask, found.mask)
            assert mask.sum() == mask[y0:y1, x0:x1].sum() == item["area"]


def test_same_seed_same_bytes(answer: Json, tmp_path: Path) -> None:
    for name in ("a", "b"):
        answer("scenes", "--n", 2, "--seed", 5, "--out", tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "b").iterdir())
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_scenes_of_a_size_in_a_folder_of_their_own(answer: Json, tmp_path: Path) -> None:
    wide = ("scenes", "--n", 1, "--width", 96, "--height", 64, "--out", tmp_path / "wide")
    answer(*wide)
    picture = read_picture(str(tmp_path / "wide" / "0000.png"))
    assert (picture.width, picture.height) == (96, 64)
    before = {path: path.read_bytes() for path in (tmp_path / "wide").iterdir()}
    assert "holds files already" in answer(*wide, "--seed", 9, code=2)["error"]["message"]
    assert before == {path: path.read_bytes() for path in (tmp_path / "wide").iterdir()}
    assert (
        answer("scenes", "--width", 3, "--out", tmp_path / "tiny", code=2)["error"]["class"] == "InputError"
    )


def test_scenes_where_nothing_can_be_written(answer: Json, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert answer("scenes", "--out", tmp_path / "file", code=2)["error"]["class"] == "InputError"


def test_models_say_what_they_are(answer: Json) -> None:
    models = answer("models")["models"]
    assert len({model["id"] for model in models}) == len(models) > 10
    for model in models:
        assert {"id", "tasks", "source", "available", "parameters", "license"} <= set(model)
        assert set(model["tasks"]) <= set(TASKS)
        assert model["source"] in SOURCES
        assert isinstance(model["available"], bool)


@pytest.mark.parametrize(
    ("head", "query", "rollout"),
    [
        ("7 ", "cls", False),
        ("-1", "cls", False),
        ("²", "cls", False),
        ("3", "cls", True),
        ("mean", "1", False),
    ],
)
def test_views_that_are_none(head: str, query: str, rollout: bool) -> None:
    with pytest.raises(InputError):
        View.parse(head, query, rollout)


def test_views() -> None:
    assert View.parse("2", "0,13", rollout=False) == View(2, (0, 13), None)
    assert View.parse("max", "cls", rollout=True) == View("max", "cls", "max")


def test_pictures_by_path_and_by_sample(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (6, 4), (1, 2, 3)).save(buffer, "PNG")
    (tmp_path / "small.dat").write_bytes(buffer.getvalue())
    picture = read_picture(str(tmp_path / "small.dat"))
    assert (picture.name, picture.width, picture.height) == ("small.dat", 6, 4)
    assert read_picture("sample:scene/9").name == "scene/9"
    for missing in (str(tmp_path), str(tmp_path / "none.png"), "a\0b", "sample:none"):
        with pytest.raises(InputError):
            read_picture(missing)


def test_a_picture_too_large_is_not_even_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(10**13)
    with pytest.raises(InputError, match=r"huge\.png has 10000000\.0 MB"):
        read_picture(str(tmp_path / "huge.png"))


def test_one_bad_picture_stops_the_call_before_anything_runs(answer: Json, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    arguments = ("classify", "sample:chelsea", tmp_path / "bad.png", "--model", TINY)
    assert str(tmp_path / "bad.png") in answer(*arguments, code=2)["error"]["message"]
    assert answer("db", "check")["runs"] == 0


def test_backup_and_export_hold_every_run(answer: Json, two_runs: list[str], tmp_path: Path) -> None:
    answer("db", "backup", "--out", tmp_path / "copies" / "store.sqlite3")
    with Store.open(f"sqlite:///{tmp_path / 'copies' / 'store.sqlite3'}") as copy:
        assert sorted(run.id for run in copy.runs(RunFilter())) == two_runs
    assert answer("db", "export", "--out", tmp_path / "runs.jsonl")["runs"] == 2
    lines = (tmp_path / "runs.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == two_runs[::-1]
    assert [path.name for path in tmp_path.glob("*.part")] == []


def test_nothing_is_overwritten(answer: Json, two_runs: list[str], tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep")
    for command, code in (("backup", 4), ("export", 2)):
        assert (
            "exists already"
            in answer("db", command, "--out", tmp_path / "mine", code=code)["error"]["message"]
        )
    assert (tmp_path / "mine").read_text() == "keep"


def test_prune_counts_first_and_deletes_when_told(answer: Json, two_runs: list[str]) -> None:
    assert answer("db", "prune", "--before", "2020-01-31")["runs"] == 0
    counted = answer("db", "prune", "--before", "2999-01-01T12:00:00")
    assert (counted["runs"], counted["deleted"]) == (2, False)
    assert answer("db", "check") == {"sound": True, "runs": 2, "problems": []}
    assert answer("db", "prune", "--before", "2999-01-01", "--yes")["runs"] == 2
    assert answer("db", "check") == {"sound": True, "runs": 0, "problems": []}
    assert answer("db", "prune", "--before", "yesterday", code=2)["error"]["class"] == "UsageError"


def test_check_finds_changed_bytes(answer: Json, two_runs: list[str], tmp_path: Path) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(tmp_path / "store.sqlite3")) as database:
        database.execute("UPDATE artifact SET data = x'00'")
        database.commit()
    found = answer("db", "check", code=4)
    assert not found["sound"]
    assert len(found["problems"]) == 1


def test_attend_writes_the_map_of_the_run(answer: Json, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "map"
    found = answer("attend", "sample:chelsea", "--model", TINY, "--head", 2, "--query", "3,4", "--out", out)
    values = np.load(out)
    assert found["checks"]["passed"]
    assert (values.dtype, list(values.shape)) == (np.float32, found["shape"])
    assert values.sum() == pytest.approx(found["sum"])
    assert 0 < values.sum() < 1  # the rest goes to CLS
    with Store.open(settings().database_url) as store:
        run = store.run(found["run"], LOCAL_OWNER)
    assert (run.kind, run.model_id, run.inputs[0].name) == ("attention", TINY, "chelsea")
    assert dict(run.view) == {"method": "attention", "layer": 11, "head": 2, "query": [3, 4]}


@pytest.mark.parametrize("fusion", [None, "mean"], ids=["attention", "rollout"])
def test_the_file_is_the_map_that_the_page_shows(answer: Json, tmp_path: Path, fusion: Fusion | None) -> None:
    arguments = ("attend", "sample:coffee", "--model", TINY, "--layer", -2, "--out", tmp_path / "map.npy")
    answer(*arguments, *(["--rollout"] if fusion else []), "--no-store")
    pool = ModelPool(device="cpu")
    seen = attend(
        load_sample("coffee"), resolve(TINY), pool=pool, sink=None, owner="x", keep_mb=100
    ).attention
    row = rollout_row(seen, fusion, "cls") if fusion else attention_row(seen, 10, "mean", "cls")
    assert np.allclose(np.load(tmp_path / "map.npy"), patch_map(seen, row), rtol=1e-5, atol=1e-9)


def test_mean_is_the_mean_of_the_heads_and_rollout_is_another_map(answer: Json, tmp_path: Path) -> None:
    def map_of(*options: str | int) -> Any:
        out = tmp_path / "map.npy"
        answer("attend", "sample:scene/1", "--model", TINY, "--out", out, "--no-store", *options)
        return np.load(out)

    heads = [map_of("--layer", 5, "--head", head) for head in range(3)]
    merged = {fusion: map_of("--layer", 5, "--head", fusion) for fusion in ("mean", "max", "min")}
    assert np.allclose(merged["mean"], np.mean(heads, axis=0), atol=1e-7)
    assert np.array_equal(merged["max"], np.max(heads, axis=0))
    assert np.array_equal(merged["min"], np.min(heads, axis=0))
    assert not np.allclose(map_of("--rollout"), merged["mean"])
    assert not (tmp_path / "store.sqlite3").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["nonsense"], 2, "UsageError"),
        (["classify", "--model", TINY], 2, "UsageError"),
        (["classify", "no/such.png", "--model", TINY], 2, "InputError"),
        (["classify", "sample:chelsea", "--model", "random/vit_tinny_patch16_224"], 2, "InputError"),
        (["classify", "sample:chelsea", "--model", TINY, "--top", "0"], 2, "UsageError"),
        (["attend", "sample:chelsea", "--model", TINY, "--out", "x.npy", "--layer", "12"], 2, "InputError"),
        (["attend", "sample:chelsea", "--model", TINY, "--out", "x.npy", "--head", "3"], 2, "InputError"),
        (["attend", "sample:chelsea", "--model", TINY, "--out", "x.npy", "--query", "99,0"], 2, "InputError"),
        (["train", "vit", "--image-size", "63"], 2, "InputError"),
    ],
    ids=["command", "no picture", "file", "model", "top", "layer", "head", "patch", "training option"],
)
def test_wrong_input(
    arguments: list[str], code: int, error: str, answer: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer(*arguments, code=code)["error"]
    assert found["class"] == error
    assert found["message"]
    assert found["remedy"]
    assert main(arguments) == code
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.strip().endswith(f"{found['message']} {found['remedy']}")
    assert not Path("x.npy").exists()


def test_a_store_that_is_none(answer: Json, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("not a database " * 100)
    monkeypatch.setenv("VISION_BENCH_DATABASE_URL", f"sqlite:///{other}")
    settings.cache_clear()
    assert answer("db", "check", code=4)["error"]["class"] == "NotAStoreError"
    assert other.read_text() == "not a database " * 100


def test_help_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "Exit code 130: cancelled" in " ".join(capsys.readouterr().out.split())
    assert main(["train", "vit", "--help"]) == 0
    assert "--warmup-share" in capsys.readouterr().out
    assert field_help(TrainConfig)["lr"] == "Peak learning rate."


def test_answers_are_json() -> None:
    for payload in ({"sum": float("nan")}, {"path": Path("x")}):
        with pytest.raises((ValueError, TypeError)):
            Answer(payload, "")
