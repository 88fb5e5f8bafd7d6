"""Runs of benchmarks as the engine writes them, without measuring anything."""

import json
from collections.abc import Mapping
from typing import Any

from core.bench.options import Options
from core.bench.plan import Entry, Plan
from core.bench.results import ANSWERS, KIND
from core.bench.suite import tag_of
from core.images import ImageInput
from core.runs import LOCAL_OWNER, Artifact, Environment, Metric, RunDraft, RunInput
from core.samples import load_sample

CPU = Environment("cpu", "Test CPU", "float32", 2, {"python": "3.11", "torch": "2.9"}, "abc123")
MACHINE = {"governor": "performance", "load": 0.5, "processors": 2, "available_mb": 4000.0}


def numbers_of(p50_ms: float, samples: int = 700, **more: float) -> dict[str, float]:
    """Return the metrics of a model whose middle call takes `p50_ms`."""
    found = {"load_ms": 80.0, "first_ms": 9.0, "samples": float(samples), "mean_ms": p50_ms}
    for name, times in (("p50", 1.0), ("p90", 1.2), ("p99", 1.5)):
        value = p50_ms * times
        found |= {f"{name}_ms": value, f"{name}_ms_low": value * 0.9, f"{name}_ms_high": value * 1.1}
    found |= {"preprocess_ms": p50_ms * 0.2, "model_ms": p50_ms * 0.7, "postprocess_ms": p50_ms * 0.1}
    found |= {"iqr_share": 0.05, "base_memory_mb": 300.0, "peak_memory_mb": 340.0, "parameters": 1.2e6}
    found |= {"macs": 8e7, "images_per_s_batch_1": 1000 / p50_ms}
    return found | more


def bench_run(
    plan: Plan,
    model_id: str,
    metrics: Mapping[str, float],
    *,
    options: Options | None = None,
    image: ImageInput | None = None,
    owner: str = LOCAL_OWNER,
    answer: Mapping[str, Any] | None = None,
    error: tuple[str, str] = ("", ""),
    noise: str = "calm",
    **parameters: Any,
) -> RunDraft:
    """Return the run of one model of a plan."""
    image = image or load_sample(plan.pictures[0])
    entry = Entry(model_id, options or plan.options[0])
    answers = {plan.pictures[0]: answer} if answer else {}
    return RunDraft(
        kind=KIND,
        model_id=model_id,
        model_revision="",
        environment=CPU,
        owner=owner,
        status="failed" if error[0] else "ok",
        duration_ms=1000.0,
        parameters={
            "benchmark": plan.id,
            "plan": plan.to_json(),
            "pictures": list(plan.pictures),
            "options": entry.options.to_json(),
            "noise": noise,
            "warm": True,
            "input_size": [128, 128],
            "machine": {"before": MACHINE, "after": MACHINE},
            "notes": [],
            "failures": [],
            **parameters,
        },
        inputs=[RunInput("picture", image)],
        metrics=[Metric(name, value) for name, value in metrics.items()],
        artifacts=[Artifact(ANSWERS, "application/json", json.dumps(answers).encode())] if answers else [],
        tags=(tag_of(plan.id),),
        error_class=error[0],
        error_message=error[1],
    )
