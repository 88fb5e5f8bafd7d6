"""Report: what ran in a period, as a PDF or an HTML file to hand over."""

from pages.ui import report_view as ui
from pages.ui.errors import page_errors
from pages.ui.layout import page_head

page_head(
    "Report",
    "What ran, how fast, how good, at what cost, and what can be told of it, as a file to hand over.",
    "A report is made from your stored runs alone, on this machine; nothing is fetched. Percentiles and "
    "scores stand with their intervals, grey where the samples are too few, and two models are called "
    "different only where the data say so. The PDF is for reading and printing; the HTML file is one page "
    "whose charts answer to the pointer, and it opens without a network.",
)

with page_errors():
    asked = ui.inputs()
    facets = ui.totals(asked)
    ui.make_button(asked, facets)
    ui.result(asked)
    ui.preview(facets)
