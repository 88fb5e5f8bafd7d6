"""Runs and pictures for the tests of the store, small and whole."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from core.runs import Artifact, Environment, Metric, RunDraft
from db import Store
from db.models import Base

CPU = Environment("cpu", "Test CPU", "float32", 2, {"python": "3.11", "torch": "2"}, "0123abc")
GPU = Environment("cuda:0", "Test GPU", "float16", 2, {"python": "3.11", "torch": "2"}, "0123abc")


@dataclass(frozen=True)
class Picture:
    """A picture as the store sees it: it never decodes one."""

    name: str
    data: bytes
    format: str = "PNG"
    width: int = 4
    height: int = 3

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def thumbnail(self) -> bytes:
        return b"thumbnail of " + self.data[:8]


CAT, DOG = Picture("cat.png", b"bytes of a cat"), Picture("dog.png", b"bytes of a dog", width=7)


@dataclass(frozen=True)
class Input:
    """A picture in its role."""

    role: str
    image: Picture


def draft(
    *,
    kind: str = "attention",
    model_id: str = "vit_tiny",
    owner: str = "ada",
    environment: Environment = CPU,
    duration_ms: float | None = 12.5,
    parameters: Mapping[str, Any] | None = None,
    metrics: Sequence[Metric] = (Metric("latency_ms", 12.5, "ms"), Metric("row_sum_error", 1e-7)),
    pictures: Mapping[str, Picture] | None = None,
    **more: Any,
) -> RunDraft:
    """Return a run that could have been."""
    return RunDraft(
        kind=kind,
        model_id=model_id,
        model_revision="r1",
        environment=environment,
        owner=owner,
        duration_ms=duration_ms,
        parameters={"layer": 3, "head": "mean", "query": [1, 2]} if parameters is None else parameters,
        metrics=metrics,
        inputs=[Input(role, picture) for role, picture in (pictures or {}).items()],  # type: ignore[arg-type,misc]
        **more,
    )


def text_file(name: str, text: str) -> Artifact:
    """Return an artifact."""
    return Artifact(name, "text/plain", text.encode())


def rows_of(store: Store, table: type[Base]) -> int:
    """Return how many rows a table of a store has."""
    with store._database.read() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0
