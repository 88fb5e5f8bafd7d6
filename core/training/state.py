"""What a training needs to go on after a kill as if nothing had happened.

Batches depend on the seed and the step number alone, so the data position is the step.
"""

import io
import pickle
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from core.checkpoints import write_atomically
from core.errors import InputError


@dataclass(frozen=True, slots=True)
class TrainingState:
    """A training after `step` steps: plain values and tensors only, so that reading it runs no code."""

    settings: dict[str, Any]
    """The configuration that made it; another one may not continue it."""
    step: int
    run_id: str
    """The run in the store that it wrote to; empty without a store."""
    elapsed_s: float
    loss_sum: float
    """Sum of the losses of this epoch's steps so far."""
    history: list[dict[str, float]]
    """The finished epochs."""
    model: dict[str, Any]
    optimizers: list[dict[str, Any]]
    scaler: dict[str, Any]
    torch_rng: torch.Tensor
    cuda_rng: list[torch.Tensor]

    def restore_rng(self) -> None:
        """Put PyTorch's random generators back to where they were."""
        torch.set_rng_state(self.torch_rng)
        if self.cuda_rng:
            torch.cuda.set_rng_state_all(self.cuda_rng)


def save_state(path: Path, state: TrainingState) -> None:
    """Write `state` to `path`; a kill during the write leaves the previous state."""
    buffer = io.BytesIO()
    torch.save({field.name: getattr(state, field.name) for field in fields(state)}, buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, buffer.getvalue())


def load_state(path: Path, settings: dict[str, Any]) -> TrainingState:
    """Return the state in `path`, which a training with these `settings`, among others, wrote.

    Raises:
        InputError: There is none, it cannot be read, or it belongs to other settings.
    """
    try:
        state = TrainingState(**torch.load(path, map_location="cpu", weights_only=True))
    except FileNotFoundError as error:
        raise InputError("There is no training to resume.", "Start it without --resume.") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, TypeError) as error:
        raise InputError(
            f"The training state {path.name} cannot be read.", "Delete it and start without --resume."
        ) from error
    changed = sorted(name for name in settings if state.settings.get(name) != settings[name])
    if changed:
        raise InputError(
            f"The training to resume was started with another {', '.join(changed)}.",
            "Give the options it was started with, or start without --resume.",
        )
    return state
