"""The benchmark page over a store that holds benchmarks already; tests/browser has a real one."""

import csv
import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from core.bench.options import Options
from core.bench.plan import Plan
from core.bench.suite import COMPARE_ROUNDS
from core.errors import InputError
from core.runs import LOCAL_OWNER
from core.samples import load_sample
from core.settings import settings
from db import Store
from pages.ui.bench_files import results_csv, results_json
from pages.ui.bench_read import read_benchmark
from pages.ui.bench_start import check, command
from pages.ui.bench_words import answer_words, options_words
from pages.ui.session import live_benchmarks, live_sweeps
from tests.pages.conftest import Visit, figures
from tests.pages.test_vlm import words_of
from tests.support.bench_runs import bench_run, numbers_of

PAGE = "model_benchmark"
MODELS = ("shipped/vit-scenes", "shipped/dino-scenes", "shipped/sam-scenes")
HOSTILE = "\u202e<script>alert(1)</script> [x](javascript:1) | =1+1"
PATIENCE_S = 120


@pytest.fixture(autouse=True)
def nothing_left_at_work() -> Iterator[None]:
    """End whatever a test began."""
    yield
    for live in (*live_benchmarks().of(LOCAL_OWNER), *live_sweeps().of(LOCAL_OWNER)):
        live.run.cancel()
        live.wait(PATIENCE_S)


def comparison(picture: str = "astronaut", **changes: object) -> Plan:
    plan = Plan(MODELS, (picture,), (Options(seconds=2.0),), rounds=COMPARE_ROUNDS)
    return replace(plan, **changes)


def seeded(store: Store, plan: Plan, owner: str = LOCAL_OWNER) -> list[str]:
    """Keep two models that were measured, and one that failed."""
    drafts = [
        bench_run(
            plan,
            MODELS[0],
            numbers_of(4.0),
            owner=owner,
            answer={"kind": "classes", "names": ["ring"], "scores": [0.5]},
        ),
        bench_run(plan, MODELS[1], numbers_of(2.0, samples=50), owner=owner, noise="very noisy"),
        bench_run(plan, MODELS[2], {}, owner=owner, error=("Gone", f"It was killed. {HOSTILE}")),
    ]
    return [store.record(draft) for draft in drafts]


def said(session: AppTest) -> str:
    return words_of(session).replace("\\", "")


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_before_anything_ran_it_says_what_would_be_measured_and_how_long_it_takes(visit: Visit) -> None:
    session = visit(PAGE)
    assert not session.exception and not session.error
    assert set(MODELS) <= set(session.multiselect(key="bench_compare_models").value)
    assert "have not been compared on this picture yet" in session.info[0].value
    words = said(session)
    assert "measurements**, about" in words and "segmenter" in words and "captioner" in words
    assert not session.button(key="bench_compare_start").disabled


def test_the_latest_comparison_of_the_picture_is_shown_at_once(visit: Visit, store: Store) -> None:
    seeded(store, comparison("coffee"))
    seeded(store, comparison())
    newest = comparison()
    seeded(store, newest)
    session = visit(PAGE)
    assert not session.exception
    table = session.dataframe[0].value
    assert list(table["p50"]) == ["2.0 ms", "4.0 ms"]
    assert list(table["p90"]) == ["2.4 ms (14 more needed)", "4.8 ms"]
    assert session.query_params["benchmark"] == newest.id
    assert "ring 50%" in said(session) and "very noisy" in said(session)
    (chart,) = figures(session)
    assert chart["layout"]["xaxis"]["title"]["text"] == "time of a call (ms)"
    assert session.info == [] or "not been compared" not in session.info[0].value


def test_a_failed_model_is_one_line_with_its_class_and_no_markup(visit: Visit, store: Store) -> None:
    seeded(store, comparison())
    (line,) = [one.value for one in visit(PAGE).markdown if "killed" in one.value]
    assert "Gone" in line and "[U+202E]" in line.replace("\\", "")
    assert "<script>" not in line and "](javascript" not in line


def test_the_address_of_any_run_opens_the_whole_benchmark(visit: Visit, store: Store) -> None:
    plan = Plan(MODELS, ("astronaut", "scene/1"), (Options(),))
    run_ids = seeded(store, plan)
    session = visit(PAGE, run=run_ids[1])
    assert session.session_state["bench_view"] == "Benchmark"
    assert len(session.dataframe[0].value) == 2 and "on astronaut, scene/1" in said(session)
    assert len(visit(PAGE, benchmark=plan.id).dataframe[0].value) == 2
    simple = comparison("scene/3")
    session = visit(PAGE, run=seeded(store, simple)[0])
    assert session.session_state["bench_view"] == "Compare"
    assert session.session_state["bench_compare_scene"] == 3


def test_an_address_of_nothing_says_so(visit: Visit) -> None:
    session = visit(PAGE, run="01J0000000000000000000000X")
    assert len(session.error) == 1 and not session.exception
    session = visit(PAGE, benchmark="<b>nothing</b>")
    assert "There is no benchmark" in session.error[0].value and "<b>" not in session.error[0].value


def test_what_is_left_can_be_resumed_and_is_not_offered_when_all_is_done(visit: Visit, store: Store) -> None:
    plan = Plan((*MODELS, "shipped/captioner-small"), ("astronaut",), (Options(),))
    seeded(store, plan)
    session = visit(PAGE, benchmark=plan.id)
    assert "1 model is left." in said(session)
    assert not session.button(key="bench_full_resume").disabled
    done = Plan(MODELS, ("astronaut",), (Options(),))
    seeded(store, done)
    assert not [one for one in visit(PAGE, benchmark=done.id).button if one.key == "bench_full_resume"]


def test_a_file_that_was_not_kept_must_be_given_again(visit: Visit, store: Store) -> None:
    image = load_sample("coffee")
    plan = Plan(MODELS, (image.sha256,), (Options(),))
    kept = Store.open(settings().database_url, keep_pictures=False)
    kept.record(bench_run(plan, MODELS[0], numbers_of(3.0), image=replace(image, name="mine.png")))
    session = visit(PAGE, benchmark=plan.id)
    assert session.button(key="bench_full_resume").disabled
    session.file_uploader(key="bench_full_again").set_value([("mine.png", image.data, "image/png")])
    assert not session.run().button(key="bench_full_resume").disabled


def test_all_failed_is_said(visit: Visit, store: Store) -> None:
    plan = Plan(MODELS[:1], ("astronaut",), (Options(),))
    store.record(bench_run(plan, MODELS[0], {}, error=("InputError", "It cannot be loaded.")))
    session = visit(PAGE, benchmark=plan.id)
    assert session.error[0].value.startswith("No model could be measured")
    assert not session.dataframe and "It cannot be loaded." in said(session)


def test_accuracy_is_drawn_one_measure_at_a_time(visit: Visit, store: Store) -> None:
    plan = Plan(MODELS, ("astronaut",), (Options((1, 4)),), truths="scenes:50@0")
    more = {
        "top1": 0.9,
        "top1_low": 0.8,
        "top1_high": 0.95,
        "top1_n": 50.0,
        "recall1": 0.5,
        "recall1_n": 50.0,
    }
    more["images_per_s_batch_4"] = 900.0
    for model, p50 in zip(MODELS, (3.0, 5.0, 8.0), strict=True):
        store.record(bench_run(plan, model, numbers_of(p50, **more)))
    session = visit(PAGE, benchmark=plan.id)
    key = next(
        one.key for one in session.get("button_group") if one.key and one.key.startswith("bench_full_chart")
    )
    for chart, axis in (("Accuracy and speed", "top-1 accuracy"), ("Throughput", "pictures a second")):
        session.session_state[key] = chart
        assert figures(session.run())[0]["layout"]["yaxis"]["title"]["text"] == axis
    for chart in ("Stages", "Load and first call", "Memory"):
        session.session_state[key] = chart
        assert not session.run().exception and len(figures(session)) == 1


def test_files_hold_every_model_and_no_formula(visit: Visit, store: Store) -> None:
    plan = comparison()
    seeded(store, plan)
    store.record(bench_run(plan, "=cmd()", {}, error=("@Bad", "+1 -1")))
    visit(PAGE)  # a session, whose visitor is this machine's person
    bench = read_benchmark(plan.id)
    assert bench is not None
    rows = list(csv.DictReader(io.StringIO(results_csv(bench.rows).decode())))
    assert [row["model"] for row in rows] == [*MODELS, "'=cmd()"]
    assert float(rows[0]["p50_ms"]) == 4.0 and rows[3]["error_message"] == "'+1 -1"
    found = json.loads(results_json(bench.rows))
    assert found[0]["metrics"]["p50_ms"] == 4.0 and found[0]["environment"]["versions"]["torch"] == "2.9"


def test_on_a_public_deployment_each_sees_their_own_and_may_start_little(
    visit: Visit, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = comparison()
    run_ids = seeded(store, theirs, owner="visitor-somebody")
    monkeypatch.setenv("VISION_BENCH_ACCESS", "public")
    settings.cache_clear()
    session = visit(PAGE, run=run_ids[0])
    assert session.error and not session.dataframe
    assert "have not been compared" in visit(PAGE).info[0].value
    assert "There is no benchmark" in visit(PAGE, benchmark=theirs.id).error[0].value
    session.session_state["bench_view"] = "Sweep"
    assert "private machine" in session.run().info[0].value
    session.session_state["bench_view"] = "Benchmark"
    session.run()
    assert session.number_input(key="bench_full_seconds").max == 5.0
    assert not [one for one in session.toggle if one.key == "bench_full_compiled"]


@pytest.mark.parametrize(
    "changes",
    [
        {"models": (*MODELS, "timm/vit_base_patch16_224.dino")},
        {"truths": "scenes:5000@0"},
        {"truths": "/etc"},
        {"rounds": 50},
        {"options": (Options(seconds=600.0),)},
        {"options": (Options((1, 512)),)},
        {"options": (Options(threads=64),)},
        {"options": (Options(size=4096),)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_plan_beyond_the_public_limits_is_refused_whatever_the_widgets_let_through(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, object]
) -> None:
    monkeypatch.setenv("VISION_BENCH_ACCESS", "public")
    settings.cache_clear()
    check(comparison())
    with pytest.raises(InputError):
        check(comparison(**changes))


def test_words() -> None:
    sets = [Options().to_json(), Options(precision="bf16", threads=2).to_json()]
    assert [options_words(one, sets) for one in sets] == ["fp32, all threads", "bf16, 2 threads"]
    assert options_words(sets[0], sets[:1]) == ""
    assert answer_words({"kind": "text", "text": "a\nb \u202e"}) == "a b [U+202E]"
    assert (
        answer_words({"kind": "mask", "share": 0.25, "count": 3})
        == "3 masks; 25% of the picture around its middle"
    )
    assert answer_words({"kind": "features", "grid": [4, 5], "dim": 8}) == "4 x 5 patches of 8 numbers"


def test_the_command_measures_the_same(visit: Visit) -> None:
    visit(PAGE)
    plan = Plan(MODELS[:1], ("coffee",), (Options((1, 4), "bf16", 96, True, 2, 3.0),), "scenes:9@0", 4)
    assert command(plan, [load_sample("coffee")]) == (
        "python -m core bench shipped/vit-scenes --picture sample:coffee --scenes 9 --batch 1 --batch 4 "
        "--precision bf16 --size 96 --compile --threads 2 --seconds 3 --rounds 4"
    )
    mine = replace(load_sample("coffee"), name="my; rm -rf.png", sha256="0" * 64)
    assert "--picture 'my; rm -rf.png'" in command(replace(plan, pictures=("0" * 64,)), [mine])
    check(plan)


def test_two_take_turns_and_one_that_waits_can_be_cancelled(visit: Visit) -> None:
    session = visit(PAGE)
    session.multiselect(key="bench_compare_models").set_value(["shipped/vit-scenes"]).run()
    session.button(key="bench_compare_start").click().run()
    session.selectbox(key="bench_compare_sample").set_value("coffee").run()
    session.button(key="bench_compare_start").click().run()
    assert not session.exception and not session.error
    first, second = live_benchmarks().of(LOCAL_OWNER)
    assert second.progress.phase.value == "waiting"
    second.run.cancel()
    second.wait(PATIENCE_S)
    assert second.progress.phase.value == "cancelled" and first.is_alive
    assert "It was cancelled." in session.run().info[0].value
    assert not session.button(key="bench_compare_resume").disabled
    first.run.cancel()
    first.wait(PATIENCE_S)
    assert first.progress.phase.value == "cancelled"
