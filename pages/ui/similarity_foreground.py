"""What stands out from the rest of each picture, by a normalised cut."""

from __future__ import annotations

import io
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from PIL import Image

from core.charts.overlay import colour_table
from core.explain.maps import to_picture
from core.features.foreground import TAU, normalised_cut
from pages.ui import state
from pages.ui.pictures import give_picture
from pages.ui.similarity_inputs import PAGE
from pages.ui.similarity_kept import once
from pages.ui.similarity_run import set_asked
from pages.ui.similarity_shown import both_pictures, opacity_slider
from pages.ui.similarity_state import SIDES, Asked

if TYPE_CHECKING:
    from core.features.foreground import Cut
    from core.preprocess import Frame
    from pages.ui.similarity_state import Pair, Side
    from pages.ui.similarity_view import Answered


def foreground(found: Answered) -> None:
    """Draw the proposal for each picture, and what can be done with it."""
    pair = found.pair
    with st.container(horizontal=True, gap="medium"):
        tau = st.slider(
            "Joined from a cosine of",
            -0.5,
            0.95,
            TAU,
            0.05,
            key=f"{PAGE}_tau",
            persist_state="session",
            width=260,
            help="Patches at least so alike hang together. TokenCut takes 0.2 with the keys of the last "
            "layer; a model whose patches are all alike needs more.",
        )
        opacity = opacity_slider("foreground")
    sides: tuple[Side, ...] = SIDES[:1] if pair.is_self else SIDES
    cuts = [
        once(pair, ("cut", number, tau), partial(normalised_cut, pair.features[number].patches, tau))
        for number in range(len(sides))
    ]
    both_pictures(
        found,
        [_colours(cut) for cut in cuts],
        opacity,
        "foreground",
        [cut.mask if cut.found else np.ones_like(cut.mask) for cut in cuts],
    )
    for column, side, cut in zip(st.columns(len(sides), gap="medium"), sides, cuts, strict=True):
        with column:
            _said(pair, side, cut)


def _colours(cut: Cut) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return colour_table("viridis")[((cut.vector + 1) / 2 * 255).round().clip(0, 255).astype(np.uint8)]


def _said(pair: Pair, side: Side, cut: Cut) -> None:
    if cut.seed is None:
        st.info("Nothing stands out: all patches hang together, or none do.", icon=":material/info:")
        return
    how = "; the side with the corners was taken for the background" if cut.by_corners else ""
    st.caption(f"{cut.mask.mean():.0%} of the patches, around row {cut.seed[0]}, column {cut.seed[1]}{how}.")
    frame, image = pair.grid(side).frame, pair.image(side)
    with st.container(horizontal=True):
        st.button(
            "Ask for it",
            key=f"{PAGE}_cut_ask_{side}",
            icon=":material/search:",
            help="Take it as the query",
            on_click=partial(_ask, pair, side, cut),
        )
        if st.button("Segment it", key=f"{PAGE}_cut_segment_{side}", icon=":material/ads_click:"):
            x0, y0, x1, y1 = frame.patch_box(*cut.seed)
            state.SEGMENT_START.set((image.sha256, (x0 + x1) / 2, (y0 + y1) / 2))
            give_picture("segment", image)
            st.switch_page("pages/segment_anything.py")
        st.download_button(
            "Mask (PNG)",
            partial(_mask_png, cut, frame, image.width, image.height),
            f"{side}-foreground.png",
            "image/png",
            key=f"{PAGE}_cut_mask_{side}",
            icon=":material/download:",
            on_click="ignore",
        )


def _ask(pair: Pair, side: Side, cut: Cut) -> None:
    patches = tuple((int(row), int(column)) for row, column in np.argwhere(cut.mask))
    set_asked(pair, Asked(side, "mask", patches))


def _mask_png(cut: Cut, frame: Frame, width: int, height: int) -> bytes:
    pixels = np.nan_to_num(to_picture(cut.mask.astype(np.float32), frame, width, height, smooth=False))
    buffer = io.BytesIO()
    Image.fromarray((pixels > 0.5).astype(np.uint8) * 255).save(buffer, "PNG")
    return buffer.getvalue()
