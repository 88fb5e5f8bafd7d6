"""Published speeds scaled to this machine, by a few models that were timed here, with the error of doing so.

Two processors do not run all kinds of network in the same proportion, so of several published ones that
counts whose proportions to this machine differ least. What nobody published for a processor is scaled by its
multiply-adds, which say far less. Published throughputs of GPUs at large batches say nothing about one
picture, and are not scaled; so on a GPU there is no calibration.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date
from statistics import median
from typing import Any

from core.recommend.entries import Catalog, Entry
from core.recommend.evidence import OwnEvidence, OwnSpeed
from core.recommend.figures import Figure
from core.recommend.scaling import FEW, WORK, Error, Scale, Timed, Work, make_scale, odd_one, work_of

REFERENCES = ("random/efficientnet_b0", "random/resnet50", "random/vit_small_patch16_224")
"""Depthwise convolutions, dense ones, and a transformer: what processors are differently good at."""
MORE_PICTURES = 1.3
"""By which factor a pass over several pictures may differ from as many single ones."""
OTHER_SIZE = 1.5
"""By which factor a time may be further off that was scaled to another picture size by its area."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What is known of this machine's speed."""

    device_name: str
    scales: tuple[Scale, ...]
    """The best first: those from published times, then those from work."""
    overhead_ms: float
    """What a call takes beside the network: making its input, and reading its output."""
    date: date
    odd: str | None = None
    """A reference that was left out, as it contradicts all others."""

    @property
    def best(self) -> Scale:
        """The one that is used wherever it can be."""
        return self.scales[0]

    @property
    def sentence(self) -> str:
        """What was found, and how far it can be relied on."""
        best, models = self.best, self.best.models
        by = f"{len(models)} models" if len(models) > 1 else f"{models[0]} alone"
        if best.is_work:
            return f"This machine's speed is known from {by}, by {best.title}; {best.error}."
        said = f"This machine takes {best.factor:.3g} times as long as the {best.title}, by {by}"
        if best.contradicts:
            return (
                f"{said}, but these contradict each other by a factor of {best.spread:.3g}: at least one was "
                "measured wrongly. Measure them again while nothing else runs."
            )
        wrong = f" {self.odd} contradicts them and was left out: measure it again." if self.odd else ""
        return f"{said}; {best.error}.{wrong}"

    def _off_by(self, scale: Scale) -> float:
        """Return by which factor an estimate may be wrong; references that contradict each other widen it."""
        if self.best.contradicts and not scale.error.is_own:
            return max(scale.off_by, self.best.spread)
        return scale.off_by

    def estimate(self, entry: Entry, batch: int = 1) -> Figure | None:
        """Return about how long a pass over `batch` pictures would take here, in ms.

        Of pictures of the model's own size. None where nothing was published that says so.
        """
        if entry.access == "api":
            return None
        for scale in self.scales:
            work = work_of(entry, scale.basis)
            if work is not None:
                return self._figure(scale, work, entry.input_size or work.input_size, batch)
        return None

    def _figure(self, scale: Scale, work: Work, size: int, batch: int) -> Figure:
        area, off_by = (size / work.input_size) ** 2, self._off_by(scale)
        about = [
            f"by {scale.title}" if scale.is_work else f"{scale.factor:.3g} times that of the {scale.title}"
        ]
        if size != work.input_size:
            off_by *= OTHER_SIZE
            about.append(f"scaled by area from {work.input_size} px")
        if batch > 1:
            off_by *= MORE_PICTURES
            about.append(f"{batch} times a single picture")
        about.append("the references contradict each other" if self.best.contradicts else str(scale.error))
        value = batch * (scale.factor * work.amount * area + self.overhead_ms)
        return Figure(
            value,
            "ms",
            "estimated",
            low=value / off_by,
            high=value * off_by,
            date=self.date,
            device=self.device_name,
            about="; ".join(about),
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "device": self.device_name,
            "date": self.date.isoformat(),
            "overhead_ms": self.overhead_ms,
            "sentence": self.sentence,
            "odd": self.odd,
            "scales": [_scale_json(scale) for scale in self.scales],
        }


def _scale_json(scale: Scale) -> dict[str, Any]:
    return {
        "basis": scale.basis,
        "title": scale.title,
        "factor": scale.factor,
        "spread": scale.spread,
        "contradicts": scale.contradicts,
        "models": list(scale.models),
        "error": _error_json(scale.error),
        "published_percent": scale.published_percent,
        "published_rank_correlation": scale.published_rank_correlation,
        "held_out": [asdict(one) | {"error": one.error} for one in scale.held_out],
    }


def _error_json(error: Error) -> dict[str, Any]:
    return asdict(error) | {"date": error.date.isoformat()}


def calibrate(catalog: Catalog, evidence: OwnEvidence, device_name: str) -> Calibration | None:
    """Return how published speeds scale to this machine; None where none of those models was timed here.

    Args:
        device_name: The processor, as runs name it.
    """
    found = dict(_timed(catalog, evidence, device_name))
    if not found:
        return None
    timed = {architecture: _as_timed(architecture, own) for architecture, own in found.items()}
    overhead = max(0.0, median(one.whole_ms - one.network_ms for one in timed.values()))
    day = max(own.latency.date for own in found.values() if own.latency.date is not None)
    cpus = {device.id: device.title for device in catalog.devices.values() if device.kind == "cpu"}
    names = [name.removeprefix("random/") for name in REFERENCES]
    odd = odd_one([_pairs(catalog, timed, basis) for basis in cpus], names)
    kept = {architecture: one for architecture, one in timed.items() if architecture != odd}
    scales = []
    for basis, title in {**cpus, **WORK}.items():
        pairs = _pairs(catalog, kept, basis)
        scale = make_scale(basis, title, pairs, names, overhead, (device_name, day))
        scales += [] if scale is None else [scale]
    published = [one for one in scales if not one.is_work]
    published.sort(key=lambda one: (-min(len(one.models), FEW), one.spread))
    every = (*published, *(one for one in scales if one.is_work))
    return Calibration(device_name, every, overhead, day, odd) if every else None


def _pairs(catalog: Catalog, timed: dict[str, Timed], basis: str) -> list[tuple[Timed, float]]:
    """Return the models that were timed at a size for which something was published, each once."""
    found: dict[str, tuple[Timed, float]] = {}
    for entry in catalog.entries.values():
        one = timed.get(entry.timm)
        work = None if one is None else work_of(entry, basis, one.input_size)
        if one is not None and work is not None:
            found.setdefault(entry.timm, (one, work.amount))
    return list(found.values())


def _as_timed(architecture: str, own: OwnSpeed) -> Timed:
    whole, size = own.latency.value, own.condition.input_size
    network = whole if own.network_ms is None else min(own.network_ms, whole)
    return Timed(architecture, size or 0, whole, network)


def _timed(catalog: Catalog, evidence: OwnEvidence, device_name: str) -> Iterable[tuple[str, OwnSpeed]]:
    """Yield the architectures that were timed here as published: one picture, 32 bits, not compiled.

    At the model's own picture size where that was, and with as many threads as PyTorch takes by itself today.
    """
    sizes = {entry.timm: entry.input_size for entry in catalog.entries.values() if entry.timm}
    usual = _usual_threads(evidence, device_name)
    for architecture, size in sizes.items():
        found = [
            own
            for own in evidence.speeds(f"timm:{architecture}")
            if _is_comparable(own, device_name) and own.condition.threads == usual
        ]
        if found:
            yield architecture, min(found, key=lambda own: own.condition.input_size != size)


def _is_comparable(own: OwnSpeed, device_name: str) -> bool:
    where = own.condition
    as_published = (where.batch, where.precision, where.compiled) == (1, "fp32", False)
    return own.is_benchmark and as_published and (where.device, where.device_name) == ("cpu", device_name)


def _usual_threads(evidence: OwnEvidence, device_name: str) -> int | None:
    """Return how many threads PyTorch took by itself in the newest benchmark here."""
    found = [
        own
        for key in evidence.keys
        for own in evidence.speeds(key)
        if own.usual_threads and _is_comparable(own, device_name)
    ]
    newest = max(found, key=lambda own: (own.latency.date, own.latency.source), default=None)
    return None if newest is None else newest.condition.threads
