"""Both pictures cut into parts that look alike to the model."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from core.charts.patches import MOST_PARTS, PART_COLOURS, part_colours
from core.features.parts import kmeans_parts
from pages.ui.similarity_inputs import PAGE
from pages.ui.similarity_kept import once
from pages.ui.similarity_shown import both_pictures, opacity_slider

if TYPE_CHECKING:
    from core.features.parts import Parts
    from pages.ui.similarity_view import Answered


def parts(found: Answered) -> None:
    """Draw the parts; equal colours in both pictures are equal parts."""
    pair = found.pair
    with st.container(horizontal=True, gap="medium"):
        k = st.slider("Parts", 2, MOST_PARTS, 5, key=f"{PAGE}_k", persist_state="session", width=260)
        opacity = opacity_slider("parts")
    features = pair.features[:1] if pair.is_self else pair.features
    result = once(pair, ("parts", k), partial(kmeans_parts, [one.patches for one in features], k))
    both_pictures(found, [part_colours(labels) for labels in result.labels], opacity, "parts")
    st.dataframe(
        _table(result).style.map(_swatch, subset=["Colour"]),
        hide_index=True,
        column_config={
            "Share": st.column_config.NumberColumn(format="percent"),
            "Tightness": st.column_config.NumberColumn(
                format="%.3f", help="Mean cosine of the part's patches and its centre."
            ),
        },
        alt="Parts",
    )
    if len(result.sizes) < k:
        st.caption(f"Only {len(result.sizes)} different parts are there.")


def _table(result: Parts) -> pd.DataFrame:
    shares = result.sizes / result.sizes.sum()
    return pd.DataFrame(
        {
            "Part": range(1, len(shares) + 1),
            "Colour": ["#{:02x}{:02x}{:02x}".format(*PART_COLOURS[n]) for n in range(len(shares))],
            "Patches": result.sizes,
            "Share": shares,
            "Tightness": result.tightness,
        }
    )


def _swatch(colour: str) -> str:
    return f"background-color: {colour}; color: {colour}"
