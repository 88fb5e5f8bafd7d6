"""Beginning a benchmark, going on with one, and the same as a command."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence

import streamlit as st

from core.bench.live import LiveBenchmark
from core.bench.plan import Plan, estimate_s, truth_count
from core.bench.suite import Benchmark
from core.errors import InputError, VisionBenchError
from core.images import ImageInput
from core.settings import settings
from db.errors import StoreError
from pages.ui import state
from pages.ui.bench_limits import limits
from pages.ui.bench_models import offered
from pages.ui.bench_pictures import given_of, picture_name
from pages.ui.bench_read import Bench
from pages.ui.errors import show_error
from pages.ui.pictures import is_sample
from pages.ui.session import live_benchmarks, store, visitor
from pages.ui.vlm_set_words import duration


def begin(plan: Plan, given: Mapping[str, bytes], done: Collection[str] = ()) -> LiveBenchmark | None:
    """Let a benchmark work in the background and name it in the address; draw why where it cannot begin."""
    live = started(plan, given, done)
    if live is not None:
        show_benchmark(plan.id)
    return live


def started(plan: Plan, given: Mapping[str, bytes], done: Collection[str] = ()) -> LiveBenchmark | None:
    """Let a benchmark work in the background; draw why where it cannot begin."""
    try:
        check(plan)
        benchmark = Benchmark(
            plan, sink=store(), owner=visitor(), given=given, done=done, device=settings().device
        )
        return live_benchmarks().start(benchmark, visitor())
    except (VisionBenchError, StoreError) as error:
        show_error(error)
        return None


def check(plan: Plan) -> None:
    """See that a plan is within this session's limits, whatever the widgets let through.

    Raises:
        InputError: It is not.
    """
    may = limits()
    too_much = {
        f"{len(plan.models)} models": len(plan.models) > may.models,
        f"{len(plan.pictures)} pictures": len(plan.pictures) > may.pictures,
        f"{plan.rounds} rounds": plan.rounds > may.rounds,
        f"{len(plan.options)} sets of options": len(plan.options) > may.option_sets,
        f"{max(one.seconds for one in plan.options):g} seconds": any(
            one.seconds > may.seconds for one in plan.options
        ),
        f"{truth_count(plan.truths)} pictures of known truth": truth_count(plan.truths) > may.scenes,
        "Batches of that size": any(max(one.batches) > may.batch for one in plan.options),
        "That many threads": any((one.threads or 0) > may.threads for one in plan.options),
        "Inputs of that size": any((one.size or 0) > may.side_px for one in plan.options),
    }
    for what, is_too_much in too_much.items():
        if is_too_much:
            raise InputError(f"{what} are more than may be measured here.", "Choose less.")
    if not may.downloads and set(plan.models) - offered().keys():
        raise InputError("One of these models is not offered here.", "Choose from the list.")


def show_benchmark(benchmark_id: str) -> None:
    """Make the address name a benchmark."""
    st.query_params.pop("run", None)
    st.query_params["benchmark"] = benchmark_id
    state.BENCH_ADDRESS.set(benchmark_id)


def forget_address() -> None:
    """Let the address name nothing."""
    for name in ("run", "benchmark"):
        st.query_params.pop(name, None)
    state.BENCH_ADDRESS.clear()


def time_words(plan: Plan) -> str:
    """Return about how long a plan takes, as Markdown."""
    count = len(plan.entries())
    measurements = "1 measurement" if count == 1 else f"{count:,} measurements"
    return f"**{measurements}**, about **{duration(estimate_s(plan))}**"


def command_popover(plan: Plan, images: Sequence[ImageInput], key: str) -> None:
    """Draw the command that measures the same."""
    with st.popover("As command", icon=":material/terminal:", type="tertiary", key=f"{key}_command"):
        st.code(command(plan, images), language="bash", wrap_lines=True)
        st.caption("`--json` prints the results, `--estimate` only how long it takes.")


def command(plan: Plan, images: Sequence[ImageInput]) -> str:
    """Return the command line of a plan."""
    words = ["python", "-m", "core", "bench", *plan.models]
    for image in images:
        words += ["--picture", f"sample:{picture_name(image)}" if _is_sample(image) else image.name]
    if plan.truths is not None and plan.truths.startswith("scenes:"):
        words += ["--scenes", plan.truths.removeprefix("scenes:").partition("@")[0]]
    elif plan.truths is not None:
        words += ["--data", plan.truths.replace("\\", "/").rpartition("/")[2]]
    one = plan.options[0]
    for size in one.batches if one.batches != (1,) else ():
        words += ["--batch", str(size)]
    for precision in dict.fromkeys(other.precision for other in plan.options):
        words += ["--precision", precision] if len(plan.options) > 1 or precision != "fp32" else []
    words += ["--size", str(one.size)] if one.size else []
    words += ["--compile"] if one.compiled else []
    words += ["--threads", str(one.threads)] if one.threads else []
    words += ["--seconds", f"{one.seconds:g}", "--rounds", str(plan.rounds)]
    return shlex.join(words)


def _is_sample(image: ImageInput) -> bool:
    return not given_of([image]) and is_sample(image.name, image.sha256)


def resume(bench: Bench, plan: Plan, given: Mapping[str, bytes]) -> bool:
    """Go on with a benchmark where it ended; what is recorded is not measured again."""
    from core.bench.suite import recorded_keys

    done = recorded_keys([(row.run.model_id, row.run.parameters) for row in bench.rows])
    return begin(plan, given, done) is not None
