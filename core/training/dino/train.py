"""Train a Vision Transformer without labels: what `python -m core train dino` does."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from core.checkpoints import Card, save_checkpoint
from core.environment import describe_environment
from core.errors import InputError
from core.runs import LOCAL_OWNER, Metric, RunDraft, RunSink
from core.samples import photographs
from core.training.dino.config import DinoConfig
from core.training.dino.crops import draw_crops
from core.training.dino.distill import Distillation, StepResult
from core.training.dino.monitor import CollapseSigns
from core.training.record import finish, recorded
from core.training.state import TrainingState, load_state, save_state


@dataclass(frozen=True, slots=True)
class Report:
    """What `report_every` steps came to; the signs of collapse are those of the last of them."""

    loss: float
    """Mean over the steps, in nats."""
    teacher_entropy: float
    mean_entropy: float
    kl: float
    feature_std: float
    lr: float
    images_per_s: float
    elapsed_s: float
    """Time in training steps since the training began."""

    def metrics(self, number: int) -> list[Metric]:
        """Return the row of report `number`, counted from 1, for the store."""
        units = {"images_per_s": "1/s", "elapsed_s": "s"}
        return [Metric(name, value, units.get(name, ""), number) for name, value in asdict(self).items()]


@dataclass(frozen=True, slots=True)
class DinoResult:
    """A finished training."""

    run_id: str
    """In the store; empty without one."""
    checkpoint: Path
    card: Card
    history: tuple[Report, ...]


def train_dino(
    config: DinoConfig,
    sink: RunSink | None = None,
    command: str = "",
    progress: bool = True,
    owner: str = LOCAL_OWNER,
) -> DinoResult:
    """Train, measure, write the checkpoint with its card, and keep every report in the store.

    The checkpoint is the teacher, as in Caron et al. 2021. A sign of collapse is said on stderr at once.

    Args:
        config: What to do. With `resume`, a killed training goes on and ends with the same weights as an
            undisturbed one.
        sink: The store; None keeps nothing.
        command: The command line, for the card.
        progress: Whether to show a progress bar on stderr.
        owner: Whose run it is.

    Raises:
        InputError: The options do not fit together, there is nothing to resume, or the loss diverged.
    """
    training = _Training(config, sink, command, progress)
    with training.recorded(owner):
        training.learn()
        return training.finish()


class _Training:
    """The mutable part of a training; it lives as long as `train_dino` runs."""

    def __init__(self, config: DinoConfig, sink: RunSink | None, command: str, progress: bool) -> None:
        self.config, self.sink, self.command, self.progress = config, sink, command, progress
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        self.photographs = photographs()
        torch.manual_seed(config.seed)
        self.distillation = Distillation(config)
        self.step, self.loss_sum, self.elapsed_s = 0, 0.0, 0.0
        self.signs: CollapseSigns | None = None
        self.history: list[Report] = []
        self.run_id = self.resumed_from = ""
        if config.resume:
            self._restore(load_state(config.state_path, config.fixed()))

    def _restore(self, state: TrainingState) -> None:
        self.distillation.load_state_dict(state.model)
        for optimizer, saved in zip(self.distillation.optimizers, state.optimizers, strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.loss_sum, self.elapsed_s = state.step, state.loss_sum, state.elapsed_s
        self.history = [Report(**row) for row in state.history]
        self.resumed_from = state.run_id

    def save(self) -> None:
        """Write the state to resume from. Chance depends on seed and step alone, so none is in it."""
        state = TrainingState(
            settings=self.config.as_json(),
            step=self.step,
            run_id=self.run_id,
            elapsed_s=self.elapsed_s,
            loss_sum=self.loss_sum,
            history=[asdict(report) for report in self.history],
            model=self.distillation.state_dict(),
            optimizers=[optimizer.state_dict() for optimizer in self.distillation.optimizers],
            scaler={},
            torch_rng=torch.get_rng_state(),
            cuda_rng=[],
        )
        save_state(self.config.state_path, state)

    @contextmanager
    def recorded(self, owner: str) -> Iterator[None]:
        """Open a run in the store; close it as failed or cancelled where the body raises."""
        earlier = [m for n, row in enumerate(self.history, 1) for m in row.metrics(n)]
        with recorded(self.sink, self._draft(owner), earlier, lambda: self.elapsed_s) as self.run_id:
            yield

    def _draft(self, owner: str) -> RunDraft:
        resumed = {"resumed_from": self.resumed_from} if self.resumed_from else {}
        dtype = "bfloat16" if self.distillation.in_half else "float32"
        return RunDraft(
            kind="training",
            model_id=self.config.out.stem,
            model_revision="",
            environment=describe_environment(self.config.device, dtype),
            owner=owner,
            parameters=self.config.as_json() | resumed,
        )

    def learn(self) -> None:
        """Take all the steps that are left."""
        total = self.config.steps
        with tqdm(total=total, initial=self.step, unit="step", disable=not self.progress) as bar:
            while self.step < total:
                started = time.perf_counter()
                found = self._one_step()
                self.elapsed_s += time.perf_counter() - started
                self.loss_sum += found.loss
                bar.update()
                if self.step % self.config.report_every == 0:
                    self._report(found, bar)
                if self.step % self.config.save_every == 0 or self.step == total:
                    self.save()

    def _one_step(self) -> StepResult:
        crops = draw_crops(self.config, self.step, self.photographs)
        found = self.distillation.learn(crops.to(self.distillation.device), self.step)
        if not math.isfinite(found.loss):
            raise InputError("The training diverged: its loss is no number.", "Choose a lower learning rate.")
        self.step += 1
        return found

    def _report(self, found: StepResult, bar: "tqdm[None]") -> None:
        steps, signs = self.config.report_every, found.signs()
        spent_s = self.elapsed_s - (self.history[-1].elapsed_s if self.history else 0.0)
        report = Report(
            loss=self.loss_sum / steps,
            teacher_entropy=signs.teacher_entropy,
            mean_entropy=signs.mean_entropy,
            kl=signs.kl,
            feature_std=signs.feature_std,
            lr=found.lr,
            images_per_s=steps * self.config.pictures_per_step / spent_s,
            elapsed_s=self.elapsed_s,
        )
        self.history.append(report)
        self.loss_sum = 0.0
        bar.set_postfix(asdict(report))
        if signs.warning:
            bar.write(f"Step {self.step}: {signs.warning}")
        if self.sink is not None:
            self.sink.log(self.run_id, report.metrics(len(self.history)))

    def finish(self) -> DinoResult:
        """Measure the scores, write the checkpoint, close the run and forget the state."""
        from core.training.dino.recipe import describe_card

        config, teacher = self.config, self.distillation.teacher.backbone.eval()
        card = describe_card(config, teacher, self.command, self.elapsed_s)
        written = save_checkpoint(config.out, teacher, card)
        card_path = config.out.with_suffix(".json")
        finish(self.sink, self.run_id, self.elapsed_s, Metric("test_knn", card.score.value), card_path)
        config.state_path.unlink(missing_ok=True)
        return DinoResult(self.run_id, config.out, written, tuple(self.history))
