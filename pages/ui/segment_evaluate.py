"""Evaluate: clicks simulated on objects of known masks, and how fast the IoU rises with them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from core.charts.segment import (
    clicks_figure,
    clicks_info,
    noc_figure,
    noc_info,
    predicted_figure,
    predicted_info,
)
from core.errors import InputError
from core.images import decode
from core.registry import ModelSpec
from core.segment.kinds import EVALUATION
from db.records import RunRecord
from pages.ui import state
from pages.ui.pictures import FORMATS, limits
from pages.ui.segment_run import PAGE
from pages.ui.session import model_pool, store, visitor
from pages.ui.text import MISSING

if TYPE_CHECKING:
    from core.segment.evaluate import TruthPicture
    from core.segment.scores import Evaluation

NAME = f"{PAGE}_eval"
DRAWN, OWN = "Drawn pictures", "My pictures and masks"


@dataclass(frozen=True)
class Evaluated:
    """An evaluation and the model it is of."""

    model: tuple[str, str]
    title: str
    result: Evaluation
    run_id: str | None


def evaluation(spec: ModelSpec) -> None:
    """Draw the options, the button, and the last evaluation of this session."""
    source = st.segmented_control(
        "On", [DRAWN, OWN], default=DRAWN, required=True, key=f"{NAME}_on", persist_state="session"
    )
    one, two, three = st.columns(3, gap="medium", vertical_alignment="bottom")
    clicks = one.slider("Clicks on each object", 1, 20, 5, key=f"{NAME}_clicks", persist_state="session")
    seed = int(two.number_input("Seed", 0, 2**31 - 1, 0, key=f"{NAME}_seed", persist_state="session"))
    own: tuple[list[UploadedFile], list[UploadedFile]] = ([], [])
    count = 0
    if source == DRAWN:
        count = three.slider(
            "Pictures of each of three kinds",
            2,
            200,
            10,
            key=f"{NAME}_count",
            persist_state="session",
            help="Plain scenes; coloured shapes that hide each other on patterns and photographs; cut-outs "
            "of photographs pasted on photographs that the model of this repository has not learned from.",
        )
    else:
        own = _uploads()
    if st.button("Evaluate", type="primary", icon=":material/monitoring:", key=f"{NAME}_run"):
        _run(spec, clicks, seed, count, own)
    again = state.SEGMENT_AGAIN.get()
    if again is not None and again.kind == EVALUATION:
        state.SEGMENT_AGAIN.clear()
        state.EVALUATED.set(_stored(again))
    held = state.EVALUATED.get()
    if held is not None:
        _show(held)


def _stored(run: RunRecord) -> Evaluated:
    """Return the evaluation that a run kept."""
    from core.segment.scores import Evaluation

    data = store().artifact(run.id, "evaluation.json", visitor())
    found = Evaluation.from_json(json.loads(data))
    return Evaluated((run.model_id, run.model_revision), run.model_id, found, run.id)


def _uploads() -> tuple[list[UploadedFile], list[UploadedFile]]:
    one, two = st.columns(2, gap="medium")
    pictures = one.file_uploader("Pictures", FORMATS, accept_multiple_files=True, key=f"{NAME}_pictures")
    masks = two.file_uploader(
        "Masks, each named as its picture; black is outside",
        FORMATS,
        accept_multiple_files=True,
        key=f"{NAME}_masks",
    )
    return pictures, masks


def _run(
    spec: ModelSpec,
    clicks: int,
    seed: int,
    count: int,
    own: tuple[Sequence[UploadedFile], Sequence[UploadedFile]],
) -> None:
    from core.segment.evaluate import truth_pictures
    from core.segment.workflow import evaluate_segmenter

    source: dict[str, Any] = {"scenes": count} if count else {"uploaded": len(own[0])}
    pictures = truth_pictures(count, seed) if count else _pairs(*own)
    bar = st.progress(0.0, "Starting …")
    stop = st.empty()
    stop.button("Cancel", icon=":material/stop_circle:", key=f"{NAME}_cancel")
    try:
        found, run_id = evaluate_segmenter(
            spec,
            pictures,
            source=source,
            pool=model_pool(),
            sink=store(),
            owner=visitor(),
            clicks=clicks,
            seed=seed,
            progress=lambda share: bar.progress(share, f"{share:.0%} of the pictures"),
        )
    finally:
        bar.empty()
        stop.empty()
    state.EVALUATED.set(Evaluated((spec.id, spec.revision), spec.title, found, run_id))


def _pairs(pictures: Sequence[UploadedFile], masks: Sequence[UploadedFile]) -> Iterator[TruthPicture]:
    """Return the uploaded pictures with their masks, matched by name.

    Raises:
        InputError: There are none, or a picture has no mask.
    """
    from core.segment.evaluate import uploaded_pictures
    from core.segment.export import read_mask

    by_name = {PurePath(mask.name).stem: mask for mask in masks}
    if not pictures:
        raise InputError("There is no picture to evaluate on.", "Upload pictures and their masks.")
    found = []
    for file in pictures:
        mask = by_name.get(PurePath(file.name).stem)
        if mask is None:
            raise InputError(f"{file.name} has no mask.", "Upload a mask of the same name, ending aside.")
        image = decode(file.getvalue(), file.name, limits())
        found.append((image, [read_mask(mask.getvalue(), (image.height, image.width))]))
    return iter(uploaded_pictures(found))


def _show(held: Evaluated) -> None:
    found = held.result
    st.markdown(f"**{held.title}**, {found.objects} objects")
    one, two = st.columns(2, gap="medium")
    with one:
        st.plotly_chart(clicks_figure(clicks_info(found)), key=f"{NAME}_clicks_chart")
    with two:
        st.plotly_chart(noc_figure(noc_info(found)), key=f"{NAME}_noc_chart")
    with st.expander("Predicted against true IoU, and all numbers", icon=":material/table:"):
        st.plotly_chart(predicted_figure(predicted_info(found)), key=f"{NAME}_predicted_chart")
        frame = pd.DataFrame(found.rows())
        st.dataframe(frame, hide_index=True, alt="All numbers of the evaluation")
        st.download_button(
            "As CSV", frame.to_csv(index=False), "evaluation.csv", "text/csv", icon=":material/download:"
        )
    st.caption(f"saved as run `{held.run_id or MISSING}`")
