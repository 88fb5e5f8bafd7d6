"""A chart on paper: the same numbers as `core.charts.report`, as lines, boxes and words of a page.

Points (1/72 inch), from the upper left corner. A browser is not needed, and words stay words.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from unicodedata import east_asian_width

from core.charts.report import GREY, BarsInfo, ChartInfo, IntervalsInfo, LinesInfo

WIDTH = 490.0
ROW = 17.0
LABELS = 226.0
"""Width of the names beside lying bars and intervals."""
PLOT_HEIGHT = 150.0
LEFT = 46.0
GRID, AXIS = "#D9E1E4", "#5B6870"
SIZE = 7.0
Anchor = Literal["start", "middle", "end"]


@dataclass(slots=True)
class Drawing:
    """Shapes in the order in which they are drawn; each is a list that begins with its kind."""

    height: float
    width: float = WIDTH
    shapes: list[list[Any]] = field(default_factory=list)

    def line(self, x1: float, y1: float, x2: float, y2: float, colour: str, thick: float = 0.5) -> None:
        """Draw a straight line."""
        self.shapes.append(["line", x1, y1, x2, y2, colour, thick])

    def box(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """Draw a filled box."""
        self.shapes.append(["box", x, y, width, height, colour])

    def dot(self, x: float, y: float, radius: float, colour: str) -> None:
        """Draw a disc."""
        self.shapes.append(["dot", x, y, radius, colour])

    def path(self, points: Sequence[tuple[float, float]], colour: str) -> None:
        """Draw a line through points."""
        self.shapes.append(["path", [list(point) for point in points], colour])

    def words(self, x: float, y: float, text: str, anchor: Anchor = "start", room: float = 120.0) -> None:
        """Write one line, cut where the room ends; `y` is its middle."""
        self.shapes.append(["words", x, y, fitted(text, room), anchor, room])


def fitted(text: str, room: float) -> str:
    """Return a text that is cut where its room ends, by the usual width of its letters."""
    line, width = " ".join(text.split()), 0.0
    for i, letter in enumerate(line):
        width += SIZE * (1.0 if east_asian_width(letter) in "WF" else 0.5)
        if width > room:
            return f"{line[: max(0, i - 2)].rstrip()}…"
    return line


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to places along an axis."""

    low: float
    high: float
    begin: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Return the place of a value; one outside of the axis is at its end."""
        low, high, found = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, found = math.log10(low), math.log10(high), math.log10(found)
        share = (found - low) / (high - low) if high > low else 0.5
        return self.begin + share * (self.end - self.begin)

    def ticks(self) -> list[float]:
        """Return round values along the axis."""
        return log_ticks(self.low, self.high) if self.log else ticks(self.low, self.high)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return at most `most` + 1 round values between two."""
    if high <= low:
        return [low]
    rough = (high - low) / most
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, int(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return powers of ten between two values, with 2 and 5 between them where there is room."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if last - first <= 3 else (1,)
    step = max(1, (last - first) // 8)
    found = [f * 10.0**e for e in range(first, last + 1, step) for f in factors]
    return [value for value in found if low * 0.999 <= value <= high * 1.001]


def draw(info: ChartInfo) -> Drawing:
    """Draw a chart of a report for paper."""
    if isinstance(info, IntervalsInfo):
        return _intervals(info)
    if isinstance(info, LinesInfo):
        return _lines(info)
    return _lying(info) if info.times is None else _standing(info)


def _number(value: float) -> str:
    return f"{value:,.10g}" if value == 0 or 1e-4 <= abs(value) < 1e7 else f"{value:.0e}"


def _across(drawing: Drawing, scale: Scale, bottom: float, title: str, *, percent: bool = False) -> None:
    """Draw a grid with its numbers under it."""
    for tick in scale.ticks():
        x = scale.at(tick)
        drawing.line(x, 0, x, bottom, GRID)
        drawing.words(x, bottom + 7, f"{100 * tick:g} %" if percent else _number(tick), "middle", 46)
    drawing.words((scale.begin + scale.end) / 2, bottom + 18, title, "middle", 200)


def _upwards(drawing: Drawing, scale: Scale, right: float, title: str, *, whole: bool = False) -> None:
    """Draw a grid with its numbers beside it, and what they are on top."""
    for tick in scale.ticks():
        if whole and tick != round(tick):
            continue
        y = scale.at(tick)
        drawing.line(LEFT, y, right, y, GRID)
        drawing.words(LEFT - 4, y, _number(tick), "end", LEFT - 4)
    drawing.words(LEFT, 5, title, "start", 200)


def _intervals(info: IntervalsInfo) -> Drawing:
    bottom = ROW * len(info.rows)
    drawing = Drawing(bottom + 26)
    values = [value for row in info.rows for value in (row.value, *_ends(row.low, row.high), *row.marks)]
    low, high = (0.0, 1.0) if info.percent else _padded(values, info.log)
    scale = Scale(low, high, LABELS + 8, WIDTH - 12, info.log)
    _across(drawing, scale, bottom, info.axis, percent=info.percent)
    for i, row in enumerate(info.rows):
        y, colour = ROW * (i + 0.5), GREY if row.grey else row.colour
        drawing.words(LABELS, y, row.label, "end", LABELS)
        if row.low is not None and row.high is not None:
            drawing.line(scale.at(row.low), y, scale.at(row.high), y, colour, 2.5)
        for mark in row.marks:
            x = scale.at(mark)
            drawing.line(x, y - 4, x, y + 4, colour, 1)
        drawing.dot(scale.at(row.value), y, 3, colour)
    return drawing


def _ends(low: float | None, high: float | None) -> tuple[float, ...]:
    return () if low is None or high is None else (low, high)


def _padded(values: Sequence[float], log: bool) -> tuple[float, float]:
    low, high = min(values), max(values)
    if log:
        return (low / 1.15, high * 1.15) if low < high else (low / 2, high * 2)
    pad = (high - low) * 0.05 or abs(high) * 0.5 or 1.0
    return low - pad, high + pad


def _lying(info: BarsInfo) -> Drawing:
    names = _legend_rows(info) if len(info.parts) > 1 else 0
    bottom = ROW * len(info.labels)
    drawing = Drawing(bottom + 28 + 12 * names)
    totals = [sum(part.values[i] for part in info.parts) for i in range(len(info.labels))]
    scale = Scale(0.0, max(totals) or 1.0, LABELS + 8, WIDTH - 12)
    _across(drawing, scale, bottom, info.axis)
    for i, label in enumerate(info.labels):
        drawing.words(LABELS, ROW * (i + 0.5), label, "end", LABELS)
        x = scale.begin
        for part in info.parts:
            width = scale.at(part.values[i]) - scale.begin
            drawing.box(x, ROW * i + 3, width, ROW - 6, part.colour)
            x += width
    if names:
        _legend(drawing, [(part.title, part.colour) for part in info.parts], bottom + 30)
    return drawing


def _standing(info: BarsInfo) -> Drawing:
    assert info.times is not None
    names = _legend_rows(info) if len(info.parts) > 1 else 0
    top, bottom = 14.0, PLOT_HEIGHT
    drawing = Drawing(bottom + 16 + 12 * names)
    n = len(info.times)
    totals = [sum(part.values[i] for part in info.parts) for i in range(n)]
    scale = Scale(0.0, max(totals, default=0) or 1.0, bottom, top)
    _upwards(drawing, scale, WIDTH, info.axis, whole=all(total == round(total) for total in totals))
    step = (WIDTH - LEFT) / n
    for i in range(n):
        y = bottom
        for part in info.parts:
            height = bottom - scale.at(part.values[i])
            if height > 0:
                drawing.box(LEFT + i * step + step * 0.1, y - height, step * 0.8, height, part.colour)
            y -= height
    _dates(drawing, info.times, bottom, step)
    if names:
        _legend(drawing, [(part.title, part.colour) for part in info.parts], bottom + 20)
    return drawing


def _lines(info: LinesInfo) -> Drawing:
    top, bottom = 14.0, PLOT_HEIGHT
    rows = -(-len(info.lines) // 2)
    drawing = Drawing(bottom + 16 + 12 * rows)
    values = [value for line in info.lines for value in line.values if value > 0]
    scale = Scale(*_padded(values or [1.0], True), bottom, top, log=True)
    _upwards(drawing, scale, WIDTH, info.axis)
    step = (WIDTH - LEFT) / len(info.times)
    for line in info.lines:
        pairs = zip(line.places, line.values, strict=True)
        points = [(LEFT + (place + 0.5) * step, scale.at(max(v, scale.low))) for place, v in pairs]
        if len(points) > 1:
            drawing.path(points, line.colour)
        for x, y in points:
            drawing.dot(x, y, 1.3, line.colour)
    _dates(drawing, info.times, bottom, step)
    _legend(drawing, [(line.title, line.colour) for line in info.lines], bottom + 20, columns=2)
    return drawing


def _dates(drawing: Drawing, times: Sequence[Any], bottom: float, step: float) -> None:
    """Write some of the times under their spans."""
    hourly = len(times) > 1 and (times[1] - times[0]).total_seconds() < 86_000
    every = max(1, math.ceil(62 / step))
    for i in range(0, len(times), every):
        text = f"{times[i]:%m-%d %H:%M}" if hourly else f"{times[i]:%Y-%m-%d}"
        drawing.words(LEFT + (i + 0.5) * step, bottom + 8, text, "middle" if i else "start", 60)
    drawing.line(LEFT, bottom, WIDTH, bottom, AXIS)


def _legend_rows(info: BarsInfo) -> int:
    return -(-len(info.parts) // 4)


def _legend(drawing: Drawing, names: Sequence[tuple[str, str]], y: float, columns: int = 4) -> None:
    step = (WIDTH - LEFT) / columns
    for i, (title, colour) in enumerate(names):
        x, at = LEFT + (i % columns) * step, y + 12 * (i // columns)
        drawing.box(x, at - 3, 6, 6, colour)
        drawing.words(x + 10, at, title, "start", step - 14)
