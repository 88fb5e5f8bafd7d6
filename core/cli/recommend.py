"""`recommend`: which model to use, why, and how sure."""

from typing import TYPE_CHECKING, Annotated

import typer

from core.cli.shared import Answer, JsonOption, NoStoreOption, run_store
from core.errors import InputError
from core.recommend.entries import TASKS
from core.recommend.request import ACCESS, DEPLOYMENTS, HERE, PREFER, SPEED_MS, Request
from core.runs import LOCAL_OWNER

if TYPE_CHECKING:
    from core.recommend.answer import Answer as Recommendation
    from core.recommend.answer import Recommended
    from core.recommend.figures import Figure

LICENCES = ("any", "commercial")
SHOWN = 5
EXCLUDED_SHOWN = 8


def recommend_models(
    task: Annotated[str, typer.Option("--task", metavar="T", help=f"One of {', '.join(TASKS)}.")],
    speed: Annotated[
        str | None, typer.Option("--speed", help=f"In a word instead of a number: {', '.join(SPEED_MS)}.")
    ] = None,
    latency_ms: Annotated[
        float | None, typer.Option("--latency-ms", metavar="X", help="Most milliseconds for a batch.")
    ] = None,
    images_per_s: Annotated[
        float | None, typer.Option("--images-per-s", metavar="N", help="Least pictures in a second.")
    ] = None,
    axis: Annotated[
        str | None,
        typer.Option("--axis", metavar="ID", help="What accuracy means; the most usual if left out."),
    ] = None,
    min_accuracy: Annotated[
        float | None, typer.Option("--min-accuracy", metavar="A", help="Least accuracy, in the axis's unit.")
    ] = None,
    deployment: Annotated[
        str, typer.Option("--deployment", metavar="D", help=f"One of {', '.join(DEPLOYMENTS)}.")
    ] = HERE,
    device: Annotated[
        str | None, typer.Option("--device", metavar="ID", help="A device of the catalogue, or here.")
    ] = None,
    memory_mb: Annotated[
        float | None, typer.Option("--memory-mb", metavar="M", help="Most memory, in MB (10^6 bytes).")
    ] = None,
    weights_mb: Annotated[
        float | None, typer.Option("--weights-mb", metavar="M", help="Most MB of weights at 32 bits.")
    ] = None,
    licence: Annotated[str, typer.Option("--licence", metavar="L", help="any or commercial.")] = "any",
    access: Annotated[str, typer.Option("--access", help=f"One of {', '.join(ACCESS)}.")] = "any",
    cost: Annotated[
        float | None, typer.Option("--cost", metavar="USD", help="Most US dollars for 1,000 pictures.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option("--size", metavar="PX", help="Shorter side of the picture as the model sees it."),
    ] = None,
    batch: Annotated[int, typer.Option("--batch", metavar="N", help="Pictures in a pass.")] = 1,
    prefer: Annotated[str, typer.Option("--prefer", help=f"One of {', '.join(PREFER)}.")] = "accuracy",
    as_json: JsonOption = False,
    no_store: NoStoreOption = False,
) -> Answer:
    """Say which models fit, in order, with the evidence for each, and keep the answer as a run."""
    import time

    from core.recommend.answer import recommend
    from core.recommend.evidence import KINDS
    from core.recommend.facts import environment_here, facts_here, measurable
    from core.recommend.saved import draft_of

    if licence not in LICENCES:
        raise InputError(f"There is no licence {licence!r}.", f"Choose one of {', '.join(LICENCES)}.")
    request = Request.from_json(
        {
            "task": task,
            "latency_ms": _limit(speed, latency_ms, batch),
            "images_per_s": images_per_s,
            "axis": axis,
            "min_accuracy": min_accuracy,
            "deployment": deployment,
            "device": device,
            "memory_mb": memory_mb,
            "weights_mb": weights_mb,
            "commercial": licence == "commercial",
            "access": access,
            "cost_per_1000": cost,
            "input_size": size,
            "batch": batch,
            "prefer": prefer,
        }
    )
    began = time.perf_counter()
    with run_store(no_store=False) as store:
        assert store is not None
        runs = store.evidence(LOCAL_OWNER, kinds=KINDS).runs
        found = recommend(request, facts_here(runs), measurable)
        took = 1000 * (time.perf_counter() - began)
        draft = draft_of(found, owner=LOCAL_OWNER, environment=environment_here(), duration_ms=took)
        run_id = None if no_store else store.record(draft)
    return Answer({**found.to_json(), "run": run_id}, _text(found, run_id))


def _limit(speed: str | None, latency_ms: float | None, batch: int) -> float | None:
    """Return the latency that is asked for, in a word or in numbers."""
    if speed is None:
        return latency_ms
    if latency_ms is not None:
        raise InputError("Both --speed and --latency-ms are given.", "Leave one out.")
    if speed not in SPEED_MS:
        raise InputError(f"There is no speed {speed!r}.", f"Choose one of {', '.join(SPEED_MS)}.")
    return SPEED_MS[speed] * batch


def _text(found: "Recommendation", run_id: str | None) -> str:
    axis = (
        f"{found.axis.title}: {found.axis.protocol}" if found.axis else "No accuracy is known for this task."
    )
    lines = [f"Accuracy is {axis}", f"Speed is that of {found.device_title or 'no known device'}."]
    if found.calibration:
        lines.append(found.calibration)
    for place, one in enumerate(found.recommended[:SHOWN], 1):
        lines += ["", f"{place}. {one.candidate.entry.title} ({one.candidate.entry.id})", f"   {one.why}"]
        lines += _figures(one)
    if not found.recommended:
        lines += ["", "Nothing fits."]
    if more := len(found.recommended) - SHOWN:
        lines += ["", f"{more} more fit; --json has all."] if more > 0 else []
    if found.nearest_miss is not None:
        lines += ["", f"Nearest miss: {found.nearest_miss.sentence}"]
    if found.excluded:
        lines += ["", f"{len(found.excluded)} do not fit:"]
        lines += [
            f"   {one.candidate.entry.title}: {one.sentence}" for one in found.excluded[:EXCLUDED_SHOWN]
        ]
    if found.next_runs:
        lines += ["", "Measure next, since it could change the order:"]
        lines += [f"   bench {one.run}   {one.why}" for one in found.next_runs]
    lines += ["", f"run {run_id}"] if run_id else []
    return "\n".join(lines)


def _figures(one: "Recommended") -> list[str]:
    found = [
        f"   {name:9}{_number(figure)}"
        for name, figure in one.candidate.figures().items()
        if figure is not None
    ]
    return [*found, "   It fits, but an interval crosses a limit."] if not one.certain else found


def _number(figure: "Figure") -> str:
    interval = (
        "" if figure.low is None and figure.high is None else f" ({figure.least:.4g} to {figure.most:.4g})"
    )
    n = f", n = {figure.n:,}" if figure.n else ""
    where = f", {figure.about}" if figure.about else ""
    return f"{figure.value:.4g} {figure.unit}{interval}, {figure.mark}{n}{where}".replace("  ", " ")
