"""Train a small vision-language model: what `python -m core train captioner` does."""

import math
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from core.captioner.network import Captioner
from core.captioner.vocabulary import make_vocabulary
from core.checkpoints import Card, save_checkpoint
from core.environment import describe_environment
from core.errors import InputError
from core.runs import LOCAL_OWNER, Metric, RunDraft, RunSink
from core.training.captioner.config import CaptionerConfig
from core.training.captioner.data import CaptionBatch, batches
from core.training.captioner.learn import StepLoss, batch_loss
from core.training.muon import Muon
from core.training.record import finish, recorded
from core.training.schedule import warmup_cosine
from core.training.state import TrainingState, load_state, save_state

_SUMS = ("dense", "words", "patches_right", "words_right")


@dataclass(frozen=True, slots=True)
class Report:
    """What `report_every` steps came to, on scenes seen for the first time."""

    dense: float
    """Cross-entropy of what the patches show, summed over the five heads."""
    words: float
    """Cross-entropy of a token of an answer."""
    patches_right: float
    """Share (0-1) of patches with an object whose colour and shape are both right."""
    words_right: float
    """Share (0-1) of the answers' tokens that are the likeliest."""
    lr: float
    scenes_per_s: float
    elapsed_s: float
    """Time in training steps since the training began."""

    def metrics(self, number: int) -> list[Metric]:
        """Return the row of report `number`, counted from 1, for the store."""
        units = {"scenes_per_s": "1/s", "elapsed_s": "s"}
        return [Metric(name, value, units.get(name, ""), number) for name, value in asdict(self).items()]


@dataclass(frozen=True, slots=True)
class CaptionerResult:
    """A finished training."""

    run_id: str
    """In the store; empty without one."""
    checkpoint: Path
    card: Card
    history: tuple[Report, ...]


def train_captioner(
    config: CaptionerConfig,
    sink: RunSink | None = None,
    command: str = "",
    progress: bool = True,
    owner: str = LOCAL_OWNER,
) -> CaptionerResult:
    """Train, measure, write the checkpoint with its card, and keep every report in the store.

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


def _optimizers(model: nn.Module, lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices of the blocks, AdamW for the rest; only weights decay."""
    matrices, weights, plain = [], [], []
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2 and "blocks" in name:
            matrices.append(parameter)
        elif parameter.ndim in (2, 4) and name.endswith("weight") and not name.startswith("words"):
            weights.append(parameter)
        else:
            plain.append(parameter)
    groups = [{"params": weights, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return [Muon(matrices, lr, weight_decay), torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98))]


class _Training:
    """The mutable part of a training; it lives as long as `train_captioner` runs."""

    def __init__(self, config: CaptionerConfig, sink: RunSink | None, command: str, progress: bool) -> None:
        self.config, self.sink, self.command, self.progress = config, sink, command, progress
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        self.device = torch.device(config.device)
        torch.manual_seed(config.seed)
        self.model = Captioner(**config.architecture(len(make_vocabulary()))).to(self.device).train()
        self.model = self.model.to(memory_format=torch.channels_last)
        self.optimizers = _optimizers(self.model, config.lr, config.weight_decay)
        self.step, self.sums, self.elapsed_s = 0, [0.0] * len(_SUMS), 0.0
        self.history: list[Report] = []
        self.run_id = self.resumed_from = ""
        if config.resume:
            self._restore(load_state(config.state_path, config.fixed()))

    def _restore(self, state: TrainingState) -> None:
        sums = state.model.pop("report_sums")
        self.model.load_state_dict(state.model)
        for optimizer, saved in zip(self.optimizers, state.optimizers, strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.sums, self.elapsed_s = state.step, sums.tolist(), state.elapsed_s
        self.history = [Report(**row) for row in state.history]
        self.resumed_from = state.run_id

    def save(self) -> None:
        """Write the state to resume from. Chance depends on seed and step alone, so none is in it."""
        state = TrainingState(
            settings=self.config.as_json(),
            step=self.step,
            run_id=self.run_id,
            elapsed_s=self.elapsed_s,
            loss_sum=self.sums[0],
            history=[asdict(report) for report in self.history],
            model=self.model.state_dict() | {"report_sums": torch.tensor(self.sums, dtype=torch.float64)},
            optimizers=[optimizer.state_dict() for optimizer in self.optimizers],
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
        return RunDraft(
            kind="training",
            model_id=self.config.out.stem,
            model_revision="",
            environment=describe_environment(self.config.device, "bfloat16" if self.half else "float32"),
            owner=owner,
            parameters=self.config.as_json() | resumed,
        )

    @property
    def half(self) -> bool:
        """Whether matrix products run in bfloat16."""
        if not self.config.half:
            return False
        if self.device.type == "cuda":
            return bool(torch.cuda.is_bf16_supported())
        return bool(self.device.type == "cpu" and torch.cpu._is_avx512_bf16_supported())

    def learn(self) -> None:
        """Take all the steps that are left."""
        config = self.config
        left = range(self.step, config.steps)
        drawn = batches(config.seed, left, config.batch_size, config.image_size, config.decoder_from)
        bar = tqdm(total=config.steps, initial=self.step, unit="step", disable=not self.progress)
        with bar, closing(drawn):  # type: ignore[type-var]
            started = time.perf_counter()
            for batch in drawn:
                found = self._one_step(batch)
                self.elapsed_s += time.perf_counter() - started
                started = time.perf_counter()
                parts = (float(getattr(found, name)) for name in _SUMS)
                self.sums = [sum_ + part for sum_, part in zip(self.sums, parts, strict=True)]
                bar.update()
                if self.step % config.report_every == 0:
                    self._report()
                    bar.set_postfix(asdict(self.history[-1]))
                if self.step % config.save_every == 0 or self.step == config.steps:
                    self.save()

    def _one_step(self, batch: CaptionBatch) -> StepLoss:
        config = self.config
        lr = config.lr * warmup_cosine(self.step, config.steps, round(config.warmup_share * config.steps))
        for group in (g for optimizer in self.optimizers for g in optimizer.param_groups):
            group["lr"] = lr
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            found = batch_loss(
                self.model,
                batch,
                self.device,
                encoder_learns=self.step < config.decoder_from,
                decoder_learns=self.step >= config.dense_steps,
            )
        if not math.isfinite(found.loss.item()):
            raise InputError("The training diverged: its loss is no number.", "Choose a lower learning rate.")
        self.model.zero_grad()
        found.loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), config.clip_norm)
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        return found

    def _report(self) -> None:
        steps = self.config.report_every
        spent_s = self.elapsed_s - (self.history[-1].elapsed_s if self.history else 0.0)
        means = dict(zip(_SUMS, (sum_ / steps for sum_ in self.sums), strict=True))
        lr = self.optimizers[0].param_groups[0]["lr"]
        scenes = steps * self.config.batch_size
        self.history.append(Report(**means, lr=lr, scenes_per_s=scenes / spent_s, elapsed_s=self.elapsed_s))
        self.sums = [0.0] * len(_SUMS)
        if self.sink is not None:
            self.sink.log(self.run_id, self.history[-1].metrics(len(self.history)))

    def finish(self) -> CaptionerResult:
        """Measure the scores, write the checkpoint, close the run and forget the state."""
        from core.training.captioner.recipe import describe_card

        config = self.config
        card = describe_card(config, self.model.eval(), self.command, self.elapsed_s)
        written = save_checkpoint(config.out, self.model, card)
        card_path = config.out.with_suffix(".json")
        finish(self.sink, self.run_id, self.elapsed_s, Metric("test_f1", card.score.value), card_path)
        config.state_path.unlink(missing_ok=True)
        return CaptionerResult(self.run_id, config.out, written, tuple(self.history))
