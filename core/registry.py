"""Which models there are: facts as data, and the one place that turns a typed name into them.

    shipped/NAME       a checkpoint of this repository, with its card, in the checkpoints folder
    timm/NAME          published weights, by timm's name (architecture.tag)
    hf/ORG/NAME        published weights on the Hugging Face hub; hf/ORG/NAME@REVISION for one revision
    file/PATH          a weights file or a model folder, in the checkpoints folder or anywhere on this machine
    random/NAME        a timm architecture with random weights from seed 0, as a control, or to time it
    random/shipped/NAME   the same of a shipped checkpoint: its architecture, untrained

Facts that are published stand in `catalog/*.toml`; those of a shipped checkpoint in its card.
"""

import difflib
import json
import logging
import os
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.checkpoints import Card, read_card
from core.errors import InputError
from core.hub import cached_weights
from core.settings import settings

TASKS = ("classification", "attention", "features", "segmentation", "vlm")
SOURCES = ("shipped", "timm", "huggingface", "file", "api")
CLASSIFICATION = ("classification",)
PLAIN_TASKS = ("attention", "features")
"""What needs a plain vision transformer: one grid of patches."""
VIT_TASKS = (*CLASSIFICATION, *PLAIN_TASKS)
SEGMENTATION = ("segmentation",)
VLM = ("vlm",)
SEGMENTER_TYPES = (
    *("sam", "sam_hq", "sam2", "sam2_video", "edgetam", "edgetam_video"),
    *("sam3", "sam3_tracker", "sam3_video"),
)
"""Values of `model_type` in a config.json of transformers that stand for a promptable segmenter."""
CATALOG = Path(__file__).with_name("catalog")
WEIGHTS_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
FIRST = "vit-scenes"
"""The shipped checkpoint that is listed first: what pages start with."""
PLAIN_MODULES = ("vision_transformer", "vision_transformer_relpos", "deit", "eva", "beit")
"""Modules of timm whose networks have one grid of patches and plain attention. Others can only classify."""
SIDE_BY_SIDE = re.compile(r"_(18x2|xp|d?pwee)_")
"""Names of networks in those modules that have several attentions in a layer, or none of its own."""
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The facts about one model. It says what to load, not that it is loaded."""

    id: str
    title: str
    source: str
    tasks: tuple[str, ...]
    weights: str
    """What the source calls it: a path, a timm name, a hub id."""
    revision: str = ""
    """Which weights of that name: a tag, a digest, a hub revision."""
    parameters: int | None = None
    license: str = "unknown"
    paper: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ValueError(f"{self.id}: source is {self.source!r}, expected one of {', '.join(SOURCES)}")
        if not self.tasks or set(self.tasks) - set(TASKS):
            raise ValueError(f"{self.id}: tasks are {self.tasks}, expected some of {', '.join(TASKS)}")

    @property
    def is_random(self) -> bool:
        """Whether the weights are random (`random/…`)."""
        return self.id.startswith("random/")


def catalog() -> tuple[ModelSpec, ...]:
    """Return the shipped checkpoints, other weights in their folder, then the published models."""
    folder = settings().checkpoints
    return (*_shipped(folder), *_own(folder), *_published())


def _shipped(folder: Path) -> tuple[ModelSpec, ...]:
    cards = sorted(folder.glob("*.json"), key=lambda card: (card.stem != FIRST, card.stem))
    return tuple(spec for card in cards if (spec := _shipped_spec(card)))


def _shipped_spec(path: Path) -> ModelSpec | None:
    try:
        card = read_card(path)
    except InputError as error:  # one broken card must not hide every other model
        _log.warning("%s", error)
        return None
    tasks = _tasks_of(card)
    if not tasks:
        return None
    return ModelSpec(
        id=f"shipped/{path.stem}",
        title=card.title,
        source="shipped",
        tasks=tasks,
        weights=str(path.with_suffix(".safetensors")),
        revision=card.sha256[:12],
        parameters=card.parameters,
        license=card.licence,
        note=card.note,
    )


def _tasks_of(card: Card) -> tuple[str, ...]:
    """Return what a checkpoint of this repository can do; nothing if its architecture is not known here."""
    if card.architecture.class_name == "Sam":
        return SEGMENTATION
    if card.architecture.class_name == "Captioner":
        return VLM
    if card.architecture.class_name == "VisionTransformer":
        return VIT_TASKS if card.labels else VIT_TASKS[1:]
    return ()


def _own(folder: Path) -> tuple[ModelSpec, ...]:
    """Return the weights without a card, and the model folders, that a person put into `folder`."""
    if not folder.is_dir():
        return ()
    entries = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    return tuple(_file(f"file/{path.name}") for path in entries if _is_own(path))


def _is_own(path: Path) -> bool:
    if path.is_dir():
        return (path / "config.json").exists()
    return path.suffix in WEIGHTS_SUFFIXES and not path.with_suffix(".json").exists()


@lru_cache(maxsize=1)
def _published() -> tuple[ModelSpec, ...]:
    found = []
    for name in ("timm", "huggingface", "segmentation"):
        rows = tomllib.loads((CATALOG / f"{name}.toml").read_text(encoding="utf-8"))["model"]
        found += [_published_spec(name, row) for row in rows]
    return tuple(found)


def _published_spec(source: str, row: dict[str, object]) -> ModelSpec:
    named = _timm(str(row["id"])) if source == "timm" else _huggingface(str(row["id"]))
    return ModelSpec(
        id=named.id,
        title=str(row["title"]),
        source=named.source,
        tasks=tuple(str(task) for task in row["tasks"]),  # type: ignore[attr-defined]
        weights=named.weights,
        revision=named.revision,
        parameters=int(str(row["parameters"])),
        license=str(row["license"]),
        paper=str(row["paper"]),
        note=str(row["note"]),
    )


def resolve(name: str, task: str | None = None) -> ModelSpec:
    """Return the facts about the model that `name` stands for.

    Args:
        name: An id as above, or a bare timm name, a hub id (`ORG/NAME`), or the path of a file or folder.
        task: What it is wanted for. A hub model that is not listed, or a file or folder of one's own, is
            taken to be for that; loading it finds out.

    Raises:
        InputError: There is no such model; the message offers the nearest names.
    """
    name = name.strip()
    if not name:
        raise InputError("No model was named.", f"Name one, such as {catalog()[0].id}.")
    found = _parse(name)
    listed = next((spec for spec in catalog() if spec.id == found.id), None)
    if task in ("segmentation", "vlm") and (
        found.source == "file" or (found.source == "huggingface" and not listed)
    ):
        return replace(listed or found, tasks=(task,))
    return listed or found


def _parse(name: str) -> ModelSpec:
    """Return what `name` says of itself, without the facts that the catalog knows."""
    if listed := next((spec for spec in catalog() if spec.id == name), None):
        return listed
    for prefix, find in _FINDERS.items():
        if name.startswith(prefix):
            return find(name)
    if name.startswith(("/", "./", "../", "~")) or name.endswith(WEIGHTS_SUFFIXES) or _exists(Path(name)):
        return _file(f"file/{name}")
    if name.count("/") == 1:
        return _huggingface(f"hf/{name}")
    return _checked_timm(f"timm/{name}")


def _timm(name: str, tasks: tuple[str, ...] = VIT_TASKS) -> ModelSpec:
    prefix, _, model = name.partition("/")
    architecture, _, tag = model.partition(".")
    revision = "seed 0" if prefix == "random" else tag
    note = "Random weights from seed 0: a control." if prefix == "random" else ""
    title = f"{architecture}, untrained" if prefix == "random" else model
    return ModelSpec(name, title, "timm", tasks, model, revision, note=note)


def _random(name: str) -> ModelSpec:
    """Return an architecture of timm, or of a shipped checkpoint, with random weights."""
    if not name.startswith("random/shipped/"):
        return _checked_timm(name)
    trained = [spec for spec in catalog() if spec.source == "shipped" and "attention" in spec.tasks]
    for spec in trained:
        if name == f"random/{spec.id}":
            note, revision = "Random weights from seed 0: a control.", f"seed 0, {spec.revision}"
            return replace(spec, id=name, title=f"{spec.title}, untrained", revision=revision, note=note)
    raise _unknown(name, [f"random/{spec.id}" for spec in trained])


def _checked_timm(name: str) -> ModelSpec:
    import timm
    from timm.models import is_model_in_modules

    prefix, _, model = name.partition("/")
    architecture = model.partition(".")[0]
    known = (*timm.list_models(), *timm.list_models(pretrained=True))
    if model not in known:
        raise _unknown(name, [f"{prefix}/{other}" for other in known])
    if prefix == "timm" and model == architecture and (default := timm.get_pretrained_cfg(model).tag):
        name = f"{name}.{default}"
    plain = is_model_in_modules(architecture, PLAIN_MODULES) and not SIDE_BY_SIDE.search(architecture)
    return _timm(name, VIT_TASKS if plain else CLASSIFICATION)


def _huggingface(name: str) -> ModelSpec:
    repository, _, revision = name.removeprefix("hf/").partition("@")
    if not HUB_NAME.fullmatch(repository):
        raise _unknown(name, [])
    return ModelSpec(name, repository, "huggingface", VIT_TASKS, repository, revision or "main")


def _file(name: str) -> ModelSpec:
    path, short = _located(name.removeprefix("file/"))
    if not _exists(path):
        raise InputError(f"There is no file or folder {path}.", "Check the path of the model.")
    if path.is_file() and path.suffix not in WEIGHTS_SUFFIXES:
        raise InputError(
            f"{path.name} is not a weights file.",
            f"Give a {', '.join(WEIGHTS_SUFFIXES)} file or a model folder.",
        )
    stat = _newest(path)
    revision = f"{stat.st_size}-{stat.st_mtime_ns}"
    return ModelSpec(f"file/{short}", path.name, "file", _file_tasks(path), str(path), revision)


def _newest(path: Path) -> os.stat_result:
    """Return what tells the weights of a file or folder from those that were there before."""
    inside = path.iterdir() if path.is_dir() else ()
    weights = [file.stat() for file in inside if file.suffix in WEIGHTS_SUFFIXES]
    return max(weights, key=lambda stat: stat.st_mtime_ns, default=path.stat())


def _file_tasks(path: Path) -> tuple[str, ...]:
    """Return what a file or folder is for: by its name as Segment Anything publishes it, or its config."""
    if path.is_file():
        return SEGMENTATION if path.name.startswith("sam_vit_") else VIT_TASKS
    config = _folder_config(path)
    if config.get("model_type") in SEGMENTER_TYPES:
        return SEGMENTATION
    return VLM if _writes_text(config) else VIT_TASKS


def _folder_config(folder: Path) -> dict[str, Any]:
    """Return what transformers wrote into a folder's config.json; nothing where there is none."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _writes_text(config: dict[str, Any]) -> bool:
    """Say whether a configuration is of a network that answers prompts about pictures."""
    names = config.get("architectures")
    found = isinstance(names, list) and any(str(name).endswith("ForConditionalGeneration") for name in names)
    return found and "vision_config" in config


def _located(name: str) -> tuple[Path, str]:
    """Return the path that `name` means, and what to call it: in the checkpoints folder, its bare name."""
    folder = settings().checkpoints.resolve()
    try:
        path = Path(name).expanduser()
        path = (folder / path if _exists(folder / path) else path).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # no such home, or no possible path
        raise InputError(f"{name!r} is not a path.", "Check the path of the model.") from error
    return path, str(path.relative_to(folder) if path.parent == folder else path)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or with characters that no path has
        return False


def _shipped_or_unknown(name: str) -> ModelSpec:
    raise _unknown(name, [])


_FINDERS: dict[str, Callable[[str], ModelSpec]] = {
    "shipped/": _shipped_or_unknown,
    "timm/": _checked_timm,
    "random/": _random,
    "hf/": _huggingface,
    "file/": _file,
}


def _unknown(name: str, others: list[str]) -> InputError:
    known = [spec.id for spec in catalog()] + others
    short = {known_id.rpartition("/")[2]: known_id for known_id in known}
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    near += [
        short[m] for m in difflib.get_close_matches(name.rpartition("/")[2], list(short), n=3, cutoff=0.5)
    ]
    offered = ", ".join(dict.fromkeys(near[:4])) or ", ".join(spec.id for spec in catalog()[:3])
    return InputError(f"There is no model {name}.", f"Did you mean one of these: {offered}?")


def check_plain(spec: ModelSpec) -> None:
    """Make sure, as far as its facts tell, that a model has a grid of patches to look into.

    Raises:
        InputError: It has none.
    """
    if not set(PLAIN_TASKS) & set(spec.tasks):
        raise not_plain(spec.id)


def not_plain(model_id: str) -> InputError:
    """Return what is said where patches or attention are wanted of a model that has none."""
    return InputError(
        f"{model_id} is not a plain vision transformer: it has no one grid of patches to look into.",
        "Choose a vit_…, deit…, eva… or beit… model for that.",
    )


def no_classifier(model_id: str) -> InputError:
    """Return what is said where classes are wanted of a model that names none."""
    return InputError(f"{model_id} has no classifier.", "Choose a model whose tasks include classification.")


def available(spec: ModelSpec) -> bool:
    """Say whether a model can be loaded right now, without a network."""
    if spec.is_random:
        return True
    if spec.source in ("timm", "huggingface"):
        return (
            cached_weights(_repository(spec), "main" if spec.source == "timm" else spec.revision) is not None
        )
    return _is_whole(Path(spec.weights))


def _repository(spec: ModelSpec) -> str:
    """Return the hub repository of a published model; for listed ones without importing timm."""
    if spec.source == "huggingface":
        return spec.weights
    if any(spec.id == listed.id for listed in _published()):
        return f"timm/{spec.weights}"
    import timm

    return timm.get_pretrained_cfg(spec.weights).hf_hub_id or f"timm/{spec.weights}"


def _is_whole(path: Path) -> bool:
    """Say whether a model is there; a safetensors file must be as long as its header says."""
    if path.suffix != ".safetensors":
        return _exists(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, size)))
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError):
        return False
    return size == 8 + length + max(ends, default=0)
