"""How alike two pictures are as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from core.charts.alike import alike_figure, alike_info
from pages.ui.similarity_inputs import PAGE
from pages.ui.text import MISSING

if TYPE_CHECKING:
    from core.features.unrelated import Unrelated
    from pages.ui.similarity_view import Answered

NAMES = {"cls": "CLS cosine", "mean": "Mean-patch cosine", "best_buddies": "Best-buddies share"}
MEANING = {
    "cls": "of what the model says about the picture as a whole",
    "mean": "of the means of all patches",
    "best_buddies": "of patches that are each other's nearest neighbours",
}


def alike(found: Answered) -> None:
    """Draw the similarity of both pictures, each number beside unrelated pairs."""
    pair = found.pair
    values = pair.result.similarity.as_json()
    standings = pair.unrelated.standings(pair.result.similarity) if pair.unrelated else {}
    rows = []
    for name, title in NAMES.items():
        value, standing = values[name], standings.get(name)
        among = f"{standing.percentile:.0f} (n = {standing.n} pairs)" if standing else MISSING
        rows.append((title, MISSING if value is None else f"{value:.3f}", among, MEANING[name]))
    table = pd.DataFrame(rows, columns=["Measure", "Value", "Percentile among unrelated pairs", "What it is"])
    st.table(table, border="horizontal", hide_index=True, alt="Similarity of both pictures")
    others = _others(pair.unrelated)
    drawn = alike_info({NAMES[name]: values[name] for name in NAMES}, others)
    if others and drawn:
        st.plotly_chart(
            alike_figure(drawn),
            key=f"{PAGE}_alike_chart",
            config={"displayModeBar": False},
            alt="Both pictures beside unrelated pairs",
        )
    st.caption(
        "A cosine near 1 means little where unrelated pictures reach it as well; the percentile says how "
        "many of them stay below."
    )


def _others(unrelated: Unrelated | None) -> dict[str, list[float]]:
    if unrelated is None:
        return {}
    return {
        title: [value for pair in unrelated.pairs if (value := getattr(pair, name)) is not None]
        for name, title in NAMES.items()
    }
