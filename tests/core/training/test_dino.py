"""Self-distillation: the teacher follows, nothing collapses, passes add up, and a stop changes nothing."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.checkpoints import read_card, read_weights
from core.errors import InputError
from core.loaders import ModelPool
from core.nn import VisionTransformer
from core.registry import resolve
from core.runs import Metric
from core.samples import HELD_OUT, photographs
from core.settings import settings
from core.training.dino.config import DinoConfig
from core.training.dino.crops import draw_crops, recolour
from core.training.dino.distill import Distillation
from core.training.dino.recipe import Contestant, as_model, describe_data
from core.training.dino.scores import (
    SINGLE,
    attention_masks,
    cls_features,
    fresh_scenes,
    knn_accuracy,
    probe_accuracy,
)
from core.training.dino.train import train_dino
from core.training.state import load_state

TINY: dict[str, Any] = {
    "image_size": 32,
    "small_size": 16,
    "small_crops": 1,
    "source_px": 48,
    "input_size": 32,
    "dim": 32,
    "depth": 2,
    "heads": 2,
    "mlp_dim": 64,
    "prototypes": 16,
    "hidden_dim": 32,
    "bottleneck_dim": 16,
    "steps": 6,
    "batch_size": 4,
    "test_scenes": 20,
    "report_every": 2,
    "save_every": 1,
    "half": False,
    "threads": 1,
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """So small a model is faster without threads, above all beside other work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def config_in(folder: Path, **changes: Any) -> DinoConfig:
    return DinoConfig(**(TINY | {"out": folder / "tiny.safetensors", "work": folder / "work"} | changes))


class Diary:
    """A store that remembers in memory what it was told."""

    def __init__(self) -> None:
        self.metrics: list[Metric] = []
        self.status = ""

    def record(self, run: object) -> str:
        raise NotImplementedError

    def start(self, run: object) -> str:
        return "run"

    def log(self, run_id: str, metrics: Any) -> None:
        self.metrics += metrics

    def finish(self, run_id: str, *, status: str, **rest: Any) -> None:
        self.status = status


def test_teacher_is_the_mean_of_the_student_over_time(tmp_path: Path) -> None:
    distillation = Distillation(config_in(tmp_path))
    own = distillation.teacher.backbone.cls_token
    other = distillation.student.backbone.cls_token
    assert own is not None
    assert other is not None
    with torch.no_grad():
        own.fill_(1.0)
        other.fill_(3.0)
    distillation.follow(0.9)
    assert own.flatten().tolist() == pytest.approx([1.2] * 32)
    distillation.follow(0.5)
    assert own.flatten().tolist() == pytest.approx([2.1] * 32)
    assert not any(parameter.requires_grad for parameter in distillation.teacher.parameters())


def test_first_step_moves_the_teacher_by_its_momentum_and_leaves_the_prototypes(tmp_path: Path) -> None:
    config = config_in(tmp_path, teacher_momentum=0.75, freeze_share=0.2)
    distillation = Distillation(config)
    before = distillation.student.backbone.blocks[0].mlp.fc1.weight.detach().clone()
    prototypes = distillation.student.head.prototypes.detach().clone()
    distillation.learn(draw_crops(config, 0, photographs()), 0)
    student = distillation.student.backbone.blocks[0].mlp.fc1.weight.detach()
    teacher = distillation.teacher.backbone.blocks[0].mlp.fc1.weight
    assert not torch.equal(student, before)
    torch.testing.assert_close(teacher, 0.75 * before + 0.25 * student)
    assert torch.equal(distillation.student.head.prototypes, prototypes)
    for step in (1, 2):
        distillation.learn(draw_crops(config, step, photographs()), step)
    assert not torch.equal(distillation.student.head.prototypes, prototypes)


def test_passes_add_up_to_the_gradient_of_the_large_batch(tmp_path: Path) -> None:
    whole = config_in(tmp_path, batch_size=8, centring="sinkhorn")
    parts = replace(whole, batch_size=2, accumulation=4)
    crops = draw_crops(whole, 0, photographs())
    assert torch.equal(crops.large, draw_crops(parts, 0, photographs()).large)
    gradients = []
    for config in (whole, parts):
        torch.manual_seed(0)
        distillation = Distillation(config)
        with torch.no_grad():
            targets = distillation.loss.targets(distillation.teacher(crops.large)[1], 0.04)
        loss, _ = distillation.gradients(crops, targets)
        found = [p.grad for p in distillation.student.parameters() if p.grad is not None]
        gradients.append((loss, torch.cat([grad.flatten() for grad in found])))
    assert gradients[0][0] == pytest.approx(gradients[1][0], rel=1e-5)
    difference = (gradients[0][1] - gradients[1][1]).abs().max() / gradients[0][1].abs().max()
    assert difference < 1e-5


def _learned(folder: Path, **changes: Any) -> tuple[float, str]:
    """Return the information left in the targets after 60 steps, and the warning of the last one."""
    config = config_in(folder, steps=60, batch_size=16, lr=5e-3, teacher_momentum=0.9, **changes)
    torch.manual_seed(0)
    distillation = Distillation(config)
    for step in range(config.steps):
        found = distillation.learn(draw_crops(config, step, ()), step)
    signs = found.signs()
    return signs.information, signs.warning


def test_it_collapses_without_centring_and_sharpening_and_not_with_them(tmp_path: Path) -> None:
    sharp: dict[str, Any] = {"teacher_temperature_start": 0.04, "teacher_temperature": 0.04}
    blunt: dict[str, Any] = {"teacher_temperature_start": 1.0, "teacher_temperature": 1.0}
    healthy, no_warning = _learned(tmp_path, centring="mean", **sharp)
    collapsed, warning = _learned(tmp_path, centring="none", **blunt)
    assert healthy > 0.1
    assert no_warning == ""
    assert collapsed < 0.005
    assert warning


def test_a_resumed_training_gives_the_losses_and_weights_of_an_undisturbed_one(tmp_path: Path) -> None:
    whole = train_dino(config_in(tmp_path / "whole"), progress=False)

    class Stop(Exception):
        pass

    class Killed(Diary):
        def log(self, run_id: str, metrics: Any) -> None:
            super().log(run_id, metrics)
            if len(self.metrics) > 8:
                raise Stop

    config = config_in(tmp_path / "parts")
    killed = Killed()
    with pytest.raises(Stop):
        train_dino(config, killed, progress=False)
    assert killed.status == "failed"
    diary = Diary()
    parts = train_dino(replace(config, resume=True), diary, progress=False)
    assert diary.status == "ok"
    assert [report.loss for report in parts.history] == [report.loss for report in whole.history]
    assert read_weights(parts.checkpoint).keys() == read_weights(whole.checkpoint).keys()
    for name, tensor in read_weights(parts.checkpoint).items():
        assert torch.equal(tensor, read_weights(whole.checkpoint)[name]), name
    assert len({m.step for m in diary.metrics if m.name == "loss"}) == 3
    assert not config.state_path.exists()


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from core.training.dino.train import train_dino
from tests.core.training.test_dino import config_in
train_dino(config_in(Path(sys.argv[1]), steps=60), progress=False)
"""


def killed_after(config: DinoConfig, step: int) -> int:
    """Train in another process, kill it once its state has reached `step`, and return the step it reached."""
    root = Path(__file__).resolve().parents[3]
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(config.out.parent), str(root)], cwd=root)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if config.state_path.exists() and load_state(config.state_path, config.fixed()).step >= step:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    return load_state(config.state_path, config.fixed()).step


def test_after_a_kill_the_losses_are_those_of_an_undisturbed_training(tmp_path: Path) -> None:
    whole = train_dino(config_in(tmp_path / "whole", steps=60), progress=False)
    config = config_in(tmp_path / "killed", steps=60)
    config.out.parent.mkdir()
    assert 0 < killed_after(config, random.randrange(1, 30)) < 60
    resumed = train_dino(replace(config, resume=True), progress=False)
    assert [report.loss for report in resumed.history] == [report.loss for report in whole.history]
    assert resumed.card.sha256 == whole.card.sha256


def test_another_recipe_may_not_resume(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    training_state = config.state_path
    with pytest.raises(InputError, match="no training to resume"):
        train_dino(replace(config, resume=True), progress=False)
    assert not training_state.exists()


def test_card_says_what_was_reached_beside_the_others_and_the_app_loads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = train_dino(config_in(tmp_path), progress=False, command="python -m core train dino")
    card = read_card(result.checkpoint)
    assert card == result.card
    assert card.kind == "features"
    assert card.labels == ()
    names = [score.name for score in (card.score, *card.further)]
    for kind in ("k-NN", "linear probe", "attention Jaccard, best head", "attention Jaccard, head mean"):
        for rival in ("", " of the same network before training", " of vit-scenes, which learned the labels"):
            assert f"{kind} (one object){rival}" in names
    monkeypatch.setenv("VISION_BENCH_CHECKPOINTS", str(tmp_path))
    settings.cache_clear()
    spec = resolve("shipped/tiny")
    with ModelPool(budget_mb=100, device="cpu").use(spec) as model:
        assert spec.tasks == ("attention", "features")
        assert (model.depth, model.heads, model.has_cls, model.labels) == (2, 2, True, ())
        output = model.forward(torch.zeros(1, 3, 32, 32))
        tokens = model.module.forward_features(torch.zeros(1, 3, 32, 32))
        assert torch.equal(output, tokens[:, 0])


def test_crops_are_the_same_for_one_step_and_others_for_the_next(tmp_path: Path) -> None:
    config = config_in(tmp_path, small_crops=3)
    first, again, other = (draw_crops(config, step, photographs()) for step in (5, 5, 6))
    assert first.large.shape == (2, 4, 3, 32, 32)
    assert first.small.shape == (3, 4, 3, 16, 16)
    assert torch.equal(first.large, again.large)
    assert torch.equal(first.small, again.small)
    assert not torch.equal(first.large, other.large)
    assert first.large.abs().max() <= 1
    assert draw_crops(replace(config, small_crops=0), 5, photographs()).small.shape[0] == 0


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_colours_of_two_crops_of_one_picture_say_nothing_of_each_other(seed: int, mixing: float) -> None:
    """The recoloured red of one crop is not that of another, whatever the picture."""
    rng = np.random.default_rng(seed)
    red = np.tile(np.array([0.9, -0.8, -0.8], np.float32), (200, 4, 1))
    mixed = recolour(rng, red, mixing, 0.0)[:, 0]  # N 3
    assert mixed.shape == (200, 3)
    assert np.abs(mixed).max() <= 1
    assert np.all(mixed.std(axis=0) > 0.25)


def test_evened_crops_have_no_mean_colour_and_one_contrast() -> None:
    rng = np.random.default_rng(0)
    rgb = rng.uniform(-0.6, 0.6, (100, 256, 3)).astype(np.float32)
    even = recolour(rng, rgb, 0.5, 1.0)
    plain = recolour(rng, rgb, 0.5, 0.0)
    unturned = np.abs(even.mean(axis=(1, 2))) < 0.05  # all but those whose bright parts were turned dark
    assert unturned.mean() > 0.8
    assert np.std(even[unturned].std(axis=(1, 2))) < 0.5 * np.std(plain.std(axis=(1, 2)))


def test_a_uniform_picture_is_evened_to_numbers() -> None:
    flat = np.full((3, 16, 3), 0.5, np.float32)
    assert np.isfinite(recolour(np.random.default_rng(0), flat, 0.5, 1.0)).all()


def test_evenness_ends_where_it_should(tmp_path: Path) -> None:
    config = config_in(tmp_path, steps=100, evened=(0.4, 0.8))
    assert [config.evenness(step) for step in (0, 40, 60, 80, 99)] == pytest.approx([1, 1, 0.5, 0, 0])
    assert [replace(config, evened=(0.5, 0.5)).evenness(step) for step in (49, 50)] == [1, 0]


def test_neighbours_and_probe_tell_classes_apart_only_where_features_do() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 600)
    centres = rng.normal(size=(4, 16))
    good = (centres[labels] + 0.3 * rng.normal(size=(600, 16))).astype(np.float32)
    noise = rng.normal(size=(600, 16)).astype(np.float32)
    for accuracy in (knn_accuracy, probe_accuracy):
        assert accuracy(good[:400], labels[:400], good[400:], labels[400:]) > 0.97
        assert accuracy(noise[:400], labels[:400], noise[400:], labels[400:]) < 0.4


def test_masks_of_uniform_attention_have_the_jaccard_that_follows() -> None:
    """With all weights 0, every patch gets the same attention: the first 60 % of the patches are the mask."""
    vit = VisionTransformer(32, 8, 0, dim=16, depth=1, heads=2, mlp_dim=16)
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.zero_()
    scenes = fresh_scenes(1, 3, SINGLE).scenes
    found = attention_masks(as_model(Contestant("", vit.eval(), 32)), scenes, 32)
    mask = np.zeros(16, bool)
    mask[:10] = True  # 10 of 16 patches are the fewest with 60 %
    whole = np.kron(mask.reshape(4, 4), np.ones((56, 56), bool))
    truth = [scene.largest.mask for scene in scenes]
    expected = np.mean([(whole & t).sum() / (whole | t).sum() for t in truth])
    assert found.best_head == pytest.approx(expected)
    assert found.head_mean == pytest.approx(expected)


def test_features_are_those_of_the_cls_token() -> None:
    torch.manual_seed(0)
    vit = VisionTransformer(32, 8, 0, dim=16, depth=1, heads=2, mlp_dim=16).eval()
    scenes = fresh_scenes(1, 3, SINGLE).scenes
    found = cls_features(vit, scenes, 32)
    assert found.shape == (3, 16)
    assert not np.allclose(found[0], found[1], atol=1e-4)


def test_data_names_the_photographs_that_are_held_out(tmp_path: Path) -> None:
    said = describe_data(config_in(tmp_path))
    assert all(name in said for name in HELD_OUT)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"prototypes": 1}, "prototypes"),
        ({"large_scale": (0.9, 0.5)}, "large_scale"),
        ({"small_scale": (0.0, 0.5)}, "small_scale"),
        ({"evened": (0.9, 0.5)}, "evened"),
        ({"teacher_temperature": 0.0}, "teacher_temperature"),
        ({"small_size": 20}, "small_size"),
        ({"dim": 33}, "dim"),
        ({"centring": "some"}, "centring"),
        ({"teacher_momentum": 1.5}, "teacher_momentum"),
        ({"out": Path("model.bin")}, "out"),
    ],
)
def test_useless_options_are_named(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=f"option {named} "):
        DinoConfig(**(TINY | {"out": tmp_path / "a.safetensors"} | change))


def test_the_paper_s_values_are_the_defaults() -> None:
    values = asdict(DinoConfig())
    paper = {
        "student_temperature": 0.1,
        "teacher_temperature_start": 0.04,
        "teacher_temperature": 0.07,
        "temperature_warmup": 0.3,
        "center_momentum": 0.9,
        "teacher_momentum": 0.996,
        "freeze_share": 0.01,
        "weight_decay": 0.04,
        "last_weight_decay": 0.4,
        "clip_norm": 3.0,
        "large_scale": (0.4, 1.0),
        "small_scale": (0.05, 0.4),
        "centring": "mean",
    }
    assert {name: values[name] for name in paper} == paper
