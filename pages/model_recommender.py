"""Model recommender: which model, why, and how sure."""

from pages.ui.errors import page_errors
from pages.ui.layout import page_head
from pages.ui.recommend_page import recommender

page_head(
    "Model recommender",
    "Which model is right for this task at this speed, why, and how sure is that?",
    "Say what the model is for and what it must keep to. Every number is marked: measured here, with its "
    "interval; published, with its source and device; or estimated, with how and by how much it may be off. "
    "Published speeds are scaled to this machine by a few models that ran here, and the error of that "
    "scaling is measured on models that were left out. Accuracies are compared on one benchmark and "
    "protocol only, and what was left out says by which constraint.",
    (
        "Benchmark Analysis of Representative Deep Neural Network Architectures (Bianco et al., 2018)",
        "https://arxiv.org/abs/1810.00736",
    ),
)

with page_errors():
    recommender()
