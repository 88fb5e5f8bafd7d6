"""Principal components of both pictures together, as colours."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd
import streamlit as st

from core.charts.overlay import colour_table
from core.features.pca import Foreground, ForegroundRule, colours, project, two_step
from core.features.pca_file import basis_from_bytes, basis_to_bytes
from pages.ui import state
from pages.ui.similarity_inputs import PAGE
from pages.ui.similarity_kept import once
from pages.ui.similarity_shown import both_pictures, opacity_slider

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.features.pca import PcaBasis, PcaView
    from core.features.values import ImageFeatures
    from pages.ui.similarity_view import Answered

RULES: dict[str, Foreground] = {"Everything": "none", "First component": "first", "Normalised cut": "cut"}
SHOWN = ("Three as red, green, blue", "Component 1", "Component 2", "Component 3")


def components(found: Answered) -> None:
    """Draw both pictures in the colours of their components, or in those of a basis that was kept."""
    pair = found.pair
    features = pair.features[:1] if pair.is_self else pair.features
    kept = _kept_basis()
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        rule = _rule(kept is not None)
        shown = st.selectbox("Show", SHOWN, key=f"{PAGE}_pca_shown", persist_state="session", width=240)
        opacity = opacity_slider("pca")
    view = None
    if kept is None:
        view = once(pair, ("pca", rule), partial(two_step, features, rule))
    basis = kept or cast("PcaView", view).basis
    masks = None if view is None or rule.kind == "none" else view.masks
    both_pictures(found, [_colours(basis, one, shown) for one in features], opacity, "pca", masks)
    if basis.flat:
        st.info("The patches are all alike, so no colour says anything.", icon=":material/info:")
    _explained(basis, view)
    _basis_buttons(basis, kept is not None)


def _rule(is_fixed: bool) -> ForegroundRule:
    label = st.selectbox(
        "Fitted to",
        list(RULES),
        key=f"{PAGE}_pca_rule",
        persist_state="session",
        disabled=is_fixed,
        width=180,
        help="With a foreground, its patches alone are fitted; the rest is darkened, so that the rule is "
        "seen. The first component's foreground is the side that is rarer at the border.",
    )
    kind = RULES[label]
    if kind == "none":
        return ForegroundRule()
    own = threshold = None
    if kind == "first":
        own = st.toggle("Own threshold", key=f"{PAGE}_pca_own", persist_state="session", disabled=is_fixed)
        if own:
            threshold = st.slider(
                "Threshold", 0.0, 1.0, 0.5, 0.01, key=f"{PAGE}_pca_at", persist_state="session", width=160
            )
    swap = st.toggle("Other side", key=f"{PAGE}_pca_swap", persist_state="session", disabled=is_fixed)
    return ForegroundRule(kind, threshold, swap)


def _colours(basis: PcaBasis, features: ImageFeatures, shown: str) -> NDArray[np.uint8]:
    if shown == SHOWN[0]:
        return colours(basis, features)
    number = SHOWN.index(shown) - 1
    values, low, high = project(basis, features)[..., number], basis.low[number], basis.high[number]
    share = np.clip((values - low) / max(float(high - low), 1e-12), 0, 1)
    return colour_table("viridis")[(share * 255).round().astype(np.uint8)]


def _explained(basis: PcaBasis, view: PcaView | None) -> None:
    table = pd.DataFrame(
        {
            "Component": ["1, red", "2, green", "3, blue"],
            "Explained variance": basis.explained[:3].astype(float),
        }
    )
    st.dataframe(
        table,
        hide_index=True,
        column_config={"Explained variance": st.column_config.NumberColumn(format="percent")},
        alt="Explained variance",
    )
    said = f"Fitted to {basis.patches} patches. Signs are fixed: the longer tail of a component is bright."
    if view is not None and view.threshold is not None:
        side = "above" if view.above else "below"
        said += f" The foreground is {side} {view.threshold:.2f} of the first component's range."
    st.caption(said)


def _kept_basis() -> PcaBasis | None:
    """Return the basis that the person wants to go on with, where it is switched on."""
    with st.expander("A kept basis", icon=":material/palette:"):
        st.caption(
            "The same colours on other pictures: keep the basis here, or load one that was downloaded; then "
            "choose other pictures above. Model and features must be the same."
        )
        if file := st.file_uploader("Load a basis", ["safetensors"], key=f"{PAGE}_basis"):
            state.SIMILARITY_BASIS.set(basis_from_bytes(file.getvalue()))
        kept = state.SIMILARITY_BASIS.get()
        if kept is None:
            return None
        st.caption(f"Kept: {kept.patches} patches of {kept.model_id}.")
        used = st.toggle("Use the kept basis", key=f"{PAGE}_basis_used", persist_state="session")
    return kept if used else None


def _basis_buttons(basis: PcaBasis, is_kept: bool) -> None:
    with st.container(horizontal=True):
        if not is_kept:
            st.button(
                "Keep this basis",
                key=f"{PAGE}_basis_keep",
                icon=":material/push_pin:",
                on_click=partial(_keep, basis),
            )
        st.download_button(
            "Basis",
            partial(basis_to_bytes, basis),
            "basis.safetensors",
            "application/octet-stream",
            key=f"{PAGE}_basis_file",
            icon=":material/download:",
            on_click="ignore",
        )


def _keep(basis: PcaBasis) -> None:
    state.SIMILARITY_BASIS.set(basis)
    st.session_state[f"{PAGE}_basis_used"] = True
