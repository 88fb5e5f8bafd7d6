"""Benchmarks over real processes: kill -9, a hang, a model that raises on a picture, cancel and resume."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from core.bench.options import Options
from core.bench.plan import Plan
from core.bench.progress import Phase
from core.bench.seat import Seat
from core.bench.suite import COMPARE_ROUNDS, Benchmark, Outcome, recorded_keys, tag_of
from core.bench.worker import Gone, Raised, Worker
from core.errors import InputError
from core.images import from_rgb
from core.runs import LOCAL_OWNER, RunDraft
from core.samples import load_sample
from db import RunFilter, Store

VIT, CAPTIONER = "shipped/vit-scenes", "shipped/captioner-small"
QUICK = Options(seconds=0.1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'bench.sqlite3'}", keep_pictures=False) as opened:
        yield opened


def numbers(run: RunDraft) -> dict[str, float]:
    return {metric.name: metric.value for metric in run.metrics}


def gone(pid: int) -> bool:
    """Say whether there is no such process any more."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_killed_process_and_a_refused_picture_cost_nobody_else_anything() -> None:
    thin = from_rgb(np.zeros((1, 400, 3), np.uint8), "thin")
    plan = Plan(("random/vit_tiny_patch16_224",), (thin.sha256, "scene/3"), (QUICK,), rounds=1)
    (entry,) = plan.entries()
    seat = Seat(entry, plan, {thin.sha256: thin.data}, "cpu")
    seat.start()
    seat.ready()
    seat.open()
    assert seat.gone is None
    assert seat.good == ("scene/3",)
    seat.round(first=True)
    images = {thin.sha256: thin, "scene/3": load_sample("scene/3")}
    run = seat.run(images, LOCAL_OWNER, ())
    assert run.status == "ok"
    assert numbers(run)["failed_pictures"] == 1
    assert "too elongated" in run.parameters["failures"][0][2]

    assert seat.pid is not None
    os.kill(seat.pid, signal.SIGKILL)
    seat.round(first=False)
    seat.finish()
    assert not seat.look()
    run = seat.run(images, LOCAL_OWNER, ())
    assert (run.status, run.error_class) == ("failed", "Killed")
    assert "memory" in run.error_message
    assert numbers(run)["p50_ms"] > 0, "what was measured before is kept"
    seat.close()


def test_a_process_that_hangs_is_killed_at_its_deadline_and_what_raises_goes_on() -> None:
    worker = Worker()
    with pytest.raises(Raised) as raised:
        worker.ask("warm_up", "nothing", 0.0)
    assert not isinstance(raised.value, Gone)
    os.kill(worker.pid, signal.SIGSTOP)
    with pytest.raises(Gone, match="did not answer within") as ended:
        worker.ask("peaks", deadline_s=0.1)
    assert ended.value.error_class == "Deadline"
    assert gone(worker.pid)
    with pytest.raises(Gone):
        worker.ask("peaks")
    worker.close()


def test_cancel_and_resume_measure_everything_once(store: Store) -> None:
    """The first sitting has room for one model, so that it is recorded before the others begin."""
    upload = from_rgb(load_sample("scene/3").rgb, "mine.png")
    models = (VIT, CAPTIONER, "shipped/nothing")
    plan = Plan(models, (upload.sha256,), (QUICK,), truths="scenes:4", rounds=2)
    works: list[Benchmark] = []

    def sitting(done: frozenset[str], told: Callable[[Outcome], None], room_mb: float) -> Benchmark:
        work = Benchmark(
            plan,
            sink=store,
            given={upload.sha256: upload.data},
            done=done,
            device="cpu",
            room_mb=room_mb,
            on_outcome=told,
        )
        works.append(work)
        return work

    first = sitting(frozenset(), lambda _: works[0].cancel(), 1.0)
    ended = first.work()
    assert (ended.phase, ended.done, ended.total) == (Phase.CANCELLED, 1, 3)
    (outcome,) = first.outcomes
    assert outcome.run.status == "ok"
    assert outcome.answers[upload.sha256].startswith("ell")
    assert [one.image.sha256 for one in outcome.run.inputs] == [upload.sha256]
    assert numbers(outcome.run)["top1_n"] == 4

    done = recorded_keys([(outcome.run.model_id, json.loads(json.dumps(dict(outcome.run.parameters))))])
    pids: set[int] = set()
    second = sitting(done, lambda _: pids.update(works[1].pids), 1e6)
    second.pause()
    second.start()
    while second.progress.phase is not Phase.PAUSED:
        assert not second.wait(0.01)
    assert second.progress.elapsed_s == second.progress.elapsed_s  # its clock stands still
    second.go_on()
    assert second.wait(300)
    assert second.progress.phase is Phase.DONE, second.progress.message
    assert (second.progress.done, second.progress.total, second.progress.failed) == (3, 3, 1)
    captioner, nothing = second.outcomes
    assert "ell" in captioner.answers[upload.sha256]
    assert (nothing.run.status, nothing.run.error_class) == ("failed", "InputError")
    assert pids
    assert all(gone(pid) for pid in pids)

    runs = store.runs(RunFilter(owner=LOCAL_OWNER, tags=(tag_of(plan.id),)))
    assert sorted(run.model_id for run in runs) == sorted(plan.models), "none lost, none twice"
    for run in runs:
        whole = store.run(run.id, LOCAL_OWNER)
        assert whole.parameters["benchmark"] == plan.id
        assert Plan.from_json(whole.parameters["plan"]) == plan


def test_the_quick_comparison_is_a_benchmark_of_a_few_rounds_on_one_upload() -> None:
    upload = from_rgb(load_sample("scene/3").rgb, "mine.png")
    plan = Plan((VIT, CAPTIONER), (upload.sha256,), (Options(seconds=1.5),), rounds=COMPARE_ROUNDS)
    work = Benchmark(plan, sink=None, given={upload.sha256: upload.data}, device="cpu")
    assert work.plan.pictures == (upload.sha256,)
    assert work.plan.models == (VIT, CAPTIONER)
    assert work.plan.options[0].seconds == 1.5
    assert work.progress.phase is Phase.WAITING
    assert 0 < work.estimate_s < 60
    with pytest.raises(InputError, match="chosen twice"):
        Plan((VIT, VIT), (upload.sha256,))
