"""The best mutual pairs of both pictures, as lines from one to the other and as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from core.charts.similarity import lines_figure, lines_info
from core.features.matching import matches
from core.features.nearest import correspond
from pages.ui import state
from pages.ui.segment_canvas import column_width
from pages.ui.similarity_draw import shown_picture
from pages.ui.similarity_inputs import PAGE

if TYPE_CHECKING:
    from core.features.matching import Match
    from core.features.nearest import Correspondence
    from core.features.unrelated import Unrelated
    from core.features.workflow import SimilarResult
    from pages.ui.similarity_state import Pair
    from pages.ui.similarity_view import Answered

FIRST, MOST = 20, 50
LINES_PX = 440


def lines(found: Answered) -> tuple[Match, ...]:
    """Draw the pairs and return them."""
    pair = found.pair
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        st.markdown("**What corresponds**", width="content")
        n = st.slider(
            "Best mutual pairs",
            0,
            MOST,
            FIRST,
            key=f"{PAGE}_pairs",
            persist_state="session",
            width=260,
            help="Patches that are each other's nearest neighbours, the most similar first, spread over the "
            "first picture.",
        )
    chosen = _chosen(pair, n)
    if not chosen:
        if n:
            st.caption("No two patches are each other's nearest neighbours.")
        return ()
    place = st.container()
    info, width = lines_info(pair.first, pair.second, chosen), column_width(f"{PAGE}_whole") or 1000
    place.plotly_chart(
        lines_figure(
            info,
            (shown_picture(pair.first.sha256, pair.first), shown_picture(pair.second.sha256, pair.second)),
            colour_map=found.view.colour_map,
            height_px=int(min(LINES_PX, width * info.sizes[0][1] / (info.offset + info.sizes[1][0]))),
        ),
        key=f"{PAGE}_lines_chart",
        config={"displayModeBar": False},
        alt=f"The {len(chosen)} best mutual pairs as lines between both pictures",
    )
    if len(chosen) < n:
        st.caption(f"There are {len(chosen)} mutual pairs in all.")
    with st.expander(f"The {len(chosen)} pairs as a table", icon=":material/table:"):
        _table(chosen)
    return chosen


def _chosen(pair: Pair, n: int) -> tuple[Match, ...]:
    """Return the pairs; they are found once, not with each click."""
    if n == 0:
        return ()
    held = state.SIMILARITY_LINES.get()
    if held is None or held.result is not pair.result or held.unrelated is not pair.unrelated or held.n != n:
        held = state.SIMILARITY_LINES.set(_find(pair, n, held))
    return held.matches


@dataclass(frozen=True, eq=False, slots=True)
class Lines:
    """The pairs that are shown, and what they were found by."""

    result: SimilarResult
    unrelated: Unrelated | None
    n: int
    neighbours: Correspondence
    matches: tuple[Match, ...]


def _find(pair: Pair, n: int, held: Lines | None) -> Lines:
    first, second = pair.result.first, pair.result.second
    if held is not None and held.result is pair.result:
        neighbours = held.neighbours
    else:
        neighbours = correspond(first, second, apart=pair.is_self)
    found = matches(first, second, n, found=neighbours, apart=pair.is_self, unrelated=pair.unrelated)
    return Lines(pair.result, pair.unrelated, n, neighbours, found)


def _table(chosen: tuple[Match, ...]) -> None:
    rows = [
        (
            rank,
            *match.first_xy,
            *match.second_xy,
            match.score,
            match.margin,
            match.others_percentile,
            match.unrelated_percentile,
        )
        for rank, match in enumerate(chosen, start=1)
    ]
    places = ["First x", "First y", "Second x", "Second y"]
    names = ["Rank", *places, "Similarity", "Margin", "Others", "Unrelated"]
    number = st.column_config.NumberColumn
    config = {name: number(format="%.0f px") for name in places}
    config |= {name: number(format="%.3f") for name in names[5:7]}
    config |= {name: number(format="%.1f", help=f"Percentile among {said}") for name, said in _PERCENTILES}
    st.dataframe(pd.DataFrame(rows, columns=names), hide_index=True, column_config=config, alt="Mutual pairs")


_PERCENTILES = (
    ("Others", "the similarities of the patch to all others of its own picture"),
    ("Unrelated", "the similarities to patches of unrelated pictures"),
)
