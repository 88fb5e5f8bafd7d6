"""Charts of segmenters: the numbers are those of the objects, and the figures show them."""

from dataclasses import replace

import numpy as np
import pytest

from core.charts.segment import (
    MISSED,
    clicks_figure,
    clicks_info,
    noc_figure,
    noc_info,
    predicted_figure,
    predicted_info,
    sensitivity_figure,
    sensitivity_info,
)
from core.segment.scores import Evaluation, ObjectScore, summarise
from core.segment.sensitivity import Sensitivity


def evaluation(*scores: ObjectScore) -> Evaluation:
    kinds = dict.fromkeys(score.kind for score in scores)
    by_kind = {kind: summarise([score for score in scores if score.kind == kind]) for kind in kinds}
    return Evaluation(2, 0, scores, summarise(scores), by_kind, 1.0, 1.0)


def score(first: float, second: float, kind: str = "plain") -> ObjectScore:
    return ObjectScore((first, second), (0.6, 0.7), 0.8, 0.9, 1.0, kind)


FOUND = evaluation(score(0.1, 0.9), score(0.3, 0.5), score(0.5, 0.7), score(0.9, 0.2, "cutouts"))


def test_a_line_is_the_median_between_the_quartiles() -> None:
    plain, cutouts = clicks_info(FOUND).series
    assert (plain.name, plain.clicks, plain.n) == ("plain", [1, 2], 3)
    assert plain.median == pytest.approx([0.3, 0.7])
    assert plain.lower == pytest.approx([0.2, 0.6]) and plain.upper == pytest.approx([0.4, 0.8])
    assert (cutouts.lower, cutouts.median) == ([0.9, 0.2], [0.9, 0.2])


def test_the_figure_draws_line_and_band_on_an_axis_from_0_to_1() -> None:
    figure = clicks_figure(clicks_info(FOUND))
    lines = {trace.name: trace for trace in figure.data if trace.name}
    bands = [trace for trace in figure.data if not trace.name]
    assert list(lines["plain"].y) == pytest.approx([0.3, 0.7]) and list(lines["plain"].x) == [1, 2]
    assert "n = 3" in lines["plain"].hovertemplate
    assert list(bands[0].y) == pytest.approx([0.4, 0.8, 0.6, 0.2]) and list(bands[0].x) == [1, 2, 2, 1]
    low, high = figure.layout.yaxis.range
    assert low == 0 and 1 <= high < 1.1
    assert lines["plain"].marker.color != lines["cutouts"].marker.color


def test_several_models_are_one_group_each() -> None:
    both = {"shipped/a": FOUND, "shipped/b": evaluation(score(0.4, 0.4))}
    info = clicks_info(both)
    assert [(s.name, s.n) for s in info.series] == [("shipped/a", 4), ("shipped/b", 1)]
    assert clicks_figure(info).data[3].name == "shipped/b"


def test_objects_that_were_not_brought_to_the_level_have_their_own_bar() -> None:
    plain, cutouts = noc_info(FOUND, level=0.7).series
    assert (plain.counts, plain.n) == ([0, 2, 1], 3)
    assert (cutouts.counts, cutouts.n) == ([1, 0, 0], 1)
    assert noc_info(FOUND).series[0].counts == [0, 1, 2]  # level 0.85
    bars = noc_figure(noc_info(FOUND, level=0.7)).data
    assert list(bars[0].x) == ["1", "2", MISSED]
    assert list(bars[0].y) == pytest.approx([0, 2 / 3, 1 / 3])


def test_every_answer_is_a_dot_and_an_honest_one_lies_on_the_diagonal() -> None:
    info = predicted_info(FOUND)
    assert info.series[1] == ("cutouts", [0.6, 0.7, 0.9], [0.9, 0.2, 0.8])
    figure = predicted_figure(info)
    assert len(figure.data[0].x) == 9 and list(figure.data[1].y) == [0.9, 0.2, 0.8]
    (diagonal,) = figure.layout.shapes
    assert (diagonal.x0, diagonal.y0) == (0, 0) and diagonal.x1 == diagonal.y1 == 1


def test_predictions_beyond_1_stay_in_the_picture() -> None:
    odd = replace(score(0.5, 0.5), predicted_iou=(1.2, -0.1))
    low, high = predicted_figure(predicted_info(evaluation(odd))).layout.xaxis.range
    assert low < -0.1 and high > 1.2


def test_the_strip_shows_each_move_the_mean_and_the_spread() -> None:
    values = (0.5, 0.9, 0.9, 1.0)
    info = sensitivity_info(Sensitivity(values, np.zeros((2, 2), np.float32), 3.5))
    assert info.mean == pytest.approx(0.825) and info.worst == 0.5
    assert info.spread == pytest.approx(tuple(np.percentile(values, [10, 90])))
    figure = sensitivity_figure(info)
    assert list(figure.data[0].x) == list(values) and len(set(figure.data[0].y)) == 4
    band, line = figure.layout.shapes
    assert (band.x0, band.x1) == pytest.approx(info.spread)
    assert line.x0 == line.x1 == pytest.approx(0.825)
    assert "3.5 px" in figure.layout.xaxis.title.text
