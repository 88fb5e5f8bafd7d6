"""Everything that decides the training of a captioner, as one frozen value."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.settings import ROOT
from core.training.options import Options

_COUNTS = (
    *("channels", "encoder_depth", "dim", "heads", "decoder_depth", "steps", "batch_size"),
    *("test_scenes", "report_every", "save_every"),
)


@dataclass(frozen=True, slots=True)
class CaptionerConfig(Options):
    """Which model to train, how long and how fast.

    Raises:
        InputError: A value is of no use; the message names it.
    """

    out: Path = ROOT / "checkpoints" / "captioner.safetensors"
    """Where the checkpoint goes; its card is written beside it."""
    work: Path = ROOT / "training"
    """Folder of the state to resume from."""
    resume: bool = False
    """Go on with a training that was killed; steps and rate may be others from there on."""
    seed: int = 0
    image_size: int = 128
    channels: int = 128
    """Of the encoder's last convolutions."""
    encoder_depth: int = 2
    """Transformer blocks over the patches."""
    dim: int = 192
    heads: int = 6
    decoder_depth: int = 4
    steps: int = 5_000
    dense_steps: int = 1_200
    """Of these, the first that learn only what each patch shows; then prompts and answers come in."""
    decoder_steps: int = 1_000
    """Of these, the last in which the encoder stays as it is, and more is asked about each scene."""
    batch_size: int = 32
    """Scenes of one step; every step draws new ones."""
    lr: float = 1e-3
    """Peak learning rate."""
    warmup_share: float = 0.02
    """Share of the steps in which the learning rate rises."""
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    test_scenes: int = 500
    """Number of fresh scenes that the scores in the card are measured on."""
    report_every: int = 100
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
        for name in ("lr", "clip_norm"):
            self._require(name, getattr(self, name) > 0, "above 0")
        for name in ("weight_decay", "seed", "dense_steps", "decoder_steps"):
            self._require(name, getattr(self, name) >= 0, "at least 0")
        self._require("warmup_share", 0 <= self.warmup_share < 1, "from 0 to below 1")
        self._require(
            "image_size", self.image_size >= 64 and self.image_size % 8 == 0, "a multiple of 8 from 64"
        )
        self._require("channels", self.channels % 32 == 0, "a multiple of 32")
        self._require("dim", self.dim % self.heads == 0, f"a multiple of the {self.heads} heads")
        self._require("out", self.out.suffix == ".safetensors", "a path that ends with .safetensors")

    @property
    def decoder_from(self) -> int:
        """The first step in which the decoder learns alone."""
        return max(self.dense_steps, self.steps - self.decoder_steps)

    @property
    def state_path(self) -> Path:
        """Where the state to resume from is kept."""
        return self.work / f"{self.out.stem}.state.pt"

    def architecture(self, vocabulary: int) -> dict[str, Any]:
        """Return the arguments of `core.captioner.network.Captioner`."""
        names = ("image_size", "channels", "encoder_depth", "dim", "heads", "decoder_depth")
        return {name: getattr(self, name) for name in names} | {"vocabulary": vocabulary}

    def fixed(self) -> dict[str, Any]:
        """Return the part of `as_json` that must stay the same when a training is resumed."""
        changeable = ("steps", "dense_steps", "decoder_steps", "lr", "test_scenes")
        return {name: value for name, value in self.as_json().items() if name not in changeable}

    def as_json(self) -> dict[str, Any]:
        """Return what decides the result, as JSON values: all but where things are and how often to save."""
        values = asdict(self)
        for name in ("work", "resume", "save_every", "threads"):
            del values[name]
        return values | {"out": self.out.name}
