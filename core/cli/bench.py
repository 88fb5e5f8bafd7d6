"""`bench`: models measured in turn, each in a process of its own."""

import os
from itertools import product
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.cli.shared import (
    SAMPLE_PREFIX,
    Answer,
    EstimateOption,
    JsonOption,
    NoStoreOption,
    read_picture,
    run_store,
)
from core.cli.watching import CANCELLED, watched
from core.enough import ENOUGH
from core.errors import InputError
from core.runs import LOCAL_OWNER
from core.settings import settings

if TYPE_CHECKING:
    from core.bench.options import Options
    from core.bench.plan import Plan
    from core.bench.progress import Progress
    from core.bench.suite import Outcome
    from db import Store

USUAL_PICTURE = f"{SAMPLE_PREFIX}scene/1"
COLUMNS = (
    ("load_ms", "load ms"),
    ("first_ms", "first ms"),
    ("p50_ms", "p50 ms"),
    ("p90_ms", "p90 ms"),
    ("p99_ms", "p99 ms"),
    ("images_per_s_batch_1", "per s"),
    ("peak_memory_mb", "peak MB"),
)
NEEDED = {f"p{percentile}_ms": samples for percentile, samples in ENOUGH.items()}


def benchmark_models(
    models: Annotated[list[str], typer.Argument(metavar="MODEL", help="Ids that `models` lists.")],
    pictures: Annotated[
        list[str] | None,
        typer.Option("--picture", metavar="IMAGE", help=f"A file, or {USUAL_PICTURE}; may be repeated."),
    ] = None,
    scenes: Annotated[
        int | None, typer.Option("--scenes", metavar="N", help="Measure accuracy on N fresh scenes, too.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="SET", help="Measure accuracy on a labelled zip, table or folder."),
    ] = None,
    batches: Annotated[
        list[int] | None, typer.Option("--batch", metavar="N", help="Pictures in a pass; may be repeated.")
    ] = None,
    precisions: Annotated[
        list[str] | None, typer.Option("--precision", help="fp32, bf16 or fp16; may be repeated.")
    ] = None,
    size: Annotated[
        int | None, typer.Option("--size", metavar="PX", help="Shorter side of the model's input.")
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Rewrite networks by torch.compile first.")
    ] = False,
    threads: Annotated[
        int | None, typer.Option("--threads", metavar="N", help="Threads of the CPU's kernels.")
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", help="How long each model is timed once it is warm.")
    ] = 5.0,
    rounds: Annotated[
        int, typer.Option("--rounds", metavar="N", help="How often the clock turns to each model.")
    ] = 5,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="ID", help="Leave out what this benchmark recorded.")
    ] = None,
    only_estimate: EstimateOption = False,
    as_json: JsonOption = False,
    no_store: NoStoreOption = False,
) -> Answer:
    """Time models on the same pictures in turn, each in a process of its own."""
    from core.bench.plan import Plan, new_id
    from core.bench.suite import Benchmark
    from core.registry import resolve

    if scenes is not None and data is not None:
        raise InputError("Both --scenes and --data are given.", "Leave one out.")
    images = [read_picture(name) for name in pictures or [USUAL_PICTURE]]
    plan = Plan(
        tuple(resolve(model).id for model in models),
        tuple(image.sha256 for image in images),
        _options(batches, precisions, size, compiled, threads, seconds),
        truths=f"scenes:{scenes}" if scenes is not None else data,
        rounds=rounds,
        id=resume or new_id(),
    )
    with run_store(no_store or only_estimate) as store:
        done = _recorded(store, plan) if resume else frozenset()
        work = Benchmark(
            plan,
            sink=store,
            owner=LOCAL_OWNER,
            given={image.sha256: image.data for image in images},
            done=done,
            device=settings().device,
        )
        about = f"{len(plan.entries()) - len(done)} measurements, about {work.estimate_s:.0f} s"
        if only_estimate:
            return Answer({"estimate": {"seconds": work.estimate_s, "entries": len(plan.entries())}}, about)
        typer.echo(about, err=True)
        ended = watched(work, _progress_text)
    return _answer(work.outcomes, ended)


def _options(
    batches: list[int] | None,
    precisions: list[str] | None,
    size: int | None,
    compiled: bool,
    threads: int | None,
    seconds: float,
) -> "tuple[Options, ...]":
    from core.bench.options import Options

    return tuple(
        Options.from_json(
            {
                "batches": sizes,
                "precision": precision,
                "size": size,
                "compiled": compiled,
                "threads": threads,
                "seconds": seconds,
            }
        )
        for precision, sizes in product(precisions or ["fp32"], [tuple(batches or (1,))])
    )


def _recorded(store: "Store | None", plan: "Plan") -> frozenset[str]:
    """Return the keys of what a benchmark recorded earlier.

    Raises:
        InputError: There is no such benchmark, or it was of other pictures.
    """
    from core.bench.plan import MAX_ENTRIES
    from core.bench.suite import recorded_keys, tag_of
    from db import RunFilter

    if store is None:
        raise InputError("Without a store there is nothing to resume.", "Leave --no-store out.")
    tagged = store.runs(RunFilter(owner=LOCAL_OWNER, tags=(tag_of(plan.id),)), limit=MAX_ENTRIES)
    runs = [store.run(run.id, LOCAL_OWNER) for run in tagged]
    mine = [run for run in runs if run.parameters.get("benchmark") == plan.id]
    if not mine:
        raise InputError(f"There is no benchmark {plan.id}.", "Check its id, or leave --resume out.")
    if any(run.parameters["plan"]["pictures"] != list(plan.pictures) for run in mine):
        raise InputError("That benchmark was of other pictures.", "Name the same ones with --picture.")
    return recorded_keys([(run.model_id, run.parameters) for run in mine])


def _answer(outcomes: "tuple[Outcome, ...]", ended: "Progress") -> Answer:
    from core.bench.progress import Phase

    rows = [_row(outcome) for outcome in outcomes]
    payload = {
        "benchmark": ended.id,
        "phase": ended.phase.value,
        "total": ended.total,
        "done": ended.done,
        "failed": ended.failed,
        "seconds": ended.elapsed_s,
        "models": rows,
    }
    width = max((len(row["model"]) for row in rows), default=0) + 2
    head = " " * width + "".join(f"{title:>10}" for _, title in COLUMNS)
    lines = [f"{row['model']:{width}}{_numbers(row)}" for row in rows]
    notes = [
        f"{row['model']}: {note}" for row in rows for note in (*_accuracies(row["metrics"]), *row["notes"])
    ]
    foot = f"benchmark {ended.id}{os.linesep}A number in brackets has too few samples to rely on."
    text = "\n".join([_progress_text(ended), head, *lines, *notes, foot])
    return Answer(payload, text, CANCELLED if ended.phase is Phase.CANCELLED else 0)


def _row(outcome: "Outcome") -> dict[str, Any]:
    run = outcome.run
    error = {"class": run.error_class, "message": run.error_message}
    return {
        "run": outcome.run_id,
        "model": run.model_id,
        "options": outcome.entry.options.to_json(),
        "status": run.status,
        "error": error if run.error_class else None,
        "metrics": {metric.name: metric.value for metric in run.metrics},
        "noise": run.parameters.get("noise"),
        "notes": run.parameters.get("notes", []),
        "failures": run.parameters.get("failures", []),
        "answers": list(outcome.answers.values()),
    }


def _numbers(row: dict[str, Any]) -> str:
    if row["error"]:
        return f"  failed: {row['error']['message']}"
    found = row["metrics"]
    return "".join(f"{_number(found, name):>10}" for name, _ in COLUMNS)


def _number(metrics: dict[str, float], name: str) -> str:
    if name not in metrics:
        return "-"
    text = f"{metrics[name]:.4g}" if metrics[name] < 1e4 else f"{metrics[name]:.0f}"
    return f"({text})" if metrics.get("samples", 0) < NEEDED.get(name, 0) else text


def _accuracies(metrics: dict[str, float]) -> list[str]:
    """Return what of the metrics says how often the model was right, in words."""
    return [
        f"{name} {metrics[name]:.3f} ({_end(metrics, name, '_low')} to {_end(metrics, name, '_high')}, "
        f"{metrics[f'{name}_n']:.0f} of them)"
        for name in metrics
        if f"{name}_n" in metrics
    ]


def _end(metrics: dict[str, float], name: str, end: str) -> str:
    return f"{metrics[name + end]:.3f}" if name + end in metrics else "?"


def _progress_text(progress: "Progress") -> str:
    left = f", about {progress.left_s:.0f} s left" if progress.left_s else ""
    text = f"{progress.done} of {progress.total} measured, {progress.failed} failed{left}"
    return f"{text}. {progress.message}".strip()
