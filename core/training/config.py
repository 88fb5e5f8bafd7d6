"""Everything that decides a supervised training, as one frozen value."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from core.settings import ROOT
from core.training.options import Options

_COUNTS = (
    "depth",
    "heads",
    "mlp_dim",
    "scenes",
    "test_scenes",
    "epochs",
    "batch_size",
    "accumulation",
    "workers",
    "save_every",
)


@dataclass(frozen=True, slots=True)
class TrainConfig(Options):
    """What to learn, with which model, how long and how fast.

    Raises:
        InputError: A value is of no use; the message names it.
    """

    data: Literal["scenes", "digits"] = "scenes"
    out: Path = ROOT / "checkpoints" / "vit.safetensors"
    """Where the checkpoint goes; its card is written beside it."""
    work: Path = ROOT / "training"
    """Folder of generated pictures and of the state to resume from."""
    start_from: Path | None = None
    """Checkpoint whose weights to begin with (its positions are interpolated); random ones without."""
    resume: bool = False
    """Go on with a training that was killed; epochs, rate, shift and focus may be others from there on."""
    seed: int = 0
    image_size: int = 64
    patch_size: int = 8
    dim: int = 128
    depth: int = 6
    heads: int = 4
    mlp_dim: int = 512
    pool: Literal["cls", "mean"] = "cls"
    dropout: float = 0.0
    scenes: int = 40_000
    """Number of different scenes to learn from."""
    test_scenes: int = 2_000
    """Number of fresh scenes that the score in the card is measured on."""
    epochs: int = 30
    epoch_pictures: int = 10_000
    """Pictures learned from in one epoch."""
    batch_size: int = 64
    accumulation: int = 1
    """Batches whose mean gradient makes one step."""
    lr: float = 1e-3
    """Peak learning rate."""
    warmup_share: float = 0.05
    """Share of the steps in which the learning rate rises."""
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    label_smoothing: float = 0.0
    dense_weight: float = 1.0
    """Weight of the loss on patches where exact masks are known; 0 learns from the picture's class alone."""
    shift_px: int = 0
    """Pixels by which each picture is moved at random, at most, in each direction."""
    focus_share: float = 0.0
    """Share of the steps, at the start, that see only `focus_side` x `focus_side` patches around the largest
    object: they cost less and teach shapes sooner. Needs exact masks."""
    focus_side: int = 5
    save_every: int = 50
    """Steps between two states to resume from."""
    device: str = "cpu"
    workers: int = 1
    """Batches of one step computed at the same time. On a CPU, `workers` batches with one thread each are
    less disturbed by other programs than one batch with that many threads."""
    threads: int | None = None
    """Threads of the CPU's kernels; None leaves PyTorch's choice."""

    def __post_init__(self) -> None:
        for name in _COUNTS:
            self._require(name, getattr(self, name) >= 1, "at least 1")
        steady = self.workers == 1 or not self.dropout
        self._require("workers", steady, "1 where there is dropout, or runs would not repeat")
        for name in ("lr", "clip_norm"):
            self._require(name, getattr(self, name) > 0, "above 0")
        for name in ("weight_decay", "dense_weight", "shift_px", "seed"):
            self._require(name, getattr(self, name) >= 0, "at least 0")
        for name in ("dropout", "warmup_share", "label_smoothing", "focus_share"):
            self._require(name, 0 <= getattr(self, name) < 1, "from 0 to below 1")
        has_masks = self.data == "scenes" or not self.focus_share
        self._require("focus_share", has_masks, "0 for digits, which have no masks")
        self._require("data", self.data in ("scenes", "digits"), "scenes or digits")
        self._require("pool", self.pool in ("cls", "mean"), "cls or mean")
        self._require("patch_size", self.patch_size >= 1, "at least 1")
        self._require(
            "image_size",
            self.image_size >= 1 and self.image_size % self.patch_size == 0,
            f"a multiple of the patch size {self.patch_size}",
        )
        self._require(
            "dim", self.dim >= 1 and self.dim % self.heads == 0, f"a multiple of the {self.heads} heads"
        )
        self._require(
            "epoch_pictures",
            self.epoch_pictures >= self.pictures_per_step,
            f"at least one step's {self.pictures_per_step} pictures",
        )
        self._require(
            "focus_side",
            not self.focus_share or 1 <= self.focus_side <= self.image_size // self.patch_size,
            "from 1 to the patches along a side",
        )
        self._require("out", self.out.suffix == ".safetensors", "a path that ends with .safetensors")

    @property
    def pictures_per_step(self) -> int:
        return self.batch_size * self.accumulation

    @property
    def steps_per_epoch(self) -> int:
        return self.epoch_pictures // self.pictures_per_step

    @property
    def total_steps(self) -> int:
        return self.epochs * self.steps_per_epoch

    @property
    def state_path(self) -> Path:
        """Where the state to resume from is kept."""
        return self.work / f"{self.out.stem}.state.pt"

    def fixed(self) -> dict[str, Any]:
        """Return the part of `as_json` that must stay the same when a training is resumed."""
        changeable = ("epochs", "lr", "shift_px", "focus_share", "focus_side")
        return {name: value for name, value in self.as_json().items() if name not in changeable}

    def as_json(self) -> dict[str, Any]:
        """Return what decides the result, as JSON values: all but where things are and how often to save."""
        values = asdict(self)
        for name in ("work", "resume", "save_every", "workers", "threads"):
            del values[name]
        return values | {"out": self.out.name, "start_from": self.start_from and self.start_from.name}
