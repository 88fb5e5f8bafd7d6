"""Colours that mean the same in every chart."""

import hashlib

COLOUR_MAPS = ("viridis", "magma", "inferno", "cividis", "gray")
"""Perceptually even colour maps for attention and similarity."""

CATEGORIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#7F7F7F")
"""Colours that colour-blind people tell apart (after Okabe and Ito 2008), with two more."""


def model_colour(model_id: str) -> str:
    """Return the colour of a model, the same in every chart and on every machine.

    With more models than colours, two may share one: legend and hover name them.
    """
    return CATEGORIES[hashlib.sha256(model_id.encode()).digest()[0] % len(CATEGORIES)]
