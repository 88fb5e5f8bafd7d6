"""`similar` on the command line: one JSON object, the matrix on disk, a run in the store."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.cli import main
from core.features.kinds import SIMILARITY
from core.images import encode_png
from core.scenes import generate_pair
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
def views(tmp_path: Path) -> tuple[Path, Path]:
    """Two views of a scene, the second one narrower."""
    pair = generate_pair(3)
    paths = tmp_path / "a.png", tmp_path / "b.png"
    for path, rgb in zip(paths, (pair.first.rgb, pair.second[:, :150]), strict=True):
        path.write_bytes(encode_png(rgb))
    return paths


def test_matrix_numbers_and_matches_agree(answer: Json, views: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "new" / "sim.npy"
    found = answer("similar", *views, *MODEL, "--query", "2,5", "--matches", 4, "--out", out)
    matrix = np.load(out)
    (rows, columns), (rows_b, columns_b) = found["first"]["grid"], found["second"]["grid"]
    assert matrix.dtype == np.float32
    assert list(matrix.shape) == found["shape"] == [rows * columns, rows_b * columns_b]
    assert (found["second"]["width"], found["second"]["height"]) == (150, 224)
    assert -1 <= found["cls_similarity"] <= 1 and -1 <= found["global_similarity"] <= 1
    query = found["query"]
    row = matrix[2 * columns + 5]
    assert query["first"] == [2, 5]
    assert query["second"] == list(divmod(int(row.argmax()), columns_b))
    assert query["score"] == pytest.approx(row.max(), abs=1e-6)
    assert len(found["matches"]) == 4
    for match in found["matches"]:
        (r, c), (r_b, c_b) = match["first"], match["second"]
        index, index_b = r * columns + c, r_b * columns_b + c_b
        assert matrix[index].argmax() == index_b
        assert matrix[:, index_b].argmax() == index
        assert match["score"] == pytest.approx(matrix[index, index_b], abs=1e-6)
        assert match["first_xy"] == pytest.approx([(c + 0.5) * 224 / columns, (r + 0.5) * 224 / rows])
        assert match["second_xy"] == pytest.approx(
            [(c_b + 0.5) * 150 / columns_b, (r_b + 0.5) * 224 / rows_b]
        )
    with Store.open(settings().database_url) as store:
        (run,) = store.runs(RunFilter())
        assert (run.id, run.kind) == (found["run"], SIMILARITY)


def test_a_picture_with_itself(answer: Json, tmp_path: Path) -> None:
    same = ("sample:scene/2", "sample:scene/2")
    found = answer("similar", *same, *MODEL, "--out", tmp_path / "s.npy", "--no-store", "--query", "0,0")
    matrix = np.load(tmp_path / "s.npy")
    assert np.allclose(np.diag(matrix), 1, atol=1e-6)
    assert np.allclose(matrix, matrix.T, atol=1e-6)
    assert (found["cls_similarity"], found["global_similarity"]) == pytest.approx((1, 1), abs=1e-6)
    assert (found["best_buddies"], found["run"]) == (1, None)
    assert found["query"]["second"] == [0, 0]


def test_options_reach_the_features(answer: Json, tmp_path: Path) -> None:
    same = ("sample:scene/2", "sample:scene/3", *MODEL, "--no-store", "--out")
    plain = answer("similar", *same, tmp_path / "a.npy")
    other = answer(
        "similar", *same, tmp_path / "b.npy", "--layer", 0, "--facet", "key", "--stride", 4, "--size", 40
    )
    assert plain["first"]["grid"] == [8, 8]
    assert (other["layer"], other["facet"], other["stride"], other["size"]) == (0, "key", 4, 40)
    assert other["first"]["grid"] == [9, 9]  # patches of 8 pixels, 4 apart, in 40
    assert other["shape"] == [81, 81]


def test_background(answer: Json, tmp_path: Path) -> None:
    pictures = ("sample:scene/2", "sample:scene/3", *MODEL, "--no-store", "--size", 16)
    found = answer("similar", *pictures, "--background", "--out", tmp_path / "a.npy", "--query", "0,1")
    assert {name: value["n"] for name, value in found["percentiles"].items()} == {
        "cls": 120,
        "mean": 120,
        "best_buddies": 32,
    }
    assert 0 <= found["query"]["unrelated_percentile"] <= 100


def test_text_for_a_person(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = ("sample:scene/2", "sample:scene/3", *MODEL, "--no-store", "--size", "16", "--query", "1,0")
    assert main(["similar", *pictures, "--out", str(tmp_path / "a.npy")]) == 0
    text = capsys.readouterr().out
    assert text.startswith("2 x 2 by 2 x 2 patches in ")
    assert "Patch (1, 0) is most like (" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--query", "8,0"), "Rows go from 0 to 7 and columns from 0 to 7"),
        (("--query", "a"), "as in 3,5"),
        (("--query", "-1,0"), "as in 3,5"),
        (("--layer", "99"), "Layers go from 0 to"),
        (("--stride", "0"), "1 pixel or more"),
        (("--size", "99999"), "pixels"),
    ],
)
def test_what_cannot_be_done_is_said(
    answer: Json, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    out = tmp_path / "a.npy"
    found = answer("similar", "sample:scene/2", "sample:scene/3", *MODEL, "--out", out, *arguments, code=2)
    assert found["error"]["class"] == "InputError"
    assert words in found["error"]["remedy"]
    assert not out.exists()
