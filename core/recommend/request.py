"""What a person asks for: the task, and what a model must keep to."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any, Literal, Self, get_args

from core.errors import InputError
from core.recommend.entries import SPEEDS, TASKS

SPEED_MS: Mapping[str, float] = MappingProxyType(dict(zip(SPEEDS, (1000 / 30, 100.0, 1000.0), strict=True)))
"""What the words stand for, in ms for one picture: 30 a second, 10 a second, one a second."""
HERE = "here"
"""The machine that the app runs on, as a device."""
Access = Literal["any", "weights", "api"]
Prefer = Literal["accuracy", "balance", "speed"]
ACCESS: tuple[Access, ...] = get_args(Access)
PREFER: tuple[Prefer, ...] = get_args(Prefer)
MOST = 1e9
MOST_BATCH = 4096
MOST_SIDE_PX = 8192


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where a model is to run, and what is taken for granted there until the person says otherwise."""

    title: str
    about: str
    device_kind: str
    """Kind of the published devices that stand for it; empty for this machine."""
    apis: bool
    memory_mb: float | None = None
    weights_mb: float | None = None


DEPLOYMENTS: Mapping[str, Deployment] = MappingProxyType(
    {
        HERE: Deployment("This machine", "What was measured here, or scaled to it.", "", apis=True),
        "cloud": Deployment(
            "Cloud",
            "A server with one GPU of 24 GB, or a provider's API.",
            "gpu",
            apis=True,
            memory_mb=24_000,
        ),
        "edge": Deployment(
            "Edge",
            "A small computer without a GPU that gives a model 4 GB.",
            "cpu",
            apis=False,
            memory_mb=4_000,
        ),
        "mobile": Deployment(
            "Mobile",
            "A phone: weights up to 100 MB at 32 bits, 1 GB of memory.",
            "mobile",
            apis=False,
            memory_mb=1_000,
            weights_mb=100,
        ),
        "browser": Deployment(
            "Browser",
            "A page that loads the model: weights up to 50 MB at 32 bits.",
            "none",
            apis=False,
            memory_mb=1_000,
            weights_mb=50,
        ),
    }
)
_NUMBERS = {
    "latency_ms": "latency",
    "images_per_s": "number of pictures a second",
    "memory_mb": "memory",
    "weights_mb": "size of the weights",
    "cost_per_1000": "cost",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for; what is None is not constrained.

    Raises:
        InputError: A value cannot be meant, or two of them contradict each other.
    """

    task: str
    latency_ms: float | None = None
    """Most milliseconds for one batch."""
    images_per_s: float | None = None
    """Least pictures in a second."""
    axis: str | None = None
    """What accuracy means; None is the axis on which most models of the task have a figure."""
    min_accuracy: float | None = None
    """In the axis's unit; on an axis where lower is better, the most."""
    deployment: str = HERE
    device: str | None = None
    """A device of the catalogue by id, or `here`; None is what stands for the deployment."""
    memory_mb: float | None = None
    weights_mb: float | None = None
    """Most MB (10^6 bytes) of the weights at 32 bits."""
    commercial: bool = False
    """Whether the licence must allow commercial use."""
    access: Access = "any"
    """Weights that run offline, a provider's API, or either."""
    cost_per_1000: float | None = None
    """Most US dollars that a provider takes for 1,000 pictures."""
    input_size: int | None = None
    """Shorter side of the picture in pixels as the model sees it; None is each model's own."""
    batch: int = 1
    prefer: Prefer = "accuracy"
    """What decides the order of the models that fit."""

    def __post_init__(self) -> None:
        _one_of("task", self.task, TASKS)
        _one_of("deployment", self.deployment, DEPLOYMENTS)
        _one_of("access", self.access, ACCESS)
        _one_of("preference", self.prefer, PREFER)
        for name, words in _NUMBERS.items():
            _in_range(words, getattr(self, name))
        if self.min_accuracy is not None and not math.isfinite(_number("accuracy", self.min_accuracy)):
            raise InputError(f"The accuracy cannot be {self.min_accuracy}.", "Give a number, such as 80.")
        _whole("batch", self.batch, MOST_BATCH)
        if self.input_size is not None:
            _whole("picture size", self.input_size, MOST_SIDE_PX)
        if self.access == "api" and not DEPLOYMENTS[self.deployment].apis:
            where = DEPLOYMENTS[self.deployment].title
            raise InputError(
                f"An API does not run on the deployment {where}.", "Choose cloud or here, or weights."
            )

    @property
    def limit_ms(self) -> float | None:
        """Most milliseconds for one batch by both ways to say it; None where neither is said."""
        return self.limit_of(self.batch)

    def limit_of(self, batch: int) -> float | None:
        """Return what `limit_ms` is for another batch, such as a published one: the rate depends on it."""
        slowest = None if self.images_per_s is None else 1000 * batch / self.images_per_s
        return min((one for one in (self.latency_ms, slowest) if one is not None), default=None)

    @property
    def memory_limit_mb(self) -> float | None:
        """Most memory: what is asked for, otherwise what the deployment has."""
        return DEPLOYMENTS[self.deployment].memory_mb if self.memory_mb is None else self.memory_mb

    @property
    def weights_limit_mb(self) -> float | None:
        """Most weights: what is asked for, otherwise what the deployment takes."""
        return DEPLOYMENTS[self.deployment].weights_mb if self.weights_mb is None else self.weights_mb

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values: `from_json` makes the same of them."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """Return the request that `to_json` wrote; what is left out is as usual.

        Raises:
            InputError: There is no such field, or a value cannot be meant.
        """
        known = {one.name for one in fields(cls)}
        if unknown := sorted(set(raw) - known):
            raise InputError(
                f"A recommendation cannot be asked by {unknown[0]!r}.", f"Choose from {', '.join(known)}."
            )
        try:
            return cls(**raw)
        except TypeError as error:
            raise InputError("No task is named.", f"Choose one of {', '.join(TASKS)}.") from error


def _one_of(what: str, value: object, known: Any) -> None:
    if not isinstance(value, str) or value not in known:
        raise InputError(f"There is no {what} {value!r}.", f"Choose one of {', '.join(known)}.")


def _number(what: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"The {what} is {value!r}.", "Give a number.")
    return float(value)


def _in_range(what: str, value: object) -> None:
    if value is None:
        return
    number = _number(what, value)
    if not 0 < number <= MOST:  # NaN fails, too
        raise InputError(f"The {what} cannot be {number:g}.", f"Give a number above 0, up to {MOST:,.0f}.")


def _whole(what: str, value: object, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise InputError(f"The {what} cannot be {value}.", f"Give a whole number, 1 to {most:,}.")
