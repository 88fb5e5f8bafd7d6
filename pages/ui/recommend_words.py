"""A model's numbers as the recommender writes them, each with where it comes from."""

from __future__ import annotations

import re
from collections.abc import Mapping

from core.recommend.candidates import Candidate
from core.recommend.entries import Source
from core.recommend.figures import Figure, ms_words
from pages.ui.text import MISSING, plain

MARKS = {
    "measured": ("green", "straighten", "measured here"),
    "published": ("blue", "menu_book", "published"),
    "estimated": ("orange", "calculate", "estimated"),
}
"""Mark of a figure to colour, icon and words of its badge."""
TITLES = {
    "accuracy": "Accuracy",
    "latency": "Latency",
    "memory": "Memory",
    "weights": "Weights",
    "cost": "Cost for 1,000",
}
RUN = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
COMMERCIAL = {
    True: "commercial use allowed",
    False: "not for commercial use",
    None: "commercial use unclear",
}
"""What is said of a licence."""
UNKNOWN = ":gray-badge[not known]"


def mark_badge(figure: Figure | None) -> str:
    """Return a figure's mark as Markdown."""
    if figure is None:
        return UNKNOWN
    colour, icon, words = MARKS[figure.mark]
    return f":{colour}-badge[:material/{icon}: {words}]"


def mark_words(figure: Figure | None) -> str:
    """Return a figure's mark in words."""
    return "not known" if figure is None else MARKS[figure.mark][2]


def number(name: str, value: float, unit: str) -> str:
    """Return a number with its unit as people write it."""
    if name == "latency":
        return ms_words(value)
    if name in ("memory", "weights"):
        return f"{value:.3g} MB" if value < 1000 else f"{value / 1000:.3g} GB"
    if name == "cost":
        return "free" if value == 0 else f"${value:.3g}"
    return f"{value:.4g}{' ' if unit else ''}{unit}"


def value_words(name: str, figure: Figure | None) -> str:
    """Return a figure's value; a dash where nobody knows it."""
    return MISSING if figure is None else number(name, figure.value, figure.unit)


def interval_words(name: str, figure: Figure) -> str:
    """Return a figure's interval; empty where none is known."""
    if figure.low is None and figure.high is None:
        return ""
    low, high = ("?" if end is None else number(name, end, figure.unit) for end in (figure.low, figure.high))
    value, _, unit = low.partition(" ")
    return f"95 %: {value if high.endswith(f' {unit}') else low} to {high}"


def origin(name: str, figure: Figure | None, sources: Mapping[str, Source]) -> str:
    """Return where a figure comes from, as Markdown: its interval, n and date, or its source, or how."""
    if figure is None:
        return ""
    parts = [
        f"n = {figure.n:,}" if figure.n is not None else "",
        interval_words(name, figure),
        plain(figure.about),
        plain(figure.device),
        _source(figure, sources),
        str(figure.date) if figure.date else "",
    ]
    return " · ".join(part for part in parts if part)


def short_origin(name: str, figure: Figure | None, sources: Mapping[str, Source]) -> str:
    """Return where a figure comes from in as few words as can be, as Markdown; the details have the rest."""
    if figure is None:
        return ""
    how = figure.about.partition(";")[0] if figure.mark == "estimated" else ""
    parts = [
        f"n = {figure.n:,}" if figure.n is not None else "",
        interval_words(name, figure),
        plain(how),
        _source(figure, sources) if figure.mark == "published" else "",
        plain(figure.device) if figure.mark == "published" and name == "latency" else "",
        str(figure.date) if figure.date and figure.mark != "estimated" else "",
    ]
    return " · ".join(part for part in parts if part) or plain(figure.about)


def _source(figure: Figure, sources: Mapping[str, Source]) -> str:
    if figure.source.startswith("https://"):
        known = next((one for one in sources.values() if one.url == figure.source), None)
        title = known.title if known else figure.source.removeprefix("https://").partition("/")[0]
        return f"[{plain(title)}](<{figure.source.replace('>', '')}>)"
    return RUN.sub(lambda found: f"[run …{found[0][-6:]}](history?run={found[0]})", plain(figure.source))


def rate_words(candidate: Candidate) -> str:
    """Return pictures a second; a dash where the speed is not known."""
    rate = candidate.images_per_s
    return MISSING if rate is None else f"{rate:,.3g}/s" if rate < 1000 else f"{rate:,.0f}/s"


def licence_words(candidate: Candidate) -> str:
    """Return the licence, and whether it allows commercial use."""
    entry = candidate.entry
    return f"{plain(entry.licence)} ({COMMERCIAL[entry.commercial]})"
