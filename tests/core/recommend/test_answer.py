"""Recommendations with a known right answer, and what holds for every catalogue."""

import json
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from core.errors import InputError
from core.recommend.answer import Answer, recommend
from core.recommend.candidates import Candidate
from core.recommend.entries import Accuracy, Axis, Choice, Entry, Speed
from core.recommend.figures import Figure
from core.recommend.rank import front, ordered
from core.recommend.request import Request
from core.vlm.prices import Price
from tests.support.recommending import AXIS, CPU, HERE_NAME, TASK, benchmark, catalog, entry, facts

ON_CPU = Request(TASK, device=CPU)


def ids(answer: Answer) -> list[str]:
    return [one.candidate.entry.id for one in answer.recommended]


def out(answer: Answer) -> dict[str, str]:
    return {one.candidate.entry.id: one.constraint for one in answer.excluded}


def test_the_most_accurate_that_is_fast_enough_comes_first() -> None:
    known = facts(catalog(entry("slow", 90, 80), entry("middle", 85, 40), entry("fast", 70, 10)))
    answer = recommend(replace(ON_CPU, latency_ms=50), known)
    assert ids(answer) == ["middle", "fast"]
    assert out(answer) == {"slow": "latency"}
    assert answer.recommended[0].why.startswith("The most accurate of the 2 that fit")
    assert answer.nearest_miss is not None
    assert answer.nearest_miss.candidate.entry.id == "slow"
    assert answer.nearest_miss.relax == ("allow 80 ms instead of 50 ms",)


@pytest.mark.parametrize(
    ("prefer", "order"),
    [("accuracy", ["a", "b", "c"]), ("speed", ["c", "b", "a"]), ("balance", ["b", "a", "c"])],
)
def test_the_preference_decides_the_order(prefer: str, order: list[str]) -> None:
    known = facts(catalog(entry("a", 86, 1000), entry("b", 85, 20), entry("c", 60, 10)))
    assert ids(recommend(Request.from_json({"task": TASK, "device": CPU, "prefer": prefer}), known)) == order


def test_equally_accurate_ones_come_by_speed_and_are_marked_as_tied() -> None:
    axis = Axis("small", (TASK,), "Few", "top-1", "p", "src", pictures=200)
    models = [
        replace(entry(name, None, ms), accuracy=(Accuracy("small", value, "src"),))
        for name, value, ms in (("a", 80.0, 30), ("b", 80.0, 20), ("c", 60.0, 10))
    ]
    answer = recommend(replace(ON_CPU, axis="small"), facts(catalog(*models, axes=(axis,))))
    assert ids(answer) == ["b", "a", "c"]
    assert [one.tied for one in answer.recommended] == [False, True, False]


def test_when_nothing_fits_the_one_that_misses_least_says_what_to_relax() -> None:
    known = facts(catalog(entry("a", 80, 100), entry("b", 70, 60), entry("c", 50, 30)))
    answer = recommend(replace(ON_CPU, latency_ms=20, min_accuracy=75), known)
    assert answer.recommended == ()
    assert set(out(answer).values()) <= {"latency", "accuracy"}
    assert answer.nearest_miss is not None
    assert answer.nearest_miss.candidate.entry.id == "a"  # it misses one constraint, the others two
    assert answer.nearest_miss.sentence == "A would fit: allow 100 ms instead of 20 ms."


def test_figures_of_two_protocols_never_meet() -> None:
    other = Axis("top1-b", (TASK,), "Photos", "top-1", "Ten crops.", "src")
    better = replace(entry("ten-crops", None, 10), accuracy=(Accuracy("top1-b", 99.0, "src"),))
    known = facts(catalog(entry("a", 80, 20), entry("b", 79, 20), better, axes=(other,)))
    answer = recommend(ON_CPU, known)
    assert answer.axis is not None and answer.axis.id == AXIS  # most have a figure there
    assert ids(answer) == ["a", "b", "ten-crops"]
    assert answer.recommended[-1].candidate.accuracy is None
    assert "ten-crops" not in answer.front
    assert ids(recommend(replace(ON_CPU, axis="top1-b"), known))[0] == "ten-crops"
    assert out(recommend(replace(ON_CPU, min_accuracy=50), known)) == {"ten-crops": "accuracy"}


def test_a_missing_figure_is_missing_and_not_zero() -> None:
    known = facts(catalog(entry("a", 80, 20), entry("no-speed", 90)))
    free = recommend(ON_CPU, known)
    assert ids(free) == ["no-speed", "a"]
    assert free.to_json()["recommendations"][0]["figures"]["latency"] is None
    assert free.front == ("a",)
    bound = recommend(replace(ON_CPU, latency_ms=50), known)
    assert ids(bound) == ["a"]
    assert bound.excluded[0].unknown
    assert bound.nearest_miss is None  # nobody knows what it would take


def test_an_axis_where_less_is_better() -> None:
    axis = Axis("cer", ("ocr",), "Lines", "CER", "p", "src", unit="", higher_is_better=False)
    models = [
        replace(entry(name, None, ms), tasks=("ocr",), accuracy=(Accuracy("cer", value, "src"),))
        for name, value, ms in (("a", 0.03, 30), ("b", 0.05, 10), ("c", 0.2, 20))
    ]
    known = facts(catalog(*models, axes=(axis,)))
    answer = recommend(Request("ocr", device=CPU, min_accuracy=0.1), known)
    assert ids(answer) == ["a", "b"]
    assert answer.front == ("b", "a")
    assert out(answer) == {"c": "accuracy"}


def test_licence_access_memory_weights_and_cost() -> None:
    models = [
        entry("free", 70, 10),
        entry("research", 80, 10, commercial=False, licence="CC-BY-NC-4.0"),
        entry("unclear", 81, 10, commercial=None, licence="custom"),
        entry("large", 82, 10, parameters=2_000_000_000),
        entry("api", 90, access="api", provider="p", priced="m", picture_tokens=1000, parameters=None),
    ]
    price = Price("p", "m", 2.0, 10.0, date(2026, 10, 1), "https://example.org")
    known = facts(catalog(*models), prices=(price,))
    commercial = recommend(Request(TASK, device=CPU, commercial=True, access="weights"), known)
    assert ids(commercial) == ["large", "free"]
    assert out(commercial) == {"research": "licence", "unclear": "licence", "api": "access"}
    assert ids(recommend(replace(ON_CPU, weights_mb=100), known)) == ["api", "unclear", "research", "free"]
    assert out(recommend(replace(ON_CPU, memory_mb=1000), known)) == {"large": "memory"}
    # (1000 + 50) tokens in at $2, 100 out at $10 a million: $3.10 for 1,000 pictures
    assert out(recommend(replace(ON_CPU, cost_per_1000=3.0), known)) == {"api": "cost"}
    assert out(recommend(replace(ON_CPU, cost_per_1000=3.2), known)) == {}
    unpriced = recommend(replace(ON_CPU, cost_per_1000=100), facts(catalog(*models)))
    assert out(unpriced) == {"api": "cost"} and unpriced.excluded[0].unknown
    assert out(recommend(Request(TASK, deployment="edge"), known))["api"] == "access"


def test_what_was_shut_down_is_out_and_never_the_nearest_miss() -> None:
    gone = entry("gone", 99, 10, retired=date(2024, 12, 6))
    answer = recommend(replace(ON_CPU, latency_ms=15), facts(catalog(gone, entry("a", 80, 20))))
    assert out(answer) == {"gone": "retired", "a": "latency"}
    assert "2024-12-06" in answer.excluded[-1].sentence
    assert answer.nearest_miss is not None and answer.nearest_miss.candidate.entry.id == "a"


def test_own_measurements_come_before_published_ones_and_other_machines_never_count() -> None:
    known = catalog(entry("a", 80, 20, runs="a"), entry("b", 70, 10, runs="b"))
    here = recommend(Request(TASK, latency_ms=50), facts(known, benchmark("a", 33.0)))
    assert ids(here) == ["a"]
    latency = here.recommended[0].candidate.latency
    assert latency is not None
    assert (latency.value, latency.mark, latency.n) == (33.0, "measured", 200)
    elsewhere = facts(known, benchmark("a", 33.0, device_name="Another CPU"))
    assert out(recommend(Request(TASK, latency_ms=50), elsewhere)) == {"a": "latency", "b": "latency"}
    published = recommend(ON_CPU, facts(known, benchmark("a", 33.0)))
    assert published.recommended[0].candidate.latency.mark == "published"  # type: ignore[union-attr]


def test_random_weights_time_alike_and_have_no_accuracy() -> None:
    known = catalog(entry("timm/net.tag", 80, 20, timm="net", runs="timm/net.tag"))
    answer = recommend(Request(TASK), facts(known, benchmark("random/net", 40.0)))
    candidate = answer.recommended[0].candidate
    assert candidate.latency is not None and candidate.latency.value == 40.0
    assert candidate.accuracy is not None and candidate.accuracy.mark == "published"


def test_a_batch_is_never_taken_for_a_single_picture() -> None:
    gpu = (Speed("gpu-a", "amp", 256, 224, 100.0, "src"), Speed("gpu-a", "amp", 64, 224, 40.0, "src"))
    known = facts(catalog(entry("a", 80, 20, speed=gpu)))
    assert recommend(Request(TASK, device="gpu-a"), known).recommended[0].candidate.latency is None
    many = recommend(Request(TASK, device="gpu-a", batch=256, images_per_s=2000), known)
    assert many.recommended[0].candidate.images_per_s == 2560
    fewer = recommend(Request(TASK, device="gpu-a", batch=100), known).recommended[0].candidate
    assert (fewer.batch, fewer.images_per_s) == (64, 1600)
    assert out(recommend(Request(TASK, device="gpu-a", batch=256, images_per_s=3000), known)) == {
        "a": "latency"
    }


def test_both_limits_hold_for_the_batch_that_was_published() -> None:
    gpu = (Speed("gpu-a", "amp", 64, 224, 40.0, "src"),)
    known = facts(catalog(entry("a", 80, speed=gpu)))
    request = Request(TASK, device="gpu-a", batch=256, latency_ms=50, images_per_s=1000)
    assert ids(recommend(request, known)) == ["a"]  # 64 in 40 ms: within 50 ms, and 1,600 a second
    assert out(recommend(replace(request, latency_ms=39), known)) == {"a": "latency"}
    assert out(recommend(replace(request, images_per_s=1601), known)) == {"a": "latency"}


def test_the_sampling_error_is_wilsons() -> None:
    axis = Axis("small", (TASK,), "Few", "top-1", "p", "src", pictures=200)
    model = replace(entry("a"), accuracy=(Accuracy("small", 80.0, "src"),))
    accuracy = recommend(Request(TASK, axis="small"), facts(catalog(model, axes=(axis,)))).recommended[0]
    found = accuracy.candidate.accuracy
    expected = binomtest(160, 200).proportion_ci(0.95, method="wilson")
    assert found is not None
    assert (found.least, found.most) == pytest.approx((100 * expected.low, 100 * expected.high))


def test_a_deployment_stands_for_its_best_known_device() -> None:
    phones = (Speed("phone", "mixed", 1, 224, 2.0, "src"),)
    known = facts(catalog(entry("a", 80, 20), entry("b", 70, speed=phones), entry("c", 75, 30)))
    assert recommend(Request(TASK, deployment="edge"), known).device == CPU
    assert recommend(Request(TASK, deployment="mobile"), known).device == "phone"
    assert recommend(Request(TASK, deployment="browser"), known).device == ""
    assert recommend(Request(TASK), known).device_title == HERE_NAME


def test_the_size_of_the_picture_scales_the_time_and_is_then_an_estimate() -> None:
    answer = recommend(replace(ON_CPU, input_size=448), facts(catalog(entry("a", 80, 20))))
    latency = answer.recommended[0].candidate.latency
    assert latency is not None
    assert (latency.value, latency.mark) == (80.0, "estimated")
    assert latency.least < 80 < latency.most


def test_a_run_is_proposed_only_where_it_could_change_the_order() -> None:
    def order(some: object) -> tuple[str, ...]:
        fitting = [c for c in some if c.latency is not None and c.latency.value <= 50]  # type: ignore[attr-defined]
        return tuple(c.entry.id for c in ordered(fitting, axis, "accuracy"))

    from core.recommend.measuring import next_runs

    axis = catalog().axes[AXIS]
    some = [
        _candidate("crosses", 90, Figure(60, "ms", "estimated", 40, 90)),
        _candidate("inside", 80, Figure(20, "ms", "estimated", 13, 31)),
        _candidate("worse", 70, Figure(45, "ms", "estimated", 30, 70)),
        _candidate("fourth", 60, Figure(45, "ms", "estimated", 30, 48)),
        _candidate("far", 99, Figure(500, "ms", "estimated", 300, 900)),
        _candidate("measured", 95, Figure(55, "ms", "measured", 54, 56)),
        _candidate("foreign", 98, None),
    ]
    found = next_runs(some, order, lambda one: None if one.entry.id == "foreign" else one.entry.id)
    assert [(one.run, one.first) for one in found] == [("crosses", True), ("worse", False)]
    unknown = next_runs(some, order, lambda one: one.entry.id)
    assert [one.run for one in unknown] == ["crosses", "foreign", "worse"]
    assert "not known" in unknown[1].why


def test_the_quick_answer_is_the_slowest_word_that_is_still_fast_enough() -> None:
    choices = tuple(Choice(TASK, word, "a", word) for word in ("real-time", "fast", "normal"))
    known = facts(catalog(entry("a", 80, 20), choices=choices))
    quick = {ms: recommend(replace(ON_CPU, latency_ms=ms), known).quick for ms in (5, 34, 100, 999, 1001)}
    assert [one[0].why for one in quick.values()] == ["real-time", "real-time", "fast", "fast", "normal"]
    assert recommend(ON_CPU, known).quick[0].why == "normal"


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        ({}, "task"),
        ({"task": "cooking"}, "cooking"),
        ({"task": TASK, "latency_ms": 0}, "latency"),
        ({"task": TASK, "latency_ms": -1}, "latency"),
        ({"task": TASK, "latency_ms": float("nan")}, "latency"),
        ({"task": TASK, "images_per_s": 1e300}, "pictures a second"),
        ({"task": TASK, "memory_mb": "much"}, "memory"),
        ({"task": TASK, "cost_per_1000": True}, "cost"),
        ({"task": TASK, "min_accuracy": float("inf")}, "accuracy"),
        ({"task": TASK, "min_accuracy": 101}, "cannot be 101 %"),
        ({"task": TASK, "batch": 0}, "batch"),
        ({"task": TASK, "batch": 2.5}, "batch"),
        ({"task": TASK, "input_size": 10**9}, "picture size"),
        ({"task": TASK, "device": "toaster"}, "toaster"),
        ({"task": TASK, "axis": "taste"}, "taste"),
        ({"task": TASK, "deployment": "moon"}, "moon"),
        ({"task": TASK, "deployment": "mobile", "access": "api"}, "API"),
        ({"task": TASK, "colour": "red"}, "colour"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_sentence_with_a_remedy(
    raw: dict[str, object], word: str
) -> None:
    with pytest.raises(InputError, match=word) as caught:
        recommend(Request.from_json(raw), facts(catalog(entry("a", 80, 20))))
    assert caught.value.remedy


def test_an_empty_catalogue_and_a_task_without_models_answer_all_the_same() -> None:
    answer = recommend(Request("depth", latency_ms=10), facts(catalog()))
    assert (answer.recommended, answer.excluded, answer.axis, answer.nearest_miss) == ((), (), None, None)
    json.dumps(answer.to_json(), allow_nan=False)


def _candidate(name: str, accuracy: float | None, latency: Figure | None, memory: float = 10.0) -> Candidate:
    found = None if accuracy is None else Figure(accuracy, "%", "published")
    nothing = Figure(0.0, "USD", "published")
    return Candidate(entry(name), found, latency, 1, Figure(memory, "MB", "published"), None, nothing)


NUMBERS = st.floats(1, 99, allow_nan=False)
MODELS = st.lists(
    st.tuples(st.none() | NUMBERS, st.none() | NUMBERS, st.integers(1, 400)), min_size=1, max_size=9
)


def _catalog_of(models: list[tuple[float | None, float | None, int]]) -> list[Entry]:
    return [
        entry(f"m{at}", accuracy, ms, parameters=million * 1_000_000)
        for at, (accuracy, ms, million) in enumerate(models)
    ]


@given(MODELS, NUMBERS, NUMBERS, st.floats(1, 3), st.sampled_from(["accuracy", "speed", "balance"]))
def test_loosening_never_removes_a_model(
    models: list[tuple[float | None, float | None, int]], ms: float, least: float, looser: float, prefer: str
) -> None:
    known = facts(catalog(*_catalog_of(models)))
    strict = Request.from_json(
        {
            "task": TASK,
            "device": CPU,
            "latency_ms": ms,
            "min_accuracy": least,
            "memory_mb": 400,
            "weights_mb": 300,
            "commercial": True,
            "prefer": prefer,
        }
    )
    fitting = set(ids(recommend(strict, known)))
    for change in (
        {"latency_ms": ms * looser},
        {"latency_ms": None},
        {"min_accuracy": least / looser},
        {"min_accuracy": None},
        {"memory_mb": 400 * looser},
        {"weights_mb": 300 * looser},
        {"commercial": False},
    ):
        assert fitting <= set(ids(recommend(replace(strict, **change), known))), change


@given(MODELS, st.sampled_from(["accuracy", "speed", "balance"]))
def test_worse_in_everything_is_never_above(
    models: list[tuple[float | None, float | None, int]], prefer: str
) -> None:
    axis = catalog().axes[AXIS]
    some = [
        _candidate(f"m{at}", accuracy, None if ms is None else Figure(ms, "ms", "published"), float(mb))
        for at, (accuracy, ms, mb) in enumerate(models)
    ]
    ranked = ordered(some, axis, prefer)  # type: ignore[arg-type]
    assert sorted(one.entry.id for one in ranked) == sorted(one.entry.id for one in some)
    for at, above in enumerate(ranked):
        for below in ranked[at + 1 :]:
            assert not _worse(above, below)


def _worse(one: Candidate, other: Candidate) -> bool:
    def numbers(c: Candidate) -> list[float]:
        assert c.memory is not None
        accuracy = float("-inf") if c.accuracy is None else c.accuracy.value
        return [-accuracy, float("inf") if c.latency is None else c.latency.value, c.memory.value]

    mine, theirs = numbers(one), numbers(other)
    return all(a > b for a, b in zip(mine, theirs, strict=True))


@given(MODELS)
def test_the_front_is_what_nothing_beats(models: list[tuple[float | None, float | None, int]]) -> None:
    axis = catalog().axes[AXIS]
    some = [
        _candidate(f"m{at}", accuracy, None if ms is None else Figure(ms, "ms", "published"))
        for at, (accuracy, ms, _) in enumerate(models)
    ]
    known = [one for one in some if one.accuracy and one.latency]
    points = {(one.latency.value, one.accuracy.value) for one in known if one.latency and one.accuracy}
    best = {
        (ms, top)
        for ms, top in points
        if not any((o, t) != (ms, top) and o <= ms and t >= top for o, t in points)
    }
    found = front(some, axis)
    assert [(c.latency.value, c.accuracy.value) for c in found if c.latency and c.accuracy] == sorted(best)


@given(MODELS, NUMBERS)
def test_every_model_is_either_recommended_or_excluded_with_a_sentence(
    models: list[tuple[float | None, float | None, int]], ms: float
) -> None:
    answer = recommend(replace(ON_CPU, latency_ms=ms), facts(catalog(*_catalog_of(models))))
    assert sorted([*ids(answer), *out(answer)]) == sorted(f"m{at}" for at in range(len(models)))
    assert all(one.sentence.endswith(".") and one.missed for one in answer.excluded)
    json.dumps(answer.to_json(), allow_nan=False)
