"""Both pictures with their maps; a click on either asks for the patch that is there."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from core.charts.attention import picture_uri
from core.charts.similarity import Looks, SimilarityInfo, limits_of, similarity_figure, similarity_info
from core.features.similarity import near
from pages.ui import state
from pages.ui.segment_canvas import column_width
from pages.ui.similarity_inputs import PAGE
from pages.ui.similarity_run import query_centre, set_asked, true_place
from pages.ui.similarity_state import SIDES, Side
from pages.ui.text import plain

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from core.images import ImageInput
    from pages.ui.similarity_state import Pair
    from pages.ui.similarity_view import Answered

MAX_HEIGHT = 620


def charts(found: Answered) -> float:
    """Draw the pictures; return how long that took here, in milliseconds."""
    pair = found.pair
    columns = st.columns(1 if pair.is_self else 2, gap="medium")
    places = [column.container() for column in columns]
    with columns[0]:  # under the picture, where what measures takes no room from it
        width = column_width(f"{PAGE}_width") or 560
    started = time.perf_counter()
    for side, place in zip(SIDES, places, strict=False):
        with place:
            st.caption(_caption(pair, side))
            _chart(found, side, width)
    return (time.perf_counter() - started) * 1000


def _caption(pair: Pair, side: Side) -> str:
    image = pair.image(side)
    name = f"**{plain(image.name)}**, {image.width} x {image.height} px"
    if pair.asked.query is None:
        return f"{name}: click a patch"
    if pair.is_self:
        return f"{name}: how alike each patch is to the outlined one"
    rows, columns = pair.grid(side).grid
    where = "the query and its own map" if side == pair.asked.side else "what is like the query"
    return f"{name}: {where}, {rows} x {columns} patches"


def _chart(found: Answered, side: Side, width: int) -> None:
    view, image = found.view, found.pair.image(side)
    info = info_of(found, side)
    looks = Looks(view.colour_map, view.opacity, view.smooth, view.lines, scale_limits(found))
    key = f"{PAGE}_chart_{side}"
    st.plotly_chart(
        similarity_figure(
            info,
            shown_picture(image.sha256, image),
            looks,
            height_px=int(min(MAX_HEIGHT, max(160, width * image.height / image.width))),
        ),
        key=key,
        on_select=partial(_clicked, side, key),
        selection_mode="points",
        config={"displayModeBar": False},
        alt=f"Similarity to the query over {image.name}",
    )


def info_of(found: Answered, side: Side) -> SimilarityInfo:
    """Return what is shown of one picture."""
    pair, answer, asked = found.pair, found.answer, found.pair.asked
    is_source = side == asked.side or pair.is_self
    is_target = side != asked.side or pair.is_self
    return similarity_info(
        pair.image(side),
        pair.grid(side).frame,
        None if answer is None else answer.self_map if is_source else answer.cross_map,
        include=asked.include if is_source else (),
        exclude=asked.exclude if is_source else (),
        peaks=answer.peaks if answer is not None and is_target else (),
        hidden=hidden(found, side),
        truth=true_place(pair, query_centre(pair)) if answer is not None and is_target else None,
    )


def hidden(found: Answered, side: Side) -> NDArray[np.bool_] | None:
    """Return the neighbourhood that is left out of the map of the query's own picture: rows columns."""
    asked, pair = found.pair.asked, found.pair
    if not found.view.apart or not (side == asked.side or pair.is_self):
        return None
    mask = near(pair.grid(side).grid, asked.include, found.view.radius)
    return None if mask.all() else mask


def scale_limits(found: Answered) -> tuple[float, float]:
    """Return the ends of the colour scale of both pictures."""
    answer = found.answer
    if answer is None:
        return limits_of(found.view.scale, ())
    mask = hidden(found, found.pair.asked.side)
    own = answer.self_map if mask is None else answer.self_map[~mask]
    return limits_of(found.view.scale, (own,) if found.pair.is_self else (own, answer.cross_map))


@st.cache_data(max_entries=32, show_spinner=False)
def shown_picture(sha256: str, _image: ImageInput) -> str:
    """Return a picture as a data address, made once for everybody."""
    return picture_uri(_image)


def _clicked(side: Side, key: str) -> None:
    """Ask for the patch that was clicked. Plotly reports a second click on the same one as nothing chosen."""
    pair, asked = state.SIMILARITY.get(), state.SIMILARITY_ASKED.get()
    if pair is None or asked is None:
        return
    points, last = st.session_state[key]["selection"]["points"], st.session_state.get(f"{key}_last")
    index = points[0]["point_index"] if points else last
    if index is None or (not points and asked.mode != "several"):
        return
    st.session_state[f"{key}_last"] = index
    patch = divmod(int(index), pair.grid(side).grid[1])
    if patch[0] < pair.grid(side).grid[0]:
        set_asked(pair, asked.click(side, patch))
