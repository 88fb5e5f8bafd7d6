"""Which two pictures are compared: when a model has to run for it, and how a stored run comes back.

A model runs only when a picture, the model or the features asked of it change; `state.SIMILARITY` holds the
last comparison of this session. A click only asks what is held.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from PIL import Image

from core.errors import InputError
from core.features.kinds import EVALUATION, SEARCH, SIMILARITY
from core.features.query import PatchQuery, patch_centres
from core.features.values import FeatureOptions
from core.samples import PAIR_PREFIX, scene_pair
from db.errors import RunNotFoundError
from pages.ui import state
from pages.ui.session import feature_cache, model_pool, store, visitor
from pages.ui.similarity_inputs import LOOK_FOR, PAGE, REGION, WHOLE, select_pictures, set_options
from pages.ui.similarity_state import Asked, Pair
from pages.ui.text import milliseconds, plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.features.unrelated import Unrelated
    from core.images import ImageInput
    from core.preprocess import Frame
    from core.registry import ModelSpec
    from db.records import RunRecord

KEPT_BACKGROUNDS = 8
SLOW_MS = 1000.0
TOOLS = {SEARCH: "Search", EVALUATION: "Scores"}
"""Kinds of run that a tool of the page shows, and which."""
Key = tuple[str, str, FeatureOptions]


def open_requested_run() -> RunRecord | None:
    """Set the page's inputs to the run that the address asks for, once; return that run.

    Raises:
        StoreError: There is no such run, or it belongs to somebody else.
        InputError: Its parameters cannot be read.
    """
    run_id = st.query_params.get("run")
    if run_id is None or run_id == state.ADDRESS_RUN.get():
        return None
    state.ADDRESS_RUN.set(run_id)
    run = store().run(run_id, visitor())
    st.session_state[f"{PAGE}_model"] = run.model_id
    _reopen_options(run)
    _reopen_tool(run)
    state.SIMILARITY.clear()
    state.SIMILARITY_ASKED.clear()
    if (asked := _stored_query(run)) is not None:
        state.SIMILARITY_ASKED.set(asked)
    for picture in select_pictures(run.inputs):
        st.warning(
            f"Run {run.id} kept only the digest and a thumbnail of its picture {plain(picture.name)} "
            f"({picture.width} x {picture.height}). Upload the same file "
            f"(SHA-256 {picture.sha256[:12]}…) to compare it again.",
            icon=":material/no_photography:",
        )
        st.image(picture.thumbnail)
    return run


def _reopen_options(run: RunRecord) -> None:
    raw = run.parameters.get("options")
    try:
        options = FeatureOptions(**raw) if isinstance(raw, dict) else FeatureOptions()
    except TypeError as error:
        raise InputError(f"The options of run {run.id} cannot be read.", "Choose them again.") from error
    if note := set_options(options, run.model_id.startswith("shipped/")):
        st.warning(note, icon=":material/info:")


def _reopen_tool(run: RunRecord) -> None:
    """Open the tool whose run it is, if it is one."""
    if run.kind not in TOOLS:
        return
    st.session_state[f"{PAGE}_tool"] = TOOLS[run.kind]
    state.SIMILARITY_AGAIN.set(run)
    if run.kind == SEARCH:
        st.session_state[LOOK_FOR] = REGION if run.parameters.get("region") else WHOLE
    if run.kind == EVALUATION:  # the untrained twin of a model is shown where the model is
        st.session_state[f"{PAGE}_model"] = run.model_id.removeprefix("random/")
        st.session_state[f"{PAGE}_score_pairs"] = run.parameters.get("pairs", 20)


def _stored_query(run: RunRecord) -> Asked | None:
    """Return what was asked last, else what the run itself asked."""
    view = dict(run.view).get("asked")
    query = run.parameters.get("region" if run.kind == SEARCH else "query")
    if view is None and isinstance(query, dict):
        several = len(query.get("include", ())) + len(query.get("exclude", ())) > 1
        view = {"side": "first", "mode": "several" if several else "one", **query}
    return None if view is None else Asked.from_json(view)


def current_pair(
    first: ImageInput,
    second: ImageInput,
    spec: ModelSpec,
    options: FeatureOptions,
    requested: RunRecord | None,
) -> Pair:
    """Return this session's comparison of the pictures, running the model only when there is none yet."""
    held = state.SIMILARITY.get()
    if held is None or not held.is_for(first, second, spec, options):
        before, asked = held, state.SIMILARITY_ASKED.get()
        shown_again = requested is not None and _repeats(requested, first, second, spec)
        repeated = requested if shown_again else None
        held = state.SIMILARITY.set(_compare(first, second, spec, options, repeated))
        if before is not None and asked is not None:
            _carry_over(asked, before, held)
    if held.run_id is not None:
        if st.query_params.get("run") != held.run_id:
            st.query_params["run"] = held.run_id
        state.ADDRESS_RUN.set(held.run_id)
    state.SIMILARITY_ASKED.set(_fitting(held))
    return held


def _carry_over(asked: Asked, before: Pair, pair: Pair) -> None:
    """Ask the same places of other features of the same picture; forget what was asked of another one."""
    state.SIMILARITY_ASKED.clear()
    if before.image(asked.side).sha256 == pair.image(asked.side).sha256:
        state.SIMILARITY_ASKED.set(asked.on(before.grid(asked.side).frame, pair.grid(asked.side).frame))


def _compare(
    first: ImageInput,
    second: ImageInput,
    spec: ModelSpec,
    options: FeatureOptions,
    repeated: RunRecord | None,
) -> Pair:
    from core.features.workflow import similar

    with st.spinner(_waiting(spec), show_time=True):
        background = _backgrounds().get(_key(spec, options))
        result = similar(
            first,
            second,
            spec,
            cache=feature_cache(),
            pool=model_pool(),
            sink=None if repeated else store(),
            owner=visitor(),
            options=options,
            apart=first.sha256 == second.sha256,
            unrelated=background,
        )
        found = feature_cache().get_many(spec, [first, second], options, model_pool())
    return Pair(
        first,
        second,
        spec,
        options,
        (found[0].features, found[1].features),
        result,
        _without(background, first, second),
        known_warp(first, second),
        repeated,
    )


def _waiting(spec: ModelSpec) -> str:
    expected = feature_cache().expected_ms(spec.id)
    took = f"; a picture took {milliseconds(expected)} last time" if expected and expected > SLOW_MS else ""
    return f"{plain(spec.title)} looks at both pictures{took} …"


def _repeats(run: RunRecord, first: ImageInput, second: ImageInput, spec: ModelSpec) -> bool:
    """Say whether these inputs are those of a stored run, so that showing it again is not a new run.

    A run of another kind is shown with its pictures; nobody asked to compare those, so that is no run either.
    """
    if run.kind != SIMILARITY:
        return True
    pictures = [picture.sha256 for picture in run.inputs]
    return pictures == [first.sha256, second.sha256] and run.model_id == spec.id and _same_weights(run, spec)


def _same_weights(run: RunRecord, spec: ModelSpec) -> bool:
    return spec.source == "huggingface" or run.model_revision == spec.revision


def check_weights(run: RunRecord, spec: ModelSpec) -> None:
    """Raise an InputError where what a run kept is of other weights than those that the model has now."""
    if not _same_weights(run, spec):
        raise InputError(
            f"Run {run.id} is of other weights of {run.model_id} than those that are here now.",
            "Run it again; what it found then is in the export of the history.",
        )


def known_warp(first: ImageInput, second: ImageInput) -> NDArray[np.float64] | None:
    """Return the homography from the first to the second picture of a scene pair; None of other pictures."""
    if not first.name.startswith(PAIR_PREFIX) or not second.name.startswith(PAIR_PREFIX):
        return None
    (pair, view), (other, other_view) = scene_pair(first.name), scene_pair(second.name)
    if (view, other_view) != ("first", "second") or pair.first.seed != other.first.seed:
        return None
    return pair.matrix


def first_query(image: ImageInput, frame: Frame) -> PatchQuery:
    """Return what is asked before anybody clicks: the middle of the largest thing, else of the picture."""
    place = frame.grid[0] // 2, frame.grid[1] // 2
    if image.name.startswith(PAIR_PREFIX):
        pair, view = scene_pair(image.name)
        if view == "first":
            place = frame.patch_at(*pair.first.largest.centre)
    return PatchQuery((place,))


def _fitting(pair: Pair) -> Asked:
    """Return what is asked, where the pictures have such patches; else the first query, and say so."""
    asked = _handed_over(pair) or state.SIMILARITY_ASKED.get()
    if asked is not None and (asked.query is None or _inside(asked.query, pair.grid(asked.side).frame)):
        return asked
    if asked is not None:
        rows, columns = pair.grid(asked.side).grid
        st.warning(
            f"A patch that was asked for is outside of the {rows} x {columns} patches of the picture. "
            "The first question is shown instead.",
            icon=":material/info:",
        )
    return Asked(include=first_query(pair.first, pair.result.first.frame).include)


def _inside(query: PatchQuery, frame: Frame) -> bool:
    try:
        query.check(frame.grid)
    except InputError:
        return False
    return True


def _handed_over(pair: Pair) -> Asked | None:
    """Return the mask that the segmentation page handed over for one of the pictures as a query, once."""
    handed = state.SIMILARITY_START.get()
    if handed is None or handed[0] != pair.first.sha256:
        return None
    state.SIMILARITY_START.clear()
    mask = np.asarray(Image.open(io.BytesIO(handed[1])).convert("L")) > 127  # H W
    query = PatchQuery.from_mask(pair.result.first.frame, mask, pair.first.width, pair.first.height)
    return Asked("first", "mask", query.include)


def set_asked(pair: Pair, asked: Asked) -> None:
    """Take over what is asked now; the stored run remembers it, so that opening it again shows the same."""
    state.SIMILARITY_ASKED.set(asked)
    if pair.run_id is None or not asked.include or state.SIMILARITY_VIEW.get() == (pair.run_id, asked):
        return
    state.SIMILARITY_VIEW.set((pair.run_id, asked))
    remember(pair, asked)


def remember(pair: Pair, asked: Asked) -> None:
    """Keep with the stored run of a pair what is asked of it."""
    if pair.run_id is None:
        return
    try:
        store().set_view(pair.run_id, visitor(), {"asked": asked.to_json()})
    except RunNotFoundError:  # somebody else's shared run, or one deleted meanwhile
        return


@st.cache_resource(show_spinner=False)
def _backgrounds() -> OrderedDict[Key, Unrelated]:
    """Return what the unrelated pictures look like to the models asked last, for everybody."""
    return OrderedDict()


def _key(spec: ModelSpec, options: FeatureOptions) -> Key:
    return spec.id, spec.revision, options


def compare_with_unrelated(pair: Pair) -> None:
    """Compute what unrelated pictures look like to the model, for this comparison and later ones."""
    kept, key = _backgrounds(), _key(pair.spec, pair.options)
    if key not in kept:
        kept[key] = _gathered(pair.spec, pair.options)
        while len(kept) > KEPT_BACKGROUNDS:
            kept.popitem(last=False)
    state.SIMILARITY.set(replace(pair, unrelated=_without(kept[key], pair.first, pair.second)))


def _without(background: Unrelated | None, *images: ImageInput) -> Unrelated | None:
    return background.without(*(image.sha256 for image in images)) if background else None


def _gathered(spec: ModelSpec, options: FeatureOptions) -> Unrelated:
    from core.features.unrelated import gather

    bar = st.progress(0.0, "Unrelated pictures, to compare with")

    def told(done: int, n: int) -> None:
        bar.progress(done / n, f"Unrelated pictures, to compare with: {done} of {n}")

    found = gather(spec, options, cache=feature_cache(), pool=model_pool(), progress=told)
    bar.empty()
    return found


def background_ms(pair: Pair) -> float | None:
    """Return about how long that takes, in milliseconds; None where the model has not run yet."""
    from core.features.unrelated import unrelated_pictures

    expected = feature_cache().expected_ms(pair.spec.id)
    return None if expected is None else expected * len(unrelated_pictures())


def true_place(pair: Pair, xy: tuple[float, float]) -> tuple[float, float] | None:
    """Return where a point of the picture that is asked really is in the other; None where not known."""
    if pair.matrix is None:
        return None
    from core.scenes import apply_homography

    back = pair.asked.side == "second"
    matrix: NDArray[np.float64] = np.linalg.inv(pair.matrix).astype(float) if back else pair.matrix
    x, y = apply_homography(matrix, np.array([xy]))[0]
    return float(x), float(y)


def query_centre(pair: Pair) -> tuple[float, float]:
    """Return the middle of the included patches, in pixels of their picture."""
    centres = patch_centres(pair.source.frame)[tuple(np.transpose(pair.asked.include))]
    x, y = centres.mean(axis=0)
    return float(x), float(y)
