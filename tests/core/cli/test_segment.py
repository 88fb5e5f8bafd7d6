"""`segment`, `segment-eval` and `train sam`, in this process."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from core.checkpoints import Architecture, Card, ModelInput, Score, read_card, save_checkpoint
from core.cli import main
from core.images import encode_png
from core.loaders import ModelPool
from core.registry import resolve
from core.runs import LOCAL_OWNER
from core.samples import load_sample
from core.segment import Point, Prompts
from core.segment.cache import EmbeddingCache
from core.segment.kinds import ANSWER, EVALUATION, EVERYTHING
from core.segment.small_sam import build_small_sam
from core.segment.workflow import segment
from core.settings import ROOT, settings
from db import RunFilter, Store

ARGUMENTS: dict[str, Any] = {
    "image_size": 64,
    "patch_size": 8,
    "dim": 16,
    "depth": 1,
    "heads": 2,
    "prompt_dim": 16,
    "global_blocks": [0],
}
LOW_RES = 32
TINY = "shipped/tiny-sam"
Json = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoints folder with one small segmenter of random weights."""
    folder = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(0)
    card = Card(
        kind="segmentation",
        architecture=Architecture("Sam", ARGUMENTS),
        labels=(),
        input=ModelInput(64, 64, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        command="python -m core train sam",
        seed=0,
        data="nothing",
        score=Score("mean IoU", 0.5, 2, "two pictures"),
        date="2026-01-31",
        duration_s=1.0,
        licence="MIT",
        title="Tiny",
    )
    save_checkpoint(folder / "tiny-sam.safetensors", build_small_sam(**ARGUMENTS), card)
    return folder


@pytest.fixture(autouse=True)
def checkpoints(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISION_BENCH_CHECKPOINTS", str(weights))
    settings.cache_clear()


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str]) -> Json:
    """Return a function that runs a command and returns its object."""

    def run(*arguments: str | int | Path, code: int = 0) -> dict[str, Any]:
        assert main([*map(str, arguments), "--json"]) == code
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return run


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A file with a picture 56 wide and 40 high."""
    path = tmp_path / "noise.png"
    path.write_bytes(encode_png(np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)))
    return path


def mask_in(path: Path) -> Any:
    values = np.asarray(Image.open(path))
    assert set(np.unique(values)) <= {0, 255}
    return values > 0


# One answer


@pytest.mark.parametrize(
    ("options", "prompts"),
    [
        (("--point", "20,15"), Prompts((Point(20, 15),))),
        (
            ("--point", "20,15", "--point", "50.5,5,0", "--point", " 3 , 4 , 1"),
            Prompts((Point(20, 15), Point(50.5, 5, False), Point(3, 4))),
        ),
        (("--box", "5,6,40,30"), Prompts(box=(5, 6, 40, 30))),
        (("--box", "5,6,40,30", "--point", "9,9,0"), Prompts((Point(9, 9, False),), (5, 6, 40, 30))),
    ],
    ids=["point", "points of both signs", "box", "box and point"],
)
def test_the_file_is_the_mask_of_these_prompts(
    answer: Json, tmp_path: Path, options: tuple[str, ...], prompts: Prompts
) -> None:
    out = tmp_path / "deep" / "mask.png"
    found = answer("segment", "sample:scene/3", "--model", TINY, "--out", out, *options)
    expected = segment(
        load_sample("scene/3"),
        resolve(TINY),
        prompts,
        pool=ModelPool(device="cpu"),
        cache=EmbeddingCache(None),
        sink=None,
        owner="x",
    ).masks
    assert np.array_equal(mask_in(out), expected.mask(expected.best))
    assert found["prompts"] == json.loads(json.dumps(prompts.to_json()))
    assert found["predicted_iou"] == pytest.approx(float(expected.predicted_iou[expected.best]))


def test_what_is_told_of_an_answer(answer: Json, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "mask.png"
    found = answer("segment", picture, "--model", TINY, "--out", out, "--point", "20,15")
    assert set(found) == {
        *("run", "model", "picture", "width", "height", "prompts", "out", "predicted_iou", "stability"),
        *("area", "bbox", "masks", "times_ms", "embedding"),
    }
    mask = mask_in(out)
    assert mask.shape == (found["height"], found["width"]) == (40, 56)
    assert (found["model"], found["picture"], found["out"]) == (TINY, "noise.png", str(out))
    assert found["area"] == mask.sum() > 0
    x0, y0, x1, y1 = found["bbox"]
    assert mask[y0:y1, x0:x1].sum() == found["area"]
    assert all(side.any() for side in (mask[y0], mask[y1 - 1], mask[:, x0], mask[:, x1 - 1]))
    assert len(found["masks"]) == 3
    best = max(found["masks"], key=lambda item: item["predicted_iou"])
    assert best == {name: found[name] for name in ("predicted_iou", "stability", "area", "bbox")}
    assert set(found["times_ms"]) == {"load", "embed", "decode"}


def test_an_answer_is_a_run_and_its_embedding_is_kept(answer: Json, picture: Path, tmp_path: Path) -> None:
    arguments = ("segment", picture, "--model", TINY, "--out", tmp_path / "mask.png", "--point", "20,15")
    first, second = answer(*arguments), answer(*arguments)
    assert [found["embedding"] for found in (first, second)] == ["encoded", "store"]
    assert (first["area"], first["bbox"]) == (second["area"], second["bbox"])
    with Store.open(settings().database_url) as store:
        run = store.run(first["run"], LOCAL_OWNER)
        assert (run.kind, run.model_id, run.inputs[0].name) == (ANSWER, TINY, "noise.png")
        assert store.artifact(first["run"], "mask.png", LOCAL_OWNER) == (tmp_path / "mask.png").read_bytes()
        assert store.count(RunFilter()) == 2


def test_no_store(answer: Json, picture: Path, tmp_path: Path) -> None:
    arguments = ("--model", TINY, "--out", tmp_path / "mask.png", "--no-store")
    assert answer("segment", picture, *arguments, "--point", "20,15")["run"] is None
    assert answer("segment", picture, *arguments, "--everything")["run"] is None
    assert not (tmp_path / "store.sqlite3").exists()


def test_a_mask_leads_to_the_next(answer: Json, picture: Path, tmp_path: Path) -> None:
    start = tmp_path / "deep" / "next.npy"
    arguments = ("segment", picture, "--model", TINY, "--out", tmp_path / "mask.png", "--point", "20,15")
    first = answer(*arguments, "--logits", start)
    logits = np.load(start)
    assert (logits.dtype, logits.shape) == (np.float32, (LOW_RES, LOW_RES))
    second = answer(*arguments, "--mask", start)
    assert second["predicted_iou"] != first["predicted_iou"]
    np.save(tmp_path / "channel.npy", logits[None])
    third = answer(*arguments, "--mask", tmp_path / "channel.npy")
    assert third["masks"] == second["masks"]
    with Store.open(settings().database_url) as store:
        assert store.artifact(second["run"], "start.npy", LOCAL_OWNER) == start.read_bytes()


def test_a_mask_of_the_picture_to_start_from(answer: Json, picture: Path, tmp_path: Path) -> None:
    mask = np.zeros((40, 56), np.bool_)
    mask[10:30, 10:40] = True
    areas = []
    for name, values in (("bool", mask), ("bytes", mask * np.uint8(255)), ("other", ~mask)):
        np.save(tmp_path / f"{name}.npy", values)
        arguments = ("--model", TINY, "--out", tmp_path / "mask.png", "--mask", tmp_path / f"{name}.npy")
        areas.append(answer("segment", picture, *arguments)["masks"])
    assert areas[0] == areas[1] != areas[2]


def test_everything(answer: Json, tmp_path: Path) -> None:
    """By the shipped segmenter: masks of random weights are not good enough to be kept."""
    out, model = tmp_path / "labels.png", ROOT / "checkpoints" / "sam-scenes.safetensors"
    found = answer("segment", "sample:scene/3", "--model", model, "--out", out, "--everything")
    labels, image = np.asarray(Image.open(out)), load_sample("scene/3")
    assert labels.shape == (image.height, image.width)
    assert 0 < np.count_nonzero(labels) / labels.size == pytest.approx(found["coverage"])
    assert labels.max() <= len(found["masks"])
    areas = np.bincount(labels.ravel())[1:]
    for area, mask in zip(areas, found["masks"], strict=False):
        assert area <= mask["area"]  # smaller ones lie in front
        x0, y0, x1, y1 = mask["box"]
        assert mask["area"] <= (x1 - x0 + 1) * (y1 - y0 + 1)
    smallest = int(np.argmin([mask["area"] for mask in found["masks"]]))
    assert np.count_nonzero(labels == smallest + 1) == found["masks"][smallest]["area"]
    with Store.open(settings().database_url) as store:
        assert store.run(found["run"], LOCAL_OWNER).kind == EVERYTHING


def test_everything_of_which_nothing_is_good(answer: Json, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.png"
    found = answer("segment", picture, "--model", TINY, "--out", out, "--everything")
    assert (found["masks"], found["coverage"]) == ([], 0.0)
    assert not np.asarray(Image.open(out)).any()


def test_a_person_reads_one_line(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mask.png"
    assert main(["segment", str(picture), "--model", TINY, "--out", str(out), "--point", "20,15"]) == 0
    text = capsys.readouterr().out
    assert text.count("\n") == 1
    assert f"{mask_in(out).sum():,} pixels" in text
    assert str(out) in text


# What cannot be done


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "nothing to segment by"),
        (("--everything", "--point", "3,3"), "Both prompts and --everything"),
        (("--point", "3"), "--point is '3'"),
        (("--point", "3,4,5"), "--point is '3,4,5'"),
        (("--point", "3,4,0,1"), "--point"),
        (("--point", "nan,4"), "--point is 'nan,4'"),
        (("--point", "1e3,4"), "--point is '1e3,4'"),
        (("--point", "٣,4"), "--point"),
        (("--point", ""), "--point is ''"),
        (("--point", "57,3"), "outside the picture of 56 x 40"),
        (("--point", "-1,3"), "outside the picture of 56 x 40"),
        (("--point", "3,3", "--point", "3,3,0"), "both included and excluded"),
        (("--box", "1,2,3"), "--box is '1,2,3'"),
        (("--box", "9,9,3,3"), "has no size"),
        (("--box", "1,1,57,9"), "leaves the picture"),
        (("--mask", "none.npy"), "none.npy cannot be used as a mask"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_prompts(
    picture: Path, tmp_path: Path, options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mask.png"
    assert main(["segment", str(picture), "--model", TINY, "--out", str(out), *options, "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["class"] == "InputError"
    assert message in error["message"]
    assert error["remedy"].endswith(".")
    assert not out.exists()
    assert not _runs()


def _runs() -> int:
    with Store.open(settings().database_url) as store:
        return store.count(RunFilter())


def hostile_files(folder: Path) -> dict[str, Path]:
    """Return files that are no mask to start from."""
    arrays: dict[str, Any] = {
        "line": np.zeros(7, np.float32),
        "number": np.float32(3),
        "words": np.array([["a", "b"]]),
        "complex": np.zeros((4, 4), np.complex64),
        "several": np.zeros((3, LOW_RES, LOW_RES), np.float32),
        "empty": np.zeros((0, 4), np.float32),
        "not finite": np.full((LOW_RES, LOW_RES), np.nan, np.float32),
        "of another size": np.zeros((LOW_RES - 1, LOW_RES), np.float32),
        "mask of another picture": np.zeros((41, 56), np.bool_),
    }
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    np.save(folder / "objects.npy", np.array([[os.getcwd]], dtype=object), allow_pickle=True)
    np.savez(folder / "archive.npz", a=np.zeros((4, 4)))
    (folder / "no array.npy").write_bytes(b"no array")
    (folder / "nothing.npy").write_bytes(b"")
    (folder / "zip.npy").write_bytes(b"PK\x03\x04 and no more")
    whole = (folder / "of another size.npy").read_bytes()
    (folder / "cut.npy").write_bytes(whole[:-100])
    (folder / "header.npy").write_bytes(whole[:40])
    lying = np.lib.format.header_data_from_array_1_0(np.zeros((1, 1), np.float32)) | {"shape": (10**7, 10**7)}
    with (folder / "lying.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, lying)
    (folder / "folder.npy").mkdir()
    return {path.name: path for path in sorted(folder.iterdir())}


HOSTILE = [
    *("line.npy", "number.npy", "words.npy", "complex.npy", "several.npy", "empty.npy", "not finite.npy"),
    *("of another size.npy", "mask of another picture.npy", "objects.npy", "archive.npz", "no array.npy"),
    *("nothing.npy", "zip.npy", "cut.npy", "header.npy", "lying.npy", "folder.npy"),
]


@pytest.mark.parametrize("name", HOSTILE)
def test_files_that_are_no_mask(answer: Json, picture: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "masks"
    folder.mkdir()
    path = hostile_files(folder)[name]
    out = tmp_path / "mask.png"
    arguments = ("--model", TINY, "--out", out, "--point", "3,3", "--mask", path)
    error = answer("segment", picture, *arguments, code=2)["error"]
    assert error["class"] == "InputError"
    assert error["remedy"]
    assert not out.exists()
    assert _runs() == 0


def test_a_vision_transformer_is_no_segmenter(answer: Json, picture: Path, tmp_path: Path) -> None:
    arguments = ("--model", "random/vit_tiny_patch16_224", "--out", tmp_path / "m.png", "--point", "3,3")
    error = answer("segment", picture, *arguments, code=2)["error"]
    assert "no promptable segmenter" in error["message"]
    found = answer("classify", picture, "--model", TINY, code=2)["error"]
    assert found["class"] == "InputError"


def test_where_nothing_can_be_written(answer: Json, picture: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    arguments = ("--model", TINY, "--point", "3,3", "--out", tmp_path / "file" / "mask.png")
    assert "cannot be written" in answer("segment", picture, *arguments, code=2)["error"]["message"]
    assert _runs() == 0


# An evaluation


def test_an_evaluation(answer: Json) -> None:
    found = answer("segment-eval", "--model", TINY, "--scenes", 1, "--seed", 3, "--clicks", 2)
    overall = found["overall"]
    assert (found["model"], found["scenes"], found["clicks"], found["seed"]) == (TINY, 1, 2, 3)
    assert overall["objects"] == len(found["objects"]) >= 3
    assert overall["pictures"] == 3
    assert set(found["by_kind"]) == {"plain", "shapes", "cutouts"}
    assert len(overall["mean_iou"]) == 2
    assert all(0 <= value <= 1 for item in found["objects"] for value in item["iou"])
    with Store.open(settings().database_url) as store:
        assert store.run(found["run"], LOCAL_OWNER).kind == EVALUATION
    again = answer("segment-eval", "--model", TINY, "--scenes", 1, "--seed", 3, "--clicks", 2, "--no-store")
    assert again["run"] is None
    assert again["overall"] == overall


@pytest.mark.parametrize(
    "options", [("--scenes", "0"), ("--clicks", "0"), ("--clicks", "51"), ("--seed", "-1")]
)
def test_an_evaluation_of_nothing(answer: Json, options: tuple[str, str]) -> None:
    assert answer("segment-eval", "--model", TINY, *options, code=2)["error"]["class"] == "UsageError"


# A training


def test_a_training_from_end_to_end(answer: Json, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "own.safetensors"
    sizes = {"image-size": 64, "patch-size": 8, "dim": 16, "depth": 1, "heads": 2, "prompt-dim": 16}
    length = {"steps": 3, "batch-size": 2, "objects": 2, "rounds": 2, "test-pictures": 2, "report-every": 1}
    places = {"out": out, "work": tmp_path / "work", "threads": 1, "seed": 5}
    options = [
        str(part) for name, value in (sizes | length | places).items() for part in (f"--{name}", value)
    ]
    found = answer("train", "sam", *options)
    card = read_card(out)
    assert (found["checkpoint"], found["sha256"]) == (str(out), card.sha256)
    assert (
        found["parameters"]
        == card.parameters
        == sum(p.numel() for p in build_small_sam(**_built(card)).parameters())
    )
    assert (card.kind, card.architecture.class_name, card.seed) == ("segmentation", "Sam", 5)
    assert found["score"]["n"] == card.score.n == 6  # two pictures of each of three kinds
    assert len(found["reports"]) == 3
    with Store.open(settings().database_url) as store:
        run = store.run(found["run"], LOCAL_OWNER)
    assert (run.kind, run.status) == ("training", "ok")
    shown = answer("segment", picture, "--model", out, "--out", tmp_path / "m.png", "--point", "9,9")
    assert shown["model"] == f"file/{out}"


def _built(card: Card) -> dict[str, Any]:
    return dict(card.architecture.arguments)


@pytest.mark.parametrize(
    "options",
    [
        ("--image-size", "60", "--patch-size", "8"),
        ("--objects", "3"),
        ("--prompt-dim", "12"),
        ("--out", "x.pt"),
    ],
)
def test_trainings_that_cannot_be(answer: Json, options: tuple[str, ...]) -> None:
    error = answer("train", "sam", *options, code=2)["error"]
    assert error["class"] == "InputError"
    assert "The training option" in error["message"]
