"""The chart of ratings: what is shown is what was rated."""

import json
from dataclasses import dataclass, replace

from core.charts.ratings import ratings_figure, ratings_info


@dataclass(frozen=True)
class Between:
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Model:
    model_id: str
    rank: int
    raw: Between
    length_controlled: Between
    votes: int


MODELS = (
    Model("gemini/a", 1, Between(1100, 1050, 1160), Between(1080, 1000, 1150), 40),
    Model("openai/b", 1, Between(900, 840, 950), Between(920, 850, 1000), 30),
)


def test_numbers_are_those_of_the_models() -> None:
    raw, controlled = ratings_info(MODELS).rows
    assert raw.labels == controlled.labels == ["1. gemini/a", "1. openai/b"]
    assert (raw.values, raw.lows, raw.highs) == ([1100, 900], [1050, 840], [1160, 950])
    assert (controlled.values, controlled.lows, controlled.highs) == ([1080, 920], [1000, 850], [1150, 1000])
    assert raw.votes == [40, 30]


def test_bars_end_at_the_bounds() -> None:
    figure = json.loads(ratings_figure(ratings_info(MODELS)).to_json())
    for trace, low, high in zip(
        figure["data"], ([1050, 840], [1000, 850]), ([1160, 950], [1150, 1000]), strict=True
    ):
        bars = trace["error_x"]
        assert [x - d for x, d in zip(trace["x"], bars["arrayminus"], strict=True)] == low
        assert [x + d for x, d in zip(trace["x"], bars["array"], strict=True)] == high
    bottom, top = figure["layout"]["yaxis"]["range"]
    assert bottom > top  # the best is on top


def test_each_model_has_a_line_under_its_name_and_no_name_is_a_tag() -> None:
    odd = replace(MODELS[1], model_id="hf/<b>x</b>")
    figure = json.loads(ratings_figure(ratings_info((MODELS[0], odd))).to_json())
    raw, controlled = (trace["y"] for trace in figure["data"])
    names = figure["layout"]["annotations"]
    assert [name["text"] for name in names] == ["1. gemini/a", "1. hf/&lt;b&gt;x&lt;/b&gt;"]
    for name, one, two in zip(names, raw, controlled, strict=True):
        assert name["y"] < one < two < name["y"] + 1


def test_no_models_give_an_empty_chart() -> None:
    assert ratings_figure(ratings_info(())).data[0].x == ()
