"""Answering prompts: which state needs the model, and how a stored run comes back."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from core.errors import InputError
from core.images import ImageInput
from core.registry import ModelSpec
from core.samples import SCENE_PREFIX
from core.scenes import Scene, generate_scene
from core.segment.kinds import ANSWER, EVALUATION, EVERYTHING
from core.segment.prompts import Point, Prompts
from db.errors import RunNotFoundError
from db.records import RunRecord
from pages.ui import state
from pages.ui.pictures import select_picture
from pages.ui.segment_state import Edited, Step, Work, new_work
from pages.ui.session import embedding_cache, model_pool, store, visitor
from pages.ui.text import milliseconds, plain

if TYPE_CHECKING:
    from numpy.typing import NDArray


PAGE = "segment"
MORE = f"{PAGE}_more"
"""Widget key of the tool under the canvas."""
TOOLS = {EVERYTHING: "Everything", EVALUATION: "Evaluate"}
"""Kinds of run that open under the canvas, and the tool that shows them."""
MULTIMASK, REFINE = f"{PAGE}_multimask", f"{PAGE}_refine"
"""Widget keys: three masks or one, and whether an answer starts from the mask before."""


@st.cache_data(max_entries=16, show_spinner=False)
def _scene(seed: int) -> Scene:
    return generate_scene(seed)


def known_truths(image: ImageInput) -> tuple[NDArray[np.bool_], ...]:
    """Return the exact masks of a drawn scene's objects, or the mask uploaded as truth; else none."""
    given = state.SEGMENT_TRUTH.get()
    if given is not None and given[0] == image.sha256:
        return (given[1],)
    if not image.name.startswith(SCENE_PREFIX):
        return ()
    return tuple(item.mask for item in _scene(int(image.name.removeprefix(SCENE_PREFIX))).objects)


def start_point(image: ImageInput) -> Point | None:
    """Return the first click of fresh work: the middle of a scene's largest object, where there is one."""
    known = known_truths(image)
    if not known:
        return None
    from core.segment.clicks import first_click

    return first_click(known[0], np.random.default_rng(0), "centre")


def current_work(image: ImageInput, spec: ModelSpec, requested: RunRecord | None) -> Work:
    """Return this session's work on the picture; fresh work, or that of a stored run, where there is none."""
    work, handed = state.SEGMENT_WORK.get(), _handed_over(image)
    if work is None or work.picture != image.sha256 or requested is not None:
        is_other = requested is not None and requested.kind != ANSWER  # it opens under the canvas
        start = None if is_other or handed else start_point(image)
        work = _reopened(image, spec, requested) or new_work(image, _key(spec), start)
        state.SEGMENT_WORK.set(work)
    if handed:
        work.blank().show(Prompts((handed,)), 0)
        work.redraw()
    work.for_model(_key(spec))
    return work


def _handed_over(image: ImageInput) -> Point | None:
    """Return the point that another page handed over for this picture, once."""
    handed = state.SEGMENT_START.get()
    state.SEGMENT_START.clear()
    return Point(handed[1], handed[2]) if handed is not None and handed[0] == image.sha256 else None


def _key(spec: ModelSpec) -> tuple[str, str]:
    return spec.id, spec.revision


def _reopened(image: ImageInput, spec: ModelSpec, run: RunRecord | None) -> Work | None:
    """Return the work that a stored run belongs to: all its objects where its view has them, else its own."""
    if run is None or run.kind != ANSWER or not run.inputs or run.inputs[0].sha256 != image.sha256:
        return None
    work = Work(image.sha256, _key(spec))
    start = _start(run)
    if start is None or start.dtype != np.bool_:  # a view does not hold a mask that was loaded
        work.restore(dict(run.view), run.id)
    if not work.objects:
        prompts = Prompts.from_json(run.parameters.get("prompts"))
        if start is not None:
            prompts = replace(prompts, **{"mask" if start.dtype == np.bool_ else "logits": start})
        item = work.add()
        item.show(prompts, 0)
        item.step.run_id = run.id
    return work


def _start(run: RunRecord) -> NDArray[Any] | None:
    """Return the logits, or the mask, that a run started from."""
    from core.segment.workflow import START

    found = next((a for a in run.artifacts if a.name == START), None)
    data = store().artifact(run.id, START, visitor()) if found else None
    return None if data is None else np.load(io.BytesIO(data), allow_pickle=False)


def open_requested_run() -> RunRecord | None:
    """Set the page's inputs to the run that the address asks for, once; return that run.

    Raises:
        StoreError: There is no such run, or it belongs to somebody else.
    """
    run_id = st.query_params.get("run")
    if run_id is None or run_id == state.ADDRESS_RUN.get():
        return None
    state.ADDRESS_RUN.set(run_id)
    run = store().run(run_id, visitor())
    st.session_state[f"{PAGE}_model"] = run.model_id
    st.session_state[MULTIMASK] = bool(run.parameters.get("multimask", True))
    if run.kind in TOOLS:
        st.session_state[MORE] = TOOLS[run.kind]
        state.SEGMENT_AGAIN.set(run)
    if run.inputs and not select_picture(PAGE, run.inputs[0]):
        picture = run.inputs[0]
        st.warning(
            f"Run {run.id} kept only the digest and a thumbnail of its picture {plain(picture.name)} "
            f"({picture.width} x {picture.height}). Upload the same file to segment it again.",
            icon=":material/no_photography:",
        )
        st.image(picture.thumbnail)
    return run


def answer_all(work: Work, image: ImageInput, spec: ModelSpec) -> None:
    """Have every object's states answered as far as they are shown; most often one, or none, is missing.

    A prompt that cannot be asked of the picture is taken back, and the error goes on; nothing else is lost.
    """
    missing = [
        (item, at)
        for item in work.objects
        for at in range(1, item.at + 1)
        if item.steps[at].result is None and not item.steps[at].prompts.is_empty
    ]
    for item, at in missing:
        try:
            item.steps[at].prompts.checked(image.width, image.height)
        except InputError:
            del item.steps[at:]
            item.at = at - 1
            work.redraw()
            raise
        shown, item.at = item.at, at
        try:
            _answer(item, image, spec)
        finally:
            item.at = shown
    if missing:
        _keep(work, missing[-1][0].step)


def _answer(item: Edited, image: ImageInput, spec: ModelSpec) -> None:
    from core.segment.workflow import segment

    step, before = item.step, item.starts_from()
    prompts = step.prompts
    if step.multimask is None:
        step.multimask = bool(st.session_state.get(MULTIMASK, True))
    if step.refines is None:
        step.refines = bool(st.session_state.get(REFINE, True))
    if before is not None and before.result is not None and step.refines:
        prompts = Prompts(prompts.points, prompts.box, before.result.masks.low_res[before.index])
    with st.spinner(_waiting(spec), show_time=True):
        step.result = segment(
            image,
            spec,
            prompts,
            pool=model_pool(),
            cache=embedding_cache(),
            sink=None if step.run_id else store(),
            owner=visitor(),
            multimask=step.multimask,
        )
    step.run_id = step.run_id or step.result.run_id
    masks = step.result.masks
    wanted = item.choice if step.wanted is None else step.wanted
    step.index = wanted if wanted is not None and wanted < len(masks) else masks.best


def _waiting(spec: ModelSpec) -> str:
    expected = embedding_cache().expected_ms(spec.id)
    took = f"; encoding took {milliseconds(expected)} last time" if expected and expected > 1000 else ""
    return f"{plain(spec.title)} looks at the picture{took} …"


def _keep(work: Work, step: Step) -> None:
    """Make the address and the stored run hold the whole work."""
    if step.run_id is None:
        return
    st.query_params["run"] = step.run_id
    state.ADDRESS_RUN.set(step.run_id)
    keep_view(work, step.run_id)


def keep_view(work: Work, run_id: str) -> None:
    """Let an own run remember the whole work, so that opening it again shows the same."""
    try:
        store().set_view(run_id, visitor(), work.to_json())
    except RunNotFoundError:  # somebody else's shared run, or one deleted meanwhile
        return
