"""The recommender over the shipped catalogue and a store that knows this machine's speed."""

import csv
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.bench.turn import Turn
from core.cli import main
from core.errors import InputError
from core.recommend.answer import Answer, recommend
from core.recommend.calibration import REFERENCES
from core.recommend.entries import read_catalog
from core.recommend.evidence import KINDS
from core.recommend.facts import facts_here, measurable
from core.recommend.request import HERE, SPEED_MS, Request
from core.recommend.saved import KIND
from core.runs import LOCAL_OWNER
from core.settings import settings
from db import RunFilter, Store
from pages.ui.recommend_excluded import relaxed
from pages.ui.recommend_files import answer_csv, answer_json, command, python_script
from pages.ui.recommend_view import USUAL, RecommendView, from_address, to_address, view_of
from pages.ui.session import live_benchmarks
from tests.pages.conftest import HOME, Visit, figures
from tests.pages.test_vlm import words_of
from tests.support.recommend_runs import calibrate_store, timed_run

PAGE = "model_recommender"
FAST = Request("classification", latency_ms=SPEED_MS["fast"])
MEASURED = ":material/straighten: measured here]"
HOSTILE = "=cmd() <script>alert(1)</script> [x](javascript:1) | \u202e"


def said(session: AppTest) -> str:
    return words_of(session).replace("\\", "")


def asked(store: Store, request: Request, owner: str = LOCAL_OWNER) -> Answer:
    """Return the answer that the page must show."""
    return recommend(request, facts_here(store.evidence(owner, kinds=KINDS).runs), measurable)


def titles(session: AppTest) -> list[str]:
    """Return the titles of the models that are listed, the first one first."""
    rows = [one.value for one in session.markdown if one.value.startswith("**2.") or one.value[2:3].isdigit()]
    listed = [row.split("**")[1].split(". ", 1)[1] for row in rows if ". " in row]
    return [session.subheader[0].value, *listed]


def test_before_anything_was_timed_here_published_speeds_stand_in_and_say_so(
    visit: Visit, store: Store
) -> None:
    session = visit(PAGE)
    assert not session.exception and not session.error
    assert "No speed is known yet on this machine" in session.info[0].value.replace("\\", "")
    assert session.button(key="recommend_calibrate").label.startswith("Calibrate (about")
    device = next(text for text in said(session).splitlines() if "Until then" in text)
    published = asked(store, replace(FAST, device="i7-12700h"))
    assert published.device_title in device
    first = published.recommended[0].candidate
    assert session.subheader[0].value.replace("\\", "") == first.entry.title
    assert "published" in said(session) and len(figures(session)) == 1
    session.run()
    assert not session.exception


def test_it_shows_what_the_recommender_answers_value_by_value(visit: Visit, store: Store) -> None:
    calibrate_store(store)
    answer = asked(store, FAST)
    session = visit(PAGE)
    assert not session.exception and not session.info
    text = said(session)
    assert [title.replace("\\", "") for title in titles(session)] == [
        one.candidate.entry.title for one in answer.recommended[:5]
    ]
    first = answer.recommended[0]
    assert first.why in text
    latency, accuracy = first.candidate.latency, first.candidate.accuracy
    assert latency is not None and accuracy is not None
    values = [one.value.replace("\\", "") for one in session.subheader]
    assert f"{latency.value:.3g} ms" in values and f"{accuracy.value:.4g} %" in values
    assert {f"{len(answer.recommended)} fit", "What to measure next"} <= set(values)
    assert f"{len(answer.excluded)}" in session.expander[1].label
    assert answer.axis is not None and answer.axis.protocol in text
    assert answer.calibration in text
    for one in answer.next_runs:
        assert one.why in text and one.run in text
    (chart,) = figures(session)
    drawn = {row[0] for trace in chart["data"] for row in trace.get("customdata", [])}
    known = [*answer.recommended, *answer.excluded]
    assert drawn == {
        one.candidate.entry.id for one in known if one.candidate.accuracy and one.candidate.latency
    }
    session.button(key="recommend_whole").click().run()
    assert len(titles(session)) == len(answer.recommended)
    assert session.query_params["whole"] in ("yes", ["yes"])


WRONG = (
    ({"speed": "ms", "ms": "-5"}, "The latency cannot be -5."),
    ({"speed": "ms", "ms": "none"}, "No number of milliseconds is given."),
    ({"batch": "0"}, "The batch cannot be 0."),
    ({"deployment": "mobile", "access": "api"}, "An API does not run on the deployment Mobile."),
    ({"device": "abacus"}, "There is no device 'abacus'."),
    ({"least": "120"}, "cannot be 120 %."),
)


def test_what_cannot_be_meant_is_said_with_its_remedy_and_stays(visit: Visit) -> None:
    session = visit(PAGE)
    for address, sentence in WRONG:
        session.query_params.clear()
        session.query_params.update({"task": "detection", **address})
        session.run()
        assert not session.exception
        shown = session.error[0].value.replace("\\", "")
        assert sentence in shown and "What to do" in shown
        assert session.selectbox(key="recommend_task").value == "detection"
        assert all(session.query_params[name] in (word, [word]) for name, word in address.items())
    session.query_params.clear()
    session.query_params["run"] = "01J0000000000000000000000X"
    assert len(session.run().error) == 1 and session.subheader


def test_an_address_that_is_wrong_in_places_is_used_as_far_as_it_can_be(visit: Visit) -> None:
    session = visit(PAGE, task="depth", speed="warp", memory="much", axis="<b>x</b>", batch="4")
    assert not session.exception and not session.error
    (warning,) = session.warning
    shown = warning.value.replace("\\", "")
    for words in ("speed=warp", "memory=much", "axis=<b>x</b>"):
        assert words in shown
    assert session.selectbox(key="recommend_task").value == "depth"
    assert session.number_input(key="recommend_batch").value == 4


def test_a_link_makes_the_view_again_and_the_view_outlives_the_page(visit: Visit, store: Store) -> None:
    calibrate_store(store)
    session = visit(PAGE, speed="ms", ms="60", least="75", prefer="balance", commercial="yes")
    request = Request("classification", latency_ms=60.0, min_accuracy=75.0, prefer="balance", commercial=True)
    first = asked(store, request).recommended[0]
    assert session.subheader[0].value.replace("\\", "") == first.candidate.entry.title
    session.switch_page("pages/overview.py").run()
    session.switch_page(f"pages/{PAGE}.py").run()
    assert session.number_input(key="recommend_ms").value == 60.0
    assert session.query_params["prefer"] in ("balance", ["balance"])
    session.selectbox(key="recommend_task").set_value("depth").run()
    assert "least" not in session.query_params and not session.exception


def test_relaxing_as_the_button_says_makes_the_nearest_miss_fit(visit: Visit, store: Store) -> None:
    calibrate_store(store)
    session = visit(PAGE, speed="ms", ms="0.5", least="89.5")
    assert "None of the" in session.warning[0].value
    before = asked(store, Request("classification", latency_ms=0.5, min_accuracy=89.5))
    assert before.nearest_miss is not None and not before.recommended
    session.button(key="recommend_relax").click().run()
    assert not session.exception and not session.warning
    assert session.subheader[0].value.replace("\\", "") == before.nearest_miss.candidate.entry.title


def test_every_constraint_can_be_relaxed(store: Store) -> None:
    calibrate_store(store)
    for view in (
        RecommendView(speed="rate", rate=500.0),
        RecommendView(speed="any", memory=2.0),
        RecommendView(speed="any", weights=1.0, least=80.0),
        RecommendView(task="vqa", speed="any", cost=1e-6),
        RecommendView(task="vqa", speed="any", deployment="edge", memory=1e6),
        RecommendView(task="detection", speed="any", commercial=True),
        RecommendView(task="vqa", speed="any", access="weights"),
    ):
        answer = asked(store, view.request())
        for one in answer.excluded:
            if not any(check.unknown for check in one.missed):
                changes, words = relaxed(one, answer, view)
                again = asked(store, view.but(**changes).request())
                fits = {found.candidate.entry.id for found in again.recommended}
                assert one.candidate.entry.id in fits, (words, one.sentence)
                break


def test_a_clicked_model_shows_everything_about_it(visit: Visit, store: Store) -> None:
    (run_id, *_) = calibrate_store(store)
    entries = read_catalog().of("classification")
    model = next(one.id for one in entries if f"random/{one.timm}" == REFERENCES[0])
    session = visit(PAGE, model=model, least="99")
    text = said(session)
    assert "at least 99 % is asked for" in text and MEASURED in text
    assert f"history?run={run_id}" in text
    session.button(key="recommend_close").click().run()
    assert "model" not in session.query_params
    assert "is no model for this task" in said(visit(PAGE, model="<b>nothing</b>"))


def test_hostile_ids_of_own_runs_are_shown_letter_by_letter_and_load_nothing(
    visit: Visit, store: Store
) -> None:
    calibrate_store(store)
    store.record(timed_run(HOSTILE, 5.0))
    session = visit(PAGE, speed="any", whole="yes", model=HOSTILE)
    assert not session.exception
    raw = " ".join(one.value for one in (*session.markdown, *session.caption))
    assert "<script>" not in raw and "](javascript" not in raw and "[U+202E]" in raw.replace("\\", "")
    answer = asked(store, Request("classification"))
    rows = list(csv.DictReader(io.StringIO(answer_csv(answer).decode())))
    assert [row for row in rows if row["model"].startswith("'=cmd()")]
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "@"))]


def test_visitors_see_only_their_own_evidence(
    visit: Visit, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrate_store(store)
    saved = visit(PAGE)
    saved.button(key="recommend_save").click().run()
    (run,) = store.runs(RunFilter(owner=LOCAL_OWNER, kinds=(KIND,)))
    monkeypatch.setenv("VISION_BENCH_ACCESS", "public")
    settings.cache_clear()
    session = visit(PAGE, run=run.id)
    assert session.error and MEASURED not in said(session)
    assert "No speed is known yet" in session.info[0].value
    assert not [one for one in session.button if one.key == "recommend_calibrate"]
    model = "timm/resnet50.a1_in1k"
    store.record(timed_run(model, 3.0, owner=session.session_state["visitor"]))
    session.query_params.clear()
    session.query_params["model"] = model
    assert MEASURED in said(session.run())
    assert MEASURED not in said(visit(PAGE, model=model))


def test_a_saved_answer_is_opened_again_and_says_what_has_changed(visit: Visit, store: Store) -> None:
    calibrate_store(store)
    session = visit(PAGE, speed="ms", ms="80")
    session.button(key="recommend_save").click().run()
    (run,) = store.runs(RunFilter(kinds=(KIND,)))
    assert f"saved as run `{run.id}`" in said(session)
    assert not [one for one in session.button if one.key == "recommend_save"]
    again = visit(PAGE, run=run.id)
    assert again.number_input(key="recommend_ms").value == 80.0
    assert "Nothing has changed since" in again.success[0].value
    first = session.subheader[0].value.replace("\\", "")
    model = next(
        one.candidate.entry
        for one in asked(store, replace(FAST, latency_ms=80.0)).recommended
        if one.candidate.entry.title == first
    )
    store.record(timed_run(f"random/{model.timm}", 400.0, size=model.input_size or 224))
    again.run()
    assert "What has changed since" in said(again) and f"{first} does not fit any more" in said(again)
    again.number_input(key="recommend_ms").set_value(70.0).run()
    assert "run" not in again.query_params and "What has changed" not in said(again)
    benchmark = store.record(timed_run("random/resnet50", 40.0))
    assert "is no recommendation" in visit(PAGE, run=benchmark).error[0].value.replace("\\", "")


def test_files_and_commands_ask_and_say_the_same(
    store: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    calibrate_store(store)
    request = Request(
        "classification", latency_ms=60.0, min_accuracy=75.0, memory_mb=500.0, commercial=True, prefer="speed"
    )
    answer = asked(store, request)
    told = json.loads(answer_json(answer))
    rows = list(csv.DictReader(io.StringIO(answer_csv(answer).decode())))
    fitting = [row for row in rows if row["place"]]
    assert [row["model"] for row in fitting] == [one["model"] for one in told["recommendations"]]
    assert float(fitting[0]["latency_value"]) == told["recommendations"][0]["figures"]["latency"]["value"]
    assert {row["latency_mark"] for row in fitting} <= {"measured", "published", "estimated"}
    assert len(rows) == len(told["recommendations"]) + len(told["excluded"])
    words = command(request).split()
    assert words[:4] == ["python", "-m", "core", "recommend"]
    assert main([*words[3:], "--no-store"]) == 0
    assert json.loads(capsys.readouterr().out)["recommendations"] == told["recommendations"]
    script = tmp_path / "asked.py"
    script.write_text(python_script(request))
    ended = subprocess.run(
        [sys.executable, str(script)],
        cwd=Path(HOME).parent,
        env={**os.environ, "PYTHONPATH": str(Path(HOME).parent)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[0].startswith(f"1 {told['recommendations'][0]['model']} ")


@pytest.mark.parametrize(
    "view",
    [
        USUAL,
        RecommendView("detection", "ms", 12.5, memory=1e6, weights=0.25, least=None, axis="coco-ap"),
        RecommendView("ocr", "rate", rate=3.3, batch=8, size=640, commercial=True, access="weights"),
        RecommendView("depth", "any", deployment="cloud", device="a100", cost=0.5, prefer="speed"),
        RecommendView(speed="normal", batch=4, least=-1.5),
    ],
)
def test_view_address_and_request_are_one(view: RecommendView) -> None:
    assert from_address(to_address(view)) == (view, ())
    assert view_of(view.request()).request() == view.request()


def test_every_field_of_an_address_may_be_nonsense() -> None:
    names = list(to_address(replace(USUAL, task="depth")))
    assert names == ["task"]
    for word in ("", "nan", "inf", "1e999", "-1", "٣", "x" * 10_000, "\u202e"):
        given = dict.fromkeys(RecommendView.__dataclass_fields__, word)
        view, wrong = from_address(given)
        assert wrong and len(view.model) <= 300
        try:
            view.request()
        except InputError as error:
            assert error.remedy


def test_what_hangs_on_a_field_goes_with_it() -> None:
    view = RecommendView(axis="a", least=80.0, device="cpu", model="m", run="r", whole=True)
    assert view.but(task="depth") == RecommendView(task="depth", device="cpu")
    assert view.but(axis="b").least is None
    assert view.but(deployment="cloud").device == ""
    assert view.but(model="n").run == "r" and view.but(ms=3.0).run == ""
    assert view.but(deployment=HERE).device == "cpu"


def test_the_buttons_measure_exactly_what_they_say_and_the_page_follows(visit: Visit, store: Store) -> None:
    turn = Turn()
    assert turn.try_take()  # so that none of them begins
    session = visit(PAGE)
    session.button(key="recommend_calibrate").click().run()
    (live,) = live_benchmarks().of(LOCAL_OWNER)
    try:
        assert live.run.plan.models == REFERENCES
        assert "Measuring" in said(session) and session.button(key="recommend_calibrate").disabled
        assert session.button(key="recommend_bench_cancel")
    finally:
        live.run.cancel()
        live.wait(120)
    calibrate_store(store)
    answer = asked(store, FAST)
    session.run()
    assert not session.exception and "0 of 3 measured" in said(session)
    assert session.button(key="recommend_next").label.startswith("Measure")
    session.button(key="recommend_next").click().run()
    (_, live) = live_benchmarks().of(LOCAL_OWNER)
    live.run.cancel()
    live.wait(120)
    turn.give_up()
    assert list(live.run.plan.models) == [one.run for one in answer.next_runs]
