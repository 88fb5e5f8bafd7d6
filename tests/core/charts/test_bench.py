"""The charts of a benchmark by value."""

from dataclasses import dataclass, field

from core.charts.bench_latency import latency_figure, latency_info
from core.charts.bench_memory import memory_figure, memory_info
from core.charts.bench_shared import Estimate, arms, ends, estimate
from core.charts.bench_stages import stages_figure, stages_info
from core.charts.bench_start import start_figure, start_info
from core.charts.bench_throughput import throughput_figure, throughput_info
from core.charts.bench_tradeoff import measures, tradeoff_figure, tradeoff_info
from core.charts.history_shared import GREY
from core.charts.theme import model_colour
from tests.support.bench_runs import numbers_of


@dataclass(frozen=True)
class Row:
    label: str
    metrics: dict[str, float] = field(default_factory=dict)
    model_id: str = "shipped/vit-scenes"


SLOW = Row("slow", numbers_of(20.0))
FAST = Row("fast", numbers_of(2.0, samples=50), "shipped/dino-scenes")
EMPTY = Row("nothing <b>measured</b>")


def test_an_open_end_of_an_interval_has_no_arm_and_is_said() -> None:
    found = estimate({"x": 5.0, "x_low": 4.0}, "x")
    assert found == Estimate(5.0, 4.0, None)
    assert (arms([found])["array"], arms([found])["arrayminus"]) == ([0], [1.0])
    assert ends(found, "ms") == "4 to ? ms"
    assert estimate({"x": 5.0}, "y") is None


def test_latency_is_grey_with_too_few_samples_and_says_how_many_more() -> None:
    info = latency_info([SLOW, EMPTY, FAST])
    assert [line.label for line in info] == ["fast", "slow"]
    assert [(one.name, one.missing) for one in info[0].percentiles] == [("p50", 0), ("p90", 14), ("p99", 612)]
    assert [one.missing for one in info[1].percentiles] == [0, 0, 0]
    figure = latency_figure(info)
    marks = [trace for trace in figure.data if trace.error_x.array is not None]
    assert [trace.x[0] for trace in marks] == [2.0, 2.4, 3.0, 20.0, 24.0, 30.0]
    assert [trace.marker.color for trace in marks] == [
        model_colour("shipped/dino-scenes"),
        GREY,
        GREY,
        *[model_colour("shipped/vit-scenes")] * 3,
    ]
    assert marks[2].marker.symbol == "diamond-open" and "612 more needed" in marks[2].hovertemplate
    assert marks[0].error_x.array[0] == 2.0 * 1.1 - 2.0


def test_stages_stack_to_the_call_and_the_whole_has_its_interval() -> None:
    info = stages_info([SLOW, FAST, EMPTY])
    assert [(call.label, call.whole.value) for call in info] == [("fast", 2.0), ("slow", 20.0)]
    assert info[1].stages == [4.0, 14.0, 2.0]
    figure = stages_figure(info)
    assert figure.layout.barmode == "stack"
    assert [trace.name for trace in figure.data] == [
        "pre-processing",
        "model",
        "post-processing",
        "whole call, p50",
    ]
    assert list(figure.data[3].x) == [2.0, 20.0]


def test_start_adds_loading_and_first_call() -> None:
    info = start_info([EMPTY, SLOW])
    assert info[0][1:] == (80.0, 9.0) and len(info) == 1
    assert [trace.x[0] for trace in start_figure(info).data] == [80.0, 9.0]


def test_memory_tells_the_model_from_its_process() -> None:
    gpu = Row("gpu", numbers_of(1.0, gpu_peak_memory_mb=512.0, peak_memory_mb=900.0))
    info = memory_info([gpu, SLOW, EMPTY])
    assert [(one.label, one.base_mb, one.peak_mb, one.gpu_mb) for one in info] == [
        ("slow", 300.0, 340.0, None),
        ("gpu", 300.0, 900.0, 512.0),
    ]
    assert [list(trace.x) for trace in memory_figure(info).data] == [
        [300.0, 300.0],
        [40.0, 600.0],
        [None, 512.0],
    ]
    assert len(memory_figure(info[:1]).data) == 2


def test_throughput_is_in_order_of_the_batch_size() -> None:
    row = Row(
        "many",
        {"images_per_s_batch_16": 90.0, "images_per_s_batch_2": 30.0, "images_per_s_batch_2_low": 29.0},
    )
    (found,) = throughput_info([row, EMPTY])
    assert (found.sizes, [rate.value for rate in found.rates]) == ([2, 16], [30.0, 90.0])
    assert list(throughput_figure([found]).data[0].x) == [2, 16]


def test_accuracy_against_speed_has_one_measure_at_a_time() -> None:
    scored = {"top1": 0.9, "top1_low": 0.8, "top1_high": 0.95, "top1_n": 50.0, "top1_chance": 0.1}
    masks = {"miou_box": 0.7, "miou_box_n": 20.0}
    rows = [Row("a", numbers_of(5.0, **scored)), Row("b", numbers_of(9.0, **masks)), EMPTY]
    assert measures(rows) == ["top1", "miou_box"]
    info = tradeoff_info(rows, "top1")
    assert [(place.label, place.score, place.n) for place in info.places] == [
        ("a", Estimate(0.9, 0.8, 0.95), 50)
    ]
    assert info.chance == 0.1
    assert tradeoff_info(rows, "miou_box").chance is None
    figure = tradeoff_figure(info, "top-1 accuracy")
    assert (figure.data[0].x[0], figure.data[0].y[0]) == (5.0, 0.9)
    assert figure.layout.yaxis.title.text == "top-1 accuracy"


def test_names_are_no_markup_and_an_empty_chart_is_drawn() -> None:
    row = Row("<script>x</script>", numbers_of(3.0))
    names = [note.text for note in latency_figure(latency_info([row])).layout.annotations]
    assert names == ["&lt;script&gt;x&lt;/script&gt;"]
    for figure in (latency_figure([]), stages_figure([]), memory_figure([]), throughput_figure([])):
        assert figure.layout.height > 0
