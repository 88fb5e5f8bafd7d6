"""How lists of runs look, and which page opens which kind of run."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING

import streamlit as st

from core.features.kinds import EVALUATION as MATCHES_SCORED
from core.features.kinds import FEATURES, SEARCH, SIMILARITY
from core.segment.kinds import ANSWER, EVALUATION, EVERYTHING
from db.records import RunSummary
from pages.ui.text import browser_zone

if TYPE_CHECKING:
    import pandas as pd

PAGES = {
    "attention": "pages/attention_maps.py",
    "classification": "pages/attention_maps.py",
    SIMILARITY: "pages/patch_similarity.py",
    SEARCH: "pages/patch_similarity.py",
    MATCHES_SCORED: "pages/patch_similarity.py",
    FEATURES: "pages/patch_similarity.py",
    ANSWER: "pages/segment_anything.py",
    EVERYTHING: "pages/segment_anything.py",
    EVALUATION: "pages/segment_anything.py",
    "benchmark": "pages/model_benchmark.py",
    "sweep": "pages/model_benchmark.py",
    "vlm": "pages/vlm_head_to_head.py",
    "vlm-set": "pages/vlm_head_to_head.py",
    "vlm-judge": "pages/vlm_head_to_head.py",
    "recommendation": "pages/model_recommender.py",
}
"""Kind of run to the page that opens it again; other kinds have no page of their own."""

COLUMNS = {
    "picture": st.column_config.ImageColumn("Picture", width=70),
    "time": st.column_config.DatetimeColumn("Time", format="YYYY-MM-DD HH:mm:ss"),
    "kind": st.column_config.TextColumn("Kind"),
    "model": st.column_config.TextColumn("Model", width="medium"),
    "status": st.column_config.TextColumn("Status"),
    "duration": st.column_config.NumberColumn("Duration", format="%.1f ms"),
    "device": st.column_config.TextColumn("Device"),
    "tags": st.column_config.ListColumn("Tags"),
    "note": st.column_config.TextColumn("Note"),
    "id": st.column_config.TextColumn("Run"),
}


def thumbnail_uri(thumbnail: bytes) -> str:
    """Return a thumbnail (JPEG bytes) as a data address."""
    return f"data:image/jpeg;base64,{base64.b64encode(thumbnail).decode()}"


def runs_frame(
    runs: Sequence[RunSummary], thumbnails: Mapping[str, bytes], zone: tzinfo | None = None
) -> pd.DataFrame:
    """Return the rows of a list of runs in the order given, times in a zone or in the visitor's."""
    import pandas as pd

    zone = zone or browser_zone()
    rows = [
        {
            "picture": thumbnail_uri(thumbnails[run.picture_sha256])
            if run.picture_sha256 in thumbnails
            else None,
            "time": run.time.astimezone(zone).replace(tzinfo=None),
            "kind": run.kind,
            "model": run.model_id,
            "status": run.status,
            "duration": run.duration_ms,
            "device": run.device,
            "tags": list(run.tags),
            "note": run.note,
            "id": run.id,
        }
        for run in runs
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))
