"""`calibrate`: three models timed here, published speeds scaled by them, and how wrong that is."""

from typing import TYPE_CHECKING, Annotated

import typer

from core.cli.shared import Answer, JsonOption, NoStoreOption, run_store
from core.cli.watching import CANCELLED, watched
from core.errors import InputError, SetupError
from core.runs import LOCAL_OWNER
from core.settings import settings

if TYPE_CHECKING:
    from core.bench.progress import Progress
    from core.bench.suite import Outcome
    from core.recommend.calibration import Calibration
    from core.recommend.scaling import Scale
    from db import Store


def calibrate_machine(
    check: Annotated[
        int,
        typer.Option("--check", metavar="N", help="Time N more models, and compare with what is estimated."),
    ] = 0,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", help="How long each model is timed once it is warm.")
    ] = 5.0,
    rounds: Annotated[
        int, typer.Option("--rounds", metavar="N", help="How often the clock turns to each model.")
    ] = 5,
    as_json: JsonOption = False,
    no_store: NoStoreOption = False,
) -> Answer:
    """Time three models, and say how published speeds scale to this machine; recommendations use it."""
    from core.bench.suite import Benchmark
    from core.environment import choose_device
    from core.recommend.calibrating import calibration_plan
    from core.recommend.entries import read_catalog

    device = choose_device(settings().device).device
    if device != "cpu":
        raise InputError(
            f"Models run on {device} here, and what is published of GPUs is no time of one picture.",
            "Set VISION_BENCH_DEVICE to cpu to calibrate the processor.",
        )
    plan = calibration_plan(read_catalog(), check, seconds=seconds, rounds=rounds)
    with run_store(no_store) as store:
        work = Benchmark(plan, sink=store, owner=LOCAL_OWNER, device=device)
        typer.echo(f"{len(plan.models)} models, about {work.estimate_s:.0f} s", err=True)
        ended = watched(work, _progress_text)
        if store is not None:
            _tag(store, work.outcomes)
    return _answer(work.outcomes, ended)


def _tag(store: "Store", outcomes: "tuple[Outcome, ...]") -> None:
    from core.recommend.calibrating import TAG

    store.tag([one.run_id for one in outcomes if one.run_id], LOCAL_OWNER, add=(TAG,))


def _answer(outcomes: "tuple[Outcome, ...]", ended: "Progress") -> Answer:
    from core.bench.progress import Phase
    from core.recommend.calibrating import fresh_runs
    from core.recommend.calibration import calibrate
    from core.recommend.entries import read_catalog
    from core.recommend.evidence import gather

    runs = fresh_runs((one.run_id, one.run) for one in outcomes)
    failed = [one.run for one in outcomes if one.run.status == "failed"]
    found = calibrate(read_catalog(), gather(runs), runs[0].device_name) if runs else None
    payload = {
        "calibration": None if found is None else found.to_json(),
        "benchmark": ended.id,
        "phase": ended.phase.value,
        "seconds": ended.elapsed_s,
        "runs": [one.run_id for one in outcomes if one.run_id],
        "very_noisy": [run.model_id for run in runs if run.parameters.get("noise") == "very noisy"],
        "failed": [{"model": run.model_id, "message": run.error_message} for run in failed],
    }
    if ended.phase is Phase.CANCELLED:
        return Answer(payload, _progress_text(ended), CANCELLED)
    if found is None:
        why = failed[0].error_message if failed else "none of the models is in the catalogue"
        raise SetupError(f"Nothing could be calibrated: {why}", "Try `bench random/resnet50` to see why.")
    lines = [f"{run.model_id} failed: {run.error_message}" for run in failed]
    last = [found.sentence, *_warning([run.parameters.get("noise") for run in runs])]
    return Answer(payload, "\n".join([*lines, *_table(found), "", *_scales(found), "", *last]))


def _warning(noises: list[object]) -> list[str]:
    """Return what is to be said of a busy machine."""
    noisy = sum(noise == "very noisy" for noise in noises)
    if not noisy:
        return []
    return [
        f"{noisy} of {len(noises)} models were timed while the machine was busy: do it again when it is not."
    ]


def _table(found: "Calibration") -> list[str]:
    """Return what was estimated beside what was measured, the quickest first; nothing where none was."""
    best = found.best
    if not best.held_out:
        return []
    width = max(len(one.model) for one in best.held_out) + 2
    head = f"{'held out':{width}}{'published ms':>14}{'estimated ms':>14}{'measured ms':>13}{'error':>9}"
    rows = sorted(best.held_out, key=lambda one: one.measured_ms)
    return [
        head,
        *(
            f"{one.model:{width}}{one.amount:14.1f}{one.predicted_ms:14.1f}{one.measured_ms:13.1f}"
            f"{100 * one.error:+8.1f}%"
            for one in rows
        ),
    ]


def _scales(found: "Calibration") -> list[str]:
    """Return the error of each way to estimate, beside that of times taken as they were published."""
    width = max(len(scale.title) for scale in found.scales) + 2
    head = f"{'':{width}}{'factor':>8}{'spread':>8}{'error':>10}{'95 %':>9}{'rank':>7}{'as published':>20}"
    return [head, *(f"{scale.title:{width}}{_numbers(scale)}" for scale in found.scales)]


def _numbers(scale: "Scale") -> str:
    from statistics import median

    from core.recommend.scaling import correlation

    held_out = scale.held_out
    ranks = [one.predicted_ms for one in held_out], [one.measured_ms for one in held_out]
    off = f"{100 * median(abs(one.error) for one in held_out):9.1f}%" if held_out else f"{'-':>10}"
    beyond = f"x{scale.error.factor_95:.2f}" if scale.error.is_own else "-"
    return (
        f"{scale.factor:8.2f}{scale.spread:8.2f}{off}{beyond:>9}{_number(correlation(*ranks)):>7}"
        f"{_percent(scale.published_percent):>13}{_number(scale.published_rank_correlation):>7}"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}%"


def _progress_text(progress: "Progress") -> str:
    left = f", about {progress.left_s:.0f} s left" if progress.left_s else ""
    text = f"{progress.done} of {progress.total} timed, {progress.failed} failed{left}"
    return f"{text}. {progress.message}".strip()
