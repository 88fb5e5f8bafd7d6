"""Train a Vision Transformer on labelled pictures: what `python -m core train vit` does."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from core.checkpoints import Card, save_checkpoint
from core.environment import describe_environment
from core.runs import LOCAL_OWNER, Metric, RunDraft, RunSink
from core.training.config import TrainConfig
from core.training.data import Batch, drawn, make_batch
from core.training.loop import Objective, choose_precision, make_optimizers, top1, train_step
from core.training.recipe import describe_card, measured, new_learner, pictures
from core.training.record import finish, recorded
from core.training.schedule import warmup_cosine
from core.training.state import TrainingState, load_state, save_state


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
        self.train, self.validation = pictures(config)
        torch.manual_seed(config.seed)
        self.learner = new_learner(config, self.train)
        self.optimizers = make_optimizers(self.learner, config.lr, config.weight_decay)
        self.scaler = self.precision.scaler()
        self.objective = Objective(config.dense_weight, config.label_smoothing, config.clip_norm)
        self.step, self.loss_sum, self.elapsed_s = 0, 0.0, 0.0
        self.history: list[Epoch] = []
        self.run_id = self.resumed_from = ""
        if config.resume:
            self._restore(load_state(config.state_path, config.fixed()))

    def _restore(self, state: TrainingState) -> None:
        self.learner.load_state_dict(state.model)
        for optimizer, saved in zip(self.optimizers, state.optimizers, strict=True):
            optimizer.load_state_dict(saved)
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
            optimizers=[optimizer.state_dict() for optimizer in self.optimizers],
            scaler=self.scaler.state_dict(),
            torch_rng=torch.get_rng_state(),
            cuda_rng=torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        )
        save_state(self.config.state_path, state)

    @contextmanager
    def recorded(self, owner: str) -> Iterator[None]:
        """Open a run in the store; close it as failed or cancelled where the body raises."""
        earlier = [m for n, epoch in enumerate(self.history, 1) for m in epoch.metrics(n)]
        with recorded(self.sink, self._draft(owner), earlier, lambda: self.elapsed_s) as self.run_id:
            yield

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
        bar = tqdm(total=total, initial=self.step, unit="step", disable=not self.progress)
        with bar, ThreadPoolExecutor(self.config.workers) as executor:
            while self.step < total:
                started = time.perf_counter()
                self.loss_sum += self._one_step(executor)
                self.elapsed_s += time.perf_counter() - started
                bar.update()
                if self.step % self.config.steps_per_epoch == 0:
                    self._end_epoch()
                    bar.set_postfix(loss=self.history[-1].train_loss, top1=self.history[-1].validation_top1)
                if self.step % self.config.save_every == 0 or self.step == total:
                    self.save()

    def _one_step(self, executor: ThreadPoolExecutor) -> float:
        config = self.config
        lr = config.lr * warmup_cosine(
            self.step, config.total_steps, round(config.warmup_share * config.total_steps)
        )
        for group in (g for optimizer in self.optimizers for g in optimizer.param_groups):
            group["lr"] = lr
        loss = train_step(
            self.learner,
            self.optimizers,
            self.scaler,
            self._batches(),
            self.objective,
            self.precision,
            executor,
        )
        self.step += 1
        return loss

    def _batches(self) -> list[Batch]:
        config, count = self.config, self.config.pictures_per_step
        indices = drawn(len(self.train), config.seed, self.step * count, count)
        rng = np.random.default_rng((config.seed, self.step, 1))
        parts = indices.reshape(config.accumulation, -1)
        batches = [make_batch(self.train, part, rng, config.shift_px) for part in parts]
        if self.step < config.focus_share * config.total_steps:
            grid = self.learner.vit.position.grid
            batches = [batch.focused(config.focus_side, grid) for batch in batches]
        return batches

    def _end_epoch(self) -> None:
        steps = self.config.steps_per_epoch
        spent_s = self.elapsed_s - (self.history[-1].elapsed_s if self.history else 0.0)
        epoch = Epoch(
            train_loss=self.loss_sum / steps,
            validation_top1=top1(self.learner.vit, self.validation, self.precision.device),
            lr=self.optimizers[0].param_groups[0]["lr"],
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
        score = measured(config, vit, self.validation, self.precision.device)
        described = describe_card(config, self.train.names, score, self.command, self.elapsed_s)
        written = save_checkpoint(config.out, vit, described)
        card = config.out.with_suffix(".json")
        finish(self.sink, self.run_id, self.elapsed_s, Metric("test_top1", score.value), card)
        config.state_path.unlink(missing_ok=True)
        return TrainResult(self.run_id, config.out, written, tuple(self.history))
