"""Everything that decides the training of a promptable segmenter, as one frozen value."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.settings import ROOT
from core.training.options import Options

_COUNTS = (
    "dim",
    "depth",
    "heads",
    "prompt_dim",
    "steps",
    "batch_size",
    "objects",
    "rounds",
    "test_pictures",
    "report_every",
    "save_every",
)


@dataclass(frozen=True, slots=True)
class PromptableConfig(Options):
    """Which model to train, on what, how long and how fast.

    Raises:
        InputError: A value is of no use; the message names it.
    """

    out: Path = ROOT / "checkpoints" / "sam.safetensors"
    """Where the checkpoint goes; its card is written beside it."""
    work: Path = ROOT / "training"
    """Folder of the state to resume from."""
    start_from: Path | None = None
    """Checkpoint of the same architecture whose weights to begin with; random ones without."""
    resume: bool = False
    """Go on with a training that was killed; steps and rate may be others from there on."""
    seed: int = 0
    image_size: int = 256
    patch_size: int = 16
    dim: int = 128
    depth: int = 5
    heads: int = 4
    prompt_dim: int = 128
    steps: int = 9_000
    batch_size: int = 12
    """Pictures of one step; every step draws new ones."""
    objects: int = 4
    """Prompted objects of each picture: half by a click first, half by a box."""
    rounds: int = 3
    """Most prompts of each object: the first, then clicks into what is wrong; each step draws how many."""
    plain_share: float = 0.3
    """Share of plain scenes; the rest are crowded pictures, half of them cut-outs of photographs."""
    lr: float = 1e-3
    """Peak learning rate."""
    warmup_share: float = 0.02
    """Share of the steps in which the learning rate rises."""
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    test_pictures: int = 500
    """Number of fresh pictures of each kind that the score in the card is measured on."""
    report_every: int = 250
    """Steps of which one row goes to the store."""
    save_every: int = 250
    """Steps between two states to resume from."""
    device: str = "cpu"
    half: bool = True
    """Multiply in bfloat16 where the processor or GPU can."""
    threads: int | None = None
    """Threads of the CPU's kernels; None leaves PyTorch's choice."""

    def __post_init__(self) -> None:
        for name in _COUNTS:
            self._require(name, getattr(self, name) >= 1, "at least 1")
        self._require("objects", self.objects % 2 == 0, "an even number")
        for name in ("lr", "clip_norm"):
            self._require(name, getattr(self, name) > 0, "above 0")
        for name in ("weight_decay", "seed"):
            self._require(name, getattr(self, name) >= 0, "at least 0")
        self._require("warmup_share", 0 <= self.warmup_share < 1, "from 0 to below 1")
        self._require("plain_share", 0 <= self.plain_share <= 1, "from 0 to 1")
        self._require(
            "image_size",
            self.patch_size >= 1 and self.image_size >= 64 and self.image_size % self.patch_size == 0,
            f"at least 64 and a multiple of the patch size {self.patch_size}",
        )
        self._require("dim", self.dim % self.heads == 0, f"a multiple of the {self.heads} heads")
        self._require("prompt_dim", self.prompt_dim % 8 == 0, "a multiple of 8")
        self._require("out", self.out.suffix == ".safetensors", "a path that ends with .safetensors")

    @property
    def state_path(self) -> Path:
        """Where the state to resume from is kept."""
        return self.work / f"{self.out.stem}.state.pt"

    def architecture(self) -> dict[str, Any]:
        """Return the arguments of `core.segment.small_sam.build_small_sam`."""
        names = ("image_size", "patch_size", "dim", "depth", "heads", "prompt_dim")
        return {name: getattr(self, name) for name in names}

    def fixed(self) -> dict[str, Any]:
        """Return the part of `as_json` that must stay the same when a training is resumed."""
        changeable = ("steps", "lr", "test_pictures")
        return {name: value for name, value in self.as_json().items() if name not in changeable}

    def as_json(self) -> dict[str, Any]:
        """Return what decides the result, as JSON values: all but where things are and how often to save."""
        values = asdict(self)
        for name in ("work", "resume", "save_every", "threads"):
            del values[name]
        return values | {"out": self.out.name, "start_from": self.start_from and self.start_from.name}
