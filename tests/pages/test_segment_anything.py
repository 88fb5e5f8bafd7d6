"""The segmentation page: a click is a mask and a run; what only changes the looks runs no model."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from streamlit.runtime.media_file_manager import MediaFileManager
from streamlit.testing.v1 import AppTest

from core.scenes import generate_scene
from core.segment import export
from core.segment.kinds import ANSWER, EVALUATION, EVERYTHING
from core.segment.prompts import Point, Prompts
from core.segment.regions import iou
from core.settings import settings
from db import RunFilter, Store
from pages.ui.segment_canvas import canvas_size, drawing_of
from pages.ui.segment_state import Work
from pages.ui.segment_tools import EVALUATE, FILES, OTHER, SURE
from pages.ui.segment_tools import EVERYTHING as EVERYTHING_TAB
from tests.pages.conftest import Visit

PAGE, MODEL = "segment_anything", "shipped/sam-scenes"
SHIPPED = Path(__file__).parents[2] / "checkpoints"
EVERY = RunFilter()
SIDE = 224
SCALE = canvas_size(SIDE, SIDE, None)[0] / SIDE
"""Canvas pixels to a pixel of a scene."""


def work_of(session: AppTest) -> Work:
    found = session.session_state["segment_work"]
    assert isinstance(found, Work)
    return found


def shown(session: AppTest) -> NDArray[np.bool_]:
    """Return the chosen mask of the active object, before any cleaning."""
    step = work_of(session).edited.step
    assert step.result is not None
    return step.result.masks.mask(step.index)


def area(session: AppTest) -> int:
    """Return how many pixels the page says the mask has, after cleaning."""
    cells = " ".join(str(cell) for table in session.dataframe for cell in table.value.to_numpy().ravel())
    (found,) = re.findall(r"([\d,]+) px", cells)
    return int(found.replace(",", ""))


def tell(session: AppTest, prompts: Prompts) -> AppTest:
    """Let the canvas tell what it holds, as the browser does after a click."""
    raw = drawing_of(prompts, SCALE, SCALE)
    session.session_state[work_of(session).canvas_key] = {
        "drawing": {"raw": raw, "data": None},
        "backgroundFit": None,
    }
    return session.run()


def click(session: AppTest, x: float, y: float, include: bool = True) -> AppTest:
    """Click at a pixel of the scene."""
    asked = work_of(session).edited.step.prompts
    return tell(session, Prompts((*asked.points, Point(x, y, include)), asked.box))


def is_alive(session: AppTest) -> bool:
    """Say whether the page came to its end: the canvas and what follows it are there."""
    return "segment_opacity" in [slider.key for slider in session.slider]


def test_it_opens_with_a_mask_of_the_largest_object_and_one_run(visit: Visit, store: Store) -> None:
    session = visit(PAGE)
    assert not session.exception and not session.error
    truth = max((item.mask for item in generate_scene(1).objects), key=np.count_nonzero)
    assert iou(shown(session), truth) >= 0.7
    assert area(session) == np.count_nonzero(shown(session))
    (run,) = store.runs(EVERY)
    whole = store.run(run.id, None)
    assert (run.kind, run.model_id, run.status) == (ANSWER, MODEL, "ok")
    assert whole.inputs[0].name == "scene/1"
    assert session.query_params["run"] == run.id
    session.run().run()
    assert not session.exception
    assert store.count(EVERY) == 1


def test_a_click_is_a_step_and_a_run_and_undo_needs_no_model(visit: Visit, store: Store) -> None:
    session = visit(PAGE)
    first = work_of(session).edited.step
    (start,) = first.prompts.points
    corner = Point(10, 12, include=False)
    click(session, corner.x, corner.y, include=False).run().run()
    assert not session.exception and not session.error
    second = work_of(session).edited.step
    assert second is not first and second.prompts.points == (start, corner)
    assert not shown(session)[12, 10]
    assert store.count(EVERY) == 2
    newest = store.run(store.runs(EVERY)[0].id, None)
    assert newest.parameters["prompts"] == {
        "points": [{"x": p.x, "y": p.y, "include": p.include} for p in (start, corner)],
        "box": None,
    }
    assert newest.parameters["embedded"] == "memory"
    assert session.query_params["run"] == newest.id == second.run_id

    tell(session, first.prompts)  # undo in the canvas's own toolbar
    assert work_of(session).edited.step is first
    tell(session, second.prompts)
    assert work_of(session).edited.step is second
    session.button(key="segment_Undo").click().run()
    assert work_of(session).edited.step is first
    session.button(key="segment_Redo").click().run()
    assert work_of(session).edited.step is second
    session.button(key="segment_Clear").click().run()
    assert work_of(session).edited.step.prompts.is_empty
    session.button(key="segment_Undo").click().run()
    assert work_of(session).edited.step is second
    assert not session.exception and store.count(EVERY) == 2


def test_a_box_is_asked_and_each_object_has_its_own_prompts(visit: Visit, store: Store) -> None:
    session = visit(PAGE)
    session.button(key="segment_new").click().run()
    assert work_of(session).edited.step.prompts.is_empty
    scene = generate_scene(1)
    smallest = min((item.mask for item in scene.objects), key=np.count_nonzero)
    rows, columns = np.nonzero(smallest)
    box = (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))
    tell(session, Prompts(box=box))
    assert not session.exception and not session.error
    first, second = work_of(session).objects
    assert second.step.prompts.box == pytest.approx(box, abs=0.06)
    assert iou(shown(session), smallest) >= 0.6
    assert len(first.step.prompts.points) == 1 and first.step.result is not None
    assert store.count(EVERY) == 2
    session.button(key="segment_delete").click().run()
    assert work_of(session).objects == [first]
    assert not session.exception and store.count(EVERY) == 2


def test_looks_change_the_mask_and_run_no_model(visit: Visit, store: Store) -> None:
    session = visit(PAGE)
    step, before = work_of(session).edited.step, area(session)
    session.slider(key="segment_threshold").set_value(3.0).run()
    assert area(session) < before
    session.slider(key="segment_threshold").set_value(-8.0).run()
    loose = area(session)
    assert loose > before
    session.number_input(key="segment_islands").set_value(SIDE * SIDE).run()
    whole = area(session)
    session.number_input(key="segment_holes").set_value(SIDE * SIDE).run()
    assert whole <= loose and whole <= area(session)
    session.slider(key="segment_opacity").set_value(0.9).run()
    session.slider(key="segment_smooth").set_value(4.0).run()
    assert not session.exception and not session.error
    assert work_of(session).edited.step is step
    assert store.count(EVERY) == 1


def test_the_chosen_mask_is_kept_and_a_run_opens_as_it_was_left(visit: Visit, store: Store) -> None:
    session = visit(PAGE)
    session.button(key="segment_mask_2").click().run()
    assert work_of(session).edited.step.index == 2
    start = work_of(session).edited.step.prompts.points[0]
    click(session, start.x + 6, start.y)
    assert work_of(session).edited.step.index == 2
    assert not session.exception and store.count(EVERY) == 2

    again = visit(PAGE, run=store.runs(EVERY)[0].id)
    assert not again.exception and not again.error
    assert work_of(again).edited.step.index == 2
    assert work_of(again).edited.step.prompts.points == work_of(session).edited.step.prompts.points
    np.testing.assert_array_equal(shown(again), shown(session))
    again.run()
    assert store.count(EVERY) == 2


def test_a_mask_chosen_late_does_not_change_what_led_to_it(visit: Visit, store: Store) -> None:
    session = visit(PAGE)
    start = work_of(session).edited.step.prompts.points[0]
    assert work_of(session).edited.step.index != 2
    click(session, start.x + 6, start.y)
    session.button(key="segment_mask_2").click().run()

    again = visit(PAGE, run=store.runs(EVERY)[0].id)
    assert not again.exception and not again.error
    np.testing.assert_array_equal(shown(again), shown(session))
    again.button(key="segment_Undo").click().run()
    session.button(key="segment_Undo").click().run()
    np.testing.assert_array_equal(shown(again), shown(session))


def test_another_picture_is_other_work(visit: Visit, store: Store) -> None:
    session = visit(PAGE)
    click(session, 10, 12, include=False)
    before = work_of(session)
    session.number_input(key="segment_scene").set_value(2).run()
    assert not session.exception and not session.error
    after = work_of(session)
    assert after.picture != before.picture
    assert len(after.edited.step.prompts.points) == 1
    truth = max((item.mask for item in generate_scene(2).objects), key=np.count_nonzero)
    point = after.edited.step.prompts.points[0]
    assert truth[int(point.y), int(point.x)]
    newest = store.run(store.runs(EVERY)[0].id, None)
    assert newest.inputs[0].name == "scene/2" and store.count(EVERY) == 3


@pytest.fixture
def three_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offer the shipped model, a copy of it, and one whose weights are damaged."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    card = json.loads((SHIPPED / "sam-scenes.json").read_text())
    for name in ("sam-scenes", "sam-copy", "sam-damaged"):
        shutil.copy(SHIPPED / "sam-scenes.safetensors", folder / f"{name}.safetensors")
        (folder / f"{name}.json").write_text(json.dumps(card | {"title": name}))
    damaged = folder / "sam-damaged.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:5000])
    monkeypatch.setenv("VISION_BENCH_CHECKPOINTS", str(folder))
    settings.cache_clear()


@pytest.mark.usefixtures("three_models")
def test_another_model_is_asked_the_same_and_a_damaged_one_loses_nothing(visit: Visit, store: Store) -> None:
    session = visit(PAGE)
    session.selectbox(key="segment_model").set_value(MODEL).run()
    click(session, 10, 12, include=False)
    asked, mask = work_of(session).edited.step.prompts, shown(session)
    session.selectbox(key="segment_model").set_value("shipped/sam-copy").run()
    assert not session.exception and not session.error
    assert work_of(session).edited.step.prompts.points == asked.points
    newest = store.runs(EVERY)[0]
    assert newest.model_id == "shipped/sam-copy"
    alone = shown(session)
    assert iou(alone, mask) > 0.5  # the same weights, asked everything at once

    session.selectbox(key="segment_model").set_value("shipped/sam-damaged").run()
    assert not session.exception
    assert len([*session.error, *session.warning]) == 1
    assert work_of(session).edited.step.prompts.points == asked.points

    session.selectbox(key="segment_model").set_value("shipped/sam-copy").run()
    assert not session.exception and not session.error and not session.warning
    np.testing.assert_array_equal(shown(session), alone)
    assert is_alive(session)


def test_a_run_opens_with_the_options_it_was_asked_with(visit: Visit, store: Store) -> None:
    session = visit(PAGE)
    start = work_of(session).edited.step.prompts.points[0]
    session.toggle(key="segment_refine").set_value(False)
    session.toggle(key="segment_multimask").set_value(False)
    session.run()
    click(session, start.x + 6, start.y)
    session.toggle(key="segment_refine").set_value(True).run()
    click(session, 10, 12, include=False)
    assert [len(step.result.masks) for step in work_of(session).edited.steps if step.result] == [3, 1, 1]

    again = visit(PAGE, run=store.runs(EVERY)[0].id)
    assert not again.exception and not again.error
    np.testing.assert_array_equal(shown(again), shown(session))
    again.button(key="segment_Undo").click().run()
    session.button(key="segment_Undo").click().run()
    np.testing.assert_array_equal(shown(again), shown(session))


@pytest.mark.usefixtures("three_models")
def test_moved_prompts_store_nothing_and_another_model_answers_the_same_prompts(
    visit: Visit, store: Store
) -> None:
    session = visit(PAGE)
    step = work_of(session).edited.step
    session.session_state["segment_more"] = SURE
    session.run()
    session.button(key="segment_jitter").click().run()
    assert not session.exception and not session.error
    assert len(session.get("plotly_chart")) == 1
    assert store.count(EVERY) == 1

    session.session_state["segment_more"] = OTHER
    session.run()
    session.selectbox(key="segment_replay_model").set_value(MODEL).run()
    session.button(key="segment_replay_run").click().run()
    assert not session.exception and not session.error
    newest = store.run(store.runs(EVERY)[0].id, None)
    assert newest.model_id == MODEL != work_of(session).model[0]
    assert newest.parameters["prompts"] == step.prompts.to_json()
    assert any("1.000" in text.value for text in session.markdown)  # the same weights, so the same mask
    assert work_of(session).edited.step is step and store.count(EVERY) == 2


def test_an_unknown_run_is_said_and_the_page_goes_on(visit: Visit, store: Store) -> None:
    session = visit(PAGE, run="01NOSUCHRUN")
    assert not session.exception
    (error,) = session.error
    assert "run" in error.value.lower() and "What to do" in error.value
    session.run()
    assert not session.exception and not session.error
    assert shown(session).any() and store.count(EVERY) == 1


def test_two_sessions_do_not_see_each_other(
    visit: Visit, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISION_BENCH_ACCESS", "public")
    settings.cache_clear()
    alice, bob = visit(PAGE), visit(PAGE)
    click(alice, 10, 12, include=False)
    bob.run()
    assert not alice.exception and not bob.exception
    assert work_of(alice) is not work_of(bob)
    assert len(work_of(alice).edited.step.prompts.points) == 2
    assert len(work_of(bob).edited.step.prompts.points) == 1
    secret = alice.query_params["run"]
    assert secret != bob.query_params["run"] and store.count(EVERY) == 3

    stranger = visit(PAGE, run=secret)
    assert not stranger.exception
    assert any("no run" in error.value.lower() for error in stranger.error)
    bob.switch_page("pages/history.py").run()
    text = " ".join(str(frame.value.to_dict()) for frame in bob.dataframe)
    assert secret not in text


def test_a_prompt_that_cannot_be_asked_is_said_and_nothing_is_lost(visit: Visit, store: Store) -> None:
    session = visit(PAGE)
    step = work_of(session).edited.step
    (start,) = step.prompts.points
    click(session, start.x, start.y, include=False)  # included and excluded at once
    assert not session.exception
    assert len(session.error) == 1
    assert work_of(session).edited.step is step
    assert is_alive(session)
    session.run()
    assert not session.exception and not session.error
    assert work_of(session).edited.step is step and is_alive(session)

    click(session, -30, 5)  # beyond the picture's edge
    assert not session.exception and not session.error
    assert len(session.toast) == 1
    assert work_of(session).edited.step is step
    assert store.count(EVERY) == 1

    session.session_state[work_of(session).canvas_key] = {
        "drawing": {"raw": {"objects": [{"type": "Circle", "left": "x"}, None, 3]}, "data": None},
        "backgroundFit": None,
    }
    session.run()
    assert not session.exception
    session.button(key="segment_Undo" if work_of(session).edited.at else "segment_Redo").click().run()
    assert store.count(EVERY) == 1


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[], bytes]]:
    """Return what makes the file of each download button, by file name. A press runs it outside the page."""
    offered: dict[str, Callable[[], bytes]] = {}
    add = MediaFileManager.add_deferred

    def listen(self: MediaFileManager, make: Callable[[], bytes], *place: Any, **other: Any) -> str:
        offered[other["file_name"]] = make
        return add(self, make, *place, **other)

    monkeypatch.setattr(MediaFileManager, "add_deferred", listen)
    return offered


def test_files_hold_the_mask_as_the_page_shows_it(
    visit: Visit, downloads: dict[str, Callable[[], bytes]]
) -> None:
    session = visit(PAGE)
    session.session_state["segment_more"] = FILES
    session.slider(key="segment_threshold").set_value(2.0).run()
    assert not session.exception and not session.error
    result, size = work_of(session).edited.step.result, (SIDE, SIDE)
    assert result is not None
    mask = result.masks.mask(work_of(session).edited.step.index, 2.0)
    assert np.count_nonzero(mask) == area(session)

    def made(ending: str) -> bytes:
        (name,) = [name for name in downloads if name.endswith(ending)]
        return downloads[name]()

    np.testing.assert_array_equal(export.read_mask(made("-mask.png"), size), mask)
    np.testing.assert_array_equal(export.read_label_map(made("-labels.png"), size) == 1, mask)
    (whole,) = export.read_coco(made("-coco.json"), size)
    np.testing.assert_array_equal(whole.mask, mask)
    (outlined,) = export.read_coco(made("-polygons.json"), size)
    (mapped,) = export.read_geojson(made(".geojson"), size)
    (boxed,) = export.read_yolo(made(".txt"), size, [whole.name])
    assert min(iou(found.mask, mask) for found in (outlined, mapped, boxed)) > 0.9
    sheet = export.read_prompts_json(made("-prompts.json"))
    ((name, prompts),) = sheet.objects
    assert (sheet.model_id, name) == (MODEL, whole.name)
    assert prompts.points == work_of(session).edited.step.prompts.points


def test_saved_prompts_are_loaded_again(visit: Visit, store: Store) -> None:
    session = visit(PAGE)
    sheet = export.PromptSheet("0" * 64, SIDE, SIDE, MODEL, (("mug", Prompts((Point(10, 12),))),))
    session.session_state["segment_more"] = FILES
    session.run()
    uploader = session.file_uploader(key="segment_load")
    uploader.set_value(("prompts.json", export.prompts_json(sheet), "application/json")).run().run()
    assert not session.exception and not session.error
    first, loaded = work_of(session).objects
    assert first.step.result is not None and loaded.name == "mug"
    assert work_of(session).edited.step.prompts.points == (Point(10, 12),)
    assert store.count(EVERY) == 2
    session.file_uploader(key="segment_load").set_value(("bad.json", b"[1,", "application/json")).run()
    assert not session.exception and len(session.error) == 1
    assert len(work_of(session).objects) == 2


def test_everything_is_found_and_an_evaluation_is_one_run(visit: Visit, store: Store) -> None:
    session = visit(PAGE)
    session.session_state["segment_more"] = EVERYTHING_TAB
    session.run()
    session.slider(key="segment_all_side").set_value(4).run()
    session.button(key="segment_all_run").click().run()
    assert not session.exception and not session.error
    (run,) = store.runs(RunFilter(kinds=(EVERYTHING,)))
    metrics = {metric.name: metric.value for metric in store.run(run.id, None).metrics}
    assert metrics["masks"] >= 1 and 0 < metrics["coverage"] <= 1
    total = store.count(EVERY)
    again = visit(PAGE, run=run.id)
    assert not again.exception and not again.error
    assert again.slider(key="segment_all_side").value == 4
    found, repeated = session.session_state["segment_everything"], again.session_state["segment_everything"]
    assert [mask.area for mask in found.result.masks] == [mask.area for mask in repeated.result.masks]
    assert store.count(EVERY) == total

    session.session_state["segment_more"] = EVALUATE
    session.run()
    session.slider(key="segment_eval_count").set_value(2)
    session.slider(key="segment_eval_clicks").set_value(1).run()
    session.button(key="segment_eval_run").click().run().run()
    assert not session.exception and not session.error
    (run,) = store.runs(RunFilter(kinds=(EVALUATION,)))
    whole = store.run(run.id, None)
    assert (whole.status, whole.parameters["clicks"]) == ("ok", 1)
    report = json.loads(store.artifact(run.id, "evaluation.json", None))
    assert report
    assert len(store.runs(RunFilter(kinds=(EVALUATION,)))) == 1
    held = session.session_state["segment_evaluated"].result
    total = store.count(EVERY)
    again = visit(PAGE, run=run.id)
    assert not again.exception and not again.error
    assert again.session_state["segment_evaluated"].result.rows() == held.rows()
    assert store.count(EVERY) == total


def test_the_strongest_patch_of_an_attention_map_becomes_the_first_click(visit: Visit, store: Store) -> None:
    session = visit("attention_maps")
    session.button(key="attention_segment").click().run()
    assert not session.exception and not session.error
    work = work_of(session)
    (point,) = work.edited.step.prompts.points
    attended = next(run for run in store.runs(EVERY) if run.kind == "attention")
    assert work.picture == attended.picture_sha256
    assert point.x > 0 and point.y > 0
    assert work.edited.step.result is not None


def test_weights_that_cannot_be_fetched_are_said_with_what_to_do(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISION_BENCH_SAM_URL", "http://127.0.0.1:9")  # nobody answers
    settings.cache_clear()
    session = visit(PAGE)
    session.button(key="segment_download").click().run()
    assert not session.exception
    (said,) = [*session.error, *session.warning]
    assert "sam_vit_b_01ec64.pth" in said.value.replace("\\", "")
    assert is_alive(session)


def test_a_point_handed_over_joins_what_is_there(visit: Visit) -> None:
    session = visit(PAGE)
    work = work_of(session)
    before = work.edited
    session.session_state["segment_start"] = (work.picture, 83.0, 75.0)
    session.run()
    assert not session.exception and not session.error
    assert work_of(session) is work and work.objects[0] is before
    assert work.edited is work.objects[1]
    assert work.edited.step.prompts.points == (Point(83.0, 75.0),) and work.edited.step.result is not None


def test_a_new_name_is_shown_at_once(visit: Visit) -> None:
    session = visit(PAGE)
    session.text_input(key="segment_name_1").set_value("heart").run()
    assert "heart" in session.button(key="segment_object_1").label
