"""The way from a mask to the page that asks models about what it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from core.images import ImageInput, from_rgb
from pages.ui import state
from pages.ui.pictures import give_picture
from pages.ui.vlm_state import PAGE

if TYPE_CHECKING:
    from numpy.typing import NDArray

MARGIN = 0.1
"""Room around the object, as a share of its longer side: a crop to the edge is hard to recognise."""


def ask_about_object(image: ImageInput, mask: NDArray[np.bool_] | None) -> None:
    """Draw the button that hands the region of a mask (H W) to the head-to-head page."""
    if mask is None or not mask.any():
        return
    if st.button("Ask about this object", icon=":material/forum:", key="segment_ask"):
        crop = region(image, mask)
        give_picture(PAGE, crop)
        state.VLM_START.set(crop.sha256)
        st.switch_page("pages/vlm_head_to_head.py")


def region(image: ImageInput, mask: NDArray[np.bool_]) -> ImageInput:
    """Return the part of a picture that a mask (H W) covers, with some room around it."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    room = round(MARGIN * max(bottom - top, right - left))
    top, left = max(0, top - room), max(0, left - room)
    return from_rgb(image.rgb[top : bottom + room, left : right + room], f"{image.name} region")
