"""Asking: a thread for each model, one script that draws what they bring, and answers opened again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

import streamlit as st

from core.errors import VisionBenchError
from core.images import ImageInput
from db.errors import StoreError
from db.records import RunRecord
from pages.ui import state
from pages.ui.pictures import select_picture
from pages.ui.session import store, visitor
from pages.ui.text import plain
from pages.ui.vlm_inputs import show_put
from pages.ui.vlm_keys import providers
from pages.ui.vlm_models import MODELS
from pages.ui.vlm_state import PAGE, Comparison, Put, Shown, Turn

DRAW_EVERY_S = 0.05
CLOCK_S = 0.2
"""How often the page draws while nothing comes: its clock goes on, and a press of Cancel is noticed."""
TEXTS = ("answer.txt", "partial.txt")
TOGETHER = "together"
"""Where a run's view keeps the ids of the runs that it was compared with."""
JUDGED = "judged"
"""Where it keeps the ids of the runs of judges on them."""


def start(image: ImageInput, put: Put, models: tuple[str, ...], *, blind: bool) -> Comparison:
    """Put the question to every model at once."""
    comparison = Comparison(image, put, models, blind)
    comparison.add_turns()
    for turn in comparison.turns:
        _ask(comparison, turn)
    return state.VLM_COMPARISON.set(comparison)


def ask_again(comparison: Comparison, turn: Turn) -> None:
    """Put the same question once more to one model."""
    turn.again()
    _ask(comparison, turn)


def cancel(comparison: Comparison) -> None:
    """End every answer that is still going."""
    for turn in comparison.turns:
        turn.cancel.set()


def _ask(comparison: Comparison, turn: Turn) -> None:
    """Ask in a thread, which gets all it needs as values: it has no session."""
    try:
        work = _work(comparison, turn)
    except VisionBenchError as error:
        turn.end(None, error)
        return
    threading.Thread(target=work, name=f"ask {turn.model_id}", daemon=True).start()


def _work(comparison: Comparison, turn: Turn) -> Callable[[], None]:
    from core.vlm.workflow import ask_about

    opened, sink, owner, put = providers(), store(), visitor(), comparison.put

    def work() -> None:
        try:
            asked = ask_about(
                comparison.image,
                turn.model_id,
                put.task,
                put.prompt,
                put.references,
                providers=opened,
                sink=sink,
                owner=owner,
                on_text=turn.take,
                on_restart=turn.restart,
                cancel=turn.cancel,
                max_tokens=put.max_tokens,
                comparison=comparison.id,
            )
            turn.end(Shown(sink.run(asked.run_id, owner), asked.answer.text))
        except BaseException as error:  # shown, or raised, where the page draws this turn
            turn.end(None, error)

    return work


def follow(comparison: Comparison, draw: Callable[[Turn, float], None]) -> None:
    """Draw every turn whenever something came, until all have ended.

    Args:
        draw: Draws one turn; takes how long it has been going, in seconds.
    """
    while True:
        started = time.perf_counter()
        comparison.wake.clear()
        running = comparison.is_running  # before drawing, so that what comes meanwhile is drawn next time
        for turn in comparison.turns:
            draw(turn, started - turn.asked_at)
        if not running:
            return
        comparison.wake.wait(CLOCK_S)
        time.sleep(max(0.0, DRAW_EVERY_S - (time.perf_counter() - started)))


def keep_together(comparison: Comparison) -> None:
    """Tell the store which runs belong together, so that opening one opens all; and the address, which."""
    if comparison.hides_names:
        return  # the address would tell
    ids = [turn.shown.run.id for turn in comparison.turns if turn.shown is not None]
    for run_id in (*ids, *comparison.judged):
        store().set_view(run_id, visitor(), {TOGETHER: ids, JUDGED: comparison.judged})
    if ids:
        st.query_params["run"] = ids[0]
        state.ADDRESS_RUN.set(ids[0])


def open_requested_run() -> RunRecord | None:
    """Set picture and models to the run that the address asks for, once; return that run.

    Raises:
        StoreError: There is no such run, or it belongs to somebody else.
    """
    run_id = st.query_params.get("run")
    if run_id is None or run_id == state.ADDRESS_RUN.get():
        return None
    run = store().run(run_id, visitor())
    state.ADDRESS_RUN.set(run_id)
    if run.inputs and not select_picture(PAGE, run.inputs[0]):
        _missing_picture(run)
    return run


def _missing_picture(run: RunRecord) -> None:
    picture = run.inputs[0]
    st.warning(
        f"Run {run.id} kept only the digest and a thumbnail of its picture {plain(picture.name)} "
        f"({picture.width} x {picture.height}). Its answers are below. Upload the same file "
        f"(SHA-256 {picture.sha256[:12]}…) to ask about it again.",
        icon=":material/no_photography:",
    )
    st.image(picture.thumbnail)


def show_again(run: RunRecord, image: ImageInput | None) -> Comparison:
    """Show a stored answer and those that were compared with it, without asking anybody."""
    shown = [Shown(one, _stored_text(one)) for one in _together(run)]
    put = Put(
        str(run.parameters["task"]),
        str(run.parameters["prompt"]),
        tuple(run.parameters.get("references", ())),
        int(run.parameters.get("max_tokens", 1024)),
    )
    same = image is not None and bool(run.inputs) and image.sha256 == run.inputs[0].sha256
    models = tuple(one.run.model_id for one in shown)
    comparison = Comparison(image if same else None, put, models)
    comparison.turns = [Turn.of(one, comparison.wake) for one in shown]
    comparison.judged = [str(run_id) for run_id in run.view.get(JUDGED, [])]
    st.session_state[MODELS] = list(models)
    if image is not None and same:
        show_put(image, put)
    return state.VLM_COMPARISON.set(comparison)


def _together(run: RunRecord) -> tuple[RunRecord, ...]:
    """Return the runs that were compared, in their order; of those only the ones that may be seen."""
    found = []
    for run_id in run.view.get(TOGETHER, [run.id]):
        with suppress(StoreError):
            found.append(run if run_id == run.id else store().run(str(run_id), visitor()))
    return tuple(found) or (run,)


def _stored_text(run: RunRecord) -> str:
    name = next((file.name for file in run.artifacts if file.name in TEXTS), None)
    return store().artifact(run.id, name, visitor()).decode() if name else ""
