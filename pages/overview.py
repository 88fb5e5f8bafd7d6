"""Overview: where to start, what ran last, what this machine can do."""

import streamlit as st

from pages.ui import overview as ui
from pages.ui.errors import page_errors
from pages.ui.layout import page_head

page_head(
    "Vision Bench",
    "Look inside vision models, compare them, and keep every run.",
    "Every page takes a picture and a model, shows what the model did with it, and saves the result as a "
    "run. "
    "Runs are listed in the history, and each can be opened again with its picture and parameters. "
    "Small models trained by this project are included, so everything works without a network. "
    "With a network, the same pages use the published pretrained models.",
)

with page_errors():
    ui.starting_points()
    left, right = st.columns([3, 2], gap="large")
    with left:
        ui.latest_runs()
    with right:
        ui.machine()
    ui.models()
