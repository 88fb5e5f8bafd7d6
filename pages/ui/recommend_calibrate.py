"""How published speeds are scaled to this machine, how wrong that is, and measuring both again."""

from __future__ import annotations

import streamlit as st

from core.environment import choose_device
from core.errors import InputError
from core.recommend.answer import Answer
from core.recommend.calibrating import calibration_plan
from core.recommend.calibration import REFERENCES, Calibration
from core.recommend.candidates import Facts
from core.recommend.figures import ms_words
from core.recommend.request import HERE
from core.recommend.scaling import Scale
from core.settings import settings
from pages.ui.bench_limits import limits
from pages.ui.recommend_measure import start_button
from pages.ui.recommend_state import PAGE
from pages.ui.text import plain

MORE = 12
"""Models that an error is measured on."""


def calibration_panel(answer: Answer, facts: Facts, *, busy: bool) -> None:
    """Draw what is known of this machine's speed, and the buttons that measure it."""
    if answer.device != HERE:
        return
    if choose_device(settings().device).device != "cpu":
        st.caption(
            "Published speeds are not scaled to a GPU: what is published of GPUs is of many pictures at "
            "once. Measure models here instead."
        )
        return
    found = facts.calibration
    title = "Calibration" if found is None else f"Calibration: {_short(found)}"
    with st.expander(title, found is None, icon=":material/tune:", key=f"{PAGE}_calibration"):
        if found is None:
            st.markdown(
                f"No published speed can be scaled to this machine yet: {len(REFERENCES)} models of "
                "different make are to be timed here first. They have random weights, which take just as "
                "long, and nothing is downloaded."
            )
        else:
            st.markdown(plain(found.sentence))
            _held_out(found.best)
        _buttons(facts, busy=busy)


def _short(found: Calibration) -> str:
    best = found.best
    if best.contradicts:
        return "the references contradict each other"
    if best.is_work:
        return f"by {best.title}"
    return f"{best.factor:.3g} times {best.title}, median error {best.error.median_percent:.0f} %"


def _held_out(scale: Scale) -> None:
    """Draw the error, and each model that was estimated and measured."""
    error = scale.error
    where = "measured on this machine" if error.is_own else f"came with the app, from {plain(error.device)}"
    st.caption(
        f"Error {where}: median {error.median_percent:.0f} %, 95 % within a factor of {error.factor_95:.2f}, "
        f"rank correlation {error.rank_correlation:.2f}, n = {error.n}, {error.date}. It is the interval of "
        "every estimate."
    )
    if not scale.held_out:
        return
    rank = scale.published_rank_correlation
    if rank is not None:
        st.caption(f"Unscaled, the published order alone has a rank correlation of {rank:.2f}.")
    head = "published" if not scale.is_work else plain(scale.title)
    rows = [f"| Held-out model | {head} | estimated | measured here | error |", "|---|--:|--:|--:|--:|"]
    write = (lambda amount: f"{amount:.3g}") if scale.is_work else ms_words
    rows += [
        f"| {plain(one.model)} | {write(one.amount)} | {ms_words(one.predicted_ms)} "
        f"| {ms_words(one.measured_ms)} | {100 * one.error:+.0f} % |"
        for one in sorted(scale.held_out, key=lambda one: one.measured_ms)
    ]
    st.markdown("\n".join(rows))


def _buttons(facts: Facts, *, busy: bool) -> None:
    if not limits().downloads:
        st.caption("The person at this machine can calibrate it.")
        return
    weights_mb = {
        f"random/{entry.timm}": entry.weights_mb
        for entry in facts.catalog.entries.values()
        if entry.timm and entry.weights_mb is not None
    }
    with st.container(horizontal=True):
        label = "Calibrate" if facts.calibration is None else "Calibrate again"
        plan = calibration_plan(facts.catalog)
        start_button(label, plan, weights_mb, "calibrate", busy=busy, primary=facts.calibration is None)
        try:
            plan = calibration_plan(facts.catalog, MORE)
        except InputError:  # the catalogue has not so many
            return
        start_button(f"Check on {MORE} more models", plan, weights_mb, "check", busy=busy)
