"""The recommender's chart by value."""

import math
from dataclasses import replace

from core.charts.recommend_pareto import (
    FAINT,
    FITS,
    SYMBOLS,
    Dot,
    named,
    recommend_figure,
    recommend_info,
    recommend_table,
)
from core.recommend.answer import Answer, recommend
from core.recommend.entries import Accuracy, Axis
from core.recommend.request import Request
from tests.support.recommending import AXIS, TASK, benchmark, catalog, entry, facts

HOSTILE = "<b>x</b> <a href='javascript:1'>y</a>"


def answer(**asked: object) -> Answer:
    """Ask about five models: `slow` is too slow, `dark` has no accuracy, `still` no speed."""
    known = catalog(
        entry("quick", 70.0, 10.0),
        entry("good", 80.0, 40.0, title=HOSTILE, runs="own/good"),
        entry("worse", 75.0, 60.0),
        entry("slow", 90.0, 500.0),
        entry("dark", None, 20.0),
        entry("still", 85.0),
    )
    request = Request(TASK, **{"latency_ms": 100.0, "device": "cpu-a", **asked})
    return recommend(request, facts(known, benchmark("own/good", 30.0)))


def test_every_model_with_both_numbers_is_a_dot_and_the_others_are_counted() -> None:
    info = recommend_info(answer())
    assert [(dot.model_id, dot.ms, dot.accuracy, dot.place, dot.is_front) for dot in info.dots] == [
        ("quick", 10.0, 70.0, 3, True),
        ("good", 40.0, 80.0, 1, True),
        ("worse", 60.0, 75.0, 2, False),
        ("slow", 500.0, 90.0, None, False),
    ]
    assert (info.no_accuracy, info.no_speed, info.limit_ms, info.least) == (1, 1, 100.0, None)
    assert {dot.speed_mark for dot in info.dots} == {"published"}


def test_what_was_measured_here_has_its_interval_and_its_own_symbol() -> None:
    info = recommend_info(answer(device="here", latency_ms=None, min_accuracy=72.0))
    (dot,) = info.dots
    assert (dot.speed_mark, dot.accuracy_mark, info.least) == ("measured", "published", 72.0)
    assert dot.ms_low < dot.ms < dot.ms_high
    (trace,) = [trace for trace in recommend_figure(info).data if trace.mode == "markers"]
    assert trace.marker.symbol == SYMBOLS["measured"] and trace.marker.color == FITS
    assert trace.error_x.array[0] == dot.ms_high - dot.ms


def test_time_is_of_one_picture_whatever_the_batch() -> None:
    many = recommend_info(answer(batch=8, latency_ms=None, images_per_s=20.0))
    assert many.limit_ms == 50.0
    assert not many.dots and many.no_speed == 5


def test_excluded_models_are_grey_and_can_be_left_out() -> None:
    info = recommend_info(answer())
    whole, fitting = recommend_figure(info), recommend_figure(info, excluded=False)
    grey = [trace for trace in whole.data if trace.mode == "markers" and trace.marker.color == FAINT]
    assert [list(trace.x) for trace in grey] == [[500.0]] and grey[0].name == "does not fit"
    assert not [trace for trace in fitting.data if trace.mode == "markers" and trace.marker.color == FAINT]
    (line,) = [trace for trace in whole.data if trace.mode == "lines"]
    assert (list(line.x), list(line.y)) == ([10.0, 40.0], [70.0, 80.0])


def test_limits_are_drawn_and_named_and_names_are_no_markup() -> None:
    figure = recommend_figure(recommend_info(answer(min_accuracy=72.0)), chosen="good")
    words = [note.text for note in figure.layout.annotations]
    assert "at most 100 ms" in words and "at least 72 %" in words
    assert {shape.x0 for shape in figure.layout.shapes} >= {100.0}
    assert not [word for word in words if "<b>" in word or "<a" in word]
    hover = [data[1] for trace in figure.data if trace.customdata is not None for data in trace.customdata]
    assert not [word for word in hover if "<a href" in word]
    assert [list(trace.x) for trace in figure.data if trace.marker.symbol == "circle-open"] == [[40.0]]


def test_where_less_is_better_up_is_better_all_the_same() -> None:
    errors = Axis("err", (TASK,), "Photos", "errors", "One crop.", "src", unit="", higher_is_better=False)
    rows = {"a": 0.5, "b": 0.1}
    some = [
        replace(entry(name, None, 10.0 * (at + 1)), accuracy=(Accuracy("err", value, "src"),))
        for at, (name, value) in enumerate(rows.items())
    ]
    request = Request(TASK, device="cpu-a", axis="err", min_accuracy=0.4)
    info = recommend_info(recommend(request, facts(catalog(*some, axes=(errors,)))))
    assert [(dot.model_id, dot.place) for dot in info.dots] == [("a", None), ("b", 1)]
    figure = recommend_figure(info)
    assert figure.layout.yaxis.autorange == "reversed"
    assert "at most 0.4" in [note.text for note in figure.layout.annotations]


def test_nothing_to_draw_is_an_empty_chart() -> None:
    none = recommend(Request(TASK, device="cpu-a"), facts(catalog(entry("dark", None, 20.0))))
    info = recommend_info(none)
    assert (info.axis, info.dots, info.no_accuracy) == ("", [], 1)
    assert not recommend_figure(info).data


def test_names_do_not_cover_each_other() -> None:
    def dot(name: str, ms: float, accuracy: float) -> Dot:
        return Dot(
            name, name, ms, ms, ms, accuracy, accuracy, accuracy, "published", "published", 1, True, ""
        )

    close = [dot("low", 1.0, 60.0), dot("near", 9.0, 79.9), dot("best", 10.0, 80.0)]
    assert [one.model_id for one in named(close, close)] == ["best", "low"]
    assert named([], []) == []


def test_the_table_has_every_number_with_its_mark() -> None:
    info = recommend_info(answer())
    rows = recommend_table(info)
    assert [row["model"] for row in rows] == ["quick", "good", "worse", "slow"]
    assert rows[0]["speed is"] == "published" and rows[0]["Photos, top-1"] == 70.0
    assert rows[3]["place"] is None and rows[1]["on the front"] is True
    assert AXIS not in rows[0]
    assert all(math.isfinite(float(str(row["ms low"]))) for row in rows)
