"""What earlier runs say of models, as the recommender reads it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class EvidenceRun:
    """One successful run that a model really did."""

    run_id: str
    time: datetime
    kind: str
    model_id: str
    model_revision: str
    device: str
    device_name: str
    dtype: str
    threads: int
    duration_ms: float | None
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    """Numbers of the whole run by name, those of `db.evidence.NUMBERS`; points of curves are not there."""
    accuracy: bytes | None = None
    """Its file `accuracy.json`, which says on which pictures an accuracy was measured."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The newest runs of each model."""

    runs: tuple[EvidenceRun, ...]
    """Newest first."""
    left_out: tuple[str, ...] = ()
    """Models of which no run was read, because those of others are newer; each once."""
