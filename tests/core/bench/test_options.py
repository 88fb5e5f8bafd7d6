"""Options and plans as JSON and back; what is refused says how to mend it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.bench.options import PRECISIONS, Options
from core.bench.plan import Plan, estimate_s, key_of
from core.bench.progress import Pace
from core.errors import InputError

BATCHES = st.lists(st.integers(1, 1024), min_size=1, max_size=4, unique=True)
ANY_OPTIONS = st.builds(
    Options,
    batches=BATCHES.map(tuple),
    precision=st.sampled_from(PRECISIONS),
    size=st.none() | st.integers(1, 4096),
    compiled=st.booleans(),
    threads=st.none() | st.integers(1, 64),
    seconds=st.floats(0.001, 86_400),
)


@given(ANY_OPTIONS)
def test_options_survive_json(options: Options) -> None:
    assert Options.from_json(json.loads(json.dumps(options.to_json()))) == options


@given(st.lists(ANY_OPTIONS, min_size=1, max_size=3, unique_by=lambda one: json.dumps(one.to_json())))
def test_plans_survive_json_and_their_entries_have_keys_of_their_own(options: list[Options]) -> None:
    plan = Plan(("shipped/vit-scenes", "shipped/dino-scenes"), ("astronaut",), tuple(options))
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    entries = plan.entries()
    assert len({entry.key for entry in entries}) == 2 * len(options)
    stored = json.loads(json.dumps(entries[0].options.to_json()))
    assert key_of(entries[0].model_id, stored) == entries[0].key


@pytest.mark.parametrize(
    "raw",
    [
        {"batches": []},
        {"batches": [1, 1]},
        {"batches": [0]},
        {"batches": [True]},
        {"batches": 4},
        {"precision": "int8"},
        {"size": 0},
        {"size": 1.5},
        {"threads": -1},
        {"seconds": 0},
        {"seconds": float("nan")},
        {"seconds": float("inf")},
        {"seconds": "long"},
        {"speed": 1},
    ],
)
def test_options_of_no_use_are_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(InputError) as raised:
        Options.from_json(raw)
    assert raised.value.remedy


def test_plans_of_no_use_are_refused() -> None:
    for arguments in ((), ("a",)), (("a",), ()), (("a", "a"), ("p",)), (("a",), ("p",), (Options(),) * 2):
        with pytest.raises(InputError):
            Plan(*arguments)
    with pytest.raises(InputError):
        Plan(("a",), ("p",), rounds=0)
    with pytest.raises(InputError):
        Plan.from_json({"models": ["a"]})


def test_an_estimate_grows_with_what_is_asked() -> None:
    def about(**more: Any) -> float:
        return estimate_s(Plan(("shipped/vit-scenes",), ("astronaut",), **more))

    assert about(options=(Options(seconds=60.0),)) > about() + 50
    assert about(truths="scenes:1000@3") > about(truths="scenes:10") > about()


def test_the_pace_corrects_the_estimate() -> None:
    pace = Pace(100.0)
    assert pace.left_s(0.0) == 100.0
    pace.add(50.0)
    assert pace.left_s(100.0) == 100.0, "half of it took twice as long as expected"
    pace.add(60.0)
    assert (pace.share, pace.left_s(200.0)) == (1.0, 0.0)
