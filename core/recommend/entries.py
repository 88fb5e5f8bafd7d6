"""What is published about models: the catalogue as values, checked when they are made.

    sources.toml     where figures come from              axes.toml    what accuracies are comparable
    devices.toml     what published speeds ran on         quick.toml   a quick answer by task and speed
    models/*.toml    the models, by task

Every figure names its source. One that nobody published is left out: it is missing, and never 0.
"""

import math
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import date
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

CATALOG = Path(__file__).with_name("catalog")
TASKS: Mapping[str, str] = {
    "classification": "Classification",
    "detection": "Object detection",
    "semantic-segmentation": "Semantic segmentation",
    "promptable-segmentation": "Promptable segmentation",
    "features": "Features and retrieval",
    "captioning": "Captioning",
    "vqa": "Visual question answering",
    "ocr": "Reading text (OCR)",
    "depth": "Depth",
}
ACCESS = ("weights", "api")
DEVICE_KINDS = ("cpu", "gpu", "mobile")
PRECISIONS = ("fp32", "fp16", "bf16", "amp", "int8", "mixed", "unknown")
"""`amp` is automatic mixed precision; `mixed` is what a converter for phones chooses."""
SPEEDS = ("real-time", "fast", "normal")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Source:
    """Where figures come from.

    Raises:
        ValueError: It has no address, no title, or no day.
    """

    id: str
    title: str
    url: str
    date: date
    """When it was published, or read where it changes."""
    licence: str = ""
    """Of the tables, where they have one."""

    def __post_init__(self) -> None:
        _named(self.id, self.title)
        if not self.url.startswith("https://"):
            raise ValueError(f"source {self.id}: the address is {self.url!r}, expected https://…")
        _day(self.id, self.date)


@dataclass(frozen=True, slots=True)
class Axis:
    """A benchmark with its metric and protocol: only figures on the same axis are compared."""

    id: str
    tasks: tuple[str, ...]
    benchmark: str
    metric: str
    protocol: str
    """How it is evaluated, in one sentence."""
    source: str
    unit: str = "%"
    higher_is_better: bool = True
    pictures: int | None = None
    """How many the benchmark has; with a share of right answers, that gives its sampling error."""

    def __post_init__(self) -> None:
        _named(self.id, self.benchmark, self.metric, self.protocol, self.source)
        _tasks(self.id, self.tasks)
        if self.pictures is not None:
            _count(self.id, "pictures", self.pictures)

    @property
    def title(self) -> str:
        """Its name on a chart."""
        return f"{self.benchmark}, {self.metric}"


@dataclass(frozen=True, slots=True)
class Device:
    """What published speeds were measured on."""

    id: str
    title: str
    kind: str
    memory_mb: int | None = None

    def __post_init__(self) -> None:
        _named(self.id, self.title)
        if self.kind not in DEVICE_KINDS:
            raise ValueError(f"device {self.id}: the kind is {self.kind!r}, expected one of {DEVICE_KINDS}")
        if self.memory_mb is not None:
            _count(self.id, "memory_mb", self.memory_mb)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A published accuracy."""

    axis: str
    value: float
    source: str
    input_size: int | None = None
    """Side of the picture in pixels, where it is not the model's own."""
    note: str = ""

    def __post_init__(self) -> None:
        _named(self.axis, self.source)
        if not _is_number(self.value) or not math.isfinite(self.value):
            raise ValueError(f"{self.axis}: {self.value!r} is no accuracy")
        if self.input_size is not None:
            _count(self.axis, "input_size", self.input_size)


@dataclass(frozen=True, slots=True)
class Speed:
    """A published speed: of `batch` pictures at once, `latency_ms` for all of them."""

    device: str
    precision: str
    batch: int
    input_size: int
    latency_ms: float
    source: str
    software: str = ""
    """What ran it: `PyTorch 2.4, dynamo`, `TensorRT 8.6` …"""

    def __post_init__(self) -> None:
        _named(self.device, self.source)
        if self.precision not in PRECISIONS:
            raise ValueError(f"{self.device}: the precision is {self.precision!r}, not one of {PRECISIONS}")
        _count(self.device, "batch", self.batch)
        _count(self.device, "input_size", self.input_size)
        _positive(self.device, "latency_ms", self.latency_ms)

    @property
    def images_per_s(self) -> float:
        """Pictures in a second, at this batch."""
        return 1000 * self.batch / self.latency_ms


@dataclass(frozen=True, slots=True)
class Entry:
    """What is published about one model.

    Raises:
        ValueError: A fact is impossible or contradicts another one.
    """

    id: str
    """As the registry calls it where the app can run it, otherwise `FAMILY/NAME`."""
    title: str
    family: str
    tasks: tuple[str, ...]
    published: date
    """When its paper or weights first came out."""
    licence: str
    """Of the weights: an SPDX id or the licence's own name; `proprietary` for an API."""
    commercial: bool | None
    """Whether that licence allows commercial use; None where it is unclear."""
    source: str
    """Of the facts up to the multiply-adds."""
    url: str
    """The paper, the model card or the provider's page; empty for a model of one's own."""
    access: str = "weights"
    parameters: int | None = None
    input_size: int | None = None
    """Shorter side in pixels."""
    macs: int | None = None
    """Multiply-adds of one picture at `input_size`; half of what is called FLOPs."""
    activations: int | None = None
    """Numbers that leave the convolutions and matrix products, of one picture."""
    timm: str = ""
    """Architecture of timm by which random weights take the same time."""
    runs: str = ""
    """The registry's id where this app can run it; empty where it cannot."""
    provider: str = ""
    """Of an API: with `priced`, what `core.vlm.prices` looks up."""
    priced: str = ""
    picture_tokens: int | None = None
    """Tokens that the provider counts for one picture of a megapixel."""
    retired: date | None = None
    """The day from which it can no longer be had, where that is known."""
    note: str = ""
    accuracy: tuple[Accuracy, ...] = ()
    speed: tuple[Speed, ...] = ()

    def __post_init__(self) -> None:
        _named(self.id, self.title, self.family, self.licence, self.source)
        _tasks(self.id, self.tasks)
        _day(self.id, self.published)
        if self.url and not self.url.startswith("https://"):
            raise ValueError(f"{self.id}: the address is {self.url!r}, expected https://…")
        if self.access not in ACCESS:
            raise ValueError(f"{self.id}: access is {self.access!r}, expected one of {ACCESS}")
        for name in ("parameters", "input_size", "macs", "activations", "picture_tokens"):
            if getattr(self, name) is not None:
                _count(self.id, name, getattr(self, name))
        if not (self.commercial is None or isinstance(self.commercial, bool)):
            raise ValueError(f"{self.id}: commercial is {self.commercial!r}, expected true or false")
        if self.retired is not None:
            _day(self.id, self.retired)
        if (self.access == "api") != bool(self.provider):
            raise ValueError(f"{self.id}: an API has a provider, and weights have none")
        keys = [(one.axis, one.input_size) for one in self.accuracy]
        if len(set(keys)) < len(keys):
            raise ValueError(f"{self.id}: two accuracies on one axis at one size")

    @property
    def weights_mb(self) -> float | None:
        """Size of the weights at 32 bits, in MB (10^6 bytes); None where the parameters are not known."""
        return None if self.parameters is None else self.parameters * 4 / 1e6

    def on(self, axis: str) -> Accuracy | None:
        """Return its accuracy on an axis, at its own input size first; None where nobody published one."""
        found = [one for one in self.accuracy if one.axis == axis]
        return min(found, key=lambda one: one.input_size not in (None, self.input_size), default=None)


@dataclass(frozen=True, slots=True)
class Choice:
    """The quick answer: what people take for a task at a speed, without a look at any figure."""

    task: str
    speed: str
    model: str
    why: str

    def __post_init__(self) -> None:
        _named(self.model, self.why)
        _tasks(self.model, (self.task,))
        if self.speed not in SPEEDS:
            raise ValueError(f"{self.model}: the speed is {self.speed!r}, expected one of {SPEEDS}")


@dataclass(frozen=True, slots=True)
class Catalog:
    """All that is published, each by its id.

    Raises:
        ValueError: Something is named that is not there, or there twice.
    """

    entries: Mapping[str, Entry]
    axes: Mapping[str, Axis]
    devices: Mapping[str, Device]
    sources: Mapping[str, Source]
    choices: tuple[Choice, ...] = ()
    digest: str = field(default="", compare=False)
    """Which state of it this is."""

    def __post_init__(self) -> None:
        for axis in self.axes.values():
            _known("source", axis.source, self.sources, axis.id)
        for entry in self.entries.values():
            self._check(entry)
        for choice in self.choices:
            _known("model", choice.model, self.entries, f"{choice.task}, {choice.speed}")
            if choice.task not in self.entries[choice.model].tasks:
                raise ValueError(f"{choice.model} is chosen for {choice.task}, which it is not for")

    def _check(self, entry: Entry) -> None:
        _known("source", entry.source, self.sources, entry.id)
        for accuracy in entry.accuracy:
            _known("axis", accuracy.axis, self.axes, entry.id)
            _known("source", accuracy.source, self.sources, entry.id)
            if not set(self.axes[accuracy.axis].tasks) & set(entry.tasks):
                raise ValueError(f"{entry.id} has a figure on {accuracy.axis}, an axis of other tasks")
            if self.axes[accuracy.axis].unit == "%" and not 0 <= accuracy.value <= 100:
                raise ValueError(f"{entry.id}: {accuracy.value} % on {accuracy.axis}")
        for speed in entry.speed:
            _known("device", speed.device, self.devices, entry.id)
            _known("source", speed.source, self.sources, entry.id)

    def of(self, task: str) -> tuple[Entry, ...]:
        """Return the models for a task."""
        return tuple(entry for entry in self.entries.values() if task in entry.tasks)

    def axes_of(self, task: str) -> tuple[Axis, ...]:
        """Return the axes of a task on which some model has a figure, the one with most figures first."""
        counts = Counter(axis for one in self.of(task) for axis in {figure.axis for figure in one.accuracy})
        mine = [axis for axis in self.axes.values() if task in axis.tasks and counts[axis.id]]
        return tuple(sorted(mine, key=lambda axis: -counts[axis.id]))


@lru_cache(maxsize=2)
def read_catalog(folder: Path = CATALOG) -> Catalog:
    """Return the catalogue in a folder.

    Raises:
        ValueError: A file of it is not as it should be; the message says what is wrong in which entry.
        OSError: A file cannot be read.
    """
    paths = sorted((folder / "models").glob("*.toml"))
    models = [row for path in paths for row in _rows(path, "model")]
    every = (*paths, *(folder / f"{name}.toml" for name in ("sources", "axes", "devices", "quick")))
    return Catalog(
        _by_id(_entry(row) for row in models),
        _by_id(_made(Axis, row) for row in _rows(folder / "axes.toml", "axis")),
        _by_id(_made(Device, row) for row in _rows(folder / "devices.toml", "device")),
        _by_id(_made(Source, row) for row in _rows(folder / "sources.toml", "source")),
        tuple(_made(Choice, row) for row in _rows(folder / "quick.toml", "choice")),
        sha256(b"\0".join(path.read_bytes() for path in every)).hexdigest(),
    )


def _rows(path: Path, name: str) -> list[dict[str, Any]]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error
    if set(content) != {name}:
        raise ValueError(f"{path.name} has {sorted(content)}, expected [[{name}]] and nothing else")
    rows: list[dict[str, Any]] = content[name]
    return rows


def _entry(row: dict[str, Any]) -> Entry:
    try:
        accuracy = tuple(_made(Accuracy, one) for one in row.pop("accuracy", ()))
        speed = tuple(_made(Speed, one) for one in row.pop("speed", ()))
    except ValueError as error:
        raise ValueError(f"{row.get('id', 'a model without an id')}: {error}") from error
    return _made(Entry, {"commercial": None, **row, "accuracy": accuracy, "speed": speed})


def _made(kind: type[T], row: Mapping[str, Any]) -> T:
    """Return a value of a row, whose keys must be fields, and whose lists are tuples."""
    known = {one.name: one for one in fields(kind)}  # type: ignore[arg-type]
    label = f"{kind.__name__.lower()} {row.get('id', row.get('axis', row.get('device', '')))}"
    if unknown := sorted(set(row) - set(known)):
        raise ValueError(f"{label}: there is no field {', '.join(unknown)}")
    missing = [n for n, one in known.items() if one.default is MISSING and n not in row]
    if missing:
        raise ValueError(f"{label}: {', '.join(missing)} missing")
    try:
        return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in row.items()})
    except TypeError as error:
        raise ValueError(f"{label}: {error}") from error


def _by_id(found: Iterable[T]) -> dict[str, T]:
    named: dict[str, T] = {}
    for one in found:
        name: str = one.id  # type: ignore[attr-defined]
        if name in named:
            raise ValueError(f"{name} is there twice")
        named[name] = one
    return named


def _named(*names: object) -> None:
    if not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError(f"a name is empty or no text among {names}")


def _known(what: str, name: str, known: Mapping[str, object], where: str) -> None:
    if name not in known:
        raise ValueError(f"{where}: there is no {what} {name!r}")


def _tasks(where: str, tasks: tuple[str, ...]) -> None:
    if not tasks or set(tasks) - set(TASKS):
        raise ValueError(f"{where}: tasks are {tasks}, expected some of {', '.join(TASKS)}")


def _day(where: str, day: object) -> None:
    if type(day) is not date or day < date(2010, 1, 1):
        raise ValueError(f"{where}: {day!r} is no day of this field, as in 2026-01-31")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _positive(where: str, name: str, value: object) -> None:
    if not isinstance(value, int | float) or not _is_number(value) or not 0 < value < math.inf:
        raise ValueError(f"{where}: {name} is {value!r}, expected above 0")


def _count(where: str, name: str, value: object) -> None:
    if not isinstance(value, int) or not _is_number(value) or value < 1:
        raise ValueError(f"{where}: {name} is {value!r}, expected a whole number above 0")
