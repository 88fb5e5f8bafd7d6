"""What is like a query, over both pictures, and what corresponds in them, as lines from one to the other.

Axes are each picture's own pixels, x to the right and y down. A grid of invisible markers, one at each
patch's centre, makes a whole picture clickable.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.colors import sample_colorscale

from core.charts.attention import CANVAS, HIDDEN_AXIS, MARKER, add_box, draw_picture, mask_edges
from core.features.query import Patch, patch_centres
from core.images import ImageInput
from core.preprocess import Frame

if TYPE_CHECKING:
    from core.features.matching import Match, Peak

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in the picture's pixels."""
Scale = Literal["-1 to 1", "0 to 1", "stretched"]

EXCLUDED = "#56B4E9"
BEST = "#E69F00"
TRUTH = "#009E73"
BAR_PX = 52
"""Height of the colour bar under a picture."""
GAP = 0.04
"""Between two pictures that stand side by side, as a share of their width."""


class Mark(NamedTuple):
    """One of the best places."""

    rank: int
    """From 1."""
    patch: Patch
    score: float
    xy: tuple[float, float]


class SimilarityInfo(NamedTuple):
    """What is shown of one picture."""

    width: int
    height: int
    """Size of the picture in pixels."""
    values: NDArray[np.float32] | None
    """Rows by columns, NaN where left out; None while nothing is asked."""
    grid: tuple[int, int]
    centres: NDArray[np.float64]
    """Rows columns 2: x and y of each patch's centre."""
    box: Box
    """What the model saw."""
    include: list[Box]
    exclude: list[Box]
    """Edges around the patches of the query: from x0, y0 to x1, y1."""
    marks: list[Mark]
    best: Box | None
    """The patch of the first mark."""
    truth: tuple[float, float] | None
    """Where the query really is, as far as that is known."""


class Looks(NamedTuple):
    """How maps are drawn."""

    colour_map: str
    opacity: float
    smooth: bool
    lines: bool
    """Whether the grid of patches is drawn."""
    limits: tuple[float, float]
    """Ends of the colour scale, the same for both pictures."""


def limits_of(scale: Scale, maps: Sequence[NDArray[np.float32]]) -> tuple[float, float]:
    """Return the ends of the one colour scale of some maps; stretched, it goes from the least to the most."""
    if scale != "stretched" or not maps:
        return (0.0, 1.0) if scale == "0 to 1" else (-1.0, 1.0)
    low = min(float(np.nanmin(values)) for values in maps)
    high = max(float(np.nanmax(values)) for values in maps)
    return low, high if high > low else low + 1e-3


def similarity_info(
    image: ImageInput,
    frame: Frame,
    values: NDArray[np.float32] | None,
    *,
    include: Sequence[Patch] = (),
    exclude: Sequence[Patch] = (),
    peaks: "Sequence[Peak]" = (),
    hidden: NDArray[np.bool_] | None = None,
    truth: tuple[float, float] | None = None,
) -> SimilarityInfo:
    """Place a map (rows by columns) on its picture.

    Args:
        include, exclude: Patches of the query, where it is in this picture.
        peaks: The best places, in order.
        hidden: Rows by columns: what is left out of the map.
        truth: x and y in pixels.
    """
    centres = patch_centres(frame)
    marks = [
        Mark(rank, peak.patch, peak.score, (float(centres[peak.patch][0]), float(centres[peak.patch][1])))
        for rank, peak in enumerate(peaks, start=1)
    ]
    if values is not None and hidden is not None:
        values = np.where(hidden, np.float32(np.nan), values)
    return SimilarityInfo(
        image.width,
        image.height,
        values,
        frame.grid,
        centres,
        frame.box,
        _edges(include, frame),
        _edges(exclude, frame),
        marks,
        frame.patch_box(*marks[0].patch) if marks else None,
        truth,
    )


def _edges(patches: Sequence[Patch], frame: Frame) -> list[Box]:
    mask = np.zeros(frame.grid, bool)
    if patches:
        mask[tuple(np.transpose(patches))] = True
    return mask_edges(mask, frame)


def similarity_figure(info: SimilarityInfo, picture_uri: str, looks: Looks, *, height_px: int) -> go.Figure:
    """Draw the picture, the map over it, the query or the best places, and what can be clicked."""
    figure = go.Figure()
    draw_picture(figure, picture_uri, info.width, info.height)
    if info.values is not None:
        _draw_map(figure, info, looks)
    if looks.lines:
        _draw_grid(figure, info)
    if info.box != (0, 0, info.width, info.height):
        add_box(figure, info.box, "rgba(255,255,255,0.9)", "dash")
    _draw_edges(figure, info.include, MARKER)
    _draw_edges(figure, info.exclude, EXCLUDED)
    if info.best is not None:
        add_box(figure, info.best, BEST, "solid")
    _draw_marks(figure, info)
    _add_targets(figure, info)
    figure.update_xaxes(range=[0, info.width], **HIDDEN_AXIS)
    figure.update_yaxes(range=[info.height, 0], scaleanchor="x", **HIDDEN_AXIS | {"constraintoward": "top"})
    figure.update_layout(
        height=height_px + BAR_PX,
        margin={"l": 0, "r": 0, "t": 0, "b": BAR_PX},
        showlegend=False,
        clickmode="event+select",
        hovermode="closest",
        hoverdistance=-1,  # the nearest patch, however far
        **CANVAS,
    )
    return figure


def _draw_map(figure: go.Figure, info: SimilarityInfo, looks: Looks) -> None:
    (rows, columns), (x0, y0, x1, y1) = info.grid, info.box
    figure.add_heatmap(
        z=info.values,
        # Corner and step, not centres: from centres alone the width of a single column is not known.
        x0=info.centres[0, 0, 0],
        dx=(x1 - x0) / columns,
        y0=info.centres[0, 0, 1],
        dy=(y1 - y0) / rows,
        zmin=looks.limits[0],
        zmax=looks.limits[1],
        colorscale=looks.colour_map,
        opacity=looks.opacity,
        zsmooth="best" if looks.smooth else False,
        hoverinfo="skip",
        colorbar=_bar("cosine similarity"),
    )


def _bar(title: str) -> dict[str, Any]:
    """Return a colour bar under the picture, so that both pictures have the same width."""
    return {
        "title": {"text": title, "side": "top", "font": {"size": 12}},
        "orientation": "h",
        "thickness": 8,
        "len": 0.7,
        "y": 0,
        "yanchor": "top",
        "ypad": 4,
    }


def _draw_grid(figure: go.Figure, info: SimilarityInfo) -> None:
    x0, y0, x1, y1 = info.box
    x, y = np.linspace(x0, x1, info.grid[1] + 1), np.linspace(y0, y1, info.grid[0] + 1)
    edges = [(at, y0, at, y1) for at in x.tolist()] + [(x0, at, x1, at) for at in y.tolist()]
    _draw_edges(figure, edges, "rgba(255,255,255,0.45)", 1)


def _draw_edges(figure: go.Figure, edges: list[Box], colour: str, width: float = 3) -> None:
    if edges:
        figure.add_scatter(
            x=[value for edge in edges for value in (edge[0], edge[2], None)],
            y=[value for edge in edges for value in (edge[1], edge[3], None)],
            mode="lines",
            line={"color": colour, "width": width},
            hoverinfo="skip",
        )


def _draw_marks(figure: go.Figure, info: SimilarityInfo) -> None:
    if info.marks:
        figure.add_scatter(
            x=[mark.xy[0] for mark in info.marks],
            y=[mark.xy[1] for mark in info.marks],
            text=[str(mark.rank) for mark in info.marks],
            mode="markers+text",
            marker={"size": 17, "color": "rgba(255,255,255,0.85)", "line": {"color": "#222222", "width": 1}},
            textfont={"size": 11, "color": "#222222"},
            hoverinfo="skip",
            name="best places",
        )
    if info.truth is not None:
        figure.add_scatter(
            x=[info.truth[0]],
            y=[info.truth[1]],
            mode="markers",
            marker={"symbol": "x", "size": 11, "color": TRUTH, "line": {"color": "white", "width": 1.5}},
            hoverinfo="skip",
            name="true place",
        )


def _add_targets(figure: go.Figure, info: SimilarityInfo) -> None:
    """Add an invisible marker for each patch, row by row: point number = row * columns + column."""
    rows, columns = info.grid
    row, column = np.divmod(np.arange(rows * columns), columns)
    score = np.full(rows * columns, np.nan) if info.values is None else info.values.ravel()
    said = "<br>similarity %{customdata[2]:.3f}" if info.values is not None else ""
    unseen = {"marker": {"opacity": 0}}
    figure.add_scatter(
        x=info.centres[..., 0].ravel(),
        y=info.centres[..., 1].ravel(),
        mode="markers",
        marker={"size": 14, "opacity": 0, "symbol": "square"},
        selected=unseen,
        unselected=unseen,
        customdata=np.stack([row, column, score], axis=1),
        hovertemplate=f"row %{{customdata[0]}}, column %{{customdata[1]}}{said}<extra></extra>",
        name="patches",
    )


class LinesInfo(NamedTuple):
    """Pairs of places, with both pictures side by side at one height."""

    sizes: tuple[tuple[float, float], tuple[float, float]]
    """Width and height of either picture as drawn: the second is scaled to the height of the first."""
    offset: float
    """x at which the second picture begins."""
    ends: NDArray[np.float64]
    """N 2 2: of each pair its two ends, x and y as drawn."""
    scores: NDArray[np.float64]
    """N"""
    texts: list[str]
    """What each pair says when pointed at, in the pixels of the pictures themselves."""


def lines_info(first: ImageInput, second: ImageInput, matches: "Sequence[Match]") -> LinesInfo:
    """Place the pairs over both pictures."""
    scale = first.height / second.height
    offset = first.width + GAP * (first.width + second.width * scale)
    ends = np.array([(match.first_xy, match.second_xy) for match in matches], float).reshape(-1, 2, 2)
    ends[:, 1] = ends[:, 1] * scale + (offset, 0)
    texts = [
        f"{rank}: ({match.first_xy[0]:.0f}, {match.first_xy[1]:.0f}) to "
        f"({match.second_xy[0]:.0f}, {match.second_xy[1]:.0f})<br>similarity {match.score:.3f}"
        for rank, match in enumerate(matches, start=1)
    ]
    sizes = (float(first.width), float(first.height)), (second.width * scale, float(first.height))
    return LinesInfo(sizes, offset, ends, np.array([match.score for match in matches]), texts)


def lines_figure(info: LinesInfo, uris: tuple[str, str], *, colour_map: str, height_px: int) -> go.Figure:
    """Draw both pictures and a line for each pair, coloured by its similarity."""
    figure = go.Figure()
    for uri, (width, height), x in zip(uris, info.sizes, (0, info.offset), strict=True):
        draw_picture(figure, uri, width, height, x)
    width, height = info.offset + info.sizes[1][0], info.sizes[0][1]
    if len(info.scores):
        _draw_pairs(figure, info, colour_map)
    figure.update_xaxes(range=[0, width], **HIDDEN_AXIS)
    figure.update_yaxes(range=[height, 0], scaleanchor="x", **HIDDEN_AXIS | {"constraintoward": "top"})
    figure.update_layout(
        height=height_px + BAR_PX,
        margin={"l": 0, "r": 0, "t": 0, "b": BAR_PX},
        showlegend=False,
        hovermode="closest",
        **CANVAS,
    )
    return figure


def _draw_pairs(figure: go.Figure, info: LinesInfo, colour_map: str) -> None:
    low, high = float(info.scores.min()), float(info.scores.max())
    at = (info.scores - low) / ((high - low) or 1)
    colours = sample_colorscale(colour_map, at.tolist())
    for (start, end), colour in zip(info.ends.tolist(), colours, strict=True):
        figure.add_scatter(
            x=[start[0], end[0]],
            y=[start[1], end[1]],
            mode="lines",
            line={"color": colour, "width": 2},
            hoverinfo="skip",
        )
    flat = info.ends.reshape(-1, 2)  # 2N 2, both ends of each pair
    figure.add_scatter(
        x=flat[:, 0],
        y=flat[:, 1],
        mode="markers",
        marker={
            "size": 8,
            "color": np.repeat(info.scores, 2),
            "colorscale": colour_map,
            "cmin": low,
            "cmax": high if high > low else low + 1e-3,
            "line": {"color": "white", "width": 1},
            "colorbar": _bar("cosine similarity of the pair"),
        },
        text=[text for text in info.texts for _ in range(2)],
        hovertemplate="%{text}<extra></extra>",
        name="pairs",
    )
