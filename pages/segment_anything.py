"""Segment anything: click an object, see its mask, correct it, keep it."""

import streamlit as st

from pages.ui.errors import page_errors
from pages.ui.layout import page_head
from pages.ui.models import model_picker
from pages.ui.pictures import SCENES, picture_picker
from pages.ui.segment_page import workspace
from pages.ui.segment_run import PAGE, current_work, open_requested_run
from pages.ui.segment_tools import more
from pages.ui.segment_weights import bring_a_real_model, choose_fetched_model

page_head(
    "Segment anything",
    "What belongs to the thing you click?",
    "A promptable segmenter encodes the picture once, then answers each click, box or earlier mask with "
    "masks of what was meant, within milliseconds. A single click is ambiguous, so it offers three masks and "
    "says how well it expects each to fit. Include and exclude clicks correct a mask. On a drawn scene the "
    "exact truth is known, and the IoU to it is measured.",
    ("Segment Anything (Kirillov et al., 2023)", "https://arxiv.org/abs/2304.02643"),
)

with page_errors():
    requested = open_requested_run()
    left, right = st.columns([3, 2], gap="large")
    with left:
        image = picture_picker(PAGE, first=SCENES)
    with right:
        choose_fetched_model()
        spec = model_picker(PAGE, task="segmentation")
        bring_a_real_model()
    if image is None:
        st.info("Choose a picture above; the canvas appears here.", icon=":material/image:")
        st.stop()
    work = current_work(image, spec, requested)
    workspace(work, image, spec)
    more(work, image, spec)
