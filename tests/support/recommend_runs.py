"""Benchmarks from which the recommender knows this machine's speed, without measuring anything."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from core.bench.options import Options
from core.bench.plan import Plan
from core.recommend.calibrating import held_out_models
from core.recommend.calibration import REFERENCES
from core.recommend.entries import read_catalog
from core.recommend.facts import environment_here
from core.recommend.scaling import work_of
from core.runs import LOCAL_OWNER, RunDraft
from db import Store
from tests.support.bench_runs import bench_run, numbers_of

BASIS = "i7-12700h"
FACTOR = 2.0
"""This machine takes so many times as long as what was published."""


def timed_run(
    model_id: str, p50_ms: float, *, owner: str = LOCAL_OWNER, size: int = 224, **more: Any
) -> RunDraft:
    """Return the benchmark of a model on this machine."""
    plan = Plan((model_id,), ("astronaut",), (Options(),))
    numbers = numbers_of(p50_ms, model_ms=p50_ms * 0.98)
    run = bench_run(plan, model_id, numbers, owner=owner, input_size=[size, size], what="classes", **more)
    return replace(run, environment=environment_here())


def published(architecture: str) -> tuple[float, int]:
    """Return the time and the picture size that were published for an architecture of timm."""
    entries = read_catalog().entries.values()
    found = (work_of(one, BASIS) for one in entries if one.timm == architecture)
    work = next(work for work in found if work is not None)
    return work.amount, work.input_size


def calibrate_store(store: Store, *, owner: str = LOCAL_OWNER, check: int = 0) -> Sequence[str]:
    """Record the references, and models that are held out, as timed on a machine of half the speed."""
    names = [*REFERENCES, *(f"random/{one.timm}" for one in held_out_models(read_catalog(), check))]
    ids = []
    for at, name in enumerate(names):
        ms, size = published(name.removeprefix("random/"))
        off = 1.0 if at < len(REFERENCES) else (0.85, 1.0, 1.1, 1.2)[at % 4]
        ids.append(store.record(timed_run(name, FACTOR * ms * off, owner=owner, size=size)))
    return ids
