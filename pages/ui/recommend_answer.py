"""The answer: the first recommendation large, the next ones as a list, and the details of any model."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from core.recommend.answer import Answer, Recommended
from core.recommend.candidates import Candidate, Facts
from core.recommend.checks import checks
from core.recommend.entries import Source
from core.recommend.request import DEPLOYMENTS, HERE
from pages.ui.recommend_state import PAGE, change
from pages.ui.recommend_view import RecommendView
from pages.ui.recommend_words import (
    COMMERCIAL,
    TITLES,
    licence_words,
    mark_badge,
    origin,
    rate_words,
    short_origin,
    value_words,
)
from pages.ui.text import count, plain

LISTED = 5
"""How many are shown before all are asked for, the first among them."""
UNSURE = ":orange-badge[:material/help: fits, but not surely]"
SURE = ":green-badge[:material/check: fits]"
TIED = ":gray-badge[:material/drag_handle: not told apart from the one before]"
WITH = {"memory": "memory", "weights": "weights"}
"""What stands behind a number whose unit does not say what it is."""
CELL_PX = 134


def first(answer: Answer, facts: Facts) -> None:
    """Draw the model that is recommended, why, and its figures."""
    one = answer.recommended[0]
    with st.container(border=True, key=f"{PAGE}_first"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.subheader(plain(one.candidate.entry.title), anchor=False, width="content")
            st.markdown(SURE if one.certain else UNSURE, width="content")
            _details_button(one.candidate, "first")
        st.markdown(plain(one.why))
        _figures(one.candidate, answer, facts.catalog.sources)
        if not one.certain:
            st.caption(plain(_unsure(one)))


def _unsure(one: Recommended) -> str:
    open_ones = [check.constraint for check in one.checks if not check.certain]
    return f"The interval of its {' and '.join(open_ones)} reaches beyond what is asked for."


def _figures(candidate: Candidate, answer: Answer, sources: Mapping[str, Source]) -> None:
    """Draw each figure with its mark and, in small print, where it comes from."""
    titles = dict(TITLES)
    if answer.axis is not None:
        titles["accuracy"] = answer.axis.metric
    if candidate.batch > 1:
        titles["latency"] = f"Latency, batch of {candidate.batch}"
    with st.container(horizontal=True, gap="small", key=f"{PAGE}_figures"):
        for name, figure in candidate.figures().items():
            rate = f"{rate_words(candidate)} · " if name == "latency" and figure is not None else ""
            small = f"{plain(rate)}{short_origin(name, figure, sources)}"
            _cell(plain(titles[name]), plain(value_words(name, figure)), mark_badge(figure), small)
        allowed = COMMERCIAL[candidate.entry.commercial]
        _cell("Licence", plain(candidate.entry.licence), "", allowed)


def _cell(title: str, value: str, badge: str, small: str) -> None:
    with st.container(width=CELL_PX, gap=None):
        st.caption(title)
        st.subheader(value, anchor=False)
        st.markdown("  \n".join(part for part in (badge, f":small[:gray[{small}]]" if small else "") if part))


def others(answer: Answer, view: RecommendView) -> None:
    """Draw the models behind the first, with one line of figures each."""
    rows = answer.recommended
    shown = rows if view.whole else rows[:LISTED]
    st.subheader(f"{len(rows)} fit" if len(rows) > 1 else "Only this one fits", anchor=False)
    with st.container(gap="small", key=f"{PAGE}_list"):
        for place, one in enumerate(shown[1:], 2):
            _row(place, one)
    if len(rows) > LISTED:
        st.button(
            f"Show the first {LISTED}" if view.whole else f"Show all {len(rows)}",
            icon=":material/unfold_less:" if view.whole else ":material/unfold_more:",
            key=f"{PAGE}_whole",
            on_click=change,
            kwargs={"whole": not view.whole},
        )


def _row(place: int, one: Recommended) -> None:
    candidate = one.candidate
    badges = " ".join(badge for badge, is_so in ((UNSURE, not one.certain), (TIED, one.tied)) if is_so)
    with st.container(border=True, gap="xsmall"):
        with st.container(
            horizontal=True, horizontal_alignment="distribute", vertical_alignment="top", wrap=False
        ):
            licence = f":small[:gray[{plain(candidate.entry.licence)}]]"
            st.markdown(f"**{place}. {plain(candidate.entry.title)}** {licence} {badges}")
            _details_button(candidate, str(place))
        st.caption(plain(one.why))
        st.markdown(line(candidate))


def line(candidate: Candidate) -> str:
    """Return a model's figures in small print as Markdown, a line for those of each mark."""
    groups: dict[str, list[str]] = {}
    for name, figure in candidate.figures().items():
        value = plain(value_words(name, figure))
        if name == "latency" and figure is not None:
            value = f"{value} ({plain(rate_words(candidate))})"
        words = name if figure is None else f"{value} {WITH.get(name, '')}".strip()
        groups.setdefault(mark_badge(figure), []).append(words)
    return "  \n".join(f"{badge} :small[{' · '.join(some)}]" for badge, some in groups.items())


def _details_button(candidate: Candidate, key: str) -> None:
    st.button(
        "Details",
        icon=":material/info:",
        type="tertiary",
        key=f"{PAGE}_details_{key}",
        wrap=False,
        on_click=change,
        kwargs={"model": candidate.entry.id},
    )


def candidate_named(answer: Answer, model: str) -> Candidate | None:
    """Return a model of the answer, fitting or not; None where there is none of that id."""
    rows = [one.candidate for one in answer.recommended] + [one.candidate for one in answer.excluded]
    return next((one for one in rows if one.entry.id == model), None)


def details(answer: Answer, view: RecommendView, facts: Facts) -> None:
    """Draw everything about the model that was clicked."""
    if not view.model:
        return
    candidate = candidate_named(answer, view.model)
    if candidate is None:
        st.caption(f"{plain(view.model[:80])} is no model for this task.")
        return
    entry = candidate.entry
    with st.container(border=True, key=f"{PAGE}_details"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{plain(entry.title)}**", width="stretch")
            st.button(
                "Close",
                icon=":material/close:",
                type="tertiary",
                key=f"{PAGE}_close",
                on_click=change,
                kwargs={"model": ""},
            )
        st.caption(_facts_line(candidate, facts))
        st.markdown(_checks(candidate, answer))
        st.markdown(_lines(candidate, answer, facts.catalog.sources))
        if entry.note:
            st.caption(plain(entry.note))


def _facts_line(candidate: Candidate, facts: Facts) -> str:
    entry = candidate.entry
    parts = [
        plain(entry.id),
        f"[paper or page](<{entry.url}>)" if entry.url else "",
        f"published {entry.published}",
        licence_words(candidate),
        f"{count(entry.parameters)} parameters" if entry.parameters else "",
        f"{count(entry.macs)} multiply-adds" if entry.macs else "",
        f"input {entry.input_size} px" if entry.input_size else "",
        "a provider's API" if entry.access == "api" else "weights that run offline",
    ]
    return " · ".join(part for part in parts if part)


def _checks(candidate: Candidate, answer: Answer) -> str:
    lines = []
    for one in checks(candidate, answer.request, answer.axis):
        icon = ":orange[:material/help:]" if one.unknown else ":red[:material/close:]"
        if one.fits:
            icon = ":green[:material/check:]" if one.certain else ":orange[:material/help:]"
        sure = "" if one.certain or one.unknown else ", but its interval says both"
        lines.append(f"{icon} {plain(one.sentence[:1].upper() + one.sentence[1:])}{sure}.")
    return "  \n".join(lines) or "Nothing is demanded of it."


def _lines(candidate: Candidate, answer: Answer, sources: Mapping[str, Source]) -> str:
    """Return each figure in a line with its mark, and where it comes from below it."""
    titles = {**TITLES, "accuracy": answer.axis.title if answer.axis else "Accuracy"}
    lines = []
    for name, figure in candidate.figures().items():
        value = f"**{plain(value_words(name, figure))}**" if figure is not None else ""
        about = origin(name, figure, sources)
        lines.append(
            f"{plain(titles[name])} {value} {mark_badge(figure)}"
            + (f"  \n:small[:gray[{about}]]" if about else "")
        )
    return "\n\n".join(lines)


def deployment_words(answer: Answer) -> str:
    """Return where the models are to run, and whose speed stands for it."""
    if answer.device == HERE:
        return f"on this machine ({plain(answer.device_title)})"
    where = DEPLOYMENTS[answer.request.deployment].title.lower()
    if answer.request.device is not None:
        return f"on the {plain(answer.device_title)}"
    if not answer.device_title:
        return f"of the deployment {where}, where no speed is known"
    return f"on the {plain(answer.device_title)}, which stands for the deployment {where}"
