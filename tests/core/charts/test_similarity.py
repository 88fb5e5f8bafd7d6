"""Maps over both pictures, and pairs as lines: where things are drawn, in the pictures' own pixels."""

import numpy as np
import pytest

from core.charts.similarity import (
    BEST,
    Looks,
    limits_of,
    lines_figure,
    lines_info,
    similarity_figure,
    similarity_info,
)
from core.features.matching import Match, Peak
from core.images import ImageInput, from_rgb
from core.preprocess import Frame

LOOKS = Looks("viridis", 0.5, False, False, (-1.0, 1.0))


def picture(width: int, height: int) -> ImageInput:
    return from_rgb(np.zeros((height, width, 3), np.uint8), "black")


def test_the_best_place_is_outlined_and_numbered_where_it_is() -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3) / 10
    info = similarity_info(
        picture(60, 40), Frame((0, 0, 60, 40), (2, 3)), values, peaks=[Peak((1, 2), 0.5), Peak((0, 0), 0.0)]
    )
    assert info.best == (40, 20, 60, 40)
    assert [(mark.rank, mark.xy) for mark in info.marks] == [(1, (50, 30)), (2, (10, 10))]
    figure = similarity_figure(info, "data:,", LOOKS, height_px=300)
    (box,) = figure.layout.shapes
    assert (box.x0, box.y0, box.x1, box.y1, box.line.color) == (40, 20, 60, 40, BEST)
    (marks,) = [trace for trace in figure.data if trace.name == "best places"]
    assert list(marks.text) == ["1", "2"] and list(marks.x) == [50, 10]


def test_every_patch_can_be_clicked_by_its_number() -> None:
    info = similarity_info(picture(60, 40), Frame((0, 0, 60, 40), (2, 3)), None)
    (targets,) = [
        t for t in similarity_figure(info, "data:,", LOOKS, height_px=300).data if t.type == "scatter"
    ]
    assert list(targets.x) == [10, 30, 50, 10, 30, 50] and list(targets.y) == [10, 10, 10, 30, 30, 30]
    assert targets.customdata[4][:2].tolist() == [1, 1]


def test_what_is_left_out_is_a_gap_and_not_a_number() -> None:
    hidden = np.array([[True, False]])
    info = similarity_info(
        picture(20, 10), Frame((0, 0, 20, 10), (1, 2)), np.ones((1, 2), np.float32), hidden=hidden
    )
    assert info.values is not None
    assert np.isnan(info.values).tolist() == [[True, False]]


@pytest.mark.parametrize(
    ("scale", "expected"), [("-1 to 1", (-1, 1)), ("0 to 1", (0, 1)), ("stretched", (-0.5, 0.75))]
)
def test_one_scale_for_both_maps(scale: str, expected: tuple[float, float]) -> None:
    maps = [np.array([[0.25, 0.75]], np.float32), np.array([[-0.5, np.nan]], np.float32)]
    assert limits_of(scale, maps) == expected  # type: ignore[arg-type]


def test_maps_that_are_all_alike_still_have_a_scale() -> None:
    low, high = limits_of("stretched", [np.full((2, 2), 0.5, np.float32)])
    assert low < high


def match(first: tuple[float, float], second: tuple[float, float], score: float) -> Match:
    return Match((0, 0), (0, 0), first, second, score, True, 0.1, 0.0, 0.0, 100.0, 100.0)


def test_the_second_picture_stands_beside_the_first_at_its_height() -> None:
    found = [match((10, 20), (100, 50), 0.9), match((5, 5), (0, 0), 0.5)]
    info = lines_info(picture(60, 40), picture(200, 100), found)
    assert info.sizes == ((60, 40), (80, 40))
    np.testing.assert_allclose(info.ends[0], [(10, 20), (info.offset + 40, 20)])
    np.testing.assert_allclose(info.ends[1], [(5, 5), (info.offset, 0)])
    assert "(100, 50)" in info.texts[0]
    figure = lines_figure(info, ("data:,", "data:,"), colour_map="viridis", height_px=300)
    assert len([trace for trace in figure.data if trace.mode == "lines"]) == 2
    assert figure.data[0].line.color != figure.data[1].line.color


def test_no_pair_is_no_line() -> None:
    info = lines_info(picture(60, 40), picture(60, 40), [])
    assert not lines_figure(info, ("data:,", "data:,"), colour_map="viridis", height_px=300).data
