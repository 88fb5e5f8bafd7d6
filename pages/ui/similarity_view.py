"""What a click means, how the maps are drawn, and the part of the page that runs again with each click."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, cast, get_args

import streamlit as st

from core.charts.similarity import Scale
from core.charts.theme import COLOUR_MAPS
from core.errors import VisionBenchError
from core.features.matching import ask
from core.features.similarity import neighbourhood
from db.errors import StoreError
from pages.ui import state
from pages.ui.errors import page_errors, show_error
from pages.ui.layout import run_footer
from pages.ui.similarity_inputs import PAGE
from pages.ui.similarity_run import set_asked
from pages.ui.similarity_state import Asked, Mode, Pair
from pages.ui.text import local_time

if TYPE_CHECKING:
    from core.features.matching import QueryAnswer
    from core.features.query import Direction

MODE_BUTTONS: tuple[tuple[Mode, str, str, str], ...] = (
    ("one", "One patch", ":material/filter_center_focus:", "A click chooses the patch."),
    (
        "several",
        "Several",
        ":material/add_circle:",
        "A click adds a patch, or takes it away again; what is meant (+) and what is not (-).",
    ),
    ("box", "Box", ":material/select:", "Two clicks on opposite corners."),
)
ARROWS: tuple[Direction, ...] = ("left", "up", "down", "right")


@dataclass(frozen=True, slots=True)
class View:
    """How what is asked is answered and drawn. None of this runs a model."""

    colour_map: str
    opacity: float
    smooth: bool
    lines: bool
    scale: Scale
    top: int
    radius: int
    """How far a neighbourhood reaches, in patches."""
    apart: bool
    """Whether the neighbourhood of the query is left out of its own picture."""


def tool_bar(pair: Pair) -> None:
    """Draw what a click does, and how the patch is moved without one."""
    asked = pair.asked
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        for mode, label, icon, said in MODE_BUTTONS:
            st.button(
                label,
                key=f"{PAGE}_mode_{mode}",
                icon=icon,
                type="primary" if mode == asked.mode else "secondary",
                on_click=partial(_set, pair, asked.as_mode(mode)),
                help=said,
            )
        if asked.mode == "mask":
            st.badge("Mask", icon=":material/ads_click:")
        if asked.mode == "several":
            _signs(pair)
        for direction in ARROWS:
            st.button(
                direction.capitalize(),
                key=f"{PAGE}_{direction}",
                type="tertiary",
                shortcut=direction,
                help=f"Move the patch {direction}",
                disabled=asked.query is None or asked.mode in ("box", "mask"),
                on_click=partial(_set, pair, asked.moved(direction, pair.source.grid)),
            )
        _row_and_column(pair)
    _query_list(pair)


def _signs(pair: Pair) -> None:
    asked = pair.asked
    for wants, icon, said in (
        (True, ":material/add:", "The next click says what is meant"),
        (False, ":material/remove:", "The next click says what is not meant"),
    ):
        st.button(
            "",
            icon=icon,
            key=f"{PAGE}_sign_{wants}",
            type="primary" if asked.wants == wants else "secondary",
            on_click=partial(_set, pair, replace(asked, wants=wants)),
            help=said,
        )


def _row_and_column(pair: Pair) -> None:
    asked = pair.asked
    if not asked.include or asked.mode in ("box", "mask"):
        return
    with st.container(horizontal=True, gap="small", width="content"):  # on a phone they stay together
        for place, name in enumerate(("row", "column")):
            key = f"{PAGE}_{name}"
            st.session_state[key] = asked.include[-1][place]
            st.number_input(
                name.capitalize(),
                0,
                pair.source.grid[place] - 1,
                key=key,
                width=110,
                on_change=partial(_typed, pair),
            )


def _typed(pair: Pair) -> None:
    patch = int(st.session_state[f"{PAGE}_row"]), int(st.session_state[f"{PAGE}_column"])
    asked = pair.asked
    if patch not in (*asked.include, *asked.exclude):
        _set(pair, replace(asked, include=(*asked.include[:-1], patch)))


def _query_list(pair: Pair) -> None:
    """Draw the patches of a query of several, each with a button that takes it away."""
    asked = pair.asked
    if asked.corner is not None:
        st.caption("Now click the opposite corner.")
    if asked.mode in ("box", "mask"):
        st.caption(f"{len(asked.include)} patches of the {asked.side} picture are asked together.")
    if asked.mode != "several":
        return
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        for sign, patches in (("+", asked.include), ("−", asked.exclude)):
            for row, column in patches:
                st.button(
                    f"{sign} {row}, {column}",
                    key=f"{PAGE}_remove_{row}_{column}",
                    icon=":material/close:",
                    help="Take this patch away",
                    on_click=partial(_set, pair, asked.without((row, column))),
                )
        if asked.include:
            nothing = Asked(asked.side, "several")
            st.button("Clear", key=f"{PAGE}_clear", type="tertiary", on_click=partial(_set, pair, nothing))


def _set(pair: Pair, asked: Asked) -> None:
    set_asked(pair, asked)


def look_controls(pair: Pair) -> View:
    """Draw how the maps are drawn."""
    keys, widest = st.session_state, max(pair.target.grid) // 2
    radius_key, apart_key = f"{PAGE}_radius", f"{PAGE}_apart_{pair.is_self}"
    keys[radius_key] = min(keys.get(radius_key, neighbourhood(pair.target.grid)), max(widest, 1))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        opacity = st.slider(
            "Opacity", 0.0, 1.0, 0.6, 0.05, key=f"{PAGE}_opacity", persist_state="session", width=160
        )
        colour_map = st.selectbox(
            "Colours", COLOUR_MAPS, key=f"{PAGE}_colours", persist_state="session", width=130
        )
        scale = st.selectbox(
            "Colour scale",
            get_args(Scale),
            get_args(Scale).index("stretched"),
            key=f"{PAGE}_scale",
            persist_state="session",
            width=130,
            help="One scale for both pictures. A fixed one lets queries be compared with each other; "
            "stretched goes from the least to the most similar patch of both.",
        )
        top = st.slider("Best places", 1, 10, 5, key=f"{PAGE}_top", persist_state="session", width=140)
        radius = st.slider(
            "Neighbourhood",
            0,
            max(widest, 1),
            key=radius_key,
            persist_state="session",
            width=140,
            help="Of two places within so many patches of each other only the better one counts.",
        )
        smooth = st.toggle("Smooth", key=f"{PAGE}_smooth", persist_state="session")
        lines = st.toggle("Grid", key=f"{PAGE}_lines", persist_state="session")
        apart = st.toggle(
            "Leave out the neighbourhood",
            pair.is_self,
            key=apart_key,
            persist_state="session",
            help="What lies around the query in its own picture is always like it; without it, what else is "
            "like it can be seen.",
        )
    return View(colour_map, opacity, smooth, lines, cast("Scale", scale), top, radius, apart)


@dataclass(frozen=True, eq=False, slots=True)
class Answered:
    """What is asked, answered."""

    pair: Pair
    view: View
    answer: QueryAnswer | None
    """None while nothing is asked."""
    ms: float


def answered(pair: Pair, view: View) -> Answered:
    """Return what the query finds in the other picture.

    Raises:
        InputError: Nothing is left to compare with.
    """
    started = time.perf_counter()
    query = pair.asked.query
    answer = None
    if query is not None:
        answer = ask(
            query,
            pair.source,
            pair.target,
            top=view.top,
            radius=view.radius,
            apart=view.apart and pair.is_self,
            unrelated=pair.unrelated,
        )
    return Answered(pair, view, answer, (time.perf_counter() - started) * 1000)


@st.fragment
def workspace() -> None:
    """Draw both pictures with what is asked of them; a click runs this function alone."""
    from pages.ui.similarity_draw import charts
    from pages.ui.similarity_files import files
    from pages.ui.similarity_matches import lines
    from pages.ui.similarity_tools import tools
    from pages.ui.similarity_trust import findings

    if state.SIMILARITY_WHOLE.get():
        state.SIMILARITY_WHOLE.clear()
        st.rerun()
    held, asked = state.SIMILARITY.get(), state.SIMILARITY_ASKED.get()
    if held is None or asked is None:
        return
    pair = replace(held, asked=asked)
    with page_errors():
        tool_bar(pair)
        place = st.container()
        view = look_controls(pair)
        found = answered(pair, view)
        with place:
            draw_ms = charts(found)
        findings(found)
        try:
            matches = lines(found)
        except (VisionBenchError, StoreError) as error:
            show_error(error)
            matches = ()
        files(found, matches)
        tools(found)
        _footer(found, draw_ms)


def _footer(found: Answered, draw_ms: float) -> None:
    pair, times = found.pair, found.pair.result.times
    parts = {"load": times.load_ms, "model": times.model_ms}
    parts |= {"similarity": times.similarity_ms + found.ms, "draw": draw_ms}
    sources = dict.fromkeys(times.sources)
    note = "· features " + " and ".join(_SOURCES[source] for source in sources)
    if pair.reopened is not None:
        note += f" · run of {local_time(pair.reopened.time)}, compared again and not stored twice"
    run_footer(
        pair.run_id,
        "pages/patch_similarity.py",
        f"{pair.result.device} ({pair.result.device_reason})",
        parts,
        note,
    )


_SOURCES = {"computed": "computed", "memory": "from memory", "store": "from the store"}
