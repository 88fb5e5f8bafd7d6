"""Training of a promptable segmenter: what `python -m core train sam` does."""
