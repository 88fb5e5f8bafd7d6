"""The figures of a model that matter for a request, each from the best place there is.

Measured here comes before published, and published before estimated. What none of them knows is None.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from core.bench.options import PRECISIONS
from core.intervals import wilson_bounds
from core.recommend.calibration import OTHER_SIZE, Calibration
from core.recommend.entries import Axis, Catalog, Device, Entry, Speed
from core.recommend.evidence import OwnEvidence, OwnSpeed, speed_key
from core.recommend.figures import Figure
from core.recommend.request import DEPLOYMENTS, HERE, Request
from core.vlm.base import Usage
from core.vlm.prices import Price, cost

PROMPT_TOKENS, ANSWER_TOKENS = 50, 100
"""What a short question and a short answer take, for the price of a picture."""


class Prices(Protocol):
    """Where prices are looked up (`core.vlm.prices.PriceTable`)."""

    def find(self, provider: str, model: str, today: date) -> Price | None:
        """Return the price of a provider's model on a day; None where it is unknown."""
        ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model with its figures for one request."""

    entry: Entry
    accuracy: Figure | None
    latency: Figure | None
    """ms for one batch."""
    batch: int
    """Of that latency."""
    memory: Figure | None
    weights: Figure | None
    """MB at 32 bits."""
    cost: Figure | None
    """US dollars that a provider takes for 1,000 pictures; 0 for weights."""

    @property
    def images_per_s(self) -> float | None:
        """Pictures in a second; None where the latency is not known."""
        return None if self.latency is None else 1000 * self.batch / self.latency.value

    def figures(self) -> Mapping[str, Figure | None]:
        """Return its figures by name."""
        return {
            "accuracy": self.accuracy,
            "latency": self.latency,
            "memory": self.memory,
            "weights": self.weights,
            "cost": self.cost,
        }


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known: published, measured, and scaled from one to the other."""

    catalog: Catalog
    evidence: OwnEvidence
    calibration: Calibration | None
    prices: Prices
    today: date
    device_name: str
    """Of this machine, as its runs name it."""


def candidate_of(entry: Entry, request: Request, axis: Axis | None, device: str, facts: Facts) -> Candidate:
    """Return a model's figures for a request.

    Args:
        axis: What accuracy means; None where the task has no figure at all.
        device: An id of the catalogue, `here`, or empty where no device is known.
    """
    latency, batch = _latency(entry, request, device, facts)
    return Candidate(
        entry,
        None if axis is None else _accuracy(entry, axis, facts),
        latency,
        batch,
        _memory(entry, request, facts),
        _weights(entry, facts),
        _cost(entry, facts),
    )


def device_of(request: Request, catalog: Catalog) -> str:
    """Return the device whose speeds count: the one asked for, or the deployment's best known one.

    That is the device of its kind on which most models of the task have a published speed at the batch.
    Empty where there is none.
    """
    if request.device is not None:
        return request.device
    kind = DEPLOYMENTS[request.deployment].device_kind
    if not kind:
        return HERE
    counts = {
        device.id: sum(
            _published(entry, device.id, request) is not None for entry in catalog.of(request.task)
        )
        for device in catalog.devices.values()
        if device.kind == kind
    }
    best = max(counts, key=lambda one: counts[one], default="")
    return best if best and counts[best] else ""


def device_title(device: str, facts: Facts) -> str:
    """Return what a device is called; empty where none is known."""
    if device == HERE:
        return facts.device_name
    known: Device | None = facts.catalog.devices.get(device)
    return known.title if known else ""


def _accuracy(entry: Entry, axis: Axis, facts: Facts) -> Figure | None:
    own = facts.evidence.accuracies(entry.runs or entry.id).get(axis.id)
    if own is not None:
        return own
    published = entry.on(axis.id)
    if published is None:
        return None
    source = facts.catalog.sources[published.source]
    low, high = _sampling(published.value, axis)
    return Figure(
        published.value,
        axis.unit,
        "published",
        low=low,
        high=high,
        date=source.date,
        source=source.url,
        about=", ".join(filter(None, (_at(published.input_size or entry.input_size), published.note))),
    )


def _sampling(value: float, axis: Axis) -> tuple[float | None, float | None]:
    """Return the interval of a share of right answers among the benchmark's pictures, in %."""
    if axis.pictures is None or axis.unit != "%":
        return None, None
    low, high = wilson_bounds(round(value / 100 * axis.pictures), axis.pictures)
    return 100 * low, 100 * high


def _latency(entry: Entry, request: Request, device: str, facts: Facts) -> tuple[Figure | None, int]:
    if device == HERE:
        return _here(entry, request, facts), request.batch
    if entry.access == "api" or not device:
        return None, request.batch
    found = _published(entry, device, request)
    if found is None:
        return None, request.batch
    source = facts.catalog.sources[found.source]
    figure = Figure(
        found.latency_ms,
        "ms",
        "published",
        date=source.date,
        source=source.url,
        device=facts.catalog.devices[device].title,
        about=_conditions(found),
    )
    return _resized(figure, found.input_size, request.input_size), found.batch


def _published(entry: Entry, device: str, request: Request) -> Speed | None:
    """Return a published speed on a device.

    Of single pictures exactly that; of more, the largest published batch of at most the one asked for. The
    input size nearest to the one asked for counts, or the model's own.
    """
    wanted = request.input_size or entry.input_size or 0
    fitting = [
        one
        for one in entry.speed
        if one.device == device and (one.batch == 1 if request.batch == 1 else 1 < one.batch <= request.batch)
    ]
    return min(fitting, key=lambda one: (abs(one.input_size - wanted), -one.batch), default=None)


def _here(entry: Entry, request: Request, facts: Facts) -> Figure | None:
    own = [
        one
        for one in facts.evidence.speeds(speed_key(entry.runs or entry.id))
        if _is_here(one, entry, request, facts)
    ]
    if not own and entry.timm:
        own = [
            one for one in facts.evidence.speeds(f"timm:{entry.timm}") if _is_here(one, entry, request, facts)
        ]
    wanted = request.input_size or entry.input_size
    if own:
        best = min(own, key=lambda one: _distance(one, wanted))
        return _resized(best.latency, best.condition.input_size, request.input_size)
    if facts.calibration is None or entry.access == "api":
        return None
    estimate = facts.calibration.estimate(entry, request.batch)
    return estimate and _resized(estimate, entry.input_size, request.input_size)


def _is_here(own: OwnSpeed, entry: Entry, request: Request, facts: Facts) -> bool:
    """Say whether a measurement was of this machine at the batch; an API is asked from anywhere."""
    if entry.access == "api":
        return request.batch == 1
    return own.condition.device_name == facts.device_name and own.condition.batch == request.batch


def _distance(own: OwnSpeed, wanted: int | None) -> tuple[bool, bool, bool, int, int]:
    """Return how far a measurement is from the usual: a benchmark, uncompiled, full precision, its size."""
    condition = own.condition
    apart = abs(condition.input_size - wanted) if condition.input_size and wanted else 0
    precision = (
        PRECISIONS.index(condition.precision) if condition.precision in PRECISIONS else len(PRECISIONS)
    )
    return not own.is_benchmark, condition.compiled, not own.usual_threads, apart, precision


def _resized(figure: Figure, size: int | None, wanted: int | None) -> Figure:
    """Return a time scaled by the picture's area, as an estimate; the same where nothing is to be scaled."""
    if wanted is None or size is None or size == wanted:
        return figure
    factor = (wanted / size) ** 2
    return Figure(
        figure.value * factor,
        figure.unit,
        "estimated",
        low=figure.least * factor / OTHER_SIZE,
        high=figure.most * factor * OTHER_SIZE,
        date=figure.date,
        source=figure.source,
        device=figure.device,
        about=f"{figure.about}, scaled by area from {size} to {wanted} px".removeprefix(", "),
    )


def _memory(entry: Entry, request: Request, facts: Facts) -> Figure | None:
    if entry.access == "api":
        return None
    own = facts.evidence.memory(speed_key(entry.runs or entry.id))
    if own is None and entry.timm:
        own = facts.evidence.memory(f"timm:{entry.timm}")
    if own is not None and request.batch == 1:
        return own
    if entry.weights_mb is None:
        return None
    passing = (entry.activations or 0) * 4 * request.batch / 1e6
    about = "weights and activations at 32 bits" if entry.activations else "the weights alone, at 32 bits"
    return Figure(
        entry.weights_mb + passing,
        "MB",
        "estimated",
        low=entry.weights_mb if passing else None,
        about=f"{about}, without PyTorch",
    )


def _weights(entry: Entry, facts: Facts) -> Figure | None:
    if entry.weights_mb is None:
        return None
    source = facts.catalog.sources.get(entry.source)
    return Figure(
        entry.weights_mb,
        "MB",
        "published",
        date=source.date if source else None,
        source=source.url if source else entry.source,
        about="32 bits a parameter",
    )


def _cost(entry: Entry, facts: Facts) -> Figure | None:
    if entry.access != "api":
        return Figure(0.0, "USD", "published", about="nothing is paid to a provider")
    own = facts.evidence.cost(entry.runs or entry.id)
    if own is not None:
        return own
    price = facts.prices.find(entry.provider, entry.priced, facts.today)
    if price is None or entry.picture_tokens is None:
        return None
    usage = Usage(
        input_tokens=entry.picture_tokens + PROMPT_TOKENS,
        output_tokens=ANSWER_TOKENS,
        image_tokens=entry.picture_tokens,
    )
    one = cost(price, usage)
    if one is None:
        return None
    about = (
        f"{entry.picture_tokens:,} tokens for a picture of a megapixel, {PROMPT_TOKENS} for a question and "
        f"{ANSWER_TOKENS} for an answer; thinking is not counted"
    )
    return Figure(1000 * one.usd, "USD", "estimated", date=price.as_of, source=price.source, about=about)


def _conditions(speed: Speed) -> str:
    parts = (speed.precision, f"batch {speed.batch}", _at(speed.input_size), speed.software)
    return ", ".join(filter(None, parts))


def _at(size: int | None) -> str:
    return f"{size} px" if size else ""
