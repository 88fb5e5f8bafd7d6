"""VLM head to head: the same picture and question for two to four models, with honest numbers."""

from pages.ui.errors import page_errors
from pages.ui.layout import page_head
from pages.ui.vlm_page import VIEWS, choose_view

page_head(
    "VLM head to head",
    "Which model answers your question about your picture best, how fast, and for how much?",
    "A vision-language model takes a picture and a prompt and writes an answer, token by token. Two to four "
    "of them get exactly the same here, at the same time. Times are those of the last attempt alone: waits "
    "and failed attempts are listed apart. An answer that was blocked, cut short or never came is a failure "
    "of its kind, never an answer.",
    ("Visual Instruction Tuning (Liu et al., 2023)", "https://arxiv.org/abs/2304.08485"),
)

with page_errors():
    VIEWS[choose_view()]()
