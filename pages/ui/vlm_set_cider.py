"""CIDEr-D of a run's captions: a score of a whole set, over the same pictures for each model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from core.vlm.scoring.corpus import FEWEST, cider_d
from core.vlm.setrun.results import Line, lines
from pages.ui.session import store, visitor
from pages.ui.vlm_set_data import NAME, said
from pages.ui.vlm_set_read import Read, references_of, stored

TASK = "caption"
AT_ONCE = 400
"""Captions that are read without being asked to."""


def cider_view(found: Read) -> None:
    """Draw CIDEr-D of the captions, where there are enough of them."""
    common = _common(found)
    if len(common) < FEWEST:
        return
    captions = sum(len(line.cells) for line in common)
    if found.cider is None:
        wanted = captions <= AT_ONCE or st.button(
            f"Work out CIDEr-D of {captions:,} captions", icon=":material/calculate:", key=f"{NAME}_cider"
        )
        if not wanted:
            return
        found.cider = _scores(common)
    if not found.cider:
        return
    scores = " · ".join(f"{said(model)} **{score:.2f}**" for model, (score, _) in found.cider.items())
    n = next(iter(found.cider.values()))[1]
    st.markdown(
        f"**CIDEr-D** {scores}",
        help=f"0 to 10, over the {n} pictures that every model described. How rare a phrase is, is counted "
        "over this set: the numbers cannot be compared with those of another one.",
    )


def _common(found: Read) -> Sequence[Line]:
    """Return the captions of pictures that every model described."""
    captions = [line for line in lines(found.rows) if line.task == TASK]
    models = {model for line in captions for model in line.cells}
    return [
        line
        for line in captions
        if line.cells.keys() == models and all(row.status == "ok" for row in line.cells.values())
    ]


def _scores(common: Sequence[Line]) -> Mapping[str, tuple[float, int]]:
    """Return the mean and the number of captions, by model."""
    sink, owner = store(), visitor()
    true = {line.item: references_of(line, sink, owner) for line in common}
    known = [line for line in common if true[line.item]]
    if len(known) < FEWEST:
        return {}
    references, found = [true[line.item] for line in known], {}
    for model in known[0].cells:
        shown = [stored(line.cells[model], sink, owner) for line in known]
        scores = cider_d([one.text if one else "" for one in shown], references)
        found[model] = sum(scores) / len(scores), len(scores)
    return found
