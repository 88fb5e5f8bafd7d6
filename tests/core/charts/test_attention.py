"""A map of attention: its numbers lie where the model looked, and its figure says the same."""

import base64
import io

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from core.charts.attention import (
    MAX_SHOWN_PX,
    attention_figure,
    attention_info,
    heads_figure,
    heads_info,
    mask_edges,
    picture_uri,
)
from core.errors import InputError
from core.images import ImageInput, from_rgb
from core.preprocess import Frame

CROP = Frame((50, 0, 450, 300), (6, 8))
"""The middle of a picture of 500 x 300 pixels, in patches of 50 x 50."""


def blank(width: int = 500, height: int = 300) -> ImageInput:
    return from_rgb(np.full((height, width, 3), 128, np.uint8), "blank")


def ramp(rows: int, columns: int) -> NDArray[np.float32]:
    return np.arange(rows * columns, dtype=np.float32).reshape(rows, columns)


def drawn(frame: Frame = CROP, patch: tuple[int, int] | None = None) -> go.Figure:
    info = attention_info(blank(), ramp(*frame.grid), frame, patch)
    return attention_figure(info, "data:,", colour_map="magma", opacity=0.4, smooth=False, height_px=300)


@pytest.mark.parametrize("grid", [(6, 8), (1, 8), (6, 1), (1, 1)])
def test_each_cell_of_the_map_is_the_patch_it_stands_for(grid: tuple[int, int]) -> None:
    """Plotly draws cell (row, column) around (x0 + column dx, y0 + row dy)."""
    frame = Frame(CROP.box, grid)
    cells = drawn(frame).data[0]
    for row, column in np.ndindex(grid):
        x, y = cells.x0 + column * cells.dx, cells.y0 + row * cells.dy
        box = (x - cells.dx / 2, y - cells.dy / 2, x + cells.dx / 2, y + cells.dy / 2)
        assert box == pytest.approx(frame.patch_box(row, column))
        assert cells.z[row][column] == row * grid[1] + column


def test_each_patch_can_be_clicked_at_its_centre_and_says_what_it_is() -> None:
    targets = next(trace for trace in drawn().data if trace.name == "patches")
    assert targets.marker.opacity == targets.selected.marker.opacity == targets.unselected.marker.opacity == 0
    for point, (row, column, value) in enumerate(targets.customdata.tolist()):
        assert point == row * 8 + column == value
        assert CROP.patch_at(targets.x[point], targets.y[point]) == (row, column)


def test_a_click_anywhere_reaches_the_nearest_patch_and_dims_nothing() -> None:
    layout = drawn().layout
    assert (layout.hoverdistance, layout.clickmode, layout.dragmode) == (-1, "event+select", False)


def test_axes_are_the_pictures_pixels_with_y_down() -> None:
    figure = drawn()
    assert figure.layout.xaxis.range == (0, 500) and figure.layout.yaxis.range == (300, 0)
    assert figure.layout.yaxis.scaleanchor == "x"
    (picture,) = figure.layout.images
    assert (picture.x, picture.y, picture.sizex, picture.sizey) == (0, 0, 500, 300)
    assert (picture.sizing, picture.layer) == ("stretch", "below")


def test_the_looks_are_the_ones_asked_for() -> None:
    cells = drawn().data[0]
    assert cells.opacity == 0.4 and cells.zsmooth is False and cells.colorbar.title.text == "attention"
    assert cells.colorscale == go.Heatmap(colorscale="magma").colorscale


def boxes(figure: go.Figure) -> list[tuple[float, ...]]:
    return [(shape.x0, shape.y0, shape.x1, shape.y1) for shape in figure.layout.shapes]


def test_the_query_and_what_the_model_saw_are_outlined() -> None:
    assert boxes(drawn(patch=(2, 5))) == [CROP.box, (300, 100, 350, 150)]
    assert boxes(drawn(Frame((0, 0, 500, 300), (6, 8)))) == []  # all of it was seen: no line


def test_a_query_outside_the_grid_is_refused() -> None:
    with pytest.raises(InputError, match="no patch in row 6"):
        attention_info(blank(), ramp(6, 8), CROP, (6, 0))


def test_the_outline_of_one_patch_is_its_four_sides() -> None:
    mask = np.zeros((6, 8), bool)
    mask[2, 5] = True
    assert sorted(mask_edges(mask, CROP)) == [
        (300, 100, 300, 150),
        (300, 100, 350, 100),
        (300, 150, 350, 150),
        (350, 100, 350, 150),
    ]


@given(st.integers(0, 2**48 - 1))
def test_an_outline_divides_marked_patches_from_others(bits: int) -> None:
    """Walking along each row and column, the outline is crossed exactly where the mask changes."""
    mask = np.array([bits >> i & 1 for i in range(48)], bool).reshape(6, 8)
    edges = set(mask_edges(mask, Frame((0, 0, 8, 6), (6, 8))))
    padded = np.pad(mask, 1)
    for row, column in np.ndindex(6, 9):
        crossed = (column, row, column, row + 1) in edges
        assert crossed == (padded[row + 1, column] != padded[row + 1, column + 1])
    for row, column in np.ndindex(7, 8):
        crossed = (column, row, column + 1, row) in edges
        assert crossed == (padded[row, column + 1] != padded[row + 1, column + 1])


def test_the_outline_of_a_mask_is_drawn_edge_by_edge() -> None:
    mask = ramp(6, 8) > 40
    info = attention_info(blank(), ramp(6, 8), CROP, None, mask)
    figure = attention_figure(info, "data:,", colour_map="gray", opacity=1, smooth=True, height_px=300)
    lines = next(trace for trace in figure.data if trace.type == "scatter" and trace.mode == "lines")
    found = [(lines.x[i], lines.y[i], lines.x[i + 1], lines.y[i + 1]) for i in range(0, len(lines.x), 3)]
    assert found == mask_edges(mask, CROP)
    assert all(value is None for value in lines.x[2::3])


def test_all_heads_share_one_scale() -> None:
    maps = [ramp(2, 3) + head for head in range(7)]
    info = heads_info(maps)
    assert (info.low, info.high, info.titles[6]) == (0, 11, "head 6")
    figure = heads_figure(info, colour_map="viridis", columns=4)
    assert [trace.showscale for trace in figure.data] == [True] + [False] * 6
    for head, trace in enumerate(figure.data):
        assert (trace.zmin, trace.zmax) == (0, 11)
        np.testing.assert_array_equal(trace.z, maps[head])
        assert figure.layout[trace.yaxis.replace("y", "yaxis")].autorange == "reversed"
    assert [note.text for note in figure.layout.annotations] == info.titles


def test_the_picture_goes_to_the_browser_no_larger_than_shown() -> None:
    header, _, data = picture_uri(blank(3000, 1500)).partition(",")
    assert header == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (MAX_SHOWN_PX, MAX_SHOWN_PX // 2)
