"""What does not fit and by which constraint, the nearest miss, and what to relax."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import streamlit as st

from core.recommend.answer import Answer
from core.recommend.checks import Check
from core.recommend.figures import ms_words
from core.recommend.misses import Excluded, enough, rounded_up
from core.recommend.request import DEPLOYMENTS
from pages.ui.recommend_state import PAGE, change
from pages.ui.recommend_view import ANY, LIMIT_MS, RATE, RecommendView
from pages.ui.text import plain

CONSTRAINTS = {
    "latency": "Too slow",
    "accuracy": "Not accurate enough",
    "memory": "Takes too much memory",
    "weights": "Weights too large",
    "cost": "Costs too much",
    "licence": "Licence",
    "access": "Way to run it",
    "retired": "Retired",
}
UNKNOWN = {
    "latency": "Speed not known",
    "accuracy": "No accuracy on this axis",
    "memory": "Memory not known",
    "weights": "Size not known",
    "cost": "Cost not known",
    "licence": "Licence unclear",
    "access": "Way to run it",
}


def nothing_fits(answer: Answer, view: RecommendView) -> None:
    """Say that nothing fits, and what to do about it."""
    total = len(answer.excluded)
    if not total:
        st.info("There is no model for this task in the catalogue.", icon=":material/search_off:")
        return
    if answer.nearest_miss is not None:
        st.warning(f"None of the {total} models fits.", icon=":material/search_off:")
        nearest(answer, view)
        return
    missed = [{check.constraint for check in one.missed if check.unknown} for one in answer.excluded]
    if all("latency" in some for some in missed):
        where = plain(answer.device_title) or f"the deployment {DEPLOYMENTS[view.deployment].title}"
        advice = (
            "Calibrate below, choose another device" if answer.device == "here" else "Choose another device"
        )
        st.info(
            f"No speed is known of any of the {total} models on {where}.\n\n"
            f"**What to do:** {advice}, or ask without a speed limit.",
            icon=":material/speed:",
        )
        st.button(
            "Set no speed limit",
            icon=":material/timer_off:",
            type="primary",
            key=f"{PAGE}_unlimited",
            on_click=change,
            kwargs={"speed": ANY},
        )
        return
    st.info(
        f"Whether one of the {total} models fits is not known: no figures for what is asked.\n\n"
        "**What to do:** Leave a constraint out; below stands which.",
        icon=":material/help:",
    )


def nearest(answer: Answer, view: RecommendView) -> None:
    """Draw the model that misses least, and the button that sets the inputs so that it fits."""
    if answer.nearest_miss is None:
        return
    model = answer.nearest_miss.candidate.entry.id
    one = next(one for one in answer.excluded if one.candidate.entry.id == model)
    changes, words = relaxed(one, answer, view)
    with st.container(horizontal=True, vertical_alignment="center", key=f"{PAGE}_nearest"):
        st.markdown(f"**Nearest miss:** {plain(answer.nearest_miss.sentence)}", width="content")
        st.button(
            words,
            icon=":material/lock_open:",
            key=f"{PAGE}_relax",
            on_click=change,
            kwargs=changes,
            help="Sets the inputs above to it.",
        )


def relaxed(one: Excluded, answer: Answer, view: RecommendView) -> tuple[dict[str, Any], str]:
    """Return which fields of the view to change so that a model fits, and the button's words."""
    changes: dict[str, Any] = {}
    words = []
    for check in one.missed:
        fields, said = _relaxed(check, one, answer, view)
        changes |= fields
        words.append(said)
    text = " and ".join(words)
    return changes, f"{text[:1].upper()}{text[1:]}"


def _relaxed(check: Check, one: Excluded, answer: Answer, view: RecommendView) -> tuple[dict[str, Any], str]:
    value = enough(check)
    if check.constraint == "latency" and value is not None:
        if view.speed == RATE:
            rate = -rounded_up(-1000 * one.candidate.batch / value, 3)
            return {"rate": rate}, f"allow {rate:g} pictures/s"
        return {"speed": LIMIT_MS, "ms": value}, f"allow {ms_words(value)}"
    if check.constraint == "accuracy" and value is not None:
        unit = answer.axis.unit if answer.axis is not None else ""
        return {"least": value}, f"take {value:g} {unit}".strip()
    if check.constraint in ("memory", "weights", "cost"):
        said = (
            f"pay ${value:g}" if check.constraint == "cost" else f"allow {value:g} MB of {check.constraint}"
        )
        return {check.constraint: value}, said
    if check.constraint == "licence":
        return {"commercial": False}, "allow any licence"
    if not DEPLOYMENTS[view.deployment].apis:
        return {"deployment": "cloud", "access": "any"}, "look in the cloud"
    return {"access": "any"}, "allow weights and APIs"


def left_out(answer: Answer, view: RecommendView) -> None:
    """Draw what does not fit, by the first constraint that it misses."""
    if not answer.excluded:
        return
    groups: dict[tuple[bool, str], list[Excluded]] = defaultdict(list)
    for one in answer.excluded:
        groups[one.unknown, one.constraint].append(one)
    titles = {key: (UNKNOWN if key[0] else CONSTRAINTS).get(key[1], key[1]) for key in groups}
    said = ", ".join(f"{titles[key].lower()} {len(some)}" for key, some in groups.items())
    with st.expander(
        f"Left out: {len(answer.excluded)} ({said})", icon=":material/filter_alt:", key=f"{PAGE}_left_out"
    ):
        if answer.recommended:
            nearest(answer, view)
        with st.container(height=420 if len(answer.excluded) > 8 else "content", border=False):
            for key, some in groups.items():
                rows = [f"| {plain(one.candidate.entry.title)} | {_cell(one)} |" for one in some]
                st.markdown(f"**{titles[key]}** ({len(some)})")
                st.markdown("\n".join(["| Model | Why |", "|---|---|", *rows]))


def _cell(one: Excluded) -> str:
    return plain(one.sentence)
