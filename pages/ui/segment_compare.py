"""How sure the mask is, and what another model makes of the same prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from core.charts.segment import sensitivity_figure, sensitivity_info
from core.images import ImageInput
from core.registry import ModelSpec
from core.segment.draw import Layer, composite, jpeg
from core.segment.prompts import Prompts
from pages.ui import state
from pages.ui.models import model_picker
from pages.ui.pictures import FORMATS
from pages.ui.segment_run import MULTIMASK, PAGE, known_truths
from pages.ui.segment_state import Work
from pages.ui.segment_view import cleaned, looks, small_picture
from pages.ui.session import embedding_cache, model_pool, store, visitor
from pages.ui.text import MISSING, milliseconds, plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.segment.sensitivity import Sensitivity
    from core.segment.workflow import SegmentResult

SIDE_PX = 520


@dataclass(frozen=True)
class Replayed:
    """The same prompts on another model."""

    picture: str
    prompts: Prompts
    spec: ModelSpec
    result: SegmentResult


def how_sure(work: Work, image: ImageInput, spec: ModelSpec) -> None:
    """Draw the truth upload and the sensitivity to where exactly the prompts are."""
    _truth_upload(image)
    result = work.edited.step.result
    if result is None:
        st.info("Mark an object first.", icon=":material/info:")
        return
    first, second = st.columns(2, gap="medium", vertical_alignment="bottom")
    with first:
        radius = st.slider(
            "Move each prompt by up to",
            1.0,
            max(4.0, min(image.width, image.height) / 10),
            max(2.0, min(image.width, image.height) / 40),
            0.5,
            format="%.1f px",
            key=f"{PAGE}_radius_{image.sha256[:8]}",
        )
    with second:
        asked = st.button(
            "Move the prompts and compare", icon=":material/vibration:", key=f"{PAGE}_jitter", type="primary"
        )
    if asked:
        _show_sensitivity(image, _measure(work, image, spec, radius))


def _measure(work: Work, image: ImageInput, spec: ModelSpec, radius_px: float) -> Sensitivity:
    from core.segment.sensitivity import jitter

    item = work.edited
    assert item.step.result is not None
    mask = item.step.result.masks.mask(item.step.index)
    with st.spinner("Asking the same again, a little moved …"), model_pool().segmenter(spec) as model:
        found = embedding_cache().get(model, image)
        return jitter(model, found.embedding, item.step.prompts, mask, radius_px=radius_px)


def _show_sensitivity(image: ImageInput, found: Sensitivity) -> None:
    first, second = st.columns(2, gap="medium")
    with first:
        st.plotly_chart(sensitivity_figure(sensitivity_info(found)), config={"displayModeBar": False})
        st.caption(
            f"IoU with the mask above over {len(found.values)} moves: mean {found.mean:.2f}, worst "
            f"{found.worst:.2f}. Near 1: the mask does not depend on where exactly you clicked."
        )
    with second:
        scale = SIDE_PX / max(image.width, image.height)
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        unsure = (found.share > 0.1) & (found.share < 0.9)
        layers = [Layer(found.share >= 0.9, "#0072B2"), Layer(unsure, "#E69F00")]
        st.image(jpeg(composite(small_picture(image.sha256, *size, image), layers, 0.5)), width="stretch")
        st.caption("Blue: in at least 9 of 10 answers. Orange: in some of them.")


def _truth_upload(image: ImageInput) -> None:
    from core.segment.export import read_mask

    file = st.file_uploader(
        "Truth mask of this picture (black is outside)", FORMATS, key=f"{PAGE}_truth_{image.sha256[:8]}"
    )
    if file is None:
        return
    mask = read_mask(file.getvalue(), (image.height, image.width))
    held = state.SEGMENT_TRUTH.get()
    if held is None or held[0] != image.sha256 or not np.array_equal(held[1], mask):
        state.SEGMENT_TRUTH.set((image.sha256, mask))
        st.rerun(scope="app")


def another_model(work: Work, image: ImageInput, spec: ModelSpec) -> None:
    """Draw the same prompts answered by another model, beside this one's answer."""
    item = work.edited
    if item.step.result is None:
        st.info("Mark an object first.", icon=":material/info:")
        return
    other = model_picker(f"{PAGE}_replay", task="segmentation", label="Other model")
    if st.button("Ask the other model", type="primary", icon=":material/compare:", key=f"{PAGE}_replay_run"):
        state.REPLAYED.set(_replay(item.step.prompts, image, other))
    held = state.REPLAYED.get()
    if held is None or held.picture != image.sha256 or held.prompts is not item.step.prompts:
        return
    _side_by_side(work, image, spec, held)


def _replay(prompts: Prompts, image: ImageInput, other: ModelSpec) -> Replayed:
    from core.segment.workflow import segment

    with st.spinner(f"{plain(other.title)} looks at the picture …", show_time=True):
        result = segment(
            image,
            other,
            Prompts(prompts.points, prompts.box),
            pool=model_pool(),
            cache=embedding_cache(),
            sink=store(),
            owner=visitor(),
            multimask=st.session_state.get(MULTIMASK, True),
        )
    return Replayed(image.sha256, prompts, other, result)


def _side_by_side(work: Work, image: ImageInput, spec: ModelSpec, held: Replayed) -> None:
    from core.segment.regions import iou

    item, look = work.edited, looks()
    assert item.step.result is not None
    mine = cleaned(item.step.result.masks, item.step.index, look)
    theirs = cleaned(held.result.masks, held.result.masks.best, look)
    scale = SIDE_PX / max(image.width, image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    small = small_picture(image.sha256, *size, image)
    rows = []
    for column, title, mask, result in zip(
        st.columns(2, gap="medium"),
        (spec.title, held.spec.title),
        (mine, theirs),
        (item.step.result, held.result),
        strict=True,
    ):
        column.image(jpeg(composite(small, [Layer(mask, item.colour)], 0.5)), width="stretch")
        column.caption(plain(title))
        rows.append(
            {
                "Model": title,
                "IoU to truth": _to_truth(mask, known_truths(image)),
                "Predicted IoU": f"{result.masks.predicted_iou.max():.3f}",
                "Embed": f"{milliseconds(result.times.embed_ms)} ({result.times.embedded})",
                "Decode": milliseconds(result.times.decode_ms),
            }
        )
    st.markdown(f"IoU between the two masks: **{iou(mine, theirs):.3f}**")
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt="The two models compared")


def _to_truth(mask: NDArray[np.bool_], truths: tuple[NDArray[np.bool_], ...]) -> str:
    from core.segment.regions import iou

    return f"{max(iou(mask, truth) for truth in truths):.3f}" if truths else MISSING
