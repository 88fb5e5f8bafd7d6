"""Numbers as a person reads them in a sentence."""

import math


def about(number: float) -> str:
    """Return a whole number with two digits that count: 137 is 140."""
    if number <= 0:
        return "0"
    step = 10 ** max(0, math.floor(math.log10(number)) - 1)
    return f"{round(number / step) * step:,}"


def points(value: float) -> str:
    """Return a difference with two digits that count, and no decimals from 10 on."""
    if abs(value) >= 9.95:
        return f"{value:,.0f}"
    return f"{round(value, 1):g}"
