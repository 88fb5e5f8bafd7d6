"""`sweep`: models x pictures x options measured as one job, on this machine or on a Ray cluster."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from core.cli.shared import Answer, JsonOption, names, open_store, read_picture
from core.cli.watching import CANCELLED, watched
from core.errors import InputError
from core.runs import LOCAL_OWNER

if TYPE_CHECKING:
    from core.bench.sweep.crew import Where
    from core.bench.sweep.files import PictureFile
    from core.bench.sweep.plan import SweepPlan
    from core.bench.sweep.progress import Progress
    from core.images import ImageInput
    from db import Store
    from db.records import CallCount

MOST_SCENES = 100_000
T = TypeVar("T")


def sweep_models(
    models: Annotated[
        str,
        typer.Option("--models", metavar="A,B", help="Ids that `models` lists, with commas between them."),
    ] = "",
    pictures: Annotated[
        str, typer.Option("--pictures", metavar="P,Q", help="Samples, as in astronaut,coffee.")
    ] = "",
    scenes: Annotated[
        str, typer.Option("--scenes", metavar="N[@SEED]", help="So many scenes, from a seed on (1).")
    ] = "",
    files: Annotated[
        list[str] | None,
        typer.Option(
            "--file", metavar="PATH", help="A picture, or a folder or zip of pictures; may be repeated."
        ),
    ] = None,
    batch: Annotated[
        str, typer.Option("--batch", metavar="1,8", help="Batch sizes of the throughput, all in each cell.")
    ] = "1",
    precision: Annotated[
        str, typer.Option("--precision", metavar="P,Q", help="fp32, bf16, fp16; each a cell of its own.")
    ] = "fp32",
    threads: Annotated[
        str, typer.Option("--threads", metavar="1,2", help="Threads of the CPU; each a cell of its own.")
    ] = "",
    size: Annotated[
        str, typer.Option("--size", metavar="PX,PX", help="Shorter sides; each a cell of its own.")
    ] = "",
    compiled: Annotated[
        bool, typer.Option("--compile", help="Measure each cell once more with torch.compile.")
    ] = False,
    seconds: Annotated[float, typer.Option("--seconds", help="How long each cell is timed.")] = 5.0,
    deadline: Annotated[
        float, typer.Option("--deadline", metavar="S", help="Seconds after which a cell has failed.")
    ] = 600.0,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", help="Cells at once; several disturb each other's times.")
    ] = 1,
    ray: Annotated[
        str,
        typer.Option("--ray", metavar="ADDRESS", help="A Ray cluster: HOST:6379, ray://HOST:10001, auto."),
    ] = "",
    gpus_per_cell: Annotated[
        float, typer.Option("--gpus-per-cell", metavar="X", help="On a Ray cluster; 0 measures on CPUs.")
    ] = 0.0,
    resume: Annotated[
        str, typer.Option("--resume", metavar="ID", help="Go on with an earlier sweep, here or elsewhere.")
    ] = "",
    as_json: JsonOption = False,
) -> Answer:
    """Measure every model on every picture with every combination of options.

    Each cell is one run in the store, well or failed. A sweep that was broken off goes on by --resume.
    """
    from core.bench.cells import measure_item
    from core.bench.sweep.run import SweepRun

    where = _where(workers, ray, gpus_per_cell)
    if resume and (models or pictures or scenes):
        raise InputError("A resumed sweep has its own cells.", "Leave models and pictures out.")
    found = _files(files or [])
    plan = None
    if not resume:
        choices: dict[str, list[object]] = {
            "precision": [*_list(precision, str, "--precision")],
            "threads": [*_list(threads, int, "--threads")],
            "size": [*_list(size, int, "--size")],
            "compiled": [False, True] if compiled else [False],
            "batches": [_list(batch, int, "--batch")],
            "seconds": [seconds],
        }
        wanted = [*_pictures(pictures, scenes), *(file.sha256 for file in found)]
        plan = _plan(names(models), wanted, choices, deadline)
    with open_store() as store:
        if plan is None:
            run = SweepRun.resume(
                resume,
                where=where,
                measure=measure_item,
                ledger=store,
                owner=LOCAL_OWNER,
                given={file.sha256: file.data for file in found},
            )
        else:
            run = SweepRun.begin(
                plan, where=where, measure=measure_item, ledger=store, owner=LOCAL_OWNER, files=found
            )
        typer.echo(f"{run.plan.count:,} cells on {where}; go on by --resume {run.set_id}.", err=True)
        return _answer(watched(run, _text), store)


def _where(workers: int, ray: str, gpus: float) -> "Where":
    from core.bench.sweep.crew import Here
    from core.bench.sweep.ray_crew import OnRay

    if not ray and gpus:
        raise InputError("--gpus-per-cell is for a Ray cluster.", "Name one by --ray, or leave it out.")
    return OnRay(ray, gpus) if ray else Here(workers)


def _plan(
    models: Sequence[str], pictures: Sequence[str], choices: dict[str, list[object]], deadline_s: float
) -> "SweepPlan":
    """Return the plan; what no cell could do is said before any is measured."""
    from core.bench.options import Options
    from core.bench.sweep.plan import SweepPlan, every_option
    from core.registry import resolve

    options = tuple(Options.from_json(chosen).to_json() for chosen in every_option(choices))
    return SweepPlan(tuple(resolve(model).id for model in models), tuple(pictures), options, deadline_s)


def _pictures(samples: str, scenes: str) -> list[str]:
    from core.bench.pictures import load_picture

    found = names(samples)
    for name in found:
        load_picture(name)
    return [*found, *_scenes(scenes)]


def _files(paths: list[str]) -> "tuple[PictureFile, ...]":
    """Return pictures on this machine, and those in folders and zips."""
    from core.bench.sweep.files import files_of

    return files_of(image for path in paths for image in _images(path))


def _images(path: str) -> "Iterator[ImageInput]":
    from core.vlm.datasets import open_items

    if not Path(path).expanduser().is_dir() and not path.lower().endswith(".zip"):
        yield read_picture(path)
        return
    items = open_items(path)
    for position in range(len(items)):
        yield items.at(position).load()


def _scenes(text: str) -> list[str]:
    if not text:
        return []
    count, _, seed = text.partition("@")
    try:
        number, first = int(count), int(seed or 1)
    except ValueError:
        number, first = 0, 0
    if not 1 <= number <= MOST_SCENES or first < 0:
        raise InputError(f"--scenes is {text!r}.", f"Say how many (up to {MOST_SCENES:,}), as in 8 or 8@100.")
    return [f"scene/{number}" for number in range(first, first + number)]


def _list(text: str, kind: Callable[[str], T], option: str) -> list[T]:
    try:
        return [kind(part) for part in names(text)]
    except ValueError as error:
        raise InputError(f"{option} is {text!r}.", "Give whole numbers with commas between them.") from error


def _answer(ended: "Progress", store: "Store") -> Answer:
    from core.bench.sweep.progress import Phase

    counts = store.call_counts(ended.set_id, LOCAL_OWNER)
    payload = {
        "sweep": ended.set_id,
        "phase": ended.phase.value,
        "message": ended.message,
        "cells": ended.total,
        "done": ended.done,
        "failed": ended.failed,
        "elapsed_s": ended.elapsed_s,
        "counts": [asdict(row) for row in counts],
    }
    lines = [_text(ended), *(f"{row.model_id}: {row.count:,} {_state(row)}" for row in counts)]
    return Answer(payload, "\n".join(lines), CANCELLED if ended.phase is Phase.CANCELLED else 0)


def _state(row: "CallCount") -> str:
    return " ".join(filter(None, ("" if row.state == "done" else row.state, row.status, row.error_class)))


def _text(progress: "Progress") -> str:
    """Return where a sweep stands, in a line."""
    left = "" if not progress.left_s else f", about {_duration(progress.left_s)} left"
    failed = f", {progress.failed:,} failed" if progress.failed else ""
    said = f" {progress.message}" if progress.message else ""
    return f"{progress.phase}: {progress.done:,} of {progress.total:,} cells{failed}{left}.{said}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
