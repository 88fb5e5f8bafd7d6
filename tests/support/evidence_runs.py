"""Runs as the store gives them to the recommender, without a store."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from db.evidence_records import EvidenceRun

START = datetime(2026, 11, 1, 12, tzinfo=UTC)
CPU, GPU = "Test CPU", "Test GPU"


def benchmark(
    model_id: str,
    p50_ms: float,
    *,
    at: float = 0.0,
    spread: float = 0.05,
    samples: float = 100,
    size: int | None = 224,
    device: str = "cpu",
    threads: int = 2,
    noise: str = "calm",
    network: float | None = 0.9,
    accuracy: Mapping[str, str] | None = None,
    revision: str = "r1",
    options: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> EvidenceRun:
    """Return a benchmark of a model whose middle call takes `p50_ms`.

    Args:
        at: Days after the first run.
        spread: Half of the interval, as a share.
        network: The network's share of the time.
    """
    numbers: dict[str, float] = {"p50_ms": p50_ms, "samples": samples}
    numbers |= {"p50_ms_low": p50_ms * (1 - spread), "p50_ms_high": p50_ms * (1 + spread)}
    if network is not None:
        numbers["model_ms"] = p50_ms * network
    return EvidenceRun(
        run_id=f"{model_id}@{at}",
        time=START + timedelta(days=at),
        kind="benchmark",
        model_id=model_id,
        model_revision=revision,
        device=device,
        device_name=CPU if device == "cpu" else GPU,
        dtype="float32",
        threads=threads,
        duration_ms=p50_ms,
        parameters={
            "options": options or {},
            "input_size": [size, size + 32] if size else None,
            "noise": noise,
            "what": "classes",
            **(parameters or {}),
        },
        metrics=numbers | dict(metrics or {}),
        accuracy=None if accuracy is None else json.dumps(accuracy).encode(),
    )


def page_run(
    kind: str,
    model_id: str,
    duration_ms: float | None,
    *,
    at: float = 0.0,
    device: str = "cpu",
    metrics: Mapping[str, float] | None = None,
    **parameters: Any,
) -> EvidenceRun:
    """Return a run of a page."""
    return EvidenceRun(
        f"{kind} {model_id}@{at}",
        START + timedelta(days=at),
        kind,
        model_id,
        "r1",
        device,
        {"cpu": CPU, "cuda": GPU}.get(device, f"{device} API"),
        "float32",
        2,
        duration_ms,
        parameters,
        dict(metrics or {}),
    )
