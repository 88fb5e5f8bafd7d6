"""Train a Vision Transformer on labelled pictures: what `python -m core train vit` does."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from core.checkpoints import (
    Architecture,
    Card,
    ModelInput,
    Score,
    load_into,
    read_card,
    read_weights,
    save_checkpoint,
)
from core.environment import describe_environment
from core.nn import VisionTransformer
from core.runs import LOCAL_OWNER, Artifact, Metric, RunDraft, RunSink
from core.training.config import TrainConfig
from core.training.data import MEAN, STD, Batch, Pictures, digits, drawn, make_batch, scenes
from core.training.loop import (
    Learner,
    Objective,
    choose_precision,
    make_optimizer,
    top1,
    train_step,
)
from core.training.schedule import warmup_cosine
from core.training.state import TrainingState, load_state, save_state

VALIDATION_SCENES = 500
TRAIN_SEEDS, VALIDATION_SEEDS, TEST_SEEDS = 10**12, 2 * 10**12, 3 * 10**12
"""First scene seeds of three ranges that never meet each other, nor any seed a person would type."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch came to."""

    train_loss: float
    """Mean over the epoch's steps."""
    validation_top1: float
    """0-1, on pictures that are not learned from."""
    lr: float
    """At the end of the epoch."""
    images_per_s: float
    elapsed_s: float
    """Time in training steps since the training began."""

    def metrics(self, number: int) -> list[Metric]:
        """Return the row of epoch `number`, counted from 1, for the store."""
        units = {"images_per_s": "1/s", "elapsed_s": "s"}
        return [Metric(name, value, units.get(name, ""), number) for name, value in asdict(self).items()]


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A finished training."""

    run_id: str
    """In the store; empty without one."""
    checkpoint: Path
    card: Card
    history: tuple[Epoch, ...]


def train_vit(
    config: TrainConfig,
    sink: RunSink | None = None,
    command: str = "",
    progress: bool = True,
    owner: str = LOCAL_OWNER,
) -> TrainResult:
    """Train, write the checkpoint with its card, and keep every epoch in the store.

    Args:
        config: What to do. With `resume`, a killed training goes on and ends with the same weights as an
            undisturbed one; in the store it is a new run with the earlier epochs in it and `resumed_from`.
        sink: The store; None keeps nothing.
        command: The command line, for the card.
        progress: Whether to show a progress bar on stderr.
        owner: Whose run it is.

    Raises:
        InputError: The options do not fit together, there is nothing to resume, or the loss diverged.
    """
    training = Trainer(config, sink, command, progress)
    with training.recorded(owner):
        training.learn()
        return training.finish()


class Trainer:
    """The mutable part of a training; it lives as long as `train_vit` runs."""

    def __init__(self, config: TrainConfig, sink: RunSink | None, command: str, progress: bool) -> None:
        self.config, self.sink, self.command, self.progress = config, sink, command, progress
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        self.precision = choose_precision(torch.device(config.device))
        self.train, self.validation = _pictures(config)
        torch.manual_seed(config.seed)
        self.learner = _learner(config, self.train)
        self.optimizer = make_optimizer(self.learner, config.lr, config.weight_decay)
        self.scaler = self.precision.scaler()
        self.objective = Objective(config.dense_weight, config.label_smoothing, config.clip_norm)
        self.step, self.loss_sum, self.elapsed_s = 0, 0.0, 0.0
        self.history: list[Epoch] = []
        self.run_id = self.resumed_from = ""
        if config.resume:
            self._restore(load_state(config.state_path, config.as_json()))

    def _restore(self, state: TrainingState) -> None:
        self.learner.load_state_dict(state.model)
        self.optimizer.load_state_dict(state.optimizer)
        self.scaler.load_state_dict(state.scaler)
        self.step, self.loss_sum, self.elapsed_s = state.step, state.loss_sum, state.elapsed_s
        self.history = [Epoch(**row) for row in state.history]
        self.resumed_from = state.run_id
        state.restore_rng()

    def save(self) -> None:
        """Write the state to resume from."""
        state = TrainingState(
            settings=self.config.as_json(),
            step=self.step,
            run_id=self.run_id,
            elapsed_s=self.elapsed_s,
            loss_sum=self.loss_sum,
            history=[asdict(epoch) for epoch in self.history],
            model=self.learner.state_dict(),
            optimizer=self.optimizer.state_dict(),
            scaler=self.scaler.state_dict(),
            torch_rng=torch.get_rng_state(),
            cuda_rng=torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        )
        save_state(self.config.state_path, state)

    @contextmanager
    def recorded(self, owner: str) -> Iterator[None]:
        """Open a run in the store; close it as failed or cancelled where the body raises."""
        if self.sink is None:
            yield
            return
        self.run_id = self.sink.start(self._draft(owner))
        self.sink.log(self.run_id, [m for n, epoch in enumerate(self.history, 1) for m in epoch.metrics(n)])
        try:
            yield
        except BaseException as error:
            status = "cancelled" if isinstance(error, KeyboardInterrupt) else "failed"
            self.sink.finish(
                self.run_id,
                status=status,
                duration_ms=self.elapsed_s * 1000,
                error_class=type(error).__name__,
                error_message=str(error),
            )
            raise

    def _draft(self, owner: str) -> RunDraft:
        parameters = self.config.as_json()
        if self.resumed_from:
            parameters["resumed_from"] = self.resumed_from
        dtype = str(self.precision.dtype).removeprefix("torch.")
        return RunDraft(
            kind="training",
            model_id=self.config.out.stem,
            model_revision="",
            environment=describe_environment(str(self.precision.device), dtype),
            owner=owner,
            parameters=parameters,
        )

    def learn(self) -> None:
        """Take all the steps that are left."""
        total = self.config.total_steps
        with tqdm(total=total, initial=self.step, unit="step", disable=not self.progress) as bar:
            while self.step < total:
                started = time.perf_counter()
                self.loss_sum += self._one_step()
                self.elapsed_s += time.perf_counter() - started
                bar.update()
                if self.step % self.config.steps_per_epoch == 0:
                    self._end_epoch()
                    bar.set_postfix(loss=self.history[-1].train_loss, top1=self.history[-1].validation_top1)
                if self.step % self.config.save_every == 0 or self.step == total:
                    self.save()

    def _one_step(self) -> float:
        config = self.config
        lr = config.lr * warmup_cosine(
            self.step, config.total_steps, round(config.warmup_share * config.total_steps)
        )
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        loss = train_step(
            self.learner, self.optimizer, self.scaler, self._batches(), self.objective, self.precision
        )
        self.step += 1
        return loss

    def _batches(self) -> list[Batch]:
        config, count = self.config, self.config.pictures_per_step
        indices = drawn(len(self.train), config.seed, self.step * count, count)
        rng = np.random.default_rng((config.seed, self.step, 1))
        return [make_batch(self.train, part, rng) for part in indices.reshape(config.accumulation, -1)]

    def _end_epoch(self) -> None:
        steps = self.config.steps_per_epoch
        spent_s = self.elapsed_s - (self.history[-1].elapsed_s if self.history else 0.0)
        epoch = Epoch(
            train_loss=self.loss_sum / steps,
            validation_top1=top1(self.learner.vit, self.validation, self.precision.device),
            lr=self.optimizer.param_groups[0]["lr"],
            images_per_s=steps * self.config.pictures_per_step / spent_s,
            elapsed_s=self.elapsed_s,
        )
        self.history.append(epoch)
        self.loss_sum = 0.0
        if self.sink is not None:
            self.sink.log(self.run_id, epoch.metrics(len(self.history)))

    def finish(self) -> TrainResult:
        """Measure the score, write the checkpoint, close the run and forget the state."""
        config, vit = self.config, self.learner.vit
        score = self._score()
        card = save_checkpoint(config.out, vit, self._card(score))
        if self.sink is not None:
            card_json = config.out.with_suffix(".json").read_bytes()
            self.sink.finish(
                self.run_id,
                status="ok",
                duration_ms=self.elapsed_s * 1000,
                metrics=[Metric("test_top1", score.value)],
                artifacts=[Artifact(config.out.with_suffix(".json").name, "application/json", card_json)],
            )
        config.state_path.unlink(missing_ok=True)
        return TrainResult(self.run_id, config.out, card, tuple(self.history))

    def _score(self) -> Score:
        config, device = self.config, self.precision.device
        if config.data == "digits":
            protocol = "every fifth digit, none of them learned from"
            return Score(
                "top-1", top1(self.learner.vit, self.validation, device), len(self.validation), protocol
            )
        test = _scenes(config, "test", TEST_SEEDS, config.test_scenes)
        protocol = f"scenes of the seeds from {TEST_SEEDS}, default options, none of them learned from"
        return Score("top-1", top1(self.learner.vit, test, device), len(test), protocol)

    def _card(self, score: Score) -> Card:
        config = self.config
        return Card(
            kind="classification",
            architecture=Architecture("VisionTransformer", architecture(config, len(self.train.names))),
            labels=self.train.names,
            input=ModelInput(config.image_size, config.image_size, MEAN, STD),
            command=self.command,
            seed=config.seed,
            data=describe_data(config),
            score=score,
            date=datetime.now(UTC).date().isoformat(),
            duration_s=round(self.elapsed_s, 1),
            licence="same as this repository",
        )


def architecture(config: TrainConfig, num_classes: int) -> dict[str, Any]:
    """Return the arguments of `VisionTransformer` that `config` stands for."""
    return {
        "image_size": config.image_size,
        "patch_size": config.patch_size,
        "num_classes": num_classes,
        "dim": config.dim,
        "depth": config.depth,
        "heads": config.heads,
        "mlp_dim": config.mlp_dim,
        "pool": config.pool,
        "dropout": config.dropout,
    }


def describe_data(config: TrainConfig) -> str:
    """Return in words what `config` learns from."""
    if config.data == "digits":
        return "scikit-learn digits, enlarged; four fifths of 1,797"
    first = TRAIN_SEEDS + config.seed * 10**8
    dense = (
        f" Beside the class of the largest object, each patch learned which class covers it and whether that is "
        f"the largest object (weight {config.dense_weight:g}; that head is not part of the checkpoint)."
    )
    return (
        f"{config.scenes:,} generated scenes of the seeds from {first}, default options, with their colour channels "
        f"in random order; {config.total_steps * config.pictures_per_step:,} pictures seen."
        + (dense if config.dense_weight else "")
    )


def _scenes(config: TrainConfig, part: str, first: int, count: int) -> Pictures:
    folder = config.work / f"scenes-{part}-{config.image_size}"
    return scenes(folder, range(first, first + count), config.image_size, config.patch_size)


def _pictures(config: TrainConfig) -> tuple[Pictures, Pictures]:
    """Return what to learn from and what to validate on."""
    if config.data == "digits":
        return digits(config.image_size)
    train = _scenes(config, "train", TRAIN_SEEDS + config.seed * 10**8, config.scenes)
    return train, _scenes(config, "validation", VALIDATION_SEEDS, VALIDATION_SCENES)


def _learner(config: TrainConfig, pictures: Pictures) -> Learner:
    vit = VisionTransformer(**architecture(config, len(pictures.names)))
    if config.start_from is not None:
        card = read_card(config.start_from)
        weights = read_weights(config.start_from, card.sha256)
        earlier = VisionTransformer(**card.architecture.arguments)
        load_into(earlier, weights)
        weights["position.weight"] = earlier.position.resized(vit.position.grid).detach()
        load_into(vit, weights)
    dense = config.dense_weight > 0 and pictures.patch_classes is not None
    return Learner(vit, dense).to(config.device)
