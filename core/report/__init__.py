"""A report on what ran: numbers with intervals, verdicts with their evidence, as HTML and as PDF.

    store.report(filter) ─ aggregates ─> build ─ Document ─> html | pdf

`build` turns aggregates of the store into one `Document` of plain values; both files are drawn from it, so
that they say the same. Nothing is fetched, and no browser is needed.
"""
