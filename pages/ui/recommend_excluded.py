"""What does not fit and by which constraint, the nearest miss, and what to relax."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import streamlit as st

from core.recommend.answer import Answer
from core.recommend.checks import Check
from core.recommend.misses import Excluded
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
    unknown = [one for one in answer.excluded if one.unknown]
    if len(unknown) < total:
        st.warning(f"None of the {total} models fits.", icon=":material/search_off:")
        nearest(answer, view)
        return
    constraints = {check.constraint for one in unknown for check in one.missed}
    if "latency" in constraints:
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
    value = check.value if check.value is not None else 0.0
    if check.constraint == "latency":
        return _slower(value, one, view)
    if check.constraint == "accuracy" and answer.axis is not None:
        least = _up(value, 4) if not answer.axis.higher_is_better else -_up(-value, 4)
        return {"least": least}, f"take {least:g} {answer.axis.unit}".strip()
    if check.constraint in ("memory", "weights", "cost"):
        most = _up(value, 4)
        said = f"pay ${most:g}" if check.constraint == "cost" else f"allow {most:g} MB of {check.constraint}"
        return {check.constraint: most}, said
    if check.constraint == "licence":
        return {"commercial": False}, "allow any licence"
    if not DEPLOYMENTS[view.deployment].apis:
        return {"deployment": "cloud", "access": "any"}, "look in the cloud"
    return {"access": "any"}, "allow weights and APIs"


def _slower(ms: float, one: Excluded, view: RecommendView) -> tuple[dict[str, Any], str]:
    if view.speed == RATE:
        rate = -_up(-1000 * one.candidate.batch / ms, 3)
        return {"rate": rate}, f"allow {rate:g} pictures/s"
    most = _up(ms, 3)
    return {"speed": LIMIT_MS, "ms": most}, f"allow {most:g} ms"


def _up(value: float, digits: int) -> float:
    """Return a number rounded up to so many digits: what it bounds still fits."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - digits + 1)
    return float(f"{math.ceil(round(value / unit, 9)) * unit:.12g}")


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
