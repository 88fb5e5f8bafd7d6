"""Model benchmark: models timed in turn on the same pictures, each in a process of its own."""

from pages.ui.bench_page import VIEWS, choose_view
from pages.ui.errors import page_errors
from pages.ui.layout import page_head

page_head(
    "Model benchmark",
    "Which model is fast enough here, how sure is that, and what does it cost in memory and accuracy?",
    "Every model runs in a process of its own, and the clock goes round: each is timed for a moment, in the "
    "other direction the next time, so that what drifts on this machine hits all alike. Loading, the first "
    "call and the steady state are told apart, and so are pre-processing, the model itself and "
    "post-processing. A percentile is grey until enough calls stand behind it, and every number has its "
    "interval of 95 %. A model that crashes, hangs or runs out of memory is one failed row.",
    ("MLPerf Inference Benchmark (Reddi et al., 2020)", "https://arxiv.org/abs/1911.02549"),
)

with page_errors():
    VIEWS[choose_view()]()
