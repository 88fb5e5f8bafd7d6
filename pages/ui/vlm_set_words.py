"""Money and time of a data-set run in words."""

from __future__ import annotations

import math

from pages.ui.text import MISSING


def money(usd: float | None, unknown: str = "unknown") -> str:
    """Return a sum in US dollars with two digits that count: `$0.0021`, `$1.50`, `nothing`."""
    if usd is None:
        return unknown
    if usd == 0:
        return "nothing"
    return f"${usd:,.{max(2, 1 - math.floor(math.log10(usd)))}f}"


def spent(usd: float, *, all_known: bool) -> str:
    """Return what was spent, as far as prices are known."""
    if all_known:
        return money(usd)
    return f"at least {money(usd)}" if usd else "unknown"


def duration(seconds: float | None) -> str:
    """Return a time: `8 s`, `3 min`, `1.5 h`."""
    if seconds is None:
        return MISSING
    if seconds < 100:
        return "under 1 s" if seconds < 1 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
