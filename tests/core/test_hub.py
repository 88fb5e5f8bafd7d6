"""Models from the hub: the real timm and transformers download from one on this machine, which then goes."""

import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core import hub
from core.errors import OfflineError
from core.settings import ROOT
from tests.support.hub import commit_of, serve_hub
from tests.support.load_models import digest_of

TIMM, NAMED = "hf/acme/tiny", "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k"
DINOV2, REGISTERS, CLASSIFIER = "hf/acme/dinov2", "hf/acme/dinov2-registers", "hf/acme/classifier"
GOOD = (TIMM, NAMED, DINOV2, REGISTERS, CLASSIFIER)


class _Marker:
    """What a hostile pickle holds: reading it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def build_hub(root: Path, marker: Path) -> dict[str, str]:
    """Fill a hub with small models, sound and broken; return the digests of the sound ones."""
    import timm
    import torch
    import transformers
    from timm.models import save_for_hf

    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(1)
    tiny = timm.create_model(
        "vit_tiny_patch16_224", embed_dim=24, depth=2, num_heads=3, num_classes=5, img_size=64
    )
    named = timm.create_model("vit_tiny_patch16_224")
    for module, name in ((tiny, "acme/tiny"), (named, NAMED)):
        save_for_hf(module, str(root / name), safe_serialization=True)
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 56}
    dinov2 = transformers.Dinov2Model(transformers.Dinov2Config(**sizes, patch_size=14))
    registers = transformers.Dinov2WithRegistersModel(
        transformers.Dinov2WithRegistersConfig(**sizes, patch_size=14, num_register_tokens=3)
    )
    names = {0: "cat", 1: "dog", 2: "fox"}
    vit = transformers.ViTForImageClassification(
        transformers.ViTConfig(**sizes, patch_size=8, intermediate_size=48, id2label=names)
    )
    found = {TIMM: tiny, NAMED: named, DINOV2: dinov2, REGISTERS: registers, CLASSIFIER: vit}
    for name in (DINOV2, REGISTERS, CLASSIFIER):
        found[name].save_pretrained(root / name.removeprefix("hf/"))
    transformers.BitImageProcessorPil(
        size={"shortest_edge": 64}, crop_size={"height": 56, "width": 56}
    ).save_pretrained(root / "acme/dinov2")
    transformers.ViTImageProcessorPil(size={"height": 56, "width": 56}).save_pretrained(
        root / "acme/classifier"
    )
    _break(root, marker)
    return {name: digest_of(module) for name, module in found.items()}


def _break(root: Path, marker: Path) -> None:
    from safetensors.torch import load_file, save_file

    for name in ("gated", "down", "cut", "wrong", "page", "no-processor", "lacking"):
        shutil.copytree(root / "acme/dinov2", root / "bad" / name)
    shutil.copytree(root / "acme/tiny", root / "bad/timm-page")
    for source, name, lost in (
        ("acme/dinov2", "lacking", "encoder.layer.1.mlp.fc1.weight"),
        ("acme/classifier", "no-head", "classifier.weight"),
        ("acme/tiny", "timm-no-head", "head.weight"),
    ):
        shutil.copytree(root / source, root / "bad" / name, dirs_exist_ok=True)
        path = root / "bad" / name / "model.safetensors"
        tensors = load_file(path)
        del tensors[lost]
        save_file(tensors, path, {"format": "pt"})
    for source, name in (("acme/tiny", "timm-pickle"), ("acme/dinov2", "pickle")):
        shutil.copytree(root / source, root / "bad" / name)
        (root / "bad" / name / "model.safetensors").unlink()
        (root / "bad" / name / "pytorch_model.bin").write_bytes(pickle.dumps(_Marker(marker)))
    (root / "bad/swin").mkdir()
    (root / "bad/swin/config.json").write_text(json.dumps({"model_type": "swin"}))
    (root / "bad/empty").mkdir()
    (root / "bad/empty/README.md").write_text("Nothing here.")


FAULTS = {
    "bad/gated": "gated",
    "bad/down": "error",
    "bad/cut/model.safetensors": "cut",
    "bad/wrong/model.safetensors": "wrong",
    "bad/page/model.safetensors": "page",
    "bad/timm-page/model.safetensors": "page",
    "bad/no-processor/preprocessor_config.json": "error",
}


def load(names: list[str], home: Path, endpoint: str) -> dict[str, dict[str, Any]]:
    """Load models in a new process; return what it says about each, by name."""
    env = os.environ | {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": "1",
        "VISION_BENCH_HUB_TIMEOUT_S": "2",
    }
    command = [sys.executable, "-m", "tests.support.load_models", *names]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return {facts["name"]: facts for facts in map(json.loads, done.stdout.splitlines())}


@dataclass(frozen=True)
class World:
    """What happened while there was a hub, and after it had gone."""

    digests: dict[str, str]
    commit: str
    online: dict[str, dict[str, Any]]
    offline: dict[str, dict[str, Any]]
    requests: list[str]
    marker: Path


TROUBLES = [
    ("gated", "SetupError", "only given to those who accepted its terms", "set HF_TOKEN"),
    ("down", "SetupError", "refused to hand out hf/bad/down (HTTP 500)", "Try again in a minute"),
    ("no-processor", "SetupError", "refused to hand out", "Try again in a minute"),
    ("cut", "OfflineError", "stopped answering", "Connect to the network"),
    ("wrong", "SetupError", "arrived broken", "models--bad--wrong"),
    ("page", "SetupError", "is a web page", "models--bad--page"),
    ("timm-page", "SetupError", "is a web page", "models--bad--timm-page"),
    ("lacking", "InputError", "lack 1 tensors (encoder.layer.1.mlp.fc1.weight)", "whole model again"),
    ("no-head", "InputError", "lack 1 tensors (classifier.weight)", "whole model again"),
    ("timm-no-head", "InputError", 'Missing key(s) in state_dict: "head.weight"', "this architecture"),
    ("pickle", "InputError", "pickle that holds more than tensors", "safetensors"),
    ("timm-pickle", "InputError", "pickle that holds more than tensors", "safetensors"),
    ("swin", "InputError", "is a swin, not a plain vision transformer", "dinov2"),
    ("empty", "InputError", "no weights that can be read", "Choose another model"),
    ("absent", "InputError", "The hub has no hf/bad/absent", "Check the name"),
    ("lacking@v9", "InputError", "The hub has no hf/bad/lacking@v9", "revision"),
]
"""Broken repository, error, part of its message, part of its remedy."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root, home = tmp_path_factory.mktemp("hub"), tmp_path_factory.mktemp("home")
    marker = root / "code-was-run"
    digests = build_hub(root, marker)
    commit = commit_of(root / "acme/classifier")
    names = ["--hurry", *GOOD, *(f"hf/bad/{row[0]}" for row in TROUBLES)]
    with serve_hub(root, FAULTS) as served:
        online = load(names, home, served.url)
        url, requests = served.url, list(served.requests)
    pinned = f"{CLASSIFIER}@{commit}"
    offline = load([*GOOD, pinned, "hf/acme/unknown", "timm/vit_small_patch16_224.dino"], home, url)
    yield World(digests, commit, online, offline, requests, marker)


@pytest.mark.parametrize("name", GOOD)
def test_downloaded_weights_are_the_served_ones(world: World, name: str) -> None:
    assert world.online[name]["digest"] == world.digests[name]
    assert world.online[name]["available"] == [False, True]


@pytest.mark.parametrize("name", GOOD)
def test_a_second_process_loads_from_the_cache_when_the_hub_has_gone(world: World, name: str) -> None:
    online, offline = world.online[name], world.offline[name]
    assert offline["available"] == [True, True]
    assert offline["seconds"] < 10  # the libraries' own retries take 23 s and more
    varying = {"available", "seconds"}
    assert {k: v for k, v in offline.items() if k not in varying} == {
        k: v for k, v in online.items() if k not in varying
    }


def test_facts_of_a_timm_model_come_from_its_own_configuration(world: World) -> None:
    facts = world.online[TIMM]
    assert facts["labels"] == [f"class {i}" for i in range(5)]
    assert (facts["prefix_tokens"], facts["shape"], facts["outputs"]) == (1, [2, 3], 5)
    assert facts["input"] == [[64, 64], "center", 0.9, [0.5, 0.5, 0.5]]


def test_a_named_model_speaks_imagenet(world: World) -> None:
    facts = world.online[NAMED]
    assert facts["labels"][:2] == ["tench, Tinca tinca", "goldfish, Carassius auratus"]
    assert (len(facts["labels"]), facts["outputs"], facts["shape"]) == (1000, 1000, [12, 3])
    assert facts["revision"] == "augreg_in21k_ft_in1k"


def test_facts_of_transformers_models(world: World) -> None:
    dinov2, registers, vit = (world.online[name] for name in (DINOV2, REGISTERS, CLASSIFIER))
    assert [m["prefix_tokens"] for m in (dinov2, registers, vit)] == [1, 4, 1]
    assert [m["labels"] for m in (dinov2, registers, vit)] == [[], [], ["cat", "dog", "fox"]]
    assert [m["outputs"] for m in (dinov2, registers, vit)] == [24, 24, 3]
    assert dinov2["input"][:3] == [[56, 56], "center", 56 / 64]
    assert vit["input"] == [[56, 56], "squash", 1.0, [0.5, 0.5, 0.5]]
    assert registers["input"][3] == [0.485, 0.456, 0.406]  # no processor was saved with it


def test_the_commit_behind_a_branch_is_recorded(world: World) -> None:
    assert world.online[CLASSIFIER]["revision"] == world.commit[:12]
    assert world.offline[f"{CLASSIFIER}@{world.commit}"]["digest"] == world.digests[CLASSIFIER]


@pytest.mark.parametrize(("name", "error", "says", "remedy"), TROUBLES)
def test_what_goes_wrong_is_one_clear_sentence(
    world: World, name: str, error: str, says: str, remedy: str
) -> None:
    facts = world.online[f"hf/bad/{name}"]
    assert facts["error"] == error
    assert says in facts["message"]
    assert remedy in facts["remedy"]
    assert "\n" not in facts["message"]
    assert facts["message"].endswith(".")


def test_a_hostile_pickle_is_not_run(world: World) -> None:
    assert not world.marker.exists()


def test_a_model_that_cannot_be_used_costs_no_download(world: World) -> None:
    assert not any("/bad/swin/" in request and "model.safetensors" in request for request in world.requests)


@pytest.mark.parametrize("name", ["hf/acme/unknown", "timm/vit_small_patch16_224.dino"])
def test_without_a_hub_it_is_said_at_once(world: World, name: str) -> None:
    facts = world.offline[name]
    assert facts["error"] == "OfflineError"
    assert (
        facts["message"] == f"The weights of {name} are not on this machine, and 127.0.0.1 does not answer."
    )
    assert "shipped/" in facts["remedy"]
    assert facts["seconds"] < 2 + 1  # the configured timeout and a second


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Point this process at another hub, of which nothing is known yet."""
    from huggingface_hub import constants

    def point(endpoint: str) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        hub._answered.clear()

    yield point
    hub._answered.clear()


def test_a_hub_that_takes_the_call_and_says_nothing_counts_as_gone(
    at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISION_BENCH_HUB_TIMEOUT_S", "0.3")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        at(f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.perf_counter()
        with pytest.raises(OfflineError):
            hub.require_hub("hf/acme/tiny")
        assert time.perf_counter() - started < 1.3
        started = time.perf_counter()
        assert not hub.reachable()  # remembered
        assert time.perf_counter() - started < 0.2


def test_a_hub_that_answers_is_asked_once(at: Any, tmp_path: Path) -> None:
    with serve_hub(tmp_path) as served:
        at(served.url)
        assert [hub.reachable() for _ in range(5)] == [True] * 5
        assert len(served.requests) == 1


def test_a_hub_whose_server_fails_is_not_waited_for(at: Any, tmp_path: Path) -> None:
    with serve_hub(tmp_path) as served:
        served.faults["/"] = "error"
        at(served.url)
        assert not hub.reachable()
