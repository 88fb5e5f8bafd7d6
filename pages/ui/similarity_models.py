"""The same click, answered by another model beside the first one."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

from core.charts.similarity import Looks, similarity_figure, similarity_info
from core.features.matching import ask
from core.features.values import FeatureOptions
from core.registry import resolve
from pages.ui.models import model_picker
from pages.ui.session import feature_cache, model_pool, store, visitor
from pages.ui.similarity_draw import shown_picture
from pages.ui.similarity_inputs import FIRST_MODEL, PAGE
from pages.ui.similarity_kept import once
from pages.ui.similarity_run import query_centre, remember, true_place
from pages.ui.similarity_state import other
from pages.ui.text import MISSING, plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.features.matching import QueryAnswer
    from core.registry import ModelSpec
    from pages.ui.similarity_state import Pair
    from pages.ui.similarity_view import Answered

SECOND_MODEL = "shipped/vit-scenes"
CHART_PX = 360


def another_model(found: Answered) -> None:
    """Draw the cross maps of both models for what is asked, and their marks side by side."""
    pair = found.pair
    spec = _choice(pair)
    if spec.id == pair.spec.id:
        st.info("This is the model of the page. Choose another one.", icon=":material/info:")
        return
    if found.answer is None:
        st.info("Click a patch in either picture.", icon=":material/ads_click:")
        return
    theirs, answer = _answered(found, spec)
    columns = st.columns(2, gap="medium")
    low = min(float(found.answer.cross_map.min()), float(answer.cross_map.min()))
    high = max(float(found.answer.cross_map.max()), float(answer.cross_map.max()))
    for column, shown, own in zip(columns, (pair, theirs), (found.answer, answer), strict=True):
        with column:
            st.caption(plain(shown.spec.title))
            _map(found, shown, own, (low, high))
    table = pd.DataFrame(
        {"Mark": _NAMES, "Page's model": _marks(pair, found.answer), "Other model": _marks(theirs, answer)}
    )
    st.table(table, border="horizontal", hide_index=True, alt="Marks of both models")
    agree = map_correlation(found.answer.cross_map, answer.cross_map)
    st.caption(
        f"Correlation of both maps: {MISSING if agree is None else f'{agree:.2f}'} (at the finer grid). The "
        "colours are on one scale, but cosines of two models are not the same measure. The other model's "
        f"comparison is saved as run `{theirs.run_id}`."
    )


def _choice(pair: Pair) -> ModelSpec:
    if pair.spec.source == "shipped" and st.toggle(
        "Its untrained twin",
        key=f"{PAGE}_twin",
        persist_state="session",
        help="The same network with random weights: what of a map is due to training.",
    ):
        return resolve(f"random/{pair.spec.id}")
    first = SECOND_MODEL if pair.spec.id == FIRST_MODEL else FIRST_MODEL
    return model_picker(f"{PAGE}_other", task="features", label="Other model", first=first)


def _answered(found: Answered, spec: ModelSpec) -> tuple[Pair, QueryAnswer]:
    """Return the pair as the other model sees it, asked about the same places, and its answer."""
    pair = found.pair
    theirs = once(pair, ("model", spec.id, spec.revision), partial(_compared, pair, spec))
    asked = pair.asked.on(pair.source.frame, theirs.grid(pair.asked.side).frame)
    theirs = replace(theirs, asked=asked)
    assert asked.query is not None  # there is an answer to it
    apart = found.view.apart and pair.is_self
    return theirs, ask(asked.query, theirs.source, theirs.target, apart=apart)


def _compared(pair: Pair, spec: ModelSpec) -> Pair:
    """Return the pair as the other model sees it: a run of its own, which opens with what is asked now."""
    from core.features.workflow import similar

    options = FeatureOptions(size=pair.options.size) if "shipped/" in spec.id else FeatureOptions()
    images = pair.first, pair.second
    with st.spinner(f"{plain(spec.title)} looks at both pictures …", show_time=True):
        result = similar(
            *images,
            spec,
            cache=feature_cache(),
            pool=model_pool(),
            sink=store(),
            owner=visitor(),
            options=options,
            apart=pair.is_self,
        )
        found = feature_cache().get_many(spec, images, options, model_pool())
    theirs = replace(
        pair,
        spec=spec,
        options=options,
        features=(found[0].features, found[1].features),
        result=result,
        unrelated=None,
        reopened=None,
    )
    remember(theirs, pair.asked.on(pair.source.frame, theirs.grid(pair.asked.side).frame))
    return theirs


def _map(found: Answered, pair: Pair, answer: QueryAnswer, limits: tuple[float, float]) -> None:
    side = pair.asked.side if pair.is_self else other(pair.asked.side)
    image = pair.image(side)
    info = similarity_info(
        image,
        pair.grid(side).frame,
        answer.cross_map,
        include=pair.asked.include if pair.is_self else (),
        exclude=pair.asked.exclude if pair.is_self else (),
        peaks=answer.peaks[:1],
        hidden=None,
        truth=true_place(pair, query_centre(pair)),
    )
    view = found.view
    looks = Looks(view.colour_map, view.opacity, view.smooth, False, limits)
    st.plotly_chart(
        similarity_figure(info, shown_picture(image.sha256, image), looks, height_px=CHART_PX),
        key=f"{PAGE}_model_chart_{pair.spec.id}",
        config={"displayModeBar": False},
        alt=f"Similarity to the query by {pair.spec.title}",
    )


_NAMES = (
    "Best match, x and y",
    "Cosine similarity",
    "Mutual nearest neighbours",
    "Ahead of the second best place",
    "There and back ends away by",
    "Distance to the true place",
)


def _marks(pair: Pair, answer: QueryAnswer) -> list[str]:
    match, true = answer.match, true_place(pair, query_centre(pair))
    x, y = match.second_xy
    away = MISSING if true is None else f"{((x - true[0]) ** 2 + (y - true[1]) ** 2) ** 0.5:.1f} px"
    return [
        f"{x:.0f}, {y:.0f} px",
        f"{match.score:.3f}",
        "yes" if match.mutual else "no",
        MISSING if match.margin is None else f"{match.margin:.3f}",
        f"{match.cycle_error_px:.0f} px",
        away,
    ]


def map_correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float | None:
    """Return Pearson's correlation of two maps of one picture at the finer grid; None if one is flat."""
    rows, columns = max(first.shape[0], second.shape[0]), max(first.shape[1], second.shape[1])
    one, other_ = (
        np.asarray(Image.fromarray(m).resize((columns, rows), Image.Resampling.BILINEAR)).ravel()
        for m in (first, second)
    )
    if one.std() == 0 or other_.std() == 0:
        return None
    return float(np.corrcoef(one, other_)[0, 1])
