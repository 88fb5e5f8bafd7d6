"""What a person asks the recommender for: one row, and what few need below it."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.recommend.candidates import Facts
from core.recommend.entries import TASKS, Axis
from core.recommend.request import ACCESS, DEPLOYMENTS, HERE, PREFER
from core.vlm.safe import plain as readable
from pages.ui.recommend_state import PAGE, bound
from pages.ui.recommend_view import LIMIT_MS, RATE, SPEED_WORDS, USUAL, RecommendView
from pages.ui.text import plain

ACCESS_WORDS = {"any": "Weights or API", "weights": "Weights, offline", "api": "A provider's API"}
PREFER_WORDS = {"accuracy": "Accuracy", "balance": "Balance", "speed": "Speed"}
ADVANCED = ("device", "memory", "weights", "commercial", "access", "cost", "size", "batch", "prefer")
"""Fields of the view that are set below the row."""


def inputs(view: RecommendView, axes: Sequence[Axis], facts: Facts) -> None:
    """Draw all inputs. What is chosen goes into the address."""
    with st.container(border=True, key=f"{PAGE}_inputs"):
        _row(view, axes)
        used = [name for name in ADVANCED if getattr(view, name) != getattr(USUAL, name)]
        label = f"More constraints ({len(used)} in use)" if used else "More constraints"
        with st.expander(label, bool(used), icon=":material/tune:", key=f"{PAGE}_more"):
            _advanced(view, facts)


def _row(view: RecommendView, axes: Sequence[Axis]) -> None:
    has_number = view.speed in (LIMIT_MS, RATE)
    widths = [5, 4.5, 3, 6, 2.8, 4.6] if has_number else [5, 5, 6, 3, 4]
    places = iter(st.columns(widths, vertical_alignment="bottom"))
    next(places).selectbox("Task", list(TASKS), format_func=TASKS.__getitem__, **bound("task", view.task))
    next(places).selectbox(
        "Speed", list(SPEED_WORDS), format_func=SPEED_WORDS.__getitem__, **bound("speed", view.speed)
    )
    if view.speed == LIMIT_MS:
        number(next(places), "ms", "Milliseconds", view.ms)
    elif view.speed == RATE:
        number(next(places), "rate", "Pictures/s", view.rate)
    with next(places):
        _axis(view, axes)
    chosen = next((axis for axis in axes if axis.id == view.axis), axes[0] if axes else None)
    words = "At least" if chosen is None or chosen.higher_is_better else "At most"
    unit = f" ({chosen.unit})" if chosen is not None and chosen.unit else ""
    number(next(places), "least", f"{words}{unit}", view.least, disabled=chosen is None)
    next(places).selectbox(
        "Runs on",
        list(DEPLOYMENTS),
        format_func=lambda name: DEPLOYMENTS[name].title,
        help="  \n".join(f"**{one.title}**: {one.about}" for one in DEPLOYMENTS.values()),
        **bound("deployment", view.deployment),
    )


def _axis(view: RecommendView, axes: Sequence[Axis]) -> None:
    titles = {axis.id: readable(axis.title) for axis in axes}
    first = axes[0].id if axes else ""
    st.selectbox(
        "Accuracy on",
        list(titles) or [""],
        format_func=lambda name: titles.get(name, "No figures for this task"),
        disabled=not axes,
        help="Figures of one benchmark and protocol only: those of two cannot be compared.",
        **bound("axis", view.axis or first, lambda given: "" if given == first else given, afresh=True),
    )


def number(
    place: st.delta_generator.DeltaGenerator,
    name: str,
    label: str,
    value: float | None,
    *,
    disabled: bool = False,
    about: str | None = None,
) -> None:
    """Draw a field for a number that may be left empty. What cannot be meant is said below the inputs."""
    place.number_input(
        label,
        value=None,
        step=1.0,
        format="%g",
        placeholder="any",
        disabled=disabled,
        help=about,
        **bound(name, value),
    )


def _advanced(view: RecommendView, facts: Facts) -> None:
    one, two, three, four = st.columns(4)
    with one:
        _device(view, facts)
    number(two, "memory", "Memory (MB)", view.memory, about=_usual("memory_mb", view))
    number(
        three,
        "weights",
        "Size of the weights (MB)",
        view.weights,
        about=f"10⁶ bytes at 32 bits. {_usual('weights_mb', view)}",
    )
    number(four, "cost", "Cost (USD for 1,000)", view.cost, about="What a provider takes for 1,000 pictures.")
    one, two, three, four = st.columns(4)
    _count(one, "size", "Picture size (px)", view.size, "each model's own")
    _count(two, "batch", "Batch", view.batch, "1")
    with three:
        st.selectbox(
            "Access", list(ACCESS), format_func=ACCESS_WORDS.__getitem__, **bound("access", view.access)
        )
    with four:
        st.selectbox(
            "Prefer",
            list(PREFER),
            format_func=PREFER_WORDS.__getitem__,
            help="What decides the order of the models that fit.",
            **bound("prefer", view.prefer),
        )
    st.toggle(
        "The licence must allow commercial use",
        help="Of the weights, as their publisher says; nobody here gives legal advice.",
        **bound("commercial", view.commercial),
    )


def _usual(name: str, view: RecommendView) -> str:
    where = DEPLOYMENTS[view.deployment]
    found = getattr(where, name)
    return (
        f"{where.title}: {found:,.0f} MB where nothing is given." if found else "Any where nothing is given."
    )


def _device(view: RecommendView, facts: Facts) -> None:
    titles = {"": "What stands for it", HERE: f"This machine ({facts.device_name})"}
    titles |= {one.id: one.title for one in facts.catalog.devices.values()}
    if view.device not in titles:
        titles[view.device] = view.device  # the answer says that there is none
    st.selectbox(
        "Device",
        list(titles),
        format_func=lambda name: readable(titles[name]),
        help="On which device a model's speed counts.",
        **bound("device", view.device),
    )


def _count(
    place: st.delta_generator.DeltaGenerator, name: str, label: str, value: int | None, empty: str
) -> None:
    place.number_input(label, value=None, step=1, placeholder=empty, **bound(name, value))


def wrong_address(wrong: Sequence[str]) -> None:
    """Say what of the address could not be used."""
    if wrong:
        st.warning(
            "  \n".join(plain(one) for one in wrong) + "  \nThe rest is as it says.",
            icon=":material/link_off:",
        )
