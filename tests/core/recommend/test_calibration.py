"""Scaling published speeds: machines of known speed must be found, and what is wrong must be told."""

import math
from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from core.recommend.calibration import REFERENCES, Calibration, calibrate
from core.recommend.entries import Catalog, Device, Entry, Source, Speed
from core.recommend.evidence import gather
from core.recommend.scaling import Error, correlation, shipped_errors
from db.evidence_records import EvidenceRun
from tests.support.evidence_runs import CPU, benchmark

NAMES = [name.removeprefix("random/") for name in REFERENCES]
OTHERS = [f"net{i}" for i in range(12)]
FAST, SLOW = "i7-12700h", "i9-10940x"
DAY = date(2026, 1, 1)


def entry(name: str, ms: Mapping[str, float], **more: Any) -> Entry:
    """Return a model with published times on devices."""
    facts: dict[str, Any] = {
        "title": name,
        "family": name,
        "tasks": ("classification",),
        "published": DAY,
        "licence": "MIT",
        "commercial": True,
        "source": "paper",
        "url": "https://example.org",
        "input_size": 224,
        "timm": name,
        "speed": tuple(Speed(device, "fp32", 1, 224, time, "paper") for device, time in ms.items()),
    }
    return Entry(id=f"timm/{name}.x", **(facts | more))


def catalog(*entries: Entry) -> Catalog:
    """Return a catalogue of models on two processors and a GPU."""
    devices = [Device(FAST, "Fast CPU", "cpu"), Device(SLOW, "Slow CPU", "cpu"), Device("gpu", "GPU", "gpu")]
    sources = {"paper": Source("paper", "A paper", "https://example.org", DAY)}
    return Catalog({one.id: one for one in entries}, {}, {one.id: one for one in devices}, sources)


PUBLISHED = {name: 5.0 * (i + 1) for i, name in enumerate([*NAMES, *OTHERS])}
PLAIN = catalog(*(entry(name, {FAST: ms}) for name, ms in PUBLISHED.items()))


def timed(factor: float, names: list[str], **times: float) -> list[EvidenceRun]:
    """Return benchmarks of a machine that takes `factor` times as long as published, or other `times`."""
    return [
        benchmark(f"random/{name}", times.get(name, factor) * PUBLISHED[name], network=None) for name in names
    ]


def calibrated(runs: list[EvidenceRun], of: Catalog = PLAIN) -> Calibration:
    """Return what is found."""
    found = calibrate(of, gather(runs), CPU)
    assert found is not None
    return found


@given(st.floats(1e-3, 1e3))
def test_a_machine_of_known_speed(factor: float) -> None:
    found = calibrated(timed(factor, NAMES))
    assert found.best.basis == FAST
    assert found.best.factor == pytest.approx(factor)
    assert found.best.spread == pytest.approx(1.0)
    figure = found.estimate(PLAIN.entries["timm/net3.x"])
    assert figure is not None
    assert figure.value == pytest.approx(factor * PUBLISHED["net3"])
    assert figure.mark == "estimated"
    error = shipped_errors()[FAST]
    assert figure.least == pytest.approx(figure.value / error.factor_95)
    assert figure.most == pytest.approx(figure.value * error.factor_95)
    assert "on another machine" in figure.about
    assert "takes" in found.sentence and "Fast CPU" in found.sentence


def test_what_a_call_takes_beside_the_network_is_added() -> None:
    runs = [
        benchmark(
            f"random/{name}", 2 * PUBLISHED[name] + 4, network=2 * PUBLISHED[name] / (2 * PUBLISHED[name] + 4)
        )
        for name in NAMES
    ]
    found = calibrated(runs)
    assert found.overhead_ms == pytest.approx(4.0)
    assert found.best.factor == pytest.approx(2.0)
    figure = found.estimate(PLAIN.entries["timm/net0.x"], batch=3)
    assert figure is not None
    assert figure.value == pytest.approx(3 * (2 * PUBLISHED["net0"] + 4))
    assert figure.most > figure.value * found.best.off_by  # a pass over several is less certain


def test_the_published_device_that_is_most_alike_counts() -> None:
    alike = {name: {FAST: ms * (1 + i % 3), SLOW: 7 * ms} for i, (name, ms) in enumerate(PUBLISHED.items())}
    found = calibrated(timed(2.0, NAMES), catalog(*(entry(name, ms) for name, ms in alike.items())))
    assert found.best.basis == SLOW
    assert found.best.factor == pytest.approx(2 / 7)
    only_fast = found.estimate(entry("x", {FAST: 10.0}))  # nobody published its time on the other one
    assert only_fast is not None and "Fast CPU" in only_fast.about


def test_the_error_is_measured_on_models_that_are_no_references() -> None:
    dice = np.random.default_rng(3)
    times = {name: float(2 * dice.lognormal(0, 0.3)) for name in OTHERS}
    runs = timed(2.0, NAMES) + timed(2.0, OTHERS, **times)
    found = calibrated(runs)
    error = found.best.error
    measured = [times[name] * PUBLISHED[name] for name in OTHERS]
    predicted = [2 * PUBLISHED[name] for name in OTHERS]
    off = [abs(p / m - 1) for p, m in zip(predicted, measured, strict=True)]
    logs = [abs(math.log(p / m)) for p, m in zip(predicted, measured, strict=True)]
    assert error.is_own and error.n == len(OTHERS)
    assert error.median_percent == pytest.approx(100 * float(np.median(off)))
    assert error.factor_95 == pytest.approx(math.exp(max(logs)))  # of 12, nothing less is sure
    assert error.rank_correlation == pytest.approx(spearmanr(predicted, measured).statistic)
    assert found.best.published_rank_correlation == pytest.approx(error.rank_correlation)
    taken = [abs(PUBLISHED[name] / m - 1) for name, m in zip(OTHERS, measured, strict=True)]
    assert found.best.published_percent == pytest.approx(100 * float(np.median(taken)))
    figure = found.estimate(entry("y", {FAST: 10.0}))
    assert figure is not None and "held-out models here" in figure.about
    few = calibrated(runs[:-5]).best
    assert not few.error.is_own and len(few.held_out) == 7


def test_without_references_all_models_count_and_each_is_held_out_once() -> None:
    found = calibrated(timed(3.0, OTHERS, net0=300.0)).best
    assert found.factor == pytest.approx(3.0)  # one wrong time among many moves nothing
    assert len(found.models) == len(found.held_out) == found.error.n == 12
    assert found.error.median_percent == pytest.approx(0.0, abs=1e-9)
    assert found.error.factor_95 == pytest.approx(100.0)  # and yet it is one of them


def test_one_model_alone_is_less_certain() -> None:
    one, three = calibrated(timed(2.0, NAMES[:1])).best, calibrated(timed(2.0, NAMES)).best
    assert one.factor == pytest.approx(2.0)
    assert one.off_by > three.off_by


@pytest.mark.parametrize("wrong", [1000.0, 1 / 1000])
def test_a_reference_that_contradicts_all_others_is_left_out_and_named(wrong: float) -> None:
    found = calibrated(timed(2.0, NAMES, resnet50=2 * wrong))
    assert found.odd == "resnet50"
    assert found.best.factor == pytest.approx(2.0)
    assert "resnet50 contradicts them and was left out" in found.sentence
    assert found.to_json()["odd"] == "resnet50"


def test_references_that_all_contradict_each_other_widen_every_estimate() -> None:
    work = {"macs": 10**9, "activations": 10**7}
    every = catalog(*(entry(name, {FAST: ms}, **work) for name, ms in PUBLISHED.items()))
    for runs in (
        timed(2.0, NAMES, resnet50=40.0, efficientnet_b0=800.0),
        timed(2.0, NAMES[:2], resnet50=80.0),
    ):
        found = calibrated(runs, every)
        assert found.odd is None and found.best.contradicts
        assert "contradict each other by a factor of" in found.sentence
        for one in (entry("a", {FAST: 10.0}), entry("b", {}, **work)):
            figure = found.estimate(one)
            assert figure is not None
            assert figure.most / figure.value >= found.best.spread * 0.999
            assert "contradict" in figure.about


def test_what_nobody_published_is_scaled_by_its_work_and_far_less_certain() -> None:
    def work(name: str) -> dict[str, Any]:
        ms = PUBLISHED.get(name, 30.0)
        return {"macs": int(ms * 1e9), "activations": int(ms * 1e6)}

    every = catalog(*(entry(name, {FAST: ms}, **work(name)) for name, ms in PUBLISHED.items()))
    found = calibrated(timed(2.0, NAMES), every)
    both = found.estimate(entry("a", {}, **work("a")))
    macs = found.estimate(entry("b", {}, macs=30 * 10**9))
    published = found.estimate(entry("c", {FAST: 30.0}))
    assert both is not None and macs is not None and published is not None
    assert both.value == macs.value == pytest.approx(published.value) == pytest.approx(60.0)
    assert published.most < both.most < macs.most
    assert "by multiply-adds and activations" in both.about
    assert found.estimate(entry("d", {})) is None
    assert (
        found.estimate(entry("e", {}, tasks=("captioning",), **work("e"))) is None
    )  # it writes word by word
    api = entry("f", {}, access="api", provider="x", macs=10**9)
    assert found.estimate(api) is None


def test_throughput_of_a_gpu_is_no_latency() -> None:
    batched = Speed("gpu", "fp32", 256, 224, 100.0, "paper")
    found = calibrated(timed(2.0, NAMES))
    assert found.estimate(entry("a", {}, speed=(batched,))) is None
    assert found.estimate(entry("a", {}, speed=(Speed("gpu", "fp32", 1, 224, 1.0, "paper"),))) is None
    assert found.estimate(entry("a", {}, speed=(Speed(FAST, "int8", 1, 224, 1.0, "paper"),))) is None


def test_another_picture_size_is_scaled_by_its_area_and_less_certain() -> None:
    found = calibrated(timed(2.0, NAMES))
    larger = found.estimate(entry("a", {FAST: 10.0}, input_size=448))
    same = found.estimate(entry("a", {FAST: 10.0}))
    assert larger is not None and same is not None
    assert larger.value == pytest.approx(4 * same.value)
    assert larger.most / larger.value > same.most / same.value
    assert "scaled by area from 224 px" in larger.about


@pytest.mark.parametrize(
    "change",
    [
        {"device": "cuda"},
        {"options": {"precision": "bf16"}},
        {"options": {"compiled": True}},
        {"size": 160},
        {"size": None},
        {"metrics": {"p50_ms": math.nan}},
    ],
)
def test_what_was_measured_otherwise_does_not_count(change: dict[str, Any]) -> None:
    odd = [benchmark(f"random/{name}", 2 * PUBLISHED[name], **change) for name in NAMES]
    assert calibrate(PLAIN, gather(odd), CPU) is None


def test_another_machine_and_other_numbers_of_threads_do_not_count() -> None:
    assert calibrate(PLAIN, gather(timed(2.0, NAMES)), "another CPU") is None
    assert calibrate(PLAIN, gather([]), CPU) is None
    assert calibrate(PLAIN, gather([benchmark("random/unknown", 5.0)]), CPU) is None
    single = [
        benchmark(f"random/{name}", 9 * PUBLISHED[name], threads=1, options={"threads": 1}, at=5)
        for name in NAMES
    ]
    assert calibrated([*timed(2.0, NAMES), *single]).best.factor == pytest.approx(2.0)


def test_published_weights_calibrate_as_random_ones_do() -> None:
    runs = [benchmark(f"timm/{name}.a1", 2 * PUBLISHED[name], network=None) for name in NAMES]
    assert calibrated(runs).best.factor == pytest.approx(2.0)


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=3, max_size=20))
def test_rank_correlation_is_spearmans(pairs: list[tuple[int, int]]) -> None:
    first, second = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    found = correlation(first, second)
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(float(spearmanr(first, second).statistic), abs=1e-9)


def test_the_errors_that_come_with_the_app() -> None:
    errors = shipped_errors()
    assert {FAST, "macs", "macs-activations"} <= set(errors)
    assert all(not error.is_own and error.n >= 12 for error in errors.values())
    assert errors[FAST].median_percent < 20 and errors[FAST].rank_correlation > 0.9
    with pytest.raises(ValueError, match="no error"):
        Error(-1.0, 2.0, 0.5, 3, "x", DAY)
    with pytest.raises(ValueError, match="no error"):
        Error(1.0, 0.9, 0.5, 3, "x", DAY)


def test_as_json() -> None:
    import json

    found = calibrated(timed(2.0, NAMES) + timed(2.0, OTHERS))
    payload = json.loads(json.dumps(found.to_json()))
    assert payload["scales"][0]["factor"] == pytest.approx(2.0)
    assert len(payload["scales"][0]["held_out"]) == 12
