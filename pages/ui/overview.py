"""The parts of the overview page."""

import os
import sys

import psutil
import streamlit as st

from core.environment import gpu_hint
from core.registry import available, catalog
from core.settings import settings
from db.records import RunFilter, RunSummary
from pages.ui.runs import PAGES, runs_frame, runs_table
from pages.ui.session import on_private_machine, store, visitor
from pages.ui.text import count, plain

KEYS = {"Gemini": "GEMINI_API_KEY", "Together": "TOGETHER_API_KEY", "OpenAI": "OPENAI_API_KEY"}


def starting_points() -> None:
    """Draw one card for each task."""
    cards = [
        (
            "pages/attention_maps.py",
            "Look inside a vision transformer",
            "Choose a picture, click a patch, and see what each head of each layer attends to.",
            ":material/center_focus_strong:",
        ),
        (
            "pages/history.py",
            "Go back to an earlier run",
            "Filter, chart and export what has run here, and open any run again.",
            ":material/history:",
        ),
    ]
    for column, (page, title, text, icon) in zip(st.columns(len(cards)), cards, strict=True):
        with column.container(border=True):
            st.page_link(page, label=f"**{title}**", icon=icon)
            st.caption(text)


def latest_runs() -> None:
    """Draw the visitor's five newest runs."""
    st.subheader("Latest runs", anchor=False)
    runs = store().runs(RunFilter(owner=visitor()), limit=5)
    if not runs:
        st.info(
            "Nothing has run yet. Open a page above: it starts with a sample picture.",
            icon=":material/start:",
        )
        return
    for run in runs:
        _run_line(run)
    total = store().count(RunFilter(owner=visitor()))
    st.page_link("pages/history.py", label=f"All {total} runs", icon=":material/arrow_forward:")
