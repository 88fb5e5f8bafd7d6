"""Training a captioner: the losses by hand, learning, resuming after a kill, its card, the command line."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from core.captioner.evaluate import KINDS, TEST_SEEDS
from core.captioner.generate import normalised
from core.captioner.network import DENSE, VISUAL_TOKENS, Captioner
from core.captioner.vocabulary import ANSWER, PAD
from core.checkpoints import read_card, read_weights
from core.cli import main
from core.errors import InputError
from core.loaders import ModelPool
from core.registry import resolve
from core.runs import LOCAL_OWNER, Metric
from core.samples import load_sample
from core.settings import ROOT, settings
from core.training.captioner.config import CaptionerConfig
from core.training.captioner.data import MORE_QUESTIONS, CaptionBatch, answer_part, draw_batch
from core.training.captioner.learn import StepLoss, answer_loss, batch_loss, dense_loss
from core.training.captioner.train import train_captioner
from core.training.state import load_state
from db import Store
from tests.support.captioners import VOCABULARY, tiny_captioner

TINY: dict[str, Any] = {
    "image_size": 64,
    "channels": 32,
    "encoder_depth": 1,
    "dim": 16,
    "heads": 2,
    "decoder_depth": 1,
    "steps": 6,
    "dense_steps": 2,
    "decoder_steps": 2,
    "batch_size": 2,
    "lr": 3e-3,
    "test_scenes": 3,
    "report_every": 2,
    "save_every": 1,
    "half": False,
    "threads": 1,
}
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """So small a model is faster without threads, above all beside other work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def config_in(folder: Path, **changes: Any) -> CaptionerConfig:
    return CaptionerConfig(**(TINY | {"out": folder / "tiny.safetensors", "work": folder / "work"} | changes))


# The losses, by hand


@pytest.mark.parametrize("shown", [0.0, 0.3, 1.0])
def test_dense_loss_by_hand(shown: float) -> None:
    rng = np.random.default_rng(0)
    logits = tuple(torch.from_numpy(rng.normal(size=(2, 7, k)).astype(np.float32)) for k in DENSE)
    truth = np.stack([rng.integers(1, k, (2, 7)) for k in DENSE], axis=-1)
    truth[rng.random(truth.shape) >= shown] = 0
    expected = 0.0
    for place in range(len(DENSE)):
        costs: dict[bool, list[float]] = {True: [], False: []}
        for picture in range(2):
            for patch in range(7):
                scores = logits[place][picture, patch].tolist()
                target = int(truth[picture, patch, place])
                cost = math.log(sum(math.exp(s) for s in scores)) - scores[target]
                costs[target > 0].append(cost)
        expected += sum(0.5 * sum(group) / len(group) for group in costs.values() if group)
    assert dense_loss(logits, torch.from_numpy(truth)).item() == pytest.approx(expected, rel=1e-5)


def test_answer_loss_by_hand() -> None:
    """Each word of each answer, and its end, given all before it; nothing of prompts and padding."""
    model, batch = tiny_captioner(decoder_depth=1), draw_batch(0, 0, 2, 64)
    visual = torch.randn(2, VISUAL_TOKENS, 16, generator=torch.Generator().manual_seed(0))
    text = torch.from_numpy(batch.short[:, :3])
    total, right, count = 0.0, 0, 0
    for picture in range(2):
        for row in text[picture].tolist():
            for place in range(row.index(ANSWER) + 1, len(row)):
                if row[place] == PAD:
                    break
                scores = model(visual[picture : picture + 1], torch.tensor([row[:place]]))[0, -1]
                total -= scores.log_softmax(0)[row[place]].item()
                right += int(scores.argmax().item() == row[place])
                count += 1
    loss, found_right, found_count = answer_loss(model, visual, text)
    assert loss.item() == pytest.approx(total, rel=1e-4)
    assert (found_right.item(), found_count.item()) == (right, count)
    assert count == int(answer_part(batch.short[:, :3]).sum())


def losses(model: Captioner, batch: CaptionBatch, encoder: bool, decoder: bool) -> StepLoss:
    return batch_loss(model, batch, CPU, encoder_learns=encoder, decoder_learns=decoder)


def test_the_loss_of_a_batch_is_that_of_patches_and_of_words() -> None:
    model, batch = tiny_captioner(decoder_depth=1), draw_batch(0, 1, 2, 64)
    both, patches, answers = (
        losses(model, batch, *who) for who in ((True, True), (True, False), (False, True))
    )
    seen = model.encoder(normalised(batch.rgb, CPU))
    dense = dense_loss(seen.dense, torch.from_numpy(batch.dense).long()).item()
    parts = [
        answer_loss(model, seen.visual, torch.from_numpy(text)) for text in (batch.short, batch.captions)
    ]
    words = sum(part[0].item() for part in parts) / sum(part[2].item() for part in parts)
    right = sum(part[1].item() for part in parts) / sum(part[2].item() for part in parts)
    assert [found.dense.item() for found in (both, patches, answers)] == pytest.approx([dense] * 3)
    assert [found.words.item() for found in (both, patches, answers)] == pytest.approx([words, 0, words])
    assert [found.words_right.item() for found in (both, answers)] == pytest.approx([right] * 2)
    expected = [dense + words, dense, words]
    assert [found.loss.item() for found in (both, patches, answers)] == pytest.approx(expected)
    guesses = [head.argmax(dim=-1).numpy() for head in seen.dense[:2]]
    shown = (guesses[0] == batch.dense[..., 0]) & (guesses[1] == batch.dense[..., 1])
    assert both.patches_right.item() == pytest.approx(shown[batch.dense[..., 0] > 0].mean())


@pytest.mark.parametrize(("encoder", "decoder"), [(True, False), (False, True), (True, True)])
def test_what_learns_of_a_batch(encoder: bool, decoder: bool) -> None:
    model = Captioner(**CaptionerConfig(**TINY).architecture(len(VOCABULARY)))
    losses(model, draw_batch(0, 0, 2, 64), encoder, decoder).loss.backward()  # type: ignore[no-untyped-call]
    learning = {name.partition(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    rest = {"words", "text_position", "blocks", "norm"}
    assert learning == ({"encoder"} if encoder else set()) | (rest if decoder else set())


def test_every_scene_has_as_many_questions_as_are_asked() -> None:
    for step in range(10):
        batch = draw_batch(1, step, 4, 64, MORE_QUESTIONS)
        assert batch.short.shape[:2] == (4, 2 + MORE_QUESTIONS)
        assert (batch.short[..., 0] != PAD).all()


# Training


class Diary:
    """A store that remembers in memory what it was told."""

    def __init__(self, most: int | None = None) -> None:
        self.metrics: list[Metric] = []
        self.status = ""
        self.most = most

    def record(self, run: object) -> str:
        raise NotImplementedError

    def start(self, run: Any) -> str:
        self.run = run
        return "run"

    def log(self, run_id: str, metrics: Any) -> None:
        self.metrics += metrics
        if self.most is not None and len(self.metrics) > self.most:
            raise ArithmeticError("stopped")

    def finish(self, run_id: str, *, status: str, **rest: Any) -> None:
        self.status = status


def test_a_few_steps_lower_the_losses(tmp_path: Path) -> None:
    sizes = {"steps": 24, "dense_steps": 8, "decoder_steps": 4, "report_every": 4, "batch_size": 4}
    config = config_in(tmp_path, **sizes, lr=1e-2, test_scenes=1)
    reports = train_captioner(config, progress=False).history
    assert len(reports) == 6
    assert reports[-1].dense < 0.9 * reports[0].dense
    assert [report.words for report in reports[:2]] == [0.0, 0.0]
    assert 0 < reports[-1].words < 0.95 * reports[2].words
    assert reports[2].words < 1.5 * math.log(len(VOCABULARY))


def test_at_the_end_the_encoder_stays_as_it_is(tmp_path: Path) -> None:
    """Scenes of 4 steps, of which the last 2 change the decoder alone; the state tells what was when."""
    config = config_in(tmp_path, steps=4, dense_steps=1, decoder_steps=2, report_every=1)
    assert config.decoder_from == 2
    with pytest.raises(ArithmeticError):
        train_captioner(config, Diary(most=14), progress=False)  # in the third report, after the third step
    before = load_state(config.state_path, config.fixed())
    assert before.step == 2
    after = read_weights(train_captioner(replace(config, resume=True), progress=False).checkpoint)
    same = {name for name, tensor in after.items() if torch.equal(tensor, before.model[name])}
    assert same == {name for name in after if name.startswith("encoder.")}


def columns(result: Any) -> list[tuple[float, ...]]:
    """Return what a training reported, without times."""
    return [(r.dense, r.words, r.patches_right, r.words_right, r.lr) for r in result.history]


def test_a_resumed_training_is_that_of_an_undisturbed_one(tmp_path: Path) -> None:
    whole = train_captioner(config_in(tmp_path / "whole"), progress=False)
    config, stopped = config_in(tmp_path / "parts"), Diary(most=8)
    with pytest.raises(ArithmeticError):
        train_captioner(config, stopped, progress=False)
    assert stopped.status == "failed"
    diary = Diary()
    parts = train_captioner(replace(config, resume=True), diary, progress=False)
    assert diary.status == "ok"
    assert columns(parts) == columns(whole)
    expected = read_weights(whole.checkpoint)
    assert all(torch.equal(t, expected[name]) for name, t in read_weights(parts.checkpoint).items())
    assert parts.card.sha256 == whole.card.sha256
    assert len({metric.step for metric in diary.metrics if metric.name == "dense"}) == 3
    assert not config.state_path.exists()


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from core.training.captioner.train import train_captioner
from tests.core.training.test_captioner import config_in
if __name__ == "__main__":
    train_captioner(config_in(Path(sys.argv[1]), steps=14), progress=False)
"""


def killed_after(config: CaptionerConfig, step: int) -> int:
    """Train in another process, kill it once its state has reached `step`, and return the step it reached."""
    script = config.out.parent / "script.py"  # a file: the process that draws scenes imports it again
    script.write_text(SCRIPT)
    process = subprocess.Popen([sys.executable, script, str(config.out.parent), str(ROOT)], cwd=ROOT)
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        if config.state_path.exists() and load_state(config.state_path, config.fixed()).step >= step:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    return load_state(config.state_path, config.fixed()).step


def test_after_a_kill_all_is_as_if_undisturbed(tmp_path: Path) -> None:
    whole = train_captioner(config_in(tmp_path / "whole", steps=14), progress=False)
    config = config_in(tmp_path / "killed", steps=14)
    config.out.parent.mkdir()
    assert 0 < killed_after(config, random.randrange(1, 7)) < 14
    resumed = train_captioner(replace(config, resume=True), progress=False)
    assert columns(resumed) == columns(whole)
    assert resumed.card.sha256 == whole.card.sha256


def test_nothing_and_another_recipe_cannot_be_resumed(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    with pytest.raises(InputError, match="no training to resume"):
        train_captioner(replace(config, resume=True), progress=False)
    with pytest.raises(ArithmeticError):
        train_captioner(config, Diary(most=1), progress=False)
    with pytest.raises(InputError, match="another batch_size, dim") as caught:
        train_captioner(replace(config, resume=True, dim=32, batch_size=3), progress=False)
    assert caught.value.remedy.endswith(".")


def test_a_training_that_diverges_says_so_and_leaves_no_checkpoint(tmp_path: Path) -> None:
    config, diary = config_in(tmp_path, lr=1e30, warmup_share=0.0), Diary()
    with pytest.raises(InputError, match="diverged") as caught:
        train_captioner(config, diary, progress=False)
    assert "lower learning rate" in caught.value.remedy
    assert diary.status == "failed"
    assert not config.out.exists()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"steps": 0}, "steps"),
        ({"batch_size": 0}, "batch_size"),
        ({"test_scenes": 0}, "test_scenes"),
        ({"lr": 0.0}, "lr"),
        ({"lr": -1e-3}, "lr"),
        ({"clip_norm": 0.0}, "clip_norm"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"dense_steps": -1}, "dense_steps"),
        ({"decoder_steps": -1}, "decoder_steps"),
        ({"seed": -1}, "seed"),
        ({"warmup_share": 1.0}, "warmup_share"),
        ({"image_size": 63}, "image_size"),
        ({"image_size": 56}, "image_size"),
        ({"channels": 48}, "channels"),
        ({"dim": 33}, "dim"),
        ({"heads": 0}, "heads"),
        ({"out": Path("model.bin")}, "out"),
    ],
    ids=repr,
)
def test_useless_options_are_named(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=f"option {named} ") as caught:
        config_in(tmp_path, **change)
    assert caught.value.remedy.startswith("It must be ")


# What comes out


class Trained(NamedTuple):
    """What a training by the command line left."""

    checkpoint: Path
    stdout: str
    store: str


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    options = [
        part
        for name, value in (TINY | {"steps": 4, "seed": 5}).items()
        if name != "half"
        for part in (f"--{name.replace('_', '-')}", str(value))
    ]
    places = ["--out", str(folder / "captioner-tiny.safetensors"), "--work", str(folder / "work")]
    command = [sys.executable, "-m", "core", "train", "captioner", *options, "--no-half", *places, "--json"]
    store = f"sqlite:///{folder / 'store.sqlite3'}"
    env = os.environ | {"VISION_BENCH_DATABASE_URL": store}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Trained(folder / "captioner-tiny.safetensors", done.stdout, store)


def test_the_command_line_from_end_to_end(trained: Trained) -> None:
    assert trained.stdout.count("\n") == 1
    found, card = json.loads(trained.stdout), read_card(trained.checkpoint)
    assert (found["checkpoint"], found["sha256"]) == (str(trained.checkpoint), card.sha256)
    assert found["parameters"] == card.parameters
    assert found["score"] == {"name": "object list F1", "value": card.score.value, "n": 3}
    assert len(found["reports"]) == 2
    with Store.open(trained.store) as store:
        run = store.run(found["run"], LOCAL_OWNER)
    assert (run.kind, run.status, run.model_id) == ("training", "ok", "captioner-tiny")
    assert run.parameters["seed"] == 5


def test_the_card_says_what_was_measured(trained: Trained) -> None:
    card = read_card(trained.checkpoint)
    assert (card.kind, card.architecture.class_name, card.seed) == ("vlm", "Captioner", 5)
    assert card.title == "Captioner trained here on scenes, tiny"
    assert "drawn scenes only" in card.note
    assert card.labels == VOCABULARY
    assert card.architecture.arguments["vocabulary"] == len(VOCABULARY)
    assert card.command.startswith("python -m core train captioner --image-size 64")
    scores = [card.score, *card.further]
    names = [score.name for score in scores]
    assert names[:4] == [
        "object list F1",
        "OCR, 1 - character error rate",
        "caption chrF",
        "count and colour questions",
    ]
    assert set(names[4:]) <= {f"{kind} questions" for kind in KINDS}
    assert [score.n for score in scores[:3]] == [3, 3, 3]
    for score in scores:
        assert str(TEST_SEEDS) in score.protocol
        assert "greedy, at most 64 tokens" in score.protocol
        assert "up to 4 objects and one word each" in score.protocol
    assert "8 generated scenes" in card.data  # 4 steps of 2
    assert "the first 4 teach the encoder alone" in card.data
    assert card.data.endswith("the last 4 the decoder alone.")
    assert "70% of them with a word" in card.data


def test_the_app_lists_and_asks_it(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISION_BENCH_CHECKPOINTS", str(trained.checkpoint.parent))
    settings.cache_clear()
    spec = resolve("shipped/captioner-tiny", "vlm")
    assert spec.tasks == ("vlm",)
    with ModelPool(budget_mb=100, device="cpu").vlm(spec) as model, model.turn:
        made = model.generate(
            load_sample("scene/3"),
            "What is in the picture?",
            max_tokens=5,
            temperature=0.0,
            on_text=lambda _: None,
            cancelled=lambda: False,
        )
    assert made.output_tokens <= 5


def test_the_command_line_refuses_in_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "captioner", "--image-size", "60", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["class"] == "InputError"
    assert "The training option image_size is 60." in error["message"]
