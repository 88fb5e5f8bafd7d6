"""Supervised training: it learns, it goes on after a kill, and it tells the store."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from core.checkpoints import load_into, read_card, read_weights
from core.errors import InputError
from core.nn import VisionTransformer
from core.runs import Metric, RunDraft
from core.training.config import TrainConfig
from core.training.state import load_state
from core.training.supervised import train_vit

TINY: dict[str, Any] = {
    "data": "digits",
    "image_size": 16,
    "patch_size": 4,
    "dim": 16,
    "depth": 1,
    "heads": 2,
    "mlp_dim": 16,
    "epochs": 3,
    "epoch_pictures": 96,
    "batch_size": 8,
    "accumulation": 2,
    "save_every": 1,
    "threads": 1,
}


def config_in(folder: Path, **changes: Any) -> TrainConfig:
    return TrainConfig(**(TINY | {"out": folder / "tiny.safetensors", "work": folder / "work"} | changes))


@dataclass
class Diary:
    """A store that remembers in memory what it was told."""

    runs: dict[str, RunDraft] = field(default_factory=dict)
    rows: list[tuple[str, Metric]] = field(default_factory=list)
    ends: list[dict[str, Any]] = field(default_factory=list)

    def record(self, run: RunDraft) -> str:
        raise AssertionError("a training is started and finished, not recorded at once")

    def start(self, run: RunDraft) -> str:
        self.runs[f"run-{len(self.runs)}"] = run
        return f"run-{len(self.runs) - 1}"

    def log(self, run_id: str, metrics: Sequence[Metric]) -> None:
        self.rows += [(run_id, metric) for metric in metrics]

    def finish(self, run_id: str, **outcome: Any) -> None:
        self.ends.append({"run_id": run_id} | outcome)

    def curve(self, run_id: str, name: str) -> list[float]:
        found = {m.step: m.value for run, m in self.rows if run == run_id and m.name == name}
        return [found[step] for step in sorted(step for step in found if step is not None)]


def test_it_learns_the_digits(tmp_path: Path) -> None:
    config = config_in(
        tmp_path,
        image_size=24,
        patch_size=6,
        dim=48,
        depth=2,
        mlp_dim=96,
        epochs=5,
        epoch_pictures=1400,
        batch_size=35,
    )
    result = train_vit(replace(config, accumulation=1, lr=5e-3), progress=False)
    assert result.card.score.value > 0.85  # chance is 0.10
    assert result.card.score.n == 359
    assert result.history[-1].train_loss < result.history[0].train_loss / 2


def test_the_checkpoint_rebuilds_the_model_that_was_measured(tmp_path: Path) -> None:
    from core.training.data import digits
    from core.training.loop import top1

    result = train_vit(config_in(tmp_path), command="python -m core train vit", progress=False)
    card = read_card(result.checkpoint)
    assert card == result.card and card.command == "python -m core train vit"
    model = VisionTransformer(**card.architecture.arguments)
    load_into(model, read_weights(result.checkpoint, card.sha256))
    assert top1(model, digits(16)[1], torch.device("cpu")) == card.score.value
    assert not (tmp_path / "work" / "tiny.state.pt").exists()


def test_every_epoch_is_told_to_the_store(tmp_path: Path) -> None:
    diary = Diary()
    result = train_vit(config_in(tmp_path), diary, progress=False)
    draft = diary.runs[result.run_id]
    assert (draft.kind, draft.model_id, draft.environment.device) == ("training", "tiny", "cpu")
    assert json.loads(json.dumps(draft.parameters))["lr"] == 1e-3
    for name in ("train_loss", "validation_top1", "lr", "images_per_s", "elapsed_s"):
        assert diary.curve(result.run_id, name) == [getattr(epoch, name) for epoch in result.history]
    (end,) = diary.ends
    assert end["status"] == "ok" and end["metrics"] == [Metric("test_top1", result.card.score.value)]
    assert json.loads(end["artifacts"][0].data)["sha256"] == result.card.sha256


def test_the_same_seed_gives_the_same_weights_however_many_workers(tmp_path: Path) -> None:
    runs = [("a", 0, 1), ("b", 0, 2), ("c", 1, 1)]
    digests = [
        train_vit(config_in(tmp_path / name, seed=seed, workers=workers), progress=False).card.sha256
        for name, seed, workers in runs
    ]
    assert digests[0] == digests[1] != digests[2]


def test_accumulated_batches_are_one_large_batch(tmp_path: Path) -> None:
    whole = train_vit(config_in(tmp_path / "a", batch_size=16, accumulation=1), progress=False)
    parts = train_vit(config_in(tmp_path / "b", batch_size=4, accumulation=4), progress=False)
    for one, other in zip(whole.history, parts.history, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-4)


LONG = {"epochs": 20, "dropout": 0.1}
SCRIPT = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from core.training.supervised import train_vit
from tests.core.training.test_supervised import LONG, config_in
train_vit(config_in(Path(sys.argv[1]), **LONG), progress=False)
"""


def kill_at(config: TrainConfig, step: int) -> int:
    """Train in another process, kill it once its state has reached `step`, and return the step it reached."""
    root = Path(__file__).resolve().parents[3]
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(config.out.parent), str(root)], cwd=root)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if config.state_path.exists() and load_state(config.state_path, config.fixed()).step >= step:
            break
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    return load_state(config.state_path, config.fixed()).step


def test_after_a_kill_it_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    undisturbed = train_vit(config_in(tmp_path / "whole", **LONG), progress=False)
    config = config_in(tmp_path / "killed", **LONG)
    reached = kill_at(config, step=random.randrange(1, 40))
    assert 0 < reached < config.total_steps
    diary = Diary()
    resumed = train_vit(replace(config, resume=True), diary, progress=False)
    losses = [epoch.train_loss for epoch in undisturbed.history]
    assert [epoch.train_loss for epoch in resumed.history] == losses
    assert diary.curve(resumed.run_id, "train_loss") == losses  # the epochs before the kill too
    assert resumed.card.sha256 == undisturbed.card.sha256
    assert not config.state_path.exists()


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), "cancelled"), (OSError("disk full"), "failed")]
)
def test_a_stop_is_told_and_the_next_run_says_what_it_resumed(
    tmp_path: Path, error: BaseException, status: str
) -> None:
    class Interrupting(Diary):
        def log(self, run_id: str, metrics: Sequence[Metric]) -> None:
            super().log(run_id, metrics)
            if self.curve(run_id, "lr")[1:] and len(self.runs) == 1:
                raise error

    config, diary = config_in(tmp_path), Interrupting()
    with pytest.raises(type(error)):
        train_vit(config, diary, progress=False)
    assert (diary.ends[0]["status"], diary.ends[0]["error_class"]) == (status, type(error).__name__)
    result = train_vit(replace(config, resume=True), diary, progress=False)
    assert diary.runs[result.run_id].parameters["resumed_from"] == "run-0"
    assert len(diary.curve(result.run_id, "lr")) == 3 and diary.ends[1]["status"] == "ok"


def test_a_training_that_diverges_says_so_and_is_a_failed_run(tmp_path: Path) -> None:
    diary = Diary()
    with pytest.raises(InputError, match="diverged"):
        train_vit(config_in(tmp_path, lr=1e30), diary, progress=False)
    assert diary.ends[0]["status"] == "failed" and "lower learning rate" in diary.ends[0]["error_message"]


def test_resuming_needs_a_state_of_the_same_settings(tmp_path: Path) -> None:
    config = config_in(tmp_path, resume=True)
    with pytest.raises(InputError, match="no training to resume"):
        train_vit(config, progress=False)
    config.state_path.parent.mkdir(parents=True, exist_ok=True)
    config.state_path.write_bytes(b"not a state")
    with pytest.raises(InputError, match="cannot be read"):
        train_vit(config, progress=False)
    kill_at_first_epoch(replace(config, resume=False))
    with pytest.raises(InputError, match="another dim, weight_decay"):
        train_vit(replace(config, dim=32, weight_decay=0.5), progress=False)


def test_a_resumed_training_may_be_longer(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    kill_at_first_epoch(config)
    result = train_vit(replace(config, resume=True, epochs=5, lr=2e-3), progress=False)
    assert len(result.history) == 5 and result.history[-1].lr < result.history[1].lr < 2e-3


def kill_at_first_epoch(config: TrainConfig) -> None:
    class Stop(Diary):
        def log(self, run_id: str, metrics: Sequence[Metric]) -> None:
            if metrics:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_vit(config, Stop(), progress=False)


def test_an_earlier_checkpoint_is_a_start_at_another_size(tmp_path: Path) -> None:
    first = train_vit(config_in(tmp_path / "a", epochs=10, lr=5e-3), progress=False)
    fresh = train_vit(config_in(tmp_path / "b", image_size=24, epochs=1), progress=False)
    taught = train_vit(
        config_in(tmp_path / "c", image_size=24, epochs=1, start_from=first.checkpoint), progress=False
    )
    assert taught.history[0].train_loss < fresh.history[0].train_loss
    assert taught.card.input.height == 24


def test_scenes_are_learned_with_their_masks_and_a_focused_start(tmp_path: Path) -> None:
    config = config_in(
        tmp_path,
        data="scenes",
        image_size=32,
        scenes=48,
        test_scenes=8,
        epochs=2,
        epoch_pictures=48,
        focus_share=0.5,
        focus_side=3,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.training.recipe.VALIDATION_SCENES", 8)
        result = train_vit(config, progress=False)
    assert result.card.labels[0] == "circle" and len(result.card.labels) == 12
    assert result.card.score.n == 8
    assert "3 x 3 patches" in result.card.data and "weight 1" in result.card.data
    assert set(read_weights(result.checkpoint)) == set(
        VisionTransformer(**result.card.architecture.arguments).state_dict()
    )


@pytest.mark.parametrize(
    "change",
    [
        {"lr": 0.0},
        {"epochs": 0},
        {"image_size": 18},
        {"dim": 15},
        {"pool": "max"},
        {"data": "cifar"},
        {"dropout": 1.0},
        {"workers": 2, "dropout": 0.1},
        {"epoch_pictures": 15},
        {"focus_side": 5, "focus_share": 0.5, "data": "scenes"},
        {"focus_share": 0.5},
        {"out": Path("model.pth")},
        {"seed": -1},
    ],
    ids=str,
)
def test_options_of_no_use_are_named(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="training option") as caught:
        config_in(tmp_path, **change)
    assert f"option {next(iter(change))} is" in caught.value.message
