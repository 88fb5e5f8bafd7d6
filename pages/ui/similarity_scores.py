"""How often the best match is right where the truth is known, beside the same network untrained."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import streamlit as st

from core.features.kinds import EVALUATION
from core.features.pck import ALPHAS, MAX_PAIRS
from core.registry import resolve
from pages.ui import state
from pages.ui.session import feature_cache, model_pool, store, visitor
from pages.ui.similarity_inputs import PAGE
from pages.ui.similarity_run import check_weights
from pages.ui.text import MISSING, milliseconds, plain

if TYPE_CHECKING:
    from core.features.pck import PairScores, PckScore
    from core.features.values import FeatureOptions
    from core.registry import ModelSpec
    from db.records import RunRecord
    from pages.ui.similarity_view import Answered

PROTOCOL = (
    "PCK: the share of key points whose best match lies within a share (0.05 or 0.1) of the longer side of "
    "the second picture from the truth. Key points of scene pairs are patches on objects, by the known warp; "
    "of the motorcycle, all patches that both eyes see, by the measured disparity. Chance is a patch chosen "
    "blindly; unmoved is the guess that nothing moved: features of place alone bring a model that far; the "
    "limit is the nearest patch that the grid has. Nothing is left out."
)


class Scored(NamedTuple):
    """The scores of one model."""

    title: str
    spec_id: str
    scores: PairScores
    run_id: str | None


class Measured(NamedTuple):
    """What was measured, and for which model and options."""

    spec_id: str
    revision: str
    options: FeatureOptions
    rows: tuple[Scored, ...]


def scores(found: Answered) -> None:
    """Draw the measurement and its table."""
    pair = found.pair
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        n = st.number_input(
            "Scene pairs",
            1,
            MAX_PAIRS,
            20,
            key=f"{PAGE}_score_pairs",
            persist_state="session",
            width=140,
            help=PROTOCOL,
        )
        begun = st.button("Measure", key=f"{PAGE}_score_go", icon=":material/straighten:", type="primary")
        expected = feature_cache().expected_ms(pair.spec.id)
        if expected:
            took = milliseconds(2 * (n + 1) * expected)
            st.caption(f"about {took} for each model, less what was seen before", width="content")
    if begun:
        rows = tuple(_scored(spec, n, pair.options) for spec in _contestants(pair.spec))
        state.SIMILARITY_SCORES.set(Measured(pair.spec.id, pair.spec.revision, pair.options, rows))
    again = state.SIMILARITY_AGAIN.get()
    if again is not None and again.kind == EVALUATION:
        state.SIMILARITY_AGAIN.clear()
        state.SIMILARITY_SCORES.set(
            Measured(pair.spec.id, pair.spec.revision, pair.options, (_stored(again),))
        )
    held = state.SIMILARITY_SCORES.get()
    if held is None or held[:3] != (pair.spec.id, pair.spec.revision, pair.options):
        st.caption("Scene pairs and the stereo pair of a motorcycle, where every true place is known.")
        return
    _show(held)


def _stored(run: RunRecord) -> Scored:
    """Return the scores that a run kept.

    Raises:
        StoreError: The run kept none, because it failed.
        InputError: It is of other weights.
    """
    from core.features.pck import PairScores

    spec = resolve(run.model_id)
    check_weights(run, spec)
    data = store().artifact(run.id, "scores.json", visitor())
    return Scored(spec.title, spec.id, PairScores.from_json(json.loads(data)), run.id)


def _contestants(spec: ModelSpec) -> list[ModelSpec]:
    return [spec, resolve(f"random/{spec.id}")] if spec.source == "shipped" else [spec]


def _scored(spec: ModelSpec, n: int, options: FeatureOptions) -> Scored:
    from core.features.workflow import evaluate_similarity

    bar = st.progress(0.0, plain(spec.title))

    def told(done: int, of: int) -> None:
        bar.progress(done / max(of, 1), f"{plain(spec.title)}: {done} of {of} pairs")

    found, run_id = evaluate_similarity(
        spec,
        n,
        0,
        cache=feature_cache(),
        pool=model_pool(),
        sink=store(),
        owner=visitor(),
        options=options,
        progress=told,
    )
    bar.empty()
    return Scored(spec.title, spec.id, found, run_id)


def _show(held: Measured) -> None:
    rows = [_row(one, kind) for one in held.rows for kind in ("scenes", "stereo")]
    table = pd.DataFrame(rows)
    st.dataframe(table, hide_index=True, alt="Share of right matches")
    st.download_button(
        "Table (CSV)",
        table.to_csv(index=False),
        "pck.csv",
        "text/csv",
        key=f"{PAGE}_score_csv",
        icon=":material/download:",
        on_click="ignore",
    )
    runs = ", ".join(f"`{one.run_id}`" for one in held.rows)
    st.caption(f"{PROTOCOL} Saved as {runs}.")


def _references(found: PckScore | None, i: int) -> str:
    """Return what to hold the share at one alpha against."""
    if found is None:
        return MISSING
    return f"{found.chance[i]:.2f}, {found.same_place[i]:.2f}, {found.best_possible[i]:.2f}"


def _row(one: Scored, kind: str) -> dict[str, str | int]:
    found: PckScore | None = getattr(one.scores, kind)
    row: dict[str, str | int] = {"Model": one.title, "Pairs": "scenes" if kind == "scenes" else "motorcycle"}
    for i, alpha in enumerate(ALPHAS):
        row[f"PCK@{alpha:g}"] = MISSING if found is None else f"{found.pck[i]:.2f}"
        row[f"chance, unmoved, limit @{alpha:g}"] = _references(found, i)
    row["Mean error"] = MISSING if found is None else f"{found.mean_error_px:.0f} px"
    row["Key points"] = 0 if found is None else found.points
    return row
