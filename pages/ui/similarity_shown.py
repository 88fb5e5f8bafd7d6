"""Both pictures with a colour over each patch, and their downloads."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from core.charts.patches import patch_picture
from pages.ui.similarity_inputs import PAGE
from pages.ui.similarity_state import SIDES
from pages.ui.text import plain

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from core.images import ImageInput
    from core.preprocess import Frame
    from pages.ui.similarity_view import Answered

SHOWN_PX = 1024
"""Longest side of a picture as it is shown; a download has its own size."""


def opacity_slider(tool: str) -> float:
    """Draw how strongly the colours cover the pictures."""
    return st.slider(
        "Opacity", 0.0, 1.0, 0.75, 0.05, key=f"{PAGE}_{tool}_opacity", persist_state="session", width=160
    )


def both_pictures(
    found: Answered,
    colours: Sequence[NDArray[np.uint8]],
    opacity: float,
    tool: str,
    masks: Sequence[NDArray[np.bool_]] | None = None,
) -> None:
    """Draw each picture with its colours (rows columns 3) and a download of it."""
    pair = found.pair
    for column, side, number in zip(st.columns(len(colours), gap="medium"), SIDES, (0, 1), strict=False):
        image, frame = pair.image(side), pair.grid(side).frame
        mask = None if masks is None else masks[number]
        with column:
            st.image(
                _small(patch_picture(image, colours[number], frame, opacity, mask)),
                caption=plain(image.name),
                width="stretch",
            )
            st.download_button(
                "PNG",
                partial(_png, image, colours[number], frame, opacity, mask),
                f"{side}-{tool}.png",
                "image/png",
                icon=":material/download:",
                key=f"{PAGE}_{tool}_{side}_png",
                on_click="ignore",
            )


def _small(picture: Image.Image) -> Image.Image:
    picture.thumbnail((SHOWN_PX, SHOWN_PX))
    return picture


def _png(
    image: ImageInput,
    colours: NDArray[np.uint8],
    frame: Frame,
    opacity: float,
    mask: NDArray[np.bool_] | None,
) -> bytes:
    buffer = io.BytesIO()
    patch_picture(image, colours, frame, opacity, mask).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()
