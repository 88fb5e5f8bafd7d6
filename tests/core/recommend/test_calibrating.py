"""Which models a calibration times, and its runs as evidence."""

import pytest

from core.errors import InputError
from core.recommend.calibrating import SLOWEST_MS, calibration_plan, fresh_runs, held_out_models
from core.recommend.calibration import REFERENCES, calibrate
from core.recommend.entries import read_catalog
from core.recommend.evidence import gather
from core.recommend.scaling import work_of
from tests.support.bench_runs import CPU, bench_run, numbers_of

CATALOG = read_catalog()


def test_the_references_are_published_and_of_different_make() -> None:
    plan = calibration_plan(CATALOG)
    assert plan.models == REFERENCES
    names = {name.removeprefix("random/") for name in REFERENCES}
    found = {entry.timm: entry for entry in CATALOG.entries.values() if entry.timm in names}
    assert set(found) == names
    assert all(work_of(entry, "i7-12700h", entry.input_size) for entry in found.values())
    assert len({entry.family for entry in found.values()}) == len(names)


@pytest.mark.parametrize("n", [1, 12, 20])
def test_held_out_models_are_spread_over_speeds_and_families(n: int) -> None:
    found = held_out_models(CATALOG, n)
    times = [work_of(entry, "i7-12700h", entry.input_size) for entry in found]
    amounts = [one.amount for one in times if one is not None]
    assert len({entry.timm for entry in found}) == n == len(amounts)
    assert amounts == sorted(amounts) and amounts[-1] <= SLOWEST_MS
    assert not {f"random/{entry.timm}" for entry in found} & set(REFERENCES)
    if n == 12:
        assert amounts[-1] > 10 * amounts[0]
        assert len({entry.family for entry in found}) >= 10
    assert found == held_out_models(CATALOG, n)
    plan = calibration_plan(CATALOG, n, seconds=2.0, rounds=3)
    assert len(plan.models) == n + len(REFERENCES)
    assert (plan.options[0].seconds, plan.rounds) == (2.0, 3)


@pytest.mark.parametrize("n", [-1, 10_000])
def test_more_models_than_there_are(n: int) -> None:
    with pytest.raises(InputError, match="cannot be held out"):
        calibration_plan(CATALOG, n)


def test_runs_that_were_just_made_calibrate_without_a_store() -> None:
    plan = calibration_plan(CATALOG)
    published = {name: 3.0 * (i + 1) for i, name in enumerate(REFERENCES)}
    runs = [
        (None, bench_run(plan, name, numbers_of(ms), input_size=[224, 224])) for name, ms in published.items()
    ]
    failed = bench_run(plan, REFERENCES[0], {}, error=("SetupError", "no memory"))
    fresh = fresh_runs([*runs, ("id", failed)])
    assert [run.model_id for run in fresh] == list(REFERENCES)
    found = calibrate(CATALOG, gather(fresh), CPU.device_name)
    assert found is not None and len(found.best.models) == 3
