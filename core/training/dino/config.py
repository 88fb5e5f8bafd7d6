"""Everything that decides a self-distillation, as one frozen value."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from core.settings import ROOT
from core.training.options import Options

Centring = Literal["mean", "sinkhorn", "none"]
"""`mean`: subtract the running mean of the teacher's logits. `sinkhorn`: make each batch use all prototypes
alike. `none`: neither, which collapses; for study only."""

_COUNTS = (
    "dim",
    "depth",
    "heads",
    "mlp_dim",
    "prototypes",
    "hidden_dim",
    "bottleneck_dim",
    "steps",
    "batch_size",
    "accumulation",
    "test_scenes",
    "report_every",
    "save_every",
)


@dataclass(frozen=True, slots=True)
class DinoConfig(Options):
    """Which network to train, on what, how long and how fast.

    Defaults without a remark are those of Caron et al. 2021 (section 4 and appendix C). What they state for
    ImageNet and a batch of 1,024 is scaled here to thousands of steps of small batches, and says so.

    Raises:
        InputError: A value is of no use; the message names it.
    """

    out: Path = ROOT / "checkpoints" / "dino.safetensors"
    """Where the checkpoint goes; its card is written beside it."""
    work: Path = ROOT / "training"
    """Folder of the state to resume from."""
    resume: bool = False
    """Go on with a training that was killed; steps and rate may be others from there on."""
    seed: int = 0
    image_size: int = 64
    """Side of a large crop in pixels (paper: 224)."""
    patch_size: int = 8
    dim: int = 128
    depth: int = 6
    heads: int = 4
    mlp_dim: int = 512
    small_size: int = 32
    """Side of a small crop in pixels (paper: 96)."""
    small_crops: int = 4
    """Small crops of each picture, which only the student sees (paper: 8)."""
    large_scale: tuple[float, float] = (0.4, 1.0)
    """Share of the picture that a large crop covers, least and most."""
    small_scale: tuple[float, float] = (0.05, 0.4)
    """Share of the picture that a small crop covers, least and most."""
    source_px: int = 128
    """Side of the pictures that are cropped."""
    input_size: int = 128
    """Side of the pictures that the finished network takes and is measured on."""
    photograph_share: float = 0.1
    """Share of the pictures that are pieces of photographs; the rest are generated scenes."""
    single_share: float = 0.7
    """Share of the scenes that show one object on an even ground and no word; the rest are as `scenes` draws
    them."""
    colour_mixing: float = 0.8
    """Share of the crops whose colours are turned about at random; the others' channels change places."""
    evened: tuple[float, float] = (0.4, 0.8)
    """Shares of the steps between which brightness and contrast come back. Before, every crop is evened out:
    an untrained network says little but the mean colour, which the mixing makes worthless, and would
    collapse."""
    prototypes: int = 1024
    """Outputs of the head (paper: 65,536, for a million pictures)."""
    hidden_dim: int = 512
    """Width of the head (paper: 2,048, for a network three times as wide)."""
    bottleneck_dim: int = 128
    """Dimensions of the sphere that the prototypes lie on (paper: 256)."""
    centring: Centring = "mean"
    center_momentum: float = 0.9
    student_temperature: float = 0.1
    teacher_temperature: float = 0.07
    teacher_temperature_start: float = 0.04
    temperature_warmup: float = 0.3
    """Share of the steps in which the teacher's temperature rises (paper: 30 of 100 epochs)."""
    teacher_momentum: float = 0.996
    """At the start; it goes to 1 by half a cosine."""
    freeze_share: float = 0.01
    """Share of the steps in which the prototypes stay as they are (paper: the first of 100 epochs)."""
    steps: int = 5_000
    batch_size: int = 64
    """Pictures of one pass through the student."""
    accumulation: int = 1
    """Passes whose mean gradient makes one step."""
    lr: float = 1e-3
    """Peak learning rate (paper: 0.0005 for each 256 pictures of a step, with AdamW alone)."""
    last_lr: float = 1e-5
    """Learning rate of the last step."""
    warmup_share: float = 0.1
    """Share of the steps in which the learning rate rises (paper: 10 of 100 epochs)."""
    weight_decay: float = 0.04
    """At the start."""
    last_weight_decay: float = 0.4
    """At the end; it goes there by half a cosine."""
    clip_norm: float = 3.0
    test_scenes: int = 2_000
    """Number of fresh scenes that the scores in the card are measured on; twice as many are learned from."""
    report_every: int = 100
    """Steps of which one row goes to the store."""
    save_every: int = 100
    """Steps between two states to resume from."""
    device: str = "cpu"
    half: bool = True
    """Multiply in bfloat16 where the processor or GPU can."""
    threads: int | None = None
    """Threads of the CPU's kernels; None leaves PyTorch's choice."""

    def __post_init__(self) -> None:
        for name in _COUNTS:
            self._require(name, getattr(self, name) >= 1, "at least 1")
        self._require("prototypes", self.prototypes >= 2, "at least 2")
        for name in (
            "lr",
            "clip_norm",
            "student_temperature",
            "teacher_temperature",
            "teacher_temperature_start",
        ):
            self._require(name, getattr(self, name) > 0, "above 0")
        for name in ("seed", "small_crops", "weight_decay", "last_weight_decay", "last_lr"):
            self._require(name, getattr(self, name) >= 0, "at least 0")
        for name in ("warmup_share", "temperature_warmup", "freeze_share", "center_momentum"):
            self._require(name, 0 <= getattr(self, name) < 1, "from 0 to below 1")
        for name in ("photograph_share", "single_share", "colour_mixing", "teacher_momentum"):
            self._require(name, 0 <= getattr(self, name) <= 1, "from 0 to 1")
        self._require("evened", 0 <= self.evened[0] <= self.evened[1] <= 1, "two shares, the smaller first")
        for name in ("large_scale", "small_scale"):
            least, most = getattr(self, name)
            self._require(name, 0 < least <= most <= 1, "two shares above 0, at most 1, the smaller first")
        for name in ("image_size", "small_size", "input_size"):
            multiple = self.patch_size >= 1 and getattr(self, name) % self.patch_size == 0
            self._require(
                name, multiple and getattr(self, name) >= 1, f"a multiple of the patch size {self.patch_size}"
            )
        self._require("source_px", 48 <= self.source_px <= 2048, "from 48 to 2048")
        self._require("dim", self.dim % self.heads == 0, f"a multiple of the {self.heads} heads")
        self._require("centring", self.centring in ("mean", "sinkhorn", "none"), "mean, sinkhorn or none")
        self._require("out", self.out.suffix == ".safetensors", "a path that ends with .safetensors")

    @property
    def pictures_per_step(self) -> int:
        return self.batch_size * self.accumulation

    @property
    def state_path(self) -> Path:
        """Where the state to resume from is kept."""
        return self.work / f"{self.out.stem}.state.pt"

    def architecture(self) -> dict[str, Any]:
        """Return the arguments of `core.nn.VisionTransformer`, which has no classifier."""
        names = ("image_size", "patch_size", "dim", "depth", "heads", "mlp_dim")
        return {name: getattr(self, name) for name in names} | {"num_classes": 0, "pool": "cls"}

    def evenness(self, step: int) -> float:
        """Return how far the crops of a step are evened out, from 1 to 0."""
        start, end = (share * self.steps for share in self.evened)
        return float(step < end) if start == end else min(1.0, max(0.0, (end - step) / (end - start)))

    def fixed(self) -> dict[str, Any]:
        """Return the part of `as_json` that must stay the same when a training is resumed."""
        changeable = ("steps", "lr", "last_lr", "test_scenes")
        return {name: value for name, value in self.as_json().items() if name not in changeable}

    def as_json(self) -> dict[str, Any]:
        """Return what decides the result, as JSON values: all but where things are and how often to save."""
        values = asdict(self)
        for name in ("work", "resume", "save_every", "threads"):
            del values[name]
        scales = {name: list(values[name]) for name in ("large_scale", "small_scale", "evened")}
        return values | scales | {"out": self.out.name}
