"""The way from a mask to the page that finds it in another picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from core.images import ImageInput, encode_png
from pages.ui import state
from pages.ui.pictures import give_picture
from pages.ui.similarity_inputs import FIRST_PICKER, PICTURES, TWO

if TYPE_CHECKING:
    from numpy.typing import NDArray


def find_elsewhere(image: ImageInput, mask: NDArray[np.bool_] | None) -> None:
    """Draw the button that hands a mask (H W) and its picture to the similarity page as its query."""
    if mask is None or not mask.any():
        return
    if st.button("Find this in another picture", icon=":material/compare:", key="segment_find"):
        state.SIMILARITY_START.set((image.sha256, encode_png(mask.astype(np.uint8) * 255)))
        give_picture(FIRST_PICKER, image)
        st.session_state[PICTURES] = TWO
        st.switch_page("pages/patch_similarity.py")
