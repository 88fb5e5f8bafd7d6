"""Measurements take turns, in one process and among several, whatever ends the one before."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.bench.options import Options
from core.bench.plan import Plan
from core.bench.progress import Phase as BenchmarkPhase
from core.bench.suite import Benchmark
from core.bench.sweep.crew import Here
from core.bench.sweep.plan import SweepPlan
from core.bench.sweep.progress import Phase
from core.bench.sweep.run import SweepRun
from core.bench.turn import WAITS, Turn
from core.errors import SetupError
from core.settings import ROOT, settings
from db import Store
from tests.support.sweep_cells import measure

HOLDER = """
import sys, time
from core.bench.turn import Turn
turn = Turn()
sys.stdout.write(str(turn.try_take()))
sys.stdout.flush()
time.sleep(1000)
"""


@pytest.fixture
def turn() -> Iterator[Turn]:
    """A turn that ends with the test."""
    mine = Turn()
    yield mine
    mine.give_up()


@pytest.fixture
def store() -> Iterator[Store]:
    """The store of this test."""
    with Store.open(settings().database_url) as opened:
        yield opened


def sweep(store: Store, *models: str) -> SweepRun:
    plan = SweepPlan(models, ("a", "b"))
    return SweepRun.begin(plan, where=Here(), measure=measure, ledger=store, owner="ada")


def in_background(run: SweepRun | Benchmark) -> threading.Thread:
    thread = threading.Thread(target=run.work)
    thread.start()
    return thread


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_those_of_one_process_go_in_the_order_in_which_they_asked(turn: Turn) -> None:
    second, third = Turn(), Turn()
    assert turn.try_take() and turn.try_take()
    assert not second.try_take() and not third.try_take()
    assert second.why == WAITS
    turn.give_up()
    assert not third.try_take()  # it asked after the second
    assert second.try_take()
    second.give_up()
    second.give_up()
    assert third.try_take() and not turn.try_take()
    third.give_up()
    third = Turn()
    assert not third.try_take()
    turn.give_up()  # it leaves the line without its turn
    assert third.try_take()
    third.give_up()


def test_a_killed_process_keeps_no_turn(turn: Turn) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER], cwd=ROOT, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.read(4) == b"True"
        assert not turn.try_take()
        assert f"(process {other.pid})" in turn.why
        other.kill()
        other.wait()
        assert turn.try_take()


def test_a_file_that_cannot_be_locked_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VISION_BENCH_TURN_FILE", str(tmp_path))
    settings.cache_clear()
    with pytest.raises(SetupError, match="cannot be locked") as caught:
        Turn().try_take()
    assert "VISION_BENCH_TURN_FILE" in caught.value.remedy


def test_a_sweep_waits_for_its_turn_and_its_clock_stands_meanwhile(turn: Turn, store: Store) -> None:
    assert turn.try_take()
    run = sweep(store, "sleep-0")
    thread = in_background(run)
    until(lambda: run.progress.phase is Phase.IN_LINE)
    assert run.progress.message == WAITS and run.progress.under_way == 0
    waited = run.progress.elapsed_s
    assert run.progress.elapsed_s == waited
    turn.give_up()
    thread.join()
    assert (run.progress.phase, run.progress.done) == (Phase.DONE, 2)
    assert turn.try_take()


def test_a_sweep_that_waits_can_be_cancelled_or_paused(turn: Turn, store: Store) -> None:
    assert turn.try_take()
    first, second = sweep(store, "sleep-0"), sweep(store, "sleep-0")
    threads = [in_background(first), in_background(second)]
    until(lambda: first.progress.phase is Phase.IN_LINE and second.progress.phase is Phase.IN_LINE)
    first.pause()
    second.cancel()
    threads[1].join()
    assert (second.progress.phase, second.progress.done) == (Phase.CANCELLED, 0)
    turn.give_up()
    until(turn.try_take)  # the one that is paused left the line
    first.go_on()
    turn.give_up()
    threads[0].join()
    assert first.progress.phase is Phase.DONE


def test_a_paused_sweep_gives_way_and_goes_on_when_it_is_its_turn_again(turn: Turn, store: Store) -> None:
    run = sweep(store, "sleep-0.02", "sleep-0")
    thread = in_background(run)
    until(lambda: run.progress.done)
    run.pause()
    until(turn.try_take)
    assert run.progress.under_way == 0
    run.go_on()
    until(lambda: run.progress.phase in (Phase.IN_LINE, Phase.DONE))
    turn.give_up()
    thread.join()
    assert (run.progress.phase, run.progress.done) == (Phase.DONE, 4)


def test_a_benchmark_and_a_sweep_take_turns(store: Store) -> None:
    run = sweep(store, "sleep-1000")
    thread = in_background(run)
    until(lambda: run.progress.under_way)
    benchmark = Benchmark(Plan(("shipped/vit-scenes",), ("astronaut",), (Options(),)), sink=None)
    waiting = in_background(benchmark)
    until(lambda: benchmark.progress.message == WAITS)
    assert (benchmark.progress.phase, benchmark.pids) == (BenchmarkPhase.WAITING, ())
    assert benchmark.progress.elapsed_s == 0.0
    benchmark.cancel()
    waiting.join()
    assert benchmark.progress.phase is BenchmarkPhase.CANCELLED
    assert run.progress.phase is Phase.RUNNING
    run.cancel()
    thread.join()
