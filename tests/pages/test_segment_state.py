"""What a person is segmenting, as plain code: history, objects, another model, and the stored form."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import InputError
from core.segment.masks import Geometry, Masks
from core.segment.prompts import Point, Prompts
from core.segment.workflow import SegmentResult, Times
from pages.ui.segment_state import COLOURS, MAX_OBJECTS, Edited, Work, alike
from pages.ui.segment_view import remove_prompt

MODEL = ("shipped/sam-scenes", "0123456789ab")
A, B, C = Point(10, 20), Point(30, 40, include=False), Point(50, 60)
BOX = (5.0, 6.0, 70.0, 80.0)
PATIENT = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
PICTURE = "a" * 64


def answer() -> SegmentResult:
    """Return an answer that no other is identical with."""
    masks = Masks(
        np.zeros((3, 4, 4), np.float32),
        np.array([0.1, 0.9, 0.5], np.float32),
        np.ones(3, np.float32),
        Geometry((8, 8), (8, 8), 8),
        0.0,
    )
    return SegmentResult(masks, Times(0, 0, "encoded", 0), "cpu", "", None)


def edited(*history: Prompts) -> Edited:
    """Return an object that was shown these prompts one after another, each of them answered."""
    item = Edited(1, "object 1", "blue")
    for prompts in history:
        item.show(prompts, 0)
        item.step.result = answer()
    return item


def work_on(*histories: tuple[Prompts, ...]) -> Work:
    work = Work(PICTURE, MODEL)
    for history in histories:
        item = work.add()
        for prompts in history:
            item.show(prompts, 0)
            item.step.result = answer()
    return work


# History


def test_undo_and_redo_give_the_very_same_steps_with_their_masks() -> None:
    item = edited(Prompts((A,)), Prompts((A, B)))
    one, two = item.steps[1:]
    item.go(-1)
    assert item.step is one and one.result is not None
    item.go(1)
    assert item.step is two
    item.go(1)
    assert item.step is two
    item.go(-9)
    assert item.step is item.steps[0] and item.step.prompts.is_empty


def test_a_prompt_after_undo_makes_another_future() -> None:
    item = edited(Prompts((A,)), Prompts((A, B)))
    kept = item.steps[1]
    item.go(-1)
    item.show(Prompts((A, C)), 0)
    assert item.steps[1] is kept
    assert [step.prompts.points for step in item.steps] == [(), (A,), (A, C)]
    assert item.step.result is None


def test_the_undo_of_the_canvas_is_going_back_not_a_new_step() -> None:
    item = edited(Prompts((A,)), Prompts((A, B)))
    one, two = item.steps[1:]
    item.show(Prompts((Point(10.3, 19.8),)), 0.5)  # the canvas tells whole lists, in its own rounding
    assert item.step is one
    item.show(Prompts((A, B)), 0.5)
    assert item.step is two and len(item.steps) == 3


def test_the_same_prompts_drawn_again_change_nothing() -> None:
    item = edited(Prompts((A,), BOX))
    shown = item.step
    item.show(Prompts((Point(10.4, 20.4),), (5.4, 6.4, 70.4, 79.6)), 0.5)
    assert item.step is shown and len(item.steps) == 2


def test_a_prompt_that_was_moved_farther_is_a_new_step() -> None:
    item = edited(Prompts((A,)))
    item.show(Prompts((Point(10.6, 20),)), 0.5)
    assert len(item.steps) == 3 and item.step.prompts.points == (Point(10.6, 20),)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(Prompts((Point(10, 20, include=False),), BOX), id="excluded instead"),
        pytest.param(Prompts((A,)), id="without the box"),
        pytest.param(Prompts((A, A), BOX), id="one more point"),
        pytest.param(Prompts((A,), (5, 6, 70, 90)), id="a larger box"),
    ],
)
def test_prompts_that_ask_something_else_are_not_alike(other: Prompts) -> None:
    assert alike(Prompts((A,), BOX), Prompts((A,), BOX), 0)
    assert not alike(Prompts((A,), BOX), other, 5)


def test_clear_can_be_undone() -> None:
    item = edited(Prompts((A,)), Prompts((A, B)))
    two = item.step
    item.show(Prompts(), 0)
    assert item.step.prompts.is_empty
    item.go(-1)
    assert item.step is two


@pytest.mark.parametrize(
    ("place", "left"),
    [
        pytest.param(0, Prompts((B, C), BOX), id="first point"),
        pytest.param(1, Prompts((A, C), BOX), id="middle point"),
        pytest.param(None, Prompts((A, B, C)), id="box"),
    ],
)
def test_one_prompt_is_taken_away_and_the_others_stay(place: int | None, left: Prompts) -> None:
    work = work_on((Prompts((A, B, C), BOX),))
    work.drawing = {"objects": [1]}
    remove_prompt(work, place)
    assert work.edited.step.prompts.to_json() == left.to_json()
    assert work.drawing == {}  # the canvas is drawn afresh
    work.edited.go(-1)
    assert work.edited.step.prompts.points == (A, B, C)


def test_taking_the_last_point_away_is_going_back_to_its_earlier_mask() -> None:
    work = work_on((Prompts((A,)), Prompts((A, B))))
    before = work.edited.steps[1]
    remove_prompt(work, 1)
    assert work.edited.step is before


prompts_strategy = st.builds(
    Prompts,
    st.lists(st.builds(Point, st.integers(0, 3), st.integers(0, 3), st.booleans()), max_size=3).map(tuple),
    st.none() | st.just(BOX),
)
moves = st.lists(prompts_strategy | st.integers(-3, 3), max_size=20)


@PATIENT
@given(moves)
def test_any_history_stays_within_itself_and_undo_then_redo_is_where_it_was(
    history: list[Prompts | int],
) -> None:
    item = Edited(1, "object 1", "blue")
    for move in history:
        if isinstance(move, int):
            item.go(move)
        else:
            item.show(move, 0)
            assert alike(item.step.prompts, move, 0)
        assert 0 <= item.at < len(item.steps)
        assert item.steps[0].prompts.is_empty
    shown, was_first = item.step, item.at == 0
    item.go(-1)
    if not was_first:
        item.go(1)
    assert item.step is shown


# What an answer starts from


@pytest.mark.parametrize(
    ("before", "after", "refines"),
    [
        pytest.param(Prompts((A,)), Prompts((A, B)), True, id="a point added"),
        pytest.param(Prompts((A,)), Prompts((A,), BOX), True, id="a box added"),
        pytest.param(Prompts((A,), BOX), Prompts((A, B), BOX), True, id="a point added to a box"),
        pytest.param(Prompts((A, B)), Prompts((A,)), False, id="a point removed"),
        pytest.param(Prompts((A, B)), Prompts((B,)), False, id="the first point removed"),
        pytest.param(Prompts((A,), BOX), Prompts((A,)), False, id="the box removed"),
        pytest.param(Prompts((A,), BOX), Prompts((A,), (1, 2, 3, 4)), False, id="another box"),
        pytest.param(Prompts((A,)), Prompts((C, A)), False, id="another point before"),
    ],
)
def test_an_answer_starts_from_the_mask_before_only_where_prompts_were_added(
    before: Prompts, after: Prompts, refines: bool
) -> None:
    item = edited(before, after)
    assert item.starts_from() is (item.steps[1] if refines else None)


def test_nothing_starts_from_a_step_without_an_answer() -> None:
    item = edited(Prompts((A,)))
    assert item.starts_from() is None  # before it is the empty step
    item.show(Prompts((A, B)), 0)
    item.steps[1].result = None
    assert item.starts_from() is None
    item.at = 0
    assert item.starts_from() is None


# Objects


def test_objects_have_numbers_and_colours_of_their_own_and_one_always_stays() -> None:
    work = Work(PICTURE, MODEL)
    first, second = work.add(), work.add("mug")
    assert (first.number, second.number) == (1, 2)
    assert first.colour != second.colour and second.name == "mug"
    assert work.edited is second
    work.remove()
    assert work.objects == [first] and work.edited is first
    third = work.add()
    assert third.number == 3  # numbers are not used twice
    work.remove()
    work.remove()
    assert len(work.objects) == 1 and work.edited.step.prompts.is_empty
    assert work.edited is not first


def test_there_can_be_too_many_objects() -> None:
    work = Work(PICTURE, MODEL)
    for _ in range(MAX_OBJECTS):
        work.add()
    active = work.edited
    with pytest.raises(InputError, match=str(MAX_OBJECTS)):
        work.add()
    assert len(work.objects) == MAX_OBJECTS and work.edited is active
    assert {item.hue for item in work.objects} == set(COLOURS)


def test_another_model_keeps_the_prompts_and_drops_the_masks() -> None:
    work = work_on((Prompts((A,)), Prompts((A, B))), ())
    work.objects[0].show(Prompts((A, B), BOX, np.zeros((4, 4), np.float32)), 0)
    work.objects[0].choice = 2
    work.for_model(("other", "r"))
    first, second = work.objects
    assert work.model == ("other", "r")
    assert first.step.prompts.points == (A, B) and first.step.prompts.box == BOX
    assert first.step.prompts.logits is None  # another model's logits mean nothing to it
    assert first.choice == 2
    assert second.step.prompts.is_empty and second.at == 0
    assert all(step.result is None for item in work.objects for step in item.steps)
    first.go(-1)
    assert first.step.prompts.is_empty


def test_the_same_model_keeps_everything() -> None:
    work = work_on((Prompts((A,)), Prompts((A, B))))
    steps = list(work.edited.steps)
    work.for_model(MODEL)
    assert all(kept is step for kept, step in zip(work.edited.steps, steps, strict=True))


# The stored form

names = st.text(min_size=1, max_size=60)


@PATIENT
@given(
    st.lists(st.tuples(names, st.lists(prompts_strategy, max_size=4)), min_size=1, max_size=4),
    st.integers(0, 3),
    st.none() | st.integers(0, 2),
)
def test_stored_work_comes_back_as_it_was(
    objects: list[tuple[str, list[Prompts]]], active: int, choice: int | None
) -> None:
    work = Work(PICTURE, MODEL)
    for name, history in objects:
        item = work.add(name)
        item.choice = choice
        for prompts in history:
            item.show(prompts, 0)
    work.active = min(active, len(objects) - 1)
    again = Work(PICTURE, MODEL)
    again.restore(json.loads(json.dumps(work.to_json())), "RUN")
    assert again.to_json() == work.to_json()
    assert again.active == work.active
    for old, new in zip(work.objects, again.objects, strict=True):
        assert new.step.prompts.to_json() == old.step.prompts.to_json()
        assert (new.name, new.choice) == (old.name, old.choice)
        assert {step.run_id for step in new.steps[1:]} <= {"RUN"}  # so that nothing is stored twice


def test_only_what_led_to_the_shown_mask_is_stored() -> None:
    work = work_on((Prompts((A,)), Prompts((A, B))))
    work.edited.go(-1)
    again = Work(PICTURE, MODEL)
    again.restore(work.to_json(), "RUN")
    assert [step.prompts.points for step in again.edited.steps] == [(), (A,)]


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["objects", "active", "name", "steps", "choice", "points", "box", "x", "y", "include"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)
rows = st.fixed_dictionaries(
    {"name": json_values, "steps": st.lists(json_values, max_size=3) | json_values},
    optional={"choice": json_values},
)
views = json_values | st.fixed_dictionaries(
    {"objects": st.lists(rows | json_values, max_size=4)}, optional={"active": json_values}
)


@PATIENT
@given(views)
def test_whatever_a_stored_view_holds_is_read_or_left_out(view: Any) -> None:
    work = Work(PICTURE, MODEL)
    work.restore(view, "RUN")
    if work.objects:
        assert 0 <= work.active < len(work.objects)
        assert work.edited.step is work.edited.steps[-1]
    for item in work.objects:
        assert item.choice is None or item.choice in (0, 1, 2)
        assert len(item.name) <= 60
        for step in item.steps[1:]:
            assert all(np.isfinite([p.x, p.y]).all() for p in step.prompts.points)
    json.dumps(work.to_json())


def test_a_bad_object_among_good_ones_is_left_out() -> None:
    good = {"name": "mug", "steps": [{"points": [{"x": 1, "y": 2}], "box": None}], "choice": 7}
    work = Work(PICTURE, MODEL)
    work.restore({"objects": [{"name": "no steps"}, good, None], "active": 9}, "RUN")
    assert [item.name for item in work.objects] == ["mug"]
    assert work.active == 0 and work.edited.choice is None


def test_a_view_of_too_many_objects_gives_as_many_as_there_may_be() -> None:
    work = Work(PICTURE, MODEL)
    work.restore({"objects": [{"name": "x", "steps": []}] * (MAX_OBJECTS + 5)}, "RUN")
    assert len(work.objects) == MAX_OBJECTS


def test_what_the_canvas_tells_back_late_undoes_nothing() -> None:
    work = Work("picture", ("model", "1"))
    item = work.add()
    work.canvas_key = "canvas"
    one, two = Prompts((Point(1, 1),)), Prompts((Point(1, 1), Point(5, 5)))
    item.show(one, 0.5)
    work.sent({"objects": [1]})
    assert not work.is_echo(one, 0.5)  # a canvas that is new on the page tells nothing back
    item.show(two, 0.5)
    item.go(-1)
    work.sent({"objects": [1]})
    item.go(1)
    work.sent({"objects": [1, 2]})
    assert work.is_echo(one, 0.5) and work.is_echo(two, 0.5)  # both late, in their order
    assert not work.is_echo(one, 0.5)  # and from now on it is the person
    work.sent({"objects": [1, 2]})
    work.forget_canvas()
    assert not work.is_echo(two, 0.5)
