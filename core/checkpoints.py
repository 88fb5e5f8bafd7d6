"""Weights as safetensors, and beside them a JSON card that says what they are and how they came to be.

    checkpoints/vit-scenes.safetensors   the tensors
    checkpoints/vit-scenes.json          the card; its `sha256` is the digest of the tensors' file

A weights file is input from a stranger: it is read without running anything that is in it.
"""

import hashlib
import json
import os
import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from core.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMAT_VERSION = 1
TORCH_SUFFIXES = (".pth", ".pt", ".bin")
WRAPPERS = ("state_dict", "model", "model_state_dict")
"""Keys under which training scripts put the state dict inside a larger file."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """Which class to build, and with which keyword arguments."""

    class_name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ModelInput:
    """The picture that the model takes: pixels / 255, minus `mean`, divided by `std`, per RGB channel."""

    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"input size is {self.height} x {self.width}; both must be at least 1")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError("mean and std need three numbers each, and std must be above 0")


@dataclass(frozen=True, slots=True)
class Score:
    """How good the model was, and how that was measured."""

    name: str
    """`top-1` …"""
    value: float
    """0-1, higher is better."""
    n: int
    """Number of pictures it was measured on."""
    protocol: str
    """What was done, precisely enough to do it again."""

    def __post_init__(self) -> None:
        if not 0 <= self.value <= 1 or self.n < 1:
            raise ValueError(f"score {self.value} over {self.n} pictures; expected 0-1 over at least 1")


@dataclass(frozen=True, slots=True)
class Card:
    """Everything about a checkpoint except its tensors."""

    kind: str
    """What it is for: `classification` …"""
    architecture: Architecture
    labels: tuple[str, ...]
    """Class names in the order of the logits."""
    input: ModelInput
    command: str
    """The command line that trained it."""
    seed: int
    data: str
    """What it was trained on."""
    score: Score
    date: str
    """Day of the training, ISO 8601."""
    duration_s: float
    """Wall time of the training, in seconds."""
    licence: str
    title: str = ""
    """What to call it on a page."""
    note: str = ""
    """One sentence: what it can and cannot do."""
    further: tuple[Score, ...] = ()
    """What else was measured, such as the same score on each kind of picture."""
    parameters: int = 0
    """Number of trained values; filled in by `save_checkpoint`."""
    sha256: str = ""
    """Hex digest of the weights file; filled in by `save_checkpoint`."""
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if self.format_version != FORMAT_VERSION:
            raise ValueError(f"format version is {self.format_version}; this program reads {FORMAT_VERSION}")
        if not self.kind or not self.architecture.class_name:
            raise ValueError("kind and architecture must be named")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels are not all different")
        date.fromisoformat(self.date)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the card that `text` holds.

        Raises:
            ValueError, TypeError, KeyError: A field is missing, unknown or of no use.
        """
        raw = json.loads(text)
        if not isinstance(raw, dict):
            raise ValueError("it is not a JSON object")
        unknown = set(raw) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"unknown fields: {', '.join(sorted(unknown))}")
        size = raw["input"]
        return cls(
            **raw
            | {
                "architecture": Architecture(**raw["architecture"]),
                "labels": tuple(str(label) for label in raw["labels"]),
                "input": ModelInput(**size | {"mean": tuple(size["mean"]), "std": tuple(size["std"])}),
                "score": Score(**raw["score"]),
                "further": tuple(Score(**score) for score in raw.get("further", ())),
            }
        )


def save_checkpoint(path: Path, module: "nn.Module", card: Card) -> Card:
    """Write `module`'s state dict to `path` (`.safetensors`) and `card` beside it (`.json`).

    Each file appears whole or not at all. Returns the card as written: with parameter count and digest.
    """
    from safetensors.torch import save

    if path.suffix != ".safetensors":
        raise ValueError(f"{path.name} must end with .safetensors")
    data = save({name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()})
    count = sum(parameter.numel() for parameter in module.parameters())
    written = replace(card, parameters=count, sha256=hashlib.sha256(data).hexdigest())
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, data)
    write_atomically(path.with_suffix(".json"), (json.dumps(asdict(written), indent=2) + "\n").encode())
    return written


def write_atomically(path: Path, data: bytes) -> None:
    """Put `data` at `path` so that a reader, or a restart, sees the old file or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_card(path: Path) -> Card:
    """Return the card of a checkpoint; `path` is the weights file or the card itself.

    Raises:
        InputError: There is no card, or it cannot be used.
    """
    card = path.with_suffix(".json")
    try:
        return Card.from_json(card.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"{card.name} is missing beside {path.name}.",
            "Keep the two files of a checkpoint in one folder under one name.",
        ) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"The checkpoint card {card.name} cannot be used: {_reason(error)}.",
            "Restore the card that came with the weights.",
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"the field {error.args[0]!r} is missing"
    if isinstance(error, json.JSONDecodeError):
        return f"it is not JSON (line {error.lineno})"
    return str(error).rstrip(".")


def read_weights(path: Path, sha256: str | None = None) -> dict[str, "Tensor"]:
    """Return the tensors in `path` by name, on the CPU.

    `.safetensors`, or `.pth`, `.pt` and `.bin` as far as PyTorch's `weights_only` reader takes them.
    With `sha256` given, the file must have that digest.

    Raises:
        InputError: No such file, another digest, cut short, not a checkpoint, or a pickle that holds more
            than tensors.
    """
    if path.suffix != ".safetensors" and path.suffix not in TORCH_SUFFIXES:
        raise InputError(
            f"{path.name} is not a kind of weights file that can be read safely.",
            f"Give a .safetensors file (or {', '.join(TORCH_SUFFIXES)} with nothing but tensors).",
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path.name} cannot be read: {error.strerror or error}.", "Check the path of the weights file."
        ) from error
    _check_digest(path, data, sha256)
    return _read_safetensors(path, data) if path.suffix == ".safetensors" else _read_torch(path)


def _check_digest(path: Path, data: bytes, expected: str | None) -> None:
    found = hashlib.sha256(data).hexdigest()
    if expected is not None and found != expected.lower():
        raise InputError(
            f"{path.name} is another file than expected: its SHA-256 is {found[:12]}…, not {expected[:12]}….",
            "Fetch the file again, or give the card that belongs to it.",
        )


def _read_safetensors(path: Path, data: bytes) -> dict[str, "Tensor"]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(data)
    except (SafetensorError, KeyError) as error:  # KeyError: a dtype that this torch does not know
        raise InputError(
            f"{path.name} is cut short or is not a safetensors file.", "Fetch or export the file again."
        ) from error


def _read_torch(path: Path) -> dict[str, "Tensor"]:
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path.name} is a pickle that holds more than tensors; reading it could run a stranger's code.",
            "Save only model.state_dict(), best as .safetensors, and give that file.",
        ) from error
    except (RuntimeError, EOFError, ValueError, OSError) as error:
        raise InputError(
            f"{path.name} is cut short or is not a PyTorch weights file.", "Fetch or export the file again."
        ) from error
    return _state_dict(path, content)


def _state_dict(path: Path, content: object) -> dict[str, "Tensor"]:
    from torch import Tensor

    if isinstance(content, Mapping):
        wrapped = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), content)
        if wrapped and all(isinstance(value, Tensor) for value in wrapped.values()):
            return {str(name): value for name, value in wrapped.items()}
    raise InputError(
        f"{path.name} holds no state dict (tensors by name).", "Save model.state_dict() and give that file."
    )


def load_into(module: "nn.Module", weights: Mapping[str, "Tensor"]) -> None:
    """Copy `weights` into `module`; names and shapes must match exactly, else nothing is changed.

    Raises:
        InputError: What is missing, unexpected or of another shape, in one sentence.
    """
    expected = module.state_dict()
    missing = [name for name in expected if name not in weights]
    unexpected = [name for name in weights if name not in expected]
    shapes = [
        f"{name} is {_shape(weights[name])} instead of {_shape(tensor)}"
        for name, tensor in expected.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    faults = [("missing", missing), ("unexpected", unexpected), ("wrong shape", shapes)]
    if found := [f"{len(names)} {what} ({_first(names)})" for what, names in faults if names]:
        raise InputError(
            f"The weights do not fit {type(module).__name__}: {'; '.join(found)}.",
            "Give weights of this architecture, or the architecture of these weights.",
        )
    module.load_state_dict(dict(weights))


def _shape(tensor: "Tensor") -> str:
    return " x ".join(str(size) for size in tensor.shape) or "a single number"


def _first(names: list[str], limit: int = 3) -> str:
    return ", ".join(names[:limit]) + (", …" if len(names) > limit else "")
