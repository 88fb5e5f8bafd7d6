"""Sweeps on the benchmark page: what earlier ones came to, and one from the button to its results."""

import csv
import io
from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from core.bench.sweep.crew import Here
from core.bench.sweep.files import files_of
from core.bench.sweep.plan import SweepPlan
from core.bench.sweep.run import SweepRun
from core.runs import LOCAL_OWNER
from core.samples import load_sample
from core.scenes import generate_scene
from core.settings import settings
from db import RunFilter, Store
from db.records import CallResult
from pages.ui.bench_sweep_read import cells_csv, groups
from pages.ui.session import live_sweeps
from tests.pages.conftest import Visit
from tests.pages.test_vlm import words_of
from tests.support.sweep_cells import measure
from tests.support.zips import zipped

PAGE = "model_benchmark"
PATIENCE_S = 120


@pytest.fixture(autouse=True)
def nothing_left_at_work() -> Iterator[None]:
    """End whatever a test began."""
    yield
    for live in live_sweeps().of(LOCAL_OWNER):
        live.run.cancel()
        live.wait(PATIENCE_S)


def begun(store: Store, *models: str) -> SweepRun:
    """Write down a sweep of cells that do what their model's name says."""
    plan = SweepPlan(models, ("scene/1", "scene/2"), ({}, {"precision": "bf16"}))
    return SweepRun.begin(plan, where=Here(1), measure=measure, ledger=store, owner=LOCAL_OWNER)


def numbers(session: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in session.metric}


def said(session: AppTest) -> str:
    return words_of(session).replace("\\", "")


def opened(visit: Visit) -> AppTest:
    session = visit(PAGE)
    session.session_state["bench_view"] = "Sweep"
    return session.run()


def test_an_ended_sweep_is_opened_by_its_address_with_its_outcomes(visit: Visit, store: Store) -> None:
    run = begun(store, "sleep-0", "bug-x")
    run.work()
    session = visit(PAGE, run=run.set_id)
    assert not session.exception and not session.error
    assert session.session_state["bench_view"] == "Sweep"
    assert numbers(session)["Done"] == "8 of 8" and numbers(session)["Failed"] == "4"
    assert session.success[0].value == "Every cell is done."
    words = said(session)
    assert "measured] 4" in words and "ZeroDivisionError] 4" in words
    table = session.dataframe[0].value
    assert sorted(zip(table["Model"], table["Pictures"], strict=True)) == [
        *[("bug-x", "0 of 2")] * 2,
        *[("sleep-0", "2 of 2")] * 2,
    ]
    assert set(table["Options"]) == {"bf16", "as usual"}
    assert len(session.dataframe[1].value) == 8
    (cell,) = store.runs(RunFilter(kinds=("benchmark",)), limit=1)
    assert len(visit(PAGE, run=cell.id).dataframe[1].value) == 8  # a cell's address opens its sweep


def test_a_sweep_that_was_cancelled_offers_to_go_on(visit: Visit, store: Store) -> None:
    run = begun(store, "sleep-0")
    run.cancel()
    run.work()
    run.close()
    session = visit(PAGE, run=run.set_id)
    assert not session.exception and "4 cells are left." in said(session)
    assert not session.button(key="bench_sweep_resume").disabled
    session.button(key="bench_sweep_new").click().run()
    assert "run" not in session.query_params and session.button(key="bench_sweep_start")


def test_nobody_sees_the_sweep_of_somebody_else(
    visit: Visit, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begun(store, "sleep-0")
    monkeypatch.setenv("VISION_BENCH_ACCESS", "public")
    settings.cache_clear()
    session = visit(PAGE, run=run.set_id)
    assert session.error and not session.metric


def test_a_ray_cluster_is_offered_where_one_is_set(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "VISION_BENCH_RAY" in said(opened(visit))
    monkeypatch.setenv("VISION_BENCH_RAY", "no address")
    settings.cache_clear()
    session = opened(visit)
    session.session_state["bench_sweep_where"] = "Ray cluster"
    session.run()
    assert session.error and not session.exception


def test_what_cannot_be_options_is_said(visit: Visit) -> None:
    session = opened(visit)
    session.text_input(key="bench_sweep_many_threads").set_value("1, two").run()
    assert "Threads cannot be" in session.error[0].value.replace("\\", "")
    session.text_input(key="bench_sweep_many_threads").set_value("1, 2").run()
    assert not session.error and "cells**" in said(session)
    assert session.code[0].value.endswith(
        "--pictures astronaut --scenes 1@1 --batch 1 --precision fp32 --threads 1,2 --seconds 3"
    )


def test_a_real_sweep_from_the_button_to_its_results(visit: Visit, store: Store) -> None:
    session = opened(visit)
    session.multiselect(key="bench_sweep_models").set_value(["shipped/vit-scenes"])
    session.multiselect(key="bench_sweep_samples").set_value([])
    session.number_input(key="bench_sweep_seconds").set_value(0.2).run()
    assert "**1 cell**" in said(session)
    session.button(key="bench_sweep_start").click().run()
    assert not session.exception and not session.error
    live = live_sweeps().find(session.query_params["run"], LOCAL_OWNER)
    assert live is not None
    live.wait(PATIENCE_S)
    session.run()
    assert not session.exception and numbers(session)["Done"] == "1 of 1"
    (row,) = session.dataframe[0].value.to_dict("records")
    assert row["Model"] == "ViT trained here on scenes" and row["p50, the middle"].endswith("ms")


def test_a_sweep_of_own_pictures_and_a_zip_of_them(visit: Visit, store: Store) -> None:
    session = opened(visit)
    mine, others = load_sample("coffee"), [generate_scene(number).png() for number in (1, 2)]
    files = [
        ("my =cup.png", mine.data, "image/png"),
        ("more.zip", zipped({"b/1.png": others[0], "b/2.png": others[1]}), "application/zip"),
    ]
    session.multiselect(key="bench_sweep_models").set_value(["shipped/vit-scenes"])
    session.multiselect(key="bench_sweep_samples").set_value([])
    session.number_input(key="bench_sweep_scenes").set_value(0)
    session.number_input(key="bench_sweep_seconds").set_value(0.1)
    session.file_uploader(key="bench_sweep_upload").set_value(files).run()
    assert not session.error and "**3 cells**" in said(session)
    assert "--file 'my =cup.png' --file b/1.png" in session.code[0].value
    session.button(key="bench_sweep_start").click().run()
    assert not session.exception and not session.error
    live = live_sweeps().find(session.query_params["run"], LOCAL_OWNER)
    assert live is not None
    live.wait(PATIENCE_S)
    session.run()
    assert numbers(session)["Done"] == "3 of 3" and numbers(session)["Failed"] == "0"
    assert list(session.dataframe[1].value["Picture"]) == ["my =cup.png", "b/1.png", "b/2.png"]
    run = store.run(live.run.set_id, LOCAL_OWNER)
    assert [picture.name for picture in run.inputs] == ["my =cup.png", "b/1.png", "b/2.png"]
    (cell,) = store.runs(RunFilter(kinds=("benchmark",)), limit=1)
    assert [picture.name for picture in store.run(cell.id, LOCAL_OWNER).inputs] == ["b/2.png"]


def test_files_that_were_not_kept_must_be_given_again(visit: Visit, store: Store) -> None:
    image = load_sample("coffee")
    with Store.open(settings().database_url, keep_pictures=False) as forgetful:
        plan = SweepPlan(("sleep-0",), (image.sha256,))
        run = SweepRun.begin(
            plan, where=Here(), measure=measure, ledger=forgetful, owner=LOCAL_OWNER, files=files_of([image])
        )
        run.cancel()
        run.work()
        run.close()
    session = visit(PAGE, run=run.set_id)
    assert "1 picture was not kept" in said(session) and session.button(key="bench_sweep_resume").disabled
    session.file_uploader(key="bench_sweep_again").set_value([("cup.png", image.data, "image/png")]).run()
    assert not session.button(key="bench_sweep_resume").disabled and not session.exception


def test_too_many_pictures_in_a_zip_are_refused(visit: Visit) -> None:
    data = zipped({f"{number}.png": b"x" for number in range(65)})
    session = opened(visit)
    session.file_uploader(key="bench_sweep_upload").set_value([("a.zip", data, "application/zip")]).run()
    assert "holds 65 pictures" in session.error[0].value.replace("\\", "") and not session.exception


def test_cells_are_put_together_by_model_and_options_and_files_are_safe() -> None:
    def cell(at: int, model: str, picture: str, p50: float | None) -> CallResult:
        item = f'{{"picture": "{picture}", "options": {{"precision": "fp32"}}}}'
        status, metrics = ("failed", {}) if p50 is None else ("ok", {"p50_ms": p50, "peak_memory_mb": 5.0})
        return CallResult(at, model, "benchmark", item, f"run{at}", status, "" if p50 else "Gone", metrics)

    rows = [cell(0, "b", "x", 9.0), cell(1, "a", "x", 2.0), cell(2, "a", "y", 4.0), cell(3, "a", "z", None)]
    fast, slow = groups(rows)
    assert (fast.model_id, fast.cells, fast.failed, fast.p50_ms, fast.peaks_mb) == (
        "a",
        3,
        1,
        3.0,
        (5.0, 5.0),
    )
    assert (slow.model_id, slow.p50s_ms) == ("b", (9.0,))
    broken = CallResult(4, "=m", "benchmark", "@no json", "run4", "failed", "-Bad", {})
    (row,) = csv.DictReader(io.StringIO(cells_csv([broken]).decode()))
    assert (row["model"], row["picture"], row["outcome"]) == ("'=m", "'@no json", "'-Bad")
