"""Which models there are: facts as data, and the one place that turns a typed name into them.

    shipped/NAME       a checkpoint of this repository, with its card, in the checkpoints folder
    timm/NAME          published weights, by timm's name (architecture.tag)
    hf/ORG/NAME        published weights on the Hugging Face hub; hf/ORG/NAME@REVISION for one revision
    file/PATH          a weights file or a model folder on this machine
    random/NAME        a timm architecture with random weights from seed 0, as a control

Facts that are published stand in `catalog/*.toml`; those of a shipped checkpoint in its card.
"""

import difflib
import logging
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from core.checkpoints import read_card
from core.errors import InputError
from core.hub import cached_weights
from core.settings import settings

TASKS = ("classification", "attention", "features", "segmentation", "vlm")
SOURCES = ("shipped", "timm", "huggingface", "file", "api")
VIT_TASKS = ("classification", "attention", "features")
CATALOG = Path(__file__).with_name("catalog")
_log = logging.getLogger(__name__)

WEIGHTS_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


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
    """Return the shipped checkpoints, then the published models."""
    return (*_shipped(settings().checkpoints), *_published())


def _shipped(folder: Path) -> tuple[ModelSpec, ...]:
    return tuple(spec for card in sorted(folder.glob("*.json")) if (spec := _shipped_spec(card)))


def _shipped_spec(path: Path) -> ModelSpec | None:
    try:
        card = read_card(path)
    except InputError as error:  # one broken card must not hide every other model
        _log.warning("%s", error)
        return None
    return ModelSpec(
        id=f"shipped/{path.stem}",
        title=card.title,
        source="shipped",
        tasks=VIT_TASKS if card.labels else VIT_TASKS[1:],
        weights=str(path.with_suffix(".safetensors")),
        revision=card.sha256[:12],
        parameters=card.parameters,
        license=card.licence,
        note=card.note,
    )


@lru_cache(maxsize=1)
def _published() -> tuple[ModelSpec, ...]:
    found = []
    for name in ("timm", "huggingface"):
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


def resolve(name: str) -> ModelSpec:
    """Return the facts about the model that `name` stands for.

    `name` is an id as above, or a bare timm name, a hub id (`ORG/NAME`), or the path of a file or folder.

    Raises:
        InputError: There is no such model; the message offers the nearest names.
    """
    name = name.strip()
    if listed := next((spec for spec in catalog() if spec.id == name), None):
        return listed
    for prefix, find in _FINDERS.items():
        if name.startswith(prefix):
            return find(name)
    path = Path(name)
    if name.startswith(("/", "./", "../", "~")) or path.suffix in WEIGHTS_SUFFIXES or path.is_dir():
        return _file(f"file/{name}")
    if name.count("/") == 1:
        return _huggingface(f"hf/{name}")
    return _checked_timm(f"timm/{name}")


def _timm(name: str) -> ModelSpec:
    prefix, _, model = name.partition("/")
    architecture, _, tag = model.partition(".")
    revision = "seed 0" if prefix == "random" else tag
    note = "Random weights from seed 0: a control." if prefix == "random" else ""
    title = f"{architecture}, untrained" if prefix == "random" else model
    return ModelSpec(name, title, "timm", VIT_TASKS, model, revision, note=note)


def _checked_timm(name: str) -> ModelSpec:
    import timm

    model = name.partition("/")[2]
    architecture = model.partition(".")[0]
    known = timm.list_models(pretrained=False) if "." not in model else timm.list_pretrained()
    if not timm.is_model(architecture) or ("." in model and model not in known):
        raise _unknown(name, [f"timm/{known_name}" for known_name in known])
    if "." not in model and name.startswith("timm/") and (default := timm.get_pretrained_cfg(architecture)):
        name = f"timm/{architecture}.{default.tag}" if default.tag else name
    return _timm(name)


def _huggingface(name: str) -> ModelSpec:
    repository, _, revision = name.removeprefix("hf/").partition("@")
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise _unknown(name, [])
    return ModelSpec(name, repository, "huggingface", VIT_TASKS, repository, revision or "main")


def _file(name: str) -> ModelSpec:
    path = Path(name.removeprefix("file/")).expanduser().resolve()
    if not path.exists():
        raise InputError(f"There is no file or folder {path}.", "Check the path of the model.")
    if path.is_file() and path.suffix not in WEIGHTS_SUFFIXES:
        raise InputError(
            f"{path.name} is not a weights file.",
            f"Give a {', '.join(WEIGHTS_SUFFIXES)} file or a model folder.",
        )
    stat = path.stat()
    return ModelSpec(
        f"file/{path}", path.name, "file", VIT_TASKS, str(path), f"{stat.st_size}-{stat.st_mtime_ns}"
    )


def _shipped_or_unknown(name: str) -> ModelSpec:
    raise _unknown(name, [])


_FINDERS: dict[str, Callable[[str], ModelSpec]] = {
    "shipped/": _shipped_or_unknown,
    "timm/": _checked_timm,
    "random/": _checked_timm,
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


def available(spec: ModelSpec) -> bool:
    """Say whether a model can be loaded right now, without a network."""
    if spec.source in ("shipped", "file"):
        return Path(spec.weights).exists()
    if spec.is_random:
        return True
    if spec.source == "timm":
        return cached_weights(f"timm/{spec.weights}") is not None
    return cached_weights(spec.weights, spec.revision) is not None
