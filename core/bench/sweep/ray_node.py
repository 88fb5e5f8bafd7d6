"""What a node of a Ray cluster does: one cell, in a process that may die or hang without harm to Ray's."""

import os
from dataclasses import dataclass

from core.bench.sweep.place import Measured, Place
from core.bench.sweep.plan import Measure


def measure_on_node(measure: Measure, deadline_s: float, model_id: str, item: str, data: bytes) -> Measured:
    """Measure a cell; Ray's worker keeps the process for its next one."""
    return _place(_Kind(measure, deadline_s, os.environ.get("CUDA_VISIBLE_DEVICES"))).run(
        model_id, item, data
    )


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a process was started for. Ray gives its worker other GPUs with another task."""

    measure: Measure
    deadline_s: float
    gpus: str | None


_held: dict[_Kind, Place] = {}


def _place(kind: _Kind) -> Place:
    """Return the process of this kind; there is one at a time."""
    if kind not in _held:
        for other in _held.values():
            other.close()
        _held.clear()
        _held[kind] = Place(kind.measure, kind.deadline_s)
    return _held[kind]
