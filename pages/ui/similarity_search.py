"""One picture, or a region of it, against all pictures of the store that this visitor may see."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from core.charts.overlay import overlay_png
from core.errors import InputError
from core.features.kinds import SEARCH
from core.features.query import PatchQuery
from core.features.search_values import Indexed
from core.images import decode
from core.settings import settings
from pages.ui import state
from pages.ui.pictures import give_picture, limits
from pages.ui.session import feature_cache, model_pool, picture_search, store, visitor
from pages.ui.similarity_inputs import (
    FIRST_PICKER,
    LOOK_FOR,
    PAGE,
    PICTURES,
    REGION,
    SECOND_PICKER,
    TWO,
    WHOLE,
)
from pages.ui.similarity_run import check_weights
from pages.ui.text import milliseconds, plain

if TYPE_CHECKING:
    from core.features.search_values import Hit
    from core.features.search_workflow import SearchResult
    from core.images import ImageInput
    from db.records import RunRecord
    from pages.ui.similarity_state import Pair
    from pages.ui.similarity_view import Answered

KINDS = {"cls": "CLS token", "mean": "mean patch"}
MAPS, PER_ROW = 8, 4
"""How many hits are drawn, and in one row; all are in the table."""


@dataclass(frozen=True, eq=False, slots=True)
class Searched:
    """A search, and what it was for."""

    sha256: str
    model: tuple[str, str]
    region: PatchQuery | None
    result: SearchResult


def search(found: Answered) -> None:
    """Draw the search and what it found."""
    pair, asked = found.pair, found.pair.asked
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        what = st.segmented_control(
            "Look for",
            [WHOLE, REGION],
            default=None if LOOK_FOR in st.session_state else WHOLE,
            required=True,
            key=LOOK_FOR,
            persist_state="session",
            help="The picture that the query is in, or the query alone: the patches outlined above.",
        )
        top = st.slider("How many", 1, 50, 12, key=f"{PAGE}_search_top", persist_state="session", width=200)
        begun = st.button("Search", key=f"{PAGE}_search_go", icon=":material/search:", type="primary")
    image = pair.image(asked.side)
    region = asked.query if what == REGION else None
    if begun:
        state.SIMILARITY_FOUND.set(_searched(pair, image, region, top))
    missing = picture_search().missing(pair.spec, pair.options, pool=model_pool(), owner=visitor())
    if missing:
        st.caption(f"{missing} kept pictures are new to this model; a search runs it on them first.")
    again = state.SIMILARITY_AGAIN.get()
    if again is not None and again.kind == SEARCH:
        state.SIMILARITY_AGAIN.clear()
        state.SIMILARITY_FOUND.set(_stored(pair, again))
    held = state.SIMILARITY_FOUND.get()
    if held is None or (held.sha256, held.model) != (image.sha256, (pair.spec.id, pair.spec.revision)):
        return
    _show(pair, held)


def _searched(pair: Pair, image: ImageInput, region: PatchQuery | None, top: int) -> Searched:
    from core.features.search_workflow import search_pictures

    bar = st.progress(0.0, "Looking at pictures that are new to the model")

    def told(done: int, n: int) -> None:
        bar.progress(done / max(n, 1), f"Looking at pictures that are new to the model: {done} of {n}")

    result = search_pictures(
        image,
        pair.spec,
        pair.options,
        search=picture_search(),
        cache=feature_cache(),
        pool=model_pool(),
        sink=store(),
        owner=visitor(),
        top=top,
        region=region,
        progress=told,
    )
    bar.empty()
    return Searched(image.sha256, (pair.spec.id, pair.spec.revision), region, result)


def _stored(pair: Pair, run: RunRecord) -> Searched:
    """Return what a run found, as far as the visitor still sees it, with the scores of then.

    Raises:
        StoreError: The run kept nothing, because it failed.
        InputError: It is of other weights.
    """
    from core.features.search_workflow import SearchResult

    check_weights(run, pair.spec)
    rows = json.loads(store().artifact(run.id, "hits.json", visitor()))
    region = run.parameters.get("region")
    query = PatchQuery.from_json(region) if region else None
    hits = picture_search().again(
        {row["sha256"]: row["score"] for row in rows},
        pair.features[0],
        pair.spec,
        pool=model_pool(),
        owner=visitor(),
        region=query,
    )
    times = (run.metric(name) or 0.0 for name in ("load_ms", "index_ms", "search_ms"))
    result = SearchResult(hits, run.parameters.get("kind", "mean"), Indexed(0, ()), *times, run.id)
    return Searched(pair.first.sha256, (pair.spec.id, pair.spec.revision), query, result)


def _show(pair: Pair, held: Searched) -> None:
    result = held.result
    for name, reason in result.indexed.failed:
        st.warning(f"{plain(name)} cannot be searched: {plain(reason)}", icon=":material/warning:")
    if not result.hits:
        kept = "Every picture that a page has run on is found here later."
        none = "This deployment keeps no pictures, so that there are none to search."
        st.info(
            f"The store holds no other picture. {kept if settings().keep_pictures else none}",
            icon=":material/photo_library:",
        )
        return
    for start in range(0, min(MAPS, len(result.hits)), PER_ROW):
        columns = st.columns(PER_ROW, gap="small")
        shown = result.hits[start : min(start + PER_ROW, MAPS)]
        for column, (rank, hit) in zip(columns, enumerate(shown, start + 1), strict=False):
            with column:
                _draw(pair, rank, hit)
    rows = [(n, hit.name, hit.score, *hit.best) for n, hit in enumerate(result.hits, start=1)]
    st.dataframe(
        pd.DataFrame(rows, columns=["Rank", "Picture", "Similarity", "Best row", "Best column"]),
        hide_index=True,
        column_config={"Similarity": st.column_config.NumberColumn(format="%.3f")},
        alt="Pictures that were found",
    )
    what = "a region" if held.region else "the whole picture, by its " + KINDS[result.kind]
    times = f"{milliseconds(result.search_ms)}, after {milliseconds(result.index_ms)} for new pictures"
    st.caption(f"Looked for {what} · saved as run `{result.run_id}` · {times}")


def _draw(pair: Pair, rank: int, hit: Hit) -> None:
    image = _picture(hit.sha256, hit, visitor())
    if image is None:
        st.caption(f"{rank}. {plain(hit.name)} is no longer kept.")
        return
    data = overlay_png(
        image, hit.map, hit.frame, colour_map="viridis", opacity=0.5, smooth=False, colour_bar=False
    )
    st.image(data, width="stretch")
    st.caption(f"{rank}. {plain(hit.name)}, {hit.score:.3f}")
    st.button(
        "Compare",
        key=f"{PAGE}_hit_{hit.sha256}",
        icon=":material/compare:",
        on_click=partial(_compare_with, pair.image(pair.asked.side), image),
    )


@st.cache_data(max_entries=64, show_spinner=False)
def _picture(sha256: str, _hit: Hit, owner: str) -> ImageInput | None:
    """Return a picture of a run that the visitor may see, decoded once; None where it is not kept."""
    data = store().picture_data(_hit.run_id, _hit.role, owner)
    try:
        return None if data is None else decode(data, _hit.name, limits())
    except InputError:
        return None


def _compare_with(first: ImageInput, second: ImageInput) -> None:
    give_picture(FIRST_PICKER, first)
    give_picture(SECOND_PICKER, second)
    st.session_state[PICTURES] = TWO
    state.SIMILARITY_WHOLE.set(True)
