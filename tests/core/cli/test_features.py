"""`features`: the file holds what the model says of each picture, and a second call runs no model."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.cli import main
from core.features.extract import extract
from core.features.values import FeatureOptions
from core.loaders import ModelPool
from core.registry import resolve
from core.runs import LOCAL_OWNER
from core.samples import load_sample
from core.settings import settings
from db import RunFilter, Store

TINY = "random/vit_tiny_patch16_224"
Json = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str]) -> Json:
    """Return a function that runs `features` and returns its object."""

    def run(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
        assert main(["features", *map(str, arguments), "--json"]) == code
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return run


def test_the_file_holds_the_features_of_each_picture(answer: Json, tmp_path: Path) -> None:
    out, pictures = tmp_path / "new" / "some.npz", ("sample:chelsea", "sample:scene/3")
    options = ("--layer", 2, "--facet", "key", "--size", 64)
    found = answer(*pictures, "--model", TINY, "--out", out, *options)
    images = [load_sample("chelsea"), load_sample("scene/3")]
    expected_options = FeatureOptions(2, "key", size=64)
    with ModelPool(device="cpu").use(resolve(TINY)) as model:
        expected = extract(model, images, expected_options)
    with np.load(out) as file:
        assert set(file) == {
            *("names", "sha256", "model", "revision", "options"),
            *("patches_0", "cls_0", "box_0", "patches_1", "cls_1", "box_1"),
        }
        assert file["sha256"].tolist() == [image.sha256 for image in images]
        assert file["names"].tolist() == [image.name for image in images]
        assert (str(file["model"]), str(file["revision"])) == (TINY, "seed 0")
        assert FeatureOptions(**json.loads(str(file["options"]))) == expected_options
        for i, one in enumerate(expected):
            assert np.array_equal(file[f"patches_{i}"], one.patches)
            assert np.array_equal(file[f"cls_{i}"], one.cls)
            assert tuple(file[f"box_{i}"]) == one.frame.box
            assert file[f"patches_{i}"].dtype == np.float16
    assert (found["dim"], found["layer"], found["facet"], found["size"]) == (192, 2, "key", 64)
    for i, row in enumerate(found["pictures"]):
        assert row["shape"] == list(expected[i].patches.shape)
        assert (row["grid"], row["cls"], row["source"]) == (row["shape"][:2], True, "computed")
        assert row["times_ms"]["all"] >= row["times_ms"]["model"] > 0


def test_one_run_for_each_picture_and_no_model_the_second_time(answer: Json, tmp_path: Path) -> None:
    call = ("sample:chelsea", "sample:scene/3", "--model", TINY, "--out", tmp_path / "a.npz", "--size", 48)
    first, second = answer(*call), answer(*call)
    assert [row["source"] for row in second["pictures"]] == ["store", "store"]
    assert [row["times_ms"]["load"] for row in second["pictures"]] == [0, 0]
    with Store.open(settings().database_url) as store:
        assert store.count(RunFilter()) == 4
        for name, run_id in zip(("chelsea", "scene/3"), second["runs"], strict=True):
            run = store.run(run_id, LOCAL_OWNER)
            assert (run.kind, run.status, run.model_id) == ("features", "ok", TINY)
            assert run.parameters["options"] == FeatureOptions(size=48).as_json()
            assert [picture.sha256 for picture in run.inputs] == [load_sample(name).sha256]
    assert len({*first["runs"], *second["runs"]}) == 4


def test_nothing_is_left_where_that_is_asked(answer: Json, tmp_path: Path) -> None:
    call = ("sample:scene/3", "--model", TINY, "--out", tmp_path / "a.npz", "--size", 48, "--no-store")
    assert answer(*call)["runs"] == [None]
    assert answer(*call)["pictures"][0]["source"] == "computed"
    with Store.open(settings().database_url) as store:
        assert store.count(RunFilter()) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--stride", "0"), "The stride is 0"),
        (("--stride", "17"), "more than the 16 pixels of a patch"),
        (("--layer", "12"), "There is no layer 12"),
        (("--facet", "head"), "head"),
        (("--size", "100000"), "The size is 100000"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_no_file(
    answer: Json, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    out = tmp_path / "a.npz"
    found = answer("sample:scene/3", "--model", TINY, "--out", out, *arguments, code=2)
    assert message in found["error"]["message"]
    assert not out.exists()


def test_a_failure_inside_the_model_is_a_failed_run(answer: Json, tmp_path: Path) -> None:
    answer("sample:scene/3", "--model", TINY, "--out", tmp_path / "a.npz", "--layer", "12", code=2)
    answer("sample:scene/3", "--model", "random/resnet18", "--out", tmp_path / "a.npz", code=2)
    with Store.open(settings().database_url) as store:
        (failed,) = store.runs(RunFilter())
    assert (failed.kind, failed.status) == ("features", "failed")
