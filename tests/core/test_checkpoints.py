"""Checkpoints: what is written is read back, and nothing else is accepted."""

import hashlib
import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from core.checkpoints import (
    Architecture,
    Card,
    ModelInput,
    Score,
    load_into,
    read_card,
    read_weights,
    save_checkpoint,
    write_atomically,
)
from core.errors import InputError

CARD = Card(
    kind="classification",
    architecture=Architecture("VisionTransformer", {"dim": 8, "pool": "cls"}),
    labels=("cat", "dog"),
    input=ModelInput(32, 48, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    command="python -m core train vit",
    seed=7,
    data="two pets",
    score=Score("top-1", 0.5, 10, "ten pictures"),
    date="2026-01-31",
    duration_s=1.5,
    licence="MIT",
)


def small_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "pets.safetensors"
    save_checkpoint(path, small_model(), CARD)
    return path


def test_weights_and_card_come_back_as_they_were(tmp_path: Path) -> None:
    path, model = tmp_path / "new" / "pets.safetensors", small_model()
    written = save_checkpoint(path, model, CARD)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert written == replace(CARD, parameters=4 * 3 + 3 + 3 + 3, sha256=digest)
    assert read_card(path) == read_card(path.with_suffix(".json")) == written
    weights = read_weights(path, digest)
    assert weights.keys() == model.state_dict().keys()
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    assert sorted(p.name for p in path.parent.iterdir()) == ["pets.json", "pets.safetensors"]


def test_the_card_is_readable_json(saved: Path) -> None:
    raw = json.loads(saved.with_suffix(".json").read_text())
    assert raw["labels"] == ["cat", "dog"] and raw["architecture"]["arguments"]["dim"] == 8


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full_disk(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_changed_byte_is_noticed(saved: Path) -> None:
    data = bytearray(saved.read_bytes())
    data[-1] ^= 1
    saved.write_bytes(data)
    with pytest.raises(InputError, match="SHA-256"):
        read_weights(saved, read_card(saved).sha256)


@pytest.mark.parametrize("kept", [0, 4, 100, -1], ids=["empty", "no header", "half", "one byte short"])
@pytest.mark.parametrize("name", ["pets.safetensors", "pets.pth"])
def test_a_truncated_file_is_refused(tmp_path: Path, name: str, kept: int) -> None:
    path = tmp_path / name
    if path.suffix == ".pth":
        torch.save(small_model().state_dict(), path)
    else:
        save_checkpoint(path, small_model(), CARD)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"cut short or is not a .* file"):
        read_weights(path)


def test_a_web_page_is_not_a_checkpoint(tmp_path: Path) -> None:
    for name in ("page.safetensors", "page.bin"):
        (tmp_path / name).write_text("<!doctype html><title>404</title>" * 9)
        with pytest.raises(InputError):
            read_weights(tmp_path / name)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_a_torch_file_of_tensors_is_read(tmp_path: Path, wrapper: str | None) -> None:
    path, state = tmp_path / "weights.pth", dict(small_model().state_dict())
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, path)
    assert all(torch.equal(value, state[name]) for name, value in read_weights(path).items())


class Bomb:
    """Unpickling it leaves a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")  # torch's own remark on the way to its refusal
def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "it ran"
    torch.save({"weight": Bomb(mark)}, tmp_path / "bomb.pt")
    (tmp_path / "raw.bin").write_bytes(pickle.dumps(Bomb(mark)))
    torch.save(small_model(), tmp_path / "module.pth")
    for name in ("bomb.pt", "raw.bin", "module.pth"):
        with pytest.raises(InputError, match=r"pickle that holds more than tensors"):
            read_weights(tmp_path / name)
    (tmp_path / "weights.pkl").write_bytes(b"")
    with pytest.raises(InputError, match="not a kind of weights file that can be read safely"):
        read_weights(tmp_path / "weights.pkl")
    assert not mark.exists()


@pytest.mark.parametrize("content", [[1, 2], {"lr": 0.1}, {}, torch.zeros(2)], ids=repr)
def test_a_file_without_a_state_dict_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(InputError, match="no state dict"):
        read_weights(tmp_path / "other.pth")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.safetensors cannot be read"):
        read_weights(tmp_path / "nothing.safetensors")
    with pytest.raises(InputError, match=r"nothing\.json is missing"):
        read_card(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"score": None}, "cannot be used"),
        ({"labels": ["cat", "cat"]}, "not all different"),
        ({"format_version": 2}, "format version is 2"),
        ({"date": "yesterday"}, "yesterday"),
        ({"surprise": 1}, "unknown fields: surprise"),
        ({"input": {"height": 0, "width": 1, "mean": [0, 0, 0], "std": [1, 1, 1]}}, "at least 1"),
        ({"input": {"height": 1, "width": 1, "mean": [0, 0, 0], "std": [1, 1, 0]}}, "above 0"),
        ({"score": {"name": "top-1", "value": 97, "n": 10, "protocol": ""}}, "expected 0-1"),
    ],
)
def test_a_card_that_cannot_be_used_says_why(saved: Path, change: dict[str, object], said: str) -> None:
    card = saved.with_suffix(".json")
    card.write_text(json.dumps(json.loads(card.read_text()) | change))
    with pytest.raises(InputError, match=said):
        read_card(saved)


def test_a_card_without_a_field_names_it(saved: Path) -> None:
    card = saved.with_suffix(".json")
    raw = json.loads(card.read_text())
    del raw["labels"]
    card.write_text(json.dumps(raw))
    with pytest.raises(InputError, match="'labels' is missing"):
        read_card(saved)
    card.write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        read_card(saved)


def test_weights_of_another_shape_are_summed_up_and_nothing_is_changed() -> None:
    model = small_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    weights = dict(model.state_dict()) | {"0.bias": torch.zeros(4), "extra": torch.zeros(1)}
    del weights["1.weight"]
    with pytest.raises(InputError) as caught:
        load_into(model, weights)
    assert caught.value.message == (
        "The weights do not fit Sequential: 1 missing (1.weight); 1 unexpected (extra); "
        "1 wrong shape (0.bias is 4 instead of 3)."
    )
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_many_wrong_names_are_cut_after_three() -> None:
    with pytest.raises(InputError, match=r"4 missing \(0\.weight, 0\.bias, 1\.weight, …\)"):
        load_into(small_model(), {})
