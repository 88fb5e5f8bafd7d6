"""Quality against speed: which number is the quality, and whether more or less of it is better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from core.vlm.safe import plain as readable
from pages.ui.history_shown import Shown, nothing
from pages.ui.history_state import bound
from pages.ui.history_view import HistoryView, Point
from pages.ui.session import store

if TYPE_CHECKING:
    from db.records import MetricName, RunFilter

LOWER = ("cer", "wer", "error", "loss", "_px", "hallucinat", "distance")
"""In the names of metrics of which less is better."""
TIMES = ("_ms", "_s")
QUALITY = ("score", "top1", "top5", "iou", "f1", "accuracy", "recall", "precision", "knn", "jaccard", "pck")
"""In the names of metrics that say how good a result is; they are offered first."""
LONGEST = 60


def quality_chart(view: HistoryView, where: RunFilter) -> Shown | None:
    """Draw the choice of the quality, and return the chart."""
    from core.charts.history_pareto import MOST_NAMES, pareto_figure, pareto_info, pareto_table

    names = _qualities(store().metric_names(where))
    if not names:
        nothing("No run of this selection measured how good its result is.")
        return None
    quality = _quality(view, names)
    lower = _lower(view, quality.name)
    rows = store().trade_off(where, quality.name)
    if not rows:
        nothing("No successful run of this selection has both this number and a duration.")
        return None
    title = f"{quality.name} ({quality.unit})" if quality.unit else quality.name
    info = pareto_info(rows, quality=title, higher_is_better=not lower)
    notes = ["Bars hold the mean in 95 of 100 cases; models that did different tasks do not compare."]
    if len(rows) > MOST_NAMES:
        notes.append("Point at a dot to read its name.")
    return Shown(
        pareto_figure(info),
        pareto_table(info),
        lambda told: Point(model=str(told[0]), outcome="ok"),
        notes=tuple(notes),
    )


def _qualities(names: Sequence[MetricName]) -> list[MetricName]:
    """Return what can be a quality, the likeliest first: neither times nor money."""
    found = [one for one in names if not one.name.endswith(TIMES) and one.unit not in ("ms", "s", "USD", "$")]
    found = [one for one in found if "cost" not in one.name and "token" not in one.name]
    return sorted(
        found, key=lambda one: (not any(word in one.name for word in QUALITY), -one.count, one.name)
    )


def _quality(view: HistoryView, names: Sequence[MetricName]) -> MetricName:
    by_name = {one.name: one for one in names}
    chosen = view.value if view.value in by_name else names[0].name
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox(
            "Quality",
            list(by_name),
            format_func=lambda name: f"{readable(name)[:LONGEST]} ({by_name[name].count:,} runs)",
            width=320,
            **bound("value", chosen),
        )
        st.segmented_control(
            "Better is",
            ["no", "yes"],
            format_func={"no": "Higher", "yes": "Lower"}.__getitem__,
            required=True,
            **bound("lower", "yes" if _lower(view, chosen) else "no"),
        )
    return by_name[chosen]


def _lower(view: HistoryView, name: str) -> bool:
    """Say whether less of a quality is better."""
    return view.lower == "yes" if view.lower else any(word in name for word in LOWER)
