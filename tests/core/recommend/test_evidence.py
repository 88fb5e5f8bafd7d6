"""What runs say of models: by cases with a known answer, by properties, and with runs that make no sense."""

import json
import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.bench.statistics import bootstrap_mean, quantile
from core.recommend.evidence import OwnSpeed, gather, speed_key
from core.recommend.readings import MEASURES, SCORES
from db.evidence import NUMBERS, PER_SECOND
from db.evidence_records import EvidenceRun
from tests.support.evidence_runs import CPU, GPU, START, benchmark, page_run

SCENES = {"data": "scenes:200@0", "digest": "scenes:200@0"}
OTHER_SCENES = {"data": "scenes:9@3", "digest": "scenes:9@3"}
BIRDS = {"data": "birds.zip", "digest": "aa11"}
TOP1 = {"top1": 0.8, "top1_low": 0.7, "top1_high": 0.88, "top1_n": 200.0, "top1_chance": 0.1}


def speed(*runs: EvidenceRun, key: str = "timm:a") -> OwnSpeed:
    """Return the only time of a model."""
    (found,) = gather(runs).speeds(key)
    return found


@pytest.mark.parametrize(
    ("model_id", "key"),
    [
        ("timm/resnet50.a1_in1k", "timm:resnet50"),
        ("timm/resnet50", "timm:resnet50"),
        ("random/resnet50", "timm:resnet50"),
        ("random/resnet50.a1_in1k", "timm:resnet50"),
        ("random/timm/resnet50.a1_in1k", "timm:resnet50"),
        ("random/shipped/vit-scenes", "shipped/vit-scenes"),
        ("shipped/vit-scenes", "shipped/vit-scenes"),
        ("hf/facebook/dinov2-small@main", "hf/facebook/dinov2-small@main"),
        ("timm/", "timm/"),
        ("", ""),
    ],
)
def test_models_that_take_the_same_time(model_id: str, key: str) -> None:
    assert speed_key(model_id) == key


def test_one_run_is_a_figure() -> None:
    found = speed(benchmark("timm/a.x", 20.0, at=3))
    figure = found.latency
    assert (figure.value, figure.least, figure.most, figure.n) == (20.0, 19.0, 21.0, 100)
    assert (figure.mark, figure.unit, figure.source) == ("measured", "ms", "timm/a.x@3")
    assert figure.date == (START + timedelta(days=3)).date()
    assert (found.condition.input_size, found.condition.batch, found.condition.threads) == (224, 1, 2)
    assert found.is_benchmark and found.usual_threads and found.network_ms == pytest.approx(18.0)
    assert figure.about == "fp32, batch 1, 224 px, 2 threads"


def test_weights_of_one_architecture_share_times_and_no_accuracies() -> None:
    runs = [benchmark("timm/a.x", 20.0, accuracy=SCENES, metrics=TOP1), benchmark("random/a", 22.0, at=1)]
    own = gather([*runs, benchmark("random/b", 9.0, accuracy=SCENES, metrics=TOP1)])
    (found,) = own.speeds("timm:a")
    assert (found.latency.value, found.latency.n) == (21.0, 200)
    assert own.accuracies("timm/a.x") and not own.accuracies("timm/a.y")
    assert not own.accuracies("random/b") and not own.accuracies("random/a")
    assert set(own.models) == {"timm/a.x"}
    assert own.models["timm/a.x"] == ("classification",)


def test_conditions_are_kept_apart() -> None:
    runs = [
        benchmark("timm/a.x", 20.0),
        benchmark("timm/a.x", 5.0, at=1, device="cuda"),
        benchmark("timm/a.x", 40.0, at=2, size=384),
        benchmark("timm/a.x", 15.0, at=3, options={"precision": "bf16"}),
        benchmark("timm/a.x", 12.0, at=4, options={"compiled": True}),
        benchmark("timm/a.x", 33.0, at=5, threads=1, options={"threads": 1}),
    ]
    found = gather(runs).speeds("timm:a")
    assert sorted(one.latency.value for one in found) == [5, 12, 15, 20, 33, 40]
    assert [one.latency.value for one in found][-2:] == [33, 12]  # as usual first
    assert {one.condition.device_name for one in found} == {CPU, GPU}
    (single,) = (one for one in found if one.condition.threads == 1)
    assert not single.usual_threads


def test_a_batch_is_timed_as_a_whole() -> None:
    numbers = {f"images_per_s_batch_8{end}": v for end, v in (("", 100.0), ("_low", 80.0), ("_high", 125.0))}
    one, many = sorted(
        gather([benchmark("timm/a.x", 20.0, options={"batches": [1, 8]}, metrics=numbers)]).speeds("timm:a"),
        key=lambda found: found.condition.batch,
    )
    assert one.latency.value == 20.0
    assert (many.latency.value, many.latency.least, many.latency.most) == (80.0, 64.0, 100.0)
    assert many.condition.batch == 8


def test_noisy_runs_count_only_where_there_are_no_calmer_ones() -> None:
    calm = [benchmark("timm/a.x", ms, at=i) for i, ms in enumerate((20.0, 22.0))]
    noisy = benchmark("timm/a.x", 60.0, at=5, noise="very noisy")
    figure = speed(*calm, noisy).latency
    assert figure.value == 21.0
    assert "1 run left out as very noisy" in figure.about
    assert speed(noisy).latency.value == 60.0


def test_runs_far_from_the_others_are_left_out_and_told() -> None:
    runs = [benchmark("timm/a.x", ms, at=i) for i, ms in enumerate((20.0, 20.5, 21.0, 20.2, 90.0))]
    figure = speed(*runs).latency
    assert figure.value == pytest.approx(20.35)
    assert "median of 4 runs, 1 run left out as far from the others" in figure.about
    assert "timm/a.x@4" not in figure.source
    few = speed(*runs[2:]).latency
    assert (few.value, few.most) == (21.0, 90.0 * 1.05)  # of three, none stands apart


def test_the_interval_of_many_runs_is_that_of_their_ranks() -> None:
    import numpy as np

    values = [20.0 + i / 10 for i in range(9)]
    figure = speed(*(benchmark("timm/a.x", ms, at=i) for i, ms in enumerate(values))).latency
    expected = quantile(np.array(values), 0.5)
    assert (figure.value, figure.low, figure.high) == (expected.value, expected.low, expected.high)


calm_runs = st.lists(st.floats(49.0, 51.0), min_size=5, max_size=9)


@given(calm_runs, st.floats(1.3, 1000.0))
def test_a_run_on_a_busy_machine_moves_nothing(values: list[float], factor: float) -> None:
    runs = [benchmark("timm/a.x", ms, at=i) for i, ms in enumerate(values)]
    busy = benchmark("timm/a.x", 51.0 * factor, at=99)
    before, after = speed(*runs).latency, speed(*runs, busy).latency
    assert (before.value, before.low, before.high) == (after.value, after.low, after.high)


@given(st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=12), st.randoms())
def test_the_order_of_runs_does_not_matter_and_none_counts_twice(values: list[float], dice: Any) -> None:
    runs = [benchmark("timm/a.x", ms, at=i % 3 + i / 100) for i, ms in enumerate(values)]
    mixed = [*runs, *runs]
    dice.shuffle(mixed)
    assert gather(mixed) == gather(runs)
    figure = speed(*runs).latency
    assert min(values) <= figure.value <= max(values)
    assert figure.least <= figure.value <= figure.most


def test_two_sets_are_two_axes_and_scenes_are_one() -> None:
    own = gather(
        [
            benchmark("timm/a.x", 20.0, at=0, accuracy=SCENES, metrics=TOP1),
            benchmark(
                "timm/b.x", 20.0, at=1, accuracy={"data": "scenes:9@3", "digest": "scenes:9@3"}, metrics=TOP1
            ),
            benchmark("timm/a.x", 20.0, at=2, accuracy=BIRDS, metrics={**TOP1, "top1": 0.85}),
            benchmark("timm/a.x", 20.0, at=3, accuracy={**BIRDS, "digest": "bb22"}, metrics=TOP1),
        ]
    )
    assert len(own.axes) == 3
    found = own.accuracies("timm/a.x")
    assert set(found) == set(own.axes)
    figure = found["here:scenes-top1"]
    assert (figure.value, figure.n, figure.unit) == (80.0, 200, "%")
    assert (figure.low, figure.high) == (pytest.approx(70.0), pytest.approx(88.0))
    axis = own.axes["here:scenes-top1"]
    assert (axis.tasks, axis.title, axis.higher_is_better) == (
        ("classification",),
        "fresh scenes, top-1",
        True,
    )
    assert set(own.accuracies("timm/b.x")) == {"here:scenes-top1"}


def test_the_accuracy_is_of_the_newest_weights_run_as_usual_on_most_pictures() -> None:
    def run(share: float, at: float, **more: Any) -> EvidenceRun:
        numbers = {"top1": share, "top1_n": more.pop("n", 100.0)}
        return benchmark("file/a", 9.0, at=at, accuracy=SCENES, metrics=numbers, **more)

    runs = [
        run(0.1, 0, n=9_000.0, revision="old"),
        run(0.2, 1, n=500.0),
        run(0.3, 2, n=100.0),
        run(0.4, 3, n=900.0, options={"precision": "bf16"}),
        run(0.5, 4, n=500.0),
    ]
    figure = gather(runs).accuracies("file/a")["here:scenes-top1"]
    assert (figure.value, figure.n) == (50.0, 500)


def test_an_older_run_has_the_set_in_its_plan() -> None:
    run = benchmark("timm/a.x", 9.0, metrics=TOP1, parameters={"plan": {"truths": "/home/ada/birds.zip"}})
    (axis,) = gather([run]).axes.values()
    assert axis.benchmark == "birds.zip"
    assert not gather([benchmark("timm/a.x", 9.0, metrics=TOP1)]).axes


def test_answers_about_a_data_set() -> None:
    plan = page_run("vlm-set", "x", None, data="signs.zip", digest="cc33")
    asked = [
        page_run(
            "vlm",
            "openai/x",
            800.0 + i,
            at=i,
            device="openai",
            metrics={"score_exact": float(i % 4 > 0), "cost_usd": 0.001 * (1 + i % 2)},
            task="question",
            item={"set": plan.run_id, "id": f"q{i}"},
        )
        for i in range(40)
    ]
    again = replace(asked[0], run_id="again", time=START + timedelta(days=99), metrics={"score_exact": 1.0})
    unknown = replace(
        asked[1], run_id="unknown", parameters={"task": "question", "item": {"set": "?", "id": "q"}}
    )
    own = gather([plan, *asked, again, unknown])
    ((axis, figure),) = own.accuracies("openai/x").items()
    assert (figure.value, figure.n) == (pytest.approx(100 * 31 / 40), 40)  # the newest answer counts
    assert figure.least < 77.5 < figure.most
    assert own.axes[axis].tasks == ("vqa",)
    cost = own.cost("openai/x")
    assert cost is not None
    assert (cost.value, cost.n) == (pytest.approx(1.5, rel=0.02), 41)
    reference = bootstrap_mean([1000 * run.metrics["cost_usd"] for run in [*asked, asked[1]]])
    assert cost.low == pytest.approx(reference.low, rel=0.03)
    assert own.cost("openai/y") is None
    assert own.models["openai/x"] == ("vqa",)


def test_character_errors_are_better_where_they_are_fewer() -> None:
    plan = page_run("vlm-set", "x", None, data="scenes:5@0", digest="scenes:5@0")
    item = {"set": plan.run_id, "id": "1"}
    run = page_run("vlm", "a/b", 5.0, metrics={"score_cer_normalised": 0.25}, task="ocr", item=item)
    own = gather([plan, run])
    assert own.axes["here:scenes-ocr"].higher_is_better is False
    assert own.accuracies("a/b")["here:scenes-ocr"].value == 25.0


def test_runs_of_pages_count_where_nothing_was_benchmarked() -> None:
    pages = [
        page_run("attention", "timm/a.x", 50.0),
        page_run("attention", "timm/a.x", 70.0, at=1),
        page_run("segmentation", "hf/s", 900.0, embedded="encoded"),
        page_run("segmentation", "hf/s", 3.0, at=1, embedded="memory"),
        page_run("similarity", "hf/d", 80.0, metrics={"model_ms": 60.0}, features=["computed", "computed"]),
        page_run("similarity", "hf/d", 8.0, at=1, metrics={"model_ms": 6.0}, features=["computed", "store"]),
    ]
    own = gather(pages)
    (found,) = own.speeds("timm:a")
    assert (found.latency.value, found.is_benchmark) == (60.0, False)
    assert "not a benchmark" in found.latency.about
    assert [one.latency.value for one in own.speeds("hf/s")] == [900.0]
    assert [one.latency.value for one in own.speeds("hf/d")] == [30.0]
    (measured,) = gather([*pages, benchmark("random/a", 20.0)]).speeds("timm:a")
    assert (measured.latency.value, measured.is_benchmark) == (20.0, True)
    both = gather([*pages, benchmark("random/a", 2.0, device="cuda")]).speeds("timm:a")
    assert [one.is_benchmark for one in both] == [True, False]  # that was another device


def test_memory_is_what_the_model_adds() -> None:
    numbers = {"peak_memory_mb": 640.0, "base_memory_mb": 300.0}
    own = gather([benchmark("timm/a.x", 9.0, metrics=numbers)])
    figure = own.memory("timm:a")
    assert figure is not None
    assert (figure.value, figure.unit, figure.mark) == (340.0, "MB", "measured")
    assert own.memory("timm:b") is None
    assert gather([benchmark("a", 9.0, metrics=numbers, options={"batches": [1, 8]})]).memory("a") is None
    shrunk = {"peak_memory_mb": 300.0, "base_memory_mb": 640.0}
    assert gather([benchmark("a", 9.0, metrics=shrunk)]).memory("a") is None
    gpu = gather([benchmark("a", 9.0, device="cuda", metrics={**numbers, "gpu_peak_memory_mb": 99.0})])
    assert gpu.memory("a").value == 99.0  # type: ignore[union-attr]


def test_nothing_at_all() -> None:
    own = gather([])
    assert own.speeds("x") == () and own.accuracies("x") == {} and own.memory("x") is own.cost("x") is None


NONSENSE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
NAMES = (
    *("options", "input_size", "noise", "what", "plan", "task", "item", "data", "digest", "embedded"),
    "features",
)
METRICS = (
    *("p50_ms", "p50_ms_low", "p50_ms_high", "samples", "model_ms", "images_per_s_batch_8", "top1"),
    *("top1_low", "top1_high", "top1_n", "cost_usd", "score_exact", "peak_memory_mb", "base_memory_mb"),
)
OPTIONS = st.dictionaries(
    st.sampled_from(["batches", "precision", "size", "compiled", "threads", "seconds", "more"]), NONSENSE
)
FILES = st.one_of(
    st.none(), st.binary(max_size=9), NONSENSE.map(lambda value: json.dumps({"digest": value}).encode())
)
ODD = st.sampled_from(
    [math.nan, math.inf, -math.inf, -1.0, 0.0, 1e308, 5e-324, 0.5, 3.0, True, None, "x", "1"]
)


@settings(max_examples=60)
@given(
    st.lists(
        st.builds(
            lambda kind, given, options, numbers, ms, file: replace(
                page_run(kind, "timm/a.x", ms),
                parameters=given | ({"options": options} if options is not None else {}),
                metrics=numbers,
                accuracy=file,
            ),
            st.sampled_from(["benchmark", "vlm", "vlm-set", "attention", "similarity", "segmentation", "?"]),
            st.dictionaries(st.sampled_from(NAMES), NONSENSE),
            st.one_of(st.none(), OPTIONS),
            st.dictionaries(st.sampled_from(METRICS), ODD),
            ODD,
            st.one_of(
                st.none(), st.binary(max_size=9), NONSENSE.map(lambda v: json.dumps({"digest": v}).encode())
            ),
        ),
        max_size=4,
    )
)
def test_what_makes_no_sense_is_passed_over(runs: list[EvidenceRun]) -> None:
    runs = [replace(run, run_id=str(at)) for at, run in enumerate(runs)]
    own = gather([*runs, benchmark("timm/b.x", 20.0)])
    assert [one.latency.value for one in own.speeds("timm:b")] == [20.0]
    for one in own.speeds("timm:a"):
        assert 0 < one.latency.value < math.inf


def test_deep_json_in_a_file_is_passed_over() -> None:
    run = replace(benchmark("timm/a.x", 20.0, metrics=TOP1), accuracy=b"[" * 100_000)
    assert not gather([run]).axes


def test_the_store_reads_every_number_that_is_asked_for() -> None:
    measures = {f"{name}{end}" for name in MEASURES for end in ("", "_low", "_high", "_n")}
    scores = {metric for metric, *_ in SCORES.values()}
    assert measures | scores <= set(NUMBERS)
    asked: set[str] = set()

    class Watched(dict[str, float]):
        def get(self, name: str, default: Any = None) -> Any:
            asked.add(name)
            return super().get(name, default)

    runs = [
        benchmark("timm/a.x", 9.0, accuracy=SCENES, device=device, options={"batches": batches})
        for device in ("cpu", "cuda")
        for batches in ([1], [1, 8])
    ]
    runs.append(page_run("vlm", "a/b", 9.0, task="question"))
    gather([replace(run, run_id=str(at), metrics=Watched(run.metrics)) for at, run in enumerate(runs)])
    assert "p50_ms" in asked and "cost_usd" in asked
    assert not [name for name in asked - set(NUMBERS) if not name.startswith(PER_SECOND)]
