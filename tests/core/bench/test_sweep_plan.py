"""What a sweep consists of, how long it will take, and where it may run."""

import json
import sys
from collections import Counter

import pytest

from core.bench.sweep.crew import Here
from core.bench.sweep.plan import SweepPlan, every_option
from core.bench.sweep.progress import Pace
from core.bench.sweep.ray_crew import OnRay
from core.errors import InputError, SetupError
from tests.support.sweep_cells import measure


def test_a_plan_is_every_combination_once_and_models_take_turns() -> None:
    plan = SweepPlan(("m", "n"), ("a", "b", "c"), every_option({"precision": ["fp32", "bf16"], "size": []}))
    cells = list(plan.cells())
    assert len(cells) == plan.count == 12 == len(set(cells))
    assert [cell.model_id for cell in cells[:4]] == ["m", "n", "m", "n"]
    assert json.loads(cells[0].item) == {"picture": "a", "options": {"precision": "fp32"}}
    assert Counter(json.loads(cell.item)["picture"] for cell in cells) == {"a": 4, "b": 4, "c": 4}
    assert SweepPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_options_are_multiplied() -> None:
    assert every_option({}) == ({},)
    assert every_option({"a": [1, 2], "b": ["x"]}) == ({"a": 1, "b": "x"}, {"a": 2, "b": "x"})


@pytest.mark.parametrize(
    ("models", "pictures", "options", "deadline_s", "said"),
    [
        ((), ("a",), ({},), 1.0, "No model"),
        (("m",), (), ({},), 1.0, "No picture"),
        (("m",), ("a",), (), 1.0, "No set of options"),
        (("m", "m"), ("a",), ({},), 1.0, "The model m is chosen twice"),
        (("m",), ("a",), ({"a": 1}, {"a": 1}), 1.0, "is chosen twice"),
        (("m",), ("a",), ({},), float("nan"), "deadline"),
        (("m", "n"), tuple(map(str, range(600_000))), ({},), 1.0, "1,200,000 cells"),
    ],
)
def test_a_plan_that_cannot_be_run_says_why(
    models: tuple[str, ...],
    pictures: tuple[str, ...],
    options: tuple[dict[str, int], ...],
    deadline_s: float,
    said: str,
) -> None:
    with pytest.raises(InputError, match=said):
        SweepPlan(models, pictures, options, deadline_s)


def test_what_is_left_is_told_by_model() -> None:
    pace = Pace({"quick": 4, "slow": 4})
    assert pace.left_s(1.0) is None
    pace.add("quick", 1.0)
    assert pace.left_s(1.0) == 7.0  # nothing is known of the slow one: as the quick one
    pace.add("slow", 9.0)
    assert pace.left_s(10.0) == 3 * 1 + 3 * 9
    assert pace.left_s(5.0) == (3 * 1 + 3 * 9) / 2  # two were under way at once
    assert Pace({}).left_s(1.0) == 0.0


# Where


@pytest.mark.parametrize(
    "address", ["", "head", "http://head:1", "head:0", "head:99999", "a@head:1", "head:1/x"]
)
def test_an_address_that_names_no_cluster_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="no address of a Ray cluster"):
        OnRay(address)


def test_nobody_at_the_address_is_told_in_seconds() -> None:
    where = OnRay("ray://127.0.0.1:1")
    with pytest.raises(SetupError, match=r"No Ray cluster can be reached at ray://127\.0\.0\.1:1") as raised:
        where.open(measure, 1.0)
    assert "ray start --head" in raised.value.remedy


def test_a_missing_ray_names_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SetupError) as raised:
        OnRay("auto").check()
    assert "requirements-ray.txt" in raised.value.remedy


def test_a_number_of_workers_is_checked() -> None:
    with pytest.raises(InputError, match="0 workers"):
        Here(0)
    assert (str(Here()), str(Here(2))) == ("this machine, 1 worker", "this machine, 2 workers")
