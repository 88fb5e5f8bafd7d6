"""How far to trust the best match: its marks, and one sentence that follows from them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

import pandas as pd
import streamlit as st

from pages.ui import state
from pages.ui.pictures import give_picture
from pages.ui.similarity_inputs import PAGE
from pages.ui.similarity_run import background_ms, compare_with_unrelated, query_centre, true_place
from pages.ui.similarity_state import other
from pages.ui.text import MISSING, milliseconds

if TYPE_CHECKING:
    from core.features.matching import Match, QueryAnswer
    from pages.ui.similarity_view import Answered

NEAR_PATCHES = 1.5
"""A way there and back that ends this near, in patches, comes back: diagonal neighbours count."""
CLEAR_MARGIN = 0.02
RARE_PERCENTILE, COMMON_PERCENTILE = 99.0, 90.0
RULE = (
    f"Strong: going back from the match ends at most {NEAR_PATCHES:g} patches from the start, the match is "
    f"at least {CLEAR_MARGIN:g} ahead of the second best place, and at most {100 - RARE_PERCENTILE:g} % of "
    "the patches of unrelated pictures are as similar. Not to be trusted: all similarities are alike, or "
    f"more than {100 - COMMON_PERCENTILE:g} % of unrelated patches are as similar, or neither of the first "
    "two holds. Doubtful: all else. No mark needs the truth, and none proves a match."
)


class Verdict(NamedTuple):
    """What the marks come to."""

    level: Literal["strong", "doubtful", "not to be trusted"]
    sentence: str


def verdict(match: Match, flat: bool) -> Verdict:
    """Return how far to trust a match, by `RULE`."""
    if flat:
        return Verdict("not to be trusted", "All places are alike to this query: nothing stands out.")
    returns = match.mutual or match.cycle_error_patches <= NEAR_PATCHES
    clear = match.margin is None or match.margin >= CLEAR_MARGIN
    unrelated = match.unrelated_percentile
    if unrelated is not None and unrelated < COMMON_PERCENTILE:
        return Verdict("not to be trusted", "Patches of unrelated pictures are often as similar as this.")
    if not returns and not clear:
        return Verdict("not to be trusted", "Another place is as good, and the way back ends elsewhere.")
    if returns and clear and (unrelated is None or unrelated >= RARE_PERCENTILE):
        return Verdict("strong", "The way back ends at the start, and no other place comes close.")
    if not returns:
        return Verdict("doubtful", "The match is clear, but the way back ends elsewhere.")
    if not clear:
        return Verdict("doubtful", "The way back ends at the start, but another place is nearly as good.")
    return Verdict("doubtful", "Some patches of unrelated pictures are as similar as this.")


_BADGES = {
    "strong": (":material/verified:", "green"),
    "doubtful": (":material/help:", "orange"),
    "not to be trusted": (":material/warning:", "red"),
}


def findings(found: Answered) -> None:
    """Draw the marks of the best match, and the best places as a table."""
    if found.answer is None:
        st.info("Click a patch in either picture.", icon=":material/ads_click:")
        return
    for note in found.pair.result.notes:
        st.info(note, icon=":material/info:")
    left, right = st.columns(2, gap="large")
    with left:
        _trust(found, found.answer)
    with right:
        _places(found, found.answer)


def _trust(found: Answered, answer: QueryAnswer) -> None:
    said = verdict(answer.match, answer.flat)
    icon, colour = _BADGES[said.level]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown("**How far to trust the best match**", width="content")
        st.badge(said.level.capitalize(), icon=icon, color=colour, help=RULE)  # type: ignore[arg-type]
    st.caption(said.sentence)
    frame = pd.DataFrame(_marks(found, answer), columns=["Mark", "Value"])
    st.table(frame, border="horizontal", hide_index=True, alt="Marks of trust of the best match")
    if found.pair.unrelated is None and found.pair.spec.source != "shipped":
        took = background_ms(found.pair)
        note = f", about {milliseconds(took)}" if took else ""
        st.button(
            f"Compare with unrelated pictures{note}",
            key=f"{PAGE}_unrelated",
            icon=":material/compare_arrows:",
            on_click=partial(compare_with_unrelated, found.pair),
        )


def _marks(found: Answered, answer: QueryAnswer) -> list[tuple[str, str]]:
    match, n = answer.match, answer.unrelated.n if answer.unrelated else None
    others = f"(n = {answer.others.n} patches)" if answer.others else ""
    radius = found.view.radius
    beyond = f"beyond {radius} {'patch' if radius == 1 else 'patches'}"
    margin = MISSING if match.margin is None else f"{match.margin:.3f} ({beyond})"
    cycle = f"{match.cycle_error_patches:.1f} patches, {match.cycle_error_px:.0f} px"
    return [
        ("Cosine similarity", f"{match.score:.3f}"),
        ("Mutual nearest neighbours", "yes" if match.mutual else "no"),
        ("Ahead of the second best place", margin),
        ("There and back ends away by", cycle),
        ("Percentile among the query's own picture", f"{_rank(match.others_percentile)} {others}"),
        (
            "Percentile among unrelated pictures",
            MISSING if n is None else f"{_rank(match.unrelated_percentile)} (n = {n} patches)",
        ),
        *_truth(found, answer),
    ]


def _rank(percentile: float | None) -> str:
    return MISSING if percentile is None else f"{percentile:.1f}"


def _truth(found: Answered, answer: QueryAnswer) -> list[tuple[str, str]]:
    pair = found.pair
    true = true_place(pair, query_centre(pair))
    if true is None:
        return []
    target = pair.image(other(pair.asked.side))
    if not (0 <= true[0] < target.width and 0 <= true[1] < target.height):
        return [("Distance to the true place", f"{MISSING} (it is outside of the other picture)")]
    x, y = answer.match.second_xy
    away = ((x - true[0]) ** 2 + (y - true[1]) ** 2) ** 0.5
    x0, _, x1, _ = pair.target.frame.patch_box(*answer.match.second)
    return [("Distance to the true place", f"{away:.1f} px (a patch is {x1 - x0:.0f} px wide)")]


def _places(found: Answered, answer: QueryAnswer) -> None:
    pair = found.pair
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        where = "same" if pair.is_self else other(pair.asked.side)
        st.markdown(f"**Best places in the {where} picture**", width="content")
        if st.button("Segment what is there", icon=":material/ads_click:", key=f"{PAGE}_segment"):
            _segment(found, answer)
    frame = pair.target.frame
    rows = []
    for rank, peak in enumerate(answer.peaks, start=1):
        x0, y0, x1, y1 = frame.patch_box(*peak.patch)
        rows.append((rank, *peak.patch, (x0 + x1) / 2, (y0 + y1) / 2, peak.score))
    table = pd.DataFrame(rows, columns=["Rank", "Row", "Column", "x (px)", "y (px)", "Similarity"])
    number = st.column_config.NumberColumn
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            "x (px)": number(format="%.0f"),
            "y (px)": number(format="%.0f"),
            "Similarity": number(format="%.3f"),
        },
        alt="Best places in the other picture",
    )


def _segment(found: Answered, answer: QueryAnswer) -> None:
    """Hand the best match to the segmentation page as its first click."""
    image = found.pair.image(other(found.pair.asked.side))
    state.SEGMENT_START.set((image.sha256, *answer.match.second_xy))
    give_picture("segment", image)
    st.switch_page("pages/segment_anything.py")
