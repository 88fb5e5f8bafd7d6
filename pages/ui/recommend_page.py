"""The recommender page, from what is asked to what is taken away."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import streamlit as st

from core.errors import VisionBenchError
from core.recommend.answer import Answer, recommend
from core.recommend.candidates import Facts, device_of
from core.recommend.entries import Axis
from core.recommend.evidence import KINDS
from core.recommend.facts import facts_here, measurable
from core.recommend.own import own_axes
from core.recommend.request import HERE, Request
from pages.ui import state
from pages.ui.errors import show_error
from pages.ui.recommend_answer import details, first, others
from pages.ui.recommend_calibrate import calibration_panel
from pages.ui.recommend_chart import chart
from pages.ui.recommend_excluded import left_out, nothing_fits
from pages.ui.recommend_files import downloads
from pages.ui.recommend_inputs import inputs, wrong_address
from pages.ui.recommend_measure import follow_panel, next_panel, under_way
from pages.ui.recommend_quick import quick
from pages.ui.recommend_saved import Opened, reopen, save_button, saved_line, what_changed
from pages.ui.recommend_state import PAGE, arrive
from pages.ui.recommend_view import RecommendView
from pages.ui.session import store, visitor
from pages.ui.text import plain

MOST_HELD = 4
"""Answers that are held for a session."""


@dataclass(frozen=True)
class Answered:
    """An answer, and how long it took to find."""

    answer: Answer
    took_ms: float


@dataclass(frozen=True)
class Held:
    """What is known, and the last answers made of it: both stay while no run is added or taken away."""

    key: tuple[object, ...]
    facts: Facts
    answers: Mapping[Request, Answered] = field(default_factory=dict)


def recommender() -> None:
    """Draw the page."""
    view, wrong = arrive()
    view, opened = reopen(view)
    held = known()
    axes = (*held.facts.catalog.axes_of(view.task), *own_axes(view.task, held.facts))
    view, wrong = _known_axis(view, wrong, axes)
    inputs(view, axes, held.facts)
    wrong_address(wrong)
    try:
        found = answered(view.request())
        instead = _published_instead(found.answer, held.facts)
    except VisionBenchError as error:
        show_error(error)
        return
    live = under_way()
    follow_panel(live)
    if opened is not None:
        what_changed(opened, found.answer)
    if instead is not None:
        _say_instead(found.answer, instead.answer, held.facts, busy=live is not None)
    _draw(instead or found, view, held.facts, busy=live is not None)
    if instead is None:
        calibration_panel(found.answer, held.facts, busy=live is not None)
    quick(found.answer, held.facts)
    _take_away(instead or found, held.facts, opened)


def _known_axis(
    view: RecommendView, wrong: tuple[str, ...], axes: tuple[Axis, ...]
) -> tuple[RecommendView, tuple[str, ...]]:
    if not view.axis or view.axis in {axis.id for axis in axes}:
        return view, wrong
    sentence = f"The address says axis={view.axis[:40]}: there is no such accuracy for this task."
    return replace(view, axis="", least=None), (*wrong, sentence)


def known() -> Held:
    """Return what is known to this visitor, read anew when their runs are others, or on another day."""
    runs = store().evidence(visitor(), kinds=KINDS).runs
    key = (visitor(), time.strftime("%Y-%m-%d", time.gmtime()), tuple(run.run_id for run in runs))
    held = state.RECOMMEND_HELD.get()
    if held is None or held.key != key:
        held = state.RECOMMEND_HELD.set(Held(key, facts_here(runs)))
    return held


def answered(request: Request) -> Answered:
    """Return the answer to a request by what is held; the same question is not worked out twice.

    Raises:
        InputError: What is asked for cannot be.
    """
    held = state.RECOMMEND_HELD.get() or known()
    if request in held.answers:
        return held.answers[request]
    began = time.perf_counter()
    answer = recommend(request, held.facts, measurable)
    found = Answered(answer, 1000 * (time.perf_counter() - began))
    kept = dict(list({**held.answers, request: found}.items())[-MOST_HELD:])
    state.RECOMMEND_HELD.set(replace(held, answers=kept))
    return found


def _published_instead(answer: Answer, facts: Facts) -> Answered | None:
    """Return the answer by the speeds of a published processor, where none is known of this machine."""
    is_known = any(one.candidate.accuracy is not None for one in answer.recommended)
    if answer.device != HERE or answer.request.device is not None or is_known:
        return None
    if facts.calibration is not None or answer.request.limit_ms is None:
        return None
    request = answer.request
    device = device_of(replace(request, deployment="edge", access="any"), facts.catalog)
    return answered(replace(request, device=device)) if device else None


def _say_instead(answer: Answer, instead: Answer, facts: Facts, *, busy: bool) -> None:
    st.info(
        f"No speed is known yet on this machine ({plain(answer.device_title)}). Until then you see speeds as "
        f"they were published for the **{plain(instead.device_title)}**.",
        icon=":material/speed:",
    )
    calibration_panel(answer, facts, busy=busy)


def _draw(found: Answered, view: RecommendView, facts: Facts, *, busy: bool) -> None:
    answer = found.answer
    if answer.recommended:
        first(answer, facts)
        left, right = st.columns([5, 6], gap="large")
        with left:
            others(answer, view)
    else:
        nothing_fits(answer, view)
        right = st.container()
    with right:
        chart(answer, view, facts)
        details(answer, view, facts)
    left_out(answer, view)
    next_panel(answer, busy=busy)


def _take_away(found: Answered, facts: Facts, opened: Opened | None) -> None:
    with st.container(horizontal=True, key=f"{PAGE}_files"):
        downloads(found.answer)
        run_id = save_button(found.answer, found.took_ms, opened)
    saved_line(run_id, found.took_ms, facts.device_name)
