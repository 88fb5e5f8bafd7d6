"""The third view: models x pictures x options as one job that can be broken off and gone on with."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

import streamlit as st

from core.bench.options import Options
from core.bench.pictures import DIGEST
from core.bench.plan import Plan, entry_s
from core.bench.sweep.crew import Here
from core.bench.sweep.files import files_of
from core.bench.sweep.plan import SweepPlan
from core.bench.sweep.ray_crew import OnRay
from core.bench.sweep.run import KIND
from core.errors import InputError, VisionBenchError
from core.images import ImageInput
from core.samples import SCENE_PREFIX
from core.settings import settings
from db.errors import StoreError
from db.records import RunFilter, RunRecord
from pages.ui import state
from pages.ui.bench_limits import PAGE, PATH, limits
from pages.ui.bench_models import models_picker
from pages.ui.bench_options import options_picker
from pages.ui.bench_pictures import again_uploader, files_at_hand, picture_name, pictures_picker
from pages.ui.bench_start import forget_address
from pages.ui.bench_sweep_follow import ended, follow, follow_elsewhere
from pages.ui.bench_sweep_results import results
from pages.ui.errors import show_error
from pages.ui.session import live_benchmarks, live_sweeps, store, visitor
from pages.ui.text import ago, local_time, plain
from pages.ui.vlm_set_data import said
from pages.ui.vlm_set_words import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.bench.sweep.crew import Where
    from core.bench.sweep.live import LiveSweep

NAME = f"{PAGE}_sweep"
HERE, RAY = "This machine", "Ray cluster"
LISTED = 8
STATES = {
    "ok": ("done", ":material/check_circle:"),
    "running": ("under way", ":material/pending:"),
    "cancelled": ("stopped", ":material/pause_circle:"),
    "failed": ("interrupted", ":material/error:"),
}
"""Status of a sweep to its word and icon."""


def sweep_view() -> None:
    """Draw the plan of a new sweep, or one that is under way or ended."""
    sweep_id = state.BENCH_SWEEP.get()
    if sweep_id is None:
        _new()
        return
    live = live_sweeps().find(sweep_id, visitor())
    is_alive = live is not None and live.is_alive  # before its status is read: what has ended is written
    try:
        run = store().run(sweep_id, visitor())
    except StoreError as error:
        show_error(error)
        _new_button()
        return
    _show(run.id)
    _head(run)
    if live is not None and is_alive and run.status == "running":
        follow(live, NAME)
        results(run, NAME, is_over=False)
    elif run.status == "running" and (live is None or live.error is None):
        follow_elsewhere(run.id)
        results(run, NAME, is_over=False)
    else:
        _ended(run, live)


def _show(sweep_id: str) -> None:
    """Make a sweep the one that is shown, and the one that the address names."""
    state.BENCH_SWEEP.set(sweep_id)
    st.query_params.pop("benchmark", None)
    st.query_params["run"] = sweep_id
    state.BENCH_ADDRESS.set(sweep_id)


def _plan_new() -> None:
    state.BENCH_SWEEP.clear()
    forget_address()


def _new_button() -> None:
    st.button("New sweep", icon=":material/add:", key=f"{NAME}_new", on_click=_plan_new)


def _new() -> None:
    if not limits().sweeps:
        st.info(
            "Sweeps are for a private machine: they take long. Compare and Benchmark work here.",
            icon=":material/lock:",
        )
        return
    left, right = st.columns(2, gap="large")
    images: tuple[ImageInput, ...] = ()
    with left:
        st.subheader("What", anchor=False)
        try:
            models = models_picker(f"{NAME}_models")
            images = pictures_picker(NAME)
        except VisionBenchError as error:
            show_error(error)
            models = ()
    with right:
        st.subheader("How", anchor=False)
        try:
            sets, _ = options_picker(NAME, sweep=True)
            where = _where(f"{NAME}_where")
        except VisionBenchError as error:
            show_error(error)
            sets, where = (), None
        if models and images and sets and where is not None:
            _start(models, images, sets, where)
        else:
            st.caption("Choose a model, a picture and options; then you see how long it takes.")
    _earlier()


def _where(key: str) -> Where | None:
    """Draw where cells are measured; return None where it cannot be there."""
    address = settings().ray
    if not address:
        workers = _workers(key)
        st.caption("To use a Ray cluster, start the app with its address in `VISION_BENCH_RAY`.")
        return Here(workers)
    chosen = st.segmented_control(
        "Where",
        [HERE, RAY],
        default=None if key in st.session_state else HERE,
        required=True,
        key=key,
        persist_state="session",
    )
    if chosen == HERE:
        return Here(_workers(key))
    gpus = st.number_input("GPUs for each cell", 0.0, 64.0, 0.0, step=0.5, key=f"{key}_gpus")
    st.caption(f"Cells go to the cluster at {plain(address)}; results come back here.")
    where = OnRay(address, float(gpus))
    where.check()
    return where


def _workers(key: str) -> int:
    return int(
        st.number_input(
            "Cells at once",
            1,
            max(1, os.cpu_count() or 1),
            1,
            key=f"{key}_workers",
            persist_state="session",
            help="Several disturb each other's times: take more than one only where times do not matter.",
        )
    )


def _start(
    models: tuple[str, ...], images: tuple[ImageInput, ...], sets: tuple[Options, ...], where: Where
) -> None:
    try:
        plan = SweepPlan(models, tuple(map(picture_name, images)), tuple(one.to_json() for one in sets))
        about = _expected_s(models, sets) * len(images)
    except InputError as error:
        show_error(error)
        return
    workers = where.workers if isinstance(where, Here) else 1
    cells = "1 cell" if plan.count == 1 else f"{plan.count:,} cells"
    st.markdown(f"**{cells}**, about **{duration(about / workers)}** on {plain(str(where))}")
    at_work = (*live_benchmarks().of(visitor()), *live_sweeps().of(visitor()))
    if where.takes_turns and any(live.is_alive for live in at_work):
        st.info(
            "Another measurement of yours is under way: this one begins when it has ended, or is a sweep "
            "that is paused.",
            icon=":material/hourglass_empty:",
        )
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button("Start", icon=":material/play_arrow:", type="primary", key=f"{NAME}_start")
        with st.popover("As command", icon=":material/terminal:", type="tertiary", key=f"{NAME}_command"):
            names = [image.name for image in images if picture_name(image) == image.sha256]
            st.code(command(plan, sets, where, names), language="bash", wrap_lines=True)
    if not pressed:
        return
    try:
        with st.spinner("Writing down the cells …"):
            files = files_of(image for image in images if picture_name(image) == image.sha256)
            live = live_sweeps().begin(plan, where=where, ledger=store(), owner=visitor(), files=files)
    except (VisionBenchError, StoreError) as error:
        show_error(error)
        return
    _show(live.run.set_id)
    st.rerun()


def command(plan: SweepPlan, sets: tuple[Options, ...], where: Where, files: Sequence[str] = ()) -> str:
    """Return the command line of a sweep.

    Args:
        files: Names of the files among its pictures.
    """
    scenes = [int(name.removeprefix(SCENE_PREFIX)) for name in plan.pictures if name.startswith(SCENE_PREFIX)]
    photos = [
        name for name in plan.pictures if not name.startswith(SCENE_PREFIX) and not DIGEST.fullmatch(name)
    ]
    several = {
        "--precision": [one.precision for one in sets],
        "--threads": [one.threads for one in sets if one.threads],
        "--size": [one.size for one in sets if one.size],
    }
    words = ["python", "-m", "core", "sweep", "--models", ",".join(plan.models)]
    words += ["--pictures", ",".join(photos)] if photos else []
    words += ["--scenes", f"{len(scenes)}@{min(scenes)}"] if scenes else []
    for name in files:
        words += ["--file", name]
    words += ["--batch", ",".join(map(str, sets[0].batches))]
    for option, values in several.items():
        words += [option, ",".join(map(str, dict.fromkeys(values)))] if values else []
    words += ["--compile"] if sets[0].compiled else []
    words += ["--seconds", f"{sets[0].seconds:g}"]
    if isinstance(where, Here):
        words += ["--workers", str(where.workers)] if where.workers > 1 else []
    elif isinstance(where, OnRay):
        words += ["--ray", where.address, "--gpus-per-cell", f"{where.gpus:g}"]
    return shlex.join(words)


def _expected_s(models: tuple[str, ...], sets: tuple[Options, ...]) -> float:
    """Return about how long each model takes with each set of options on one picture."""
    plan = Plan(models, ("astronaut",), sets)
    return sum(entry_s(plan, entry) for entry in plan.entries())


def _head(run: RunRecord) -> None:
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.subheader("Sweep", anchor=False, width="content")
        _new_button()
    where = said(str(run.parameters.get("where", "")), 80)
    st.caption(f"{_title(run)} · on {where} · begun {local_time(run.time)}")


def _title(run: RunRecord) -> str:
    parts = [
        f"{len(found):,} {word}{'s' if len(found) != 1 else ''}"
        for word, found in (
            ("model", run.parameters.get("models", ())),
            ("picture", run.parameters.get("pictures", ())),
        )
    ]
    sets = len(run.parameters.get("options", ()))
    return " x ".join([*parts, f"{sets} set{'s' if sets != 1 else ''} of options"])


def _ended(run: RunRecord, live: LiveSweep | None) -> None:
    left = ended(run, live.error if live is not None else None)
    if left and run.owner == visitor() and limits().sweeps:
        with st.container(border=True):
            st.markdown(f"**{left:,} cells are left.** What is done is not measured again.")
            _resume(run)
    results(run, NAME, is_over=True)


def _resume(run: RunRecord) -> None:
    try:
        where = _where(f"{NAME}_again")
    except VisionBenchError as error:
        show_error(error)
        return
    given, lost = files_at_hand(SweepPlan.from_json(run.parameters), [run])
    if lost:
        given, lost = again_uploader(lost, given, NAME)
    if where is None or not st.button(
        "Resume", icon=":material/resume:", type="primary", key=f"{NAME}_resume", disabled=bool(lost)
    ):
        return
    try:
        live_sweeps().resume(run.id, where=where, ledger=store(), owner=visitor(), given=given)
    except (VisionBenchError, StoreError) as error:
        show_error(error)
        return
    st.rerun()


def _earlier() -> None:
    """Draw links to the last sweeps of this visitor."""
    st.subheader("Your sweeps", anchor=False)
    found = store().runs(RunFilter(owner=visitor(), kinds=(KIND,)), limit=LISTED)
    if not found:
        st.caption("None yet. A sweep appears here as soon as it begins, and can be opened again any time.")
    for summary in found:
        word, icon = STATES.get(summary.status, STATES["failed"])
        label = f"{said(summary.model_id, 60)} · {word} · {ago(summary.time)}"
        st.page_link(PATH, label=label, icon=icon, query_params={"run": summary.id})
