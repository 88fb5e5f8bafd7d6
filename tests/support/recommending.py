"""A small catalogue whose right answers are known, and requests to it."""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from core.recommend.calibration import calibrate
from core.recommend.candidates import Facts
from core.recommend.entries import Accuracy, Axis, Catalog, Choice, Device, Entry, Source, Speed
from core.recommend.evidence import gather
from core.vlm.prices import Price, PriceTable
from db.evidence_records import EvidenceRun

TASK, AXIS, CPU = "classification", "top1", "cpu-a"
HERE_NAME = "Test CPU"
SOURCE = Source("src", "A table", "https://example.org/table", date(2024, 1, 1))


def entry(name: str, accuracy: float | None = None, ms: float | None = None, **more: Any) -> Entry:
    """Return a classifier with an accuracy and a speed on the published CPU, each where it is given."""
    facts: dict[str, Any] = {
        "title": name.upper(),
        "family": "F",
        "tasks": (TASK,),
        "published": date(2023, 5, 1),
        "licence": "Apache-2.0",
        "commercial": True,
        "source": "src",
        "url": "https://example.org/paper",
        "parameters": 1_000_000,
        "input_size": 224,
        "accuracy": () if accuracy is None else (Accuracy(AXIS, accuracy, "src"),),
        "speed": () if ms is None else (Speed(CPU, "fp32", 1, 224, ms, "src"),),
    }
    return Entry(name, **{**facts, **more})


def catalog(*entries: Entry, axes: tuple[Axis, ...] = (), choices: tuple[Choice, ...] = ()) -> Catalog:
    """Return a catalogue of these models, with one CPU, one GPU and one phone."""
    usual = Axis(AXIS, (TASK,), "Photos", "top-1", "One crop.", "src")
    devices = (
        Device(CPU, "CPU A", "cpu"),
        Device("gpu-a", "GPU A", "gpu"),
        Device("phone", "Phone", "mobile"),
    )
    return Catalog(
        {one.id: one for one in entries},
        {one.id: one for one in (usual, *axes)},
        {one.id: one for one in devices},
        {SOURCE.id: SOURCE},
        choices,
        "d" * 64,
    )


def facts(known: Catalog, *runs: EvidenceRun, prices: tuple[Price, ...] = ()) -> Facts:
    """Return what a machine knows that has this catalogue and these runs."""
    evidence = gather(runs)
    return Facts(
        known,
        evidence,
        calibrate(known, evidence, HERE_NAME),
        PriceTable(prices),
        date(2026, 11, 1),
        HERE_NAME,
    )


def benchmark(model_id: str, ms: float, **more: Any) -> EvidenceRun:
    """Return a calm benchmark of a model, as the store would; `more` replaces fields."""
    numbers = {
        "p50_ms": ms,
        "p50_ms_low": 0.98 * ms,
        "p50_ms_high": 1.02 * ms,
        "model_ms": ms,
        "samples": 200.0,
        "images_per_s_batch_1": 1000 / ms,
        "base_memory_mb": 300.0,
        "peak_memory_mb": 340.0,
    }
    run = EvidenceRun(
        run_id=f"{model_id}-{ms}",
        time=datetime(2026, 10, 1, tzinfo=UTC),
        kind="benchmark",
        model_id=model_id,
        model_revision="r",
        device="cpu",
        device_name=HERE_NAME,
        dtype="float32",
        threads=2,
        duration_ms=ms,
        parameters={
            "options": {
                "batches": [1],
                "precision": "fp32",
                "compiled": False,
                "threads": None,
                "size": None,
            },
            "input_size": [224, 224],
            "noise": "calm",
            "what": "classes",
        },
        metrics=numbers,
    )
    return replace(run, **more)
