"""Beside the canvas: the objects, the masks to choose from, the prompts one by one, how good the mask is."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from core.errors import InputError
from core.images import ImageInput
from core.segment.draw import Layer, composite, jpeg
from pages.ui.segment_run import PAGE, keep_view
from pages.ui.segment_state import Edited, Work
from pages.ui.segment_view import Drawn, Looks, cleaned, remove_prompt, small_picture
from pages.ui.text import MISSING, plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

THUMBNAIL_PX, THUMBNAIL_WIDTH = 200, 104
"""Pixels of the picture's longer side, and width on the page."""
UNSURE = 0.5
"""Predicted IoU below which the page says that the model is unsure."""


def object_list(work: Work) -> None:
    """Draw the objects of the picture: choose, add, rename, delete."""
    st.caption("Objects; clicks belong to the chosen one")
    with st.container(horizontal=True, gap="small"):
        for place, item in enumerate(work.objects):
            st.button(
                f":{item.hue}[●] {plain(item.name)}",
                key=f"{PAGE}_object_{item.number}",
                type="primary" if place == work.active else "secondary",
                on_click=partial(setattr, work, "active", place),
            )
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        key = f"{PAGE}_name_{work.edited.number}"
        st.text_input(
            "Name",
            work.edited.name,
            max_chars=60,
            key=key,
            width=140,
            on_change=partial(_rename, work, work.edited, key),
        )
        st.button("New", icon=":material/add:", shortcut="n", key=f"{PAGE}_new", on_click=partial(_add, work))
        st.button(
            "",
            icon=":material/delete:",
            help="Delete this object",
            key=f"{PAGE}_delete",
            on_click=work.remove,
            disabled=len(work.objects) == 1 and work.edited.step.prompts.is_empty,
        )


def _rename(work: Work, item: Edited, key: str) -> None:
    typed = "".join(letter for letter in st.session_state[key] if letter.isprintable()).strip()
    item.name = typed or item.name
    if item.step.run_id:
        keep_view(work, item.step.run_id)


def _add(work: Work) -> None:
    try:
        work.add()
    except InputError as error:
        st.toast(str(error), icon=":material/error:")


def mask_choice(work: Work, image: ImageInput, drawn: Drawn, look: Looks) -> None:
    """Draw the masks to choose from; the choice stays when prompts are added."""
    item = work.edited
    result = item.step.result
    if result is None:
        st.info(
            f"Click {'the canvas' if len(work.objects) == 1 else plain(item.name)} to mark an object.",
            icon=":material/ads_click:",
        )
        return
    masks = result.masks
    st.caption("Masks to choose from, with the IoU that the model expects of each")
    row = st.container(horizontal=True, gap="small")
    for index in range(len(masks)):
        with row.container(width=THUMBNAIL_WIDTH):
            is_chosen = index == item.step.index
            mask = drawn.of(item) if is_chosen else None
            if mask is None:
                mask = cleaned(masks, index, look)
            st.image(_thumbnail(image, mask, item.colour), width="stretch")
            st.button(
                f"Mask {index + 1}",
                key=f"{PAGE}_mask_{index}",
                type="primary" if is_chosen else "secondary",
                on_click=partial(_choose_mask, work, index),
                width="stretch",
                help="Show this one, and keep to it when prompts are added.",
            )
            st.caption(
                f"IoU {min(1.0, masks.predicted_iou[index]):.2f}  \n"
                f"stability {masks.stability[index]:.2f}  \narea {_share(mask)}"
            )
    if masks.predicted_iou.max() < UNSURE:
        st.warning(
            "The model is unsure of all of them. Add clicks or a box, or choose another model.",
            icon=":material/help:",
        )


def _thumbnail(image: ImageInput, mask: NDArray[np.bool_], colour: str) -> bytes:
    scale = THUMBNAIL_PX / max(image.width, image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return jpeg(composite(small_picture(image.sha256, *size, image), [Layer(mask, colour)], 0.55))


def _share(mask: NDArray[np.bool_]) -> str:
    share = float(mask.mean())
    return f"{share:.1%}" if share < 0.1 else f"{share:.0%}"


def _choose_mask(work: Work, index: int) -> None:
    item = work.edited
    item.choice = item.step.index = index
    if item.step.run_id:
        keep_view(work, item.step.run_id)


def scores(work: Work, drawn: Drawn, truths: tuple[NDArray[np.bool_], ...]) -> None:
    """Draw how good the mask is: by the model's own word and, where the truth is known, by that."""
    item = work.edited
    mask, result = drawn.of(item), item.step.result
    if mask is None or result is None:
        return
    masks, index = result.masks, item.step.index
    rows = [
        ("IoU, as the model expects", f"{masks.predicted_iou[index]:.3f}"),
        ("Stability (IoU at threshold ± 1)", f"{masks.stability[index]:.3f}"),
        ("Area", f"{int(mask.sum()):,} px, {_share(mask)}"),
        *_truth_rows(mask, truths),
    ]
    frame = pd.DataFrame(rows, columns=["This mask", "Value"])
    st.dataframe(frame, hide_index=True, alt="How good the mask is")
    if not truths:
        st.caption("A drawn scene has an exact truth; for other pictures give one under How sure.")


def _truth_rows(mask: NDArray[np.bool_], truths: tuple[NDArray[np.bool_], ...]) -> list[tuple[str, str]]:
    if not truths:
        return [("IoU to the truth", MISSING)]
    from core.segment.regions import boundary_iou, iou

    best = max(truths, key=lambda truth: iou(mask, truth))
    of = "the nearest true object" if len(truths) > 1 else "the truth"
    return [
        (f"IoU to {of}", f"{iou(mask, best):.3f}"),
        ("The same along the contour", f"{boundary_iou(mask, best):.3f}"),
    ]


def prompt_list(work: Work) -> None:
    """Draw every prompt of the active object with a button that takes it away."""
    prompts = work.edited.step.prompts
    labels = [
        (place, f"{'include' if p.include else 'exclude'} ({p.x:.0f}, {p.y:.0f})")
        for place, p in enumerate(prompts.points)
    ]
    if prompts.box:
        x0, y0, x1, y1 = prompts.box
        labels.append((None, f"box ({x0:.0f}, {y0:.0f}) to ({x1:.0f}, {y1:.0f})"))
    if not labels:
        return
    st.caption("Prompts; press one to remove it")
    with st.container(horizontal=True, gap="small"):
        for place, label in labels:
            st.button(
                label,
                key=f"{PAGE}_remove_{work.edited.number}_{place}",
                icon=":material/close:",
                on_click=partial(remove_prompt, work, place),
            )
