"""Timing: stages apart, warm-up by stability, and what it must not disturb."""

import gc
import itertools
import time
from collections.abc import Callable

import pytest

from core.bench import timing
from core.bench.timing import WINDOW, is_stable, synchroniser, time_calls, time_stages, undisturbed, warm_up


class Clock:
    """A clock that goes on only where somebody works: the machine's is at the mercy of its load."""

    def __init__(self) -> None:
        self.now_ns = 0

    def perf_counter_ns(self) -> int:
        return self.now_ns


CLOCK = Clock()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "time", CLOCK)


def busy(ms: float) -> None:
    """Work for a time."""
    CLOCK.now_ns += round(ms * 1e6)


class Steps:
    """Three steps that take 1, 4 and 2 ms."""

    def preprocess(self) -> str:
        busy(1)
        return "inputs"

    def run(self, inputs: str) -> str:
        busy(4)
        return f"raw of {inputs}"

    def postprocess(self, raw: str) -> str:
        busy(2)
        return f"answer of {raw}"


def test_the_three_steps_are_timed_apart_and_give_their_answer() -> None:
    samples = [time_stages(Steps(), lambda: None) for _ in range(20)]
    assert {answer for _, answer in samples} == {"answer of raw of inputs"}
    best = [
        min(getattr(sample, name) for sample, _ in samples)
        for name in ("preprocess_ms", "model_ms", "postprocess_ms", "total_ms")
    ]
    assert best == [1, 4, 2, 7]


def test_work_that_goes_on_elsewhere_is_waited_for() -> None:
    """A device that answers at once and works later: its time counts only where it is waited for."""
    owed = []

    def launch() -> None:
        owed.append(5)

    def wait() -> None:
        while owed:
            busy(owed.pop())

    assert time_calls(launch, 0.0, at_least=3) == [0, 0, 0]
    owed.clear()
    assert time_calls(launch, 0.0, wait, at_least=3) == [5, 5, 5]


def test_how_many_calls_are_made() -> None:
    assert len(time_calls(lambda: None, 0.0, at_least=7)) == 7
    assert len(time_calls(lambda: None, 60.0, at_most=9)) == 9
    assert len(time_calls(lambda: busy(20), 0.05)) == 3
    with pytest.raises(ValueError, match="expected 1 <= at_least"):
        time_calls(lambda: None, 1.0, at_least=0)


def test_the_collector_is_off_meanwhile_and_back_afterwards() -> None:
    seen = []
    time_calls(lambda: seen.append(gc.isenabled()), 0.0, at_least=2)
    assert seen == [False, False] and gc.isenabled()
    with pytest.raises(RuntimeError), undisturbed():
        raise RuntimeError
    assert gc.isenabled()


def test_the_machines_clock_is_read_and_setting_it_back_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(timing, "time", time)
    falling = itertools.count(1_000_000_000, -10)
    monkeypatch.setattr(time, "time", lambda: next(falling))

    def wait_a_ms() -> None:
        until = time.perf_counter() + 1e-3
        while time.perf_counter() < until:
            pass

    assert all(ms >= 1 for ms in time_calls(wait_a_ms, 0.0, at_least=3))


def slower_at_first(*slow_ms: float) -> Callable[[], None]:
    times = itertools.chain(slow_ms, itertools.repeat(1.0))
    return lambda: busy(next(times))


def test_a_warm_up_ends_when_calls_are_steady() -> None:
    quick = warm_up(slower_at_first(), seconds=30)
    assert quick.stable
    falling = [20.0 - n for n in range(15)]
    slow = warm_up(slower_at_first(*falling), seconds=30)
    assert slow.stable and len(slow.times_ms) >= len(falling) + WINDOW
    assert slow.first_ms == 20


def test_a_warm_up_that_is_never_steady_ends_and_says_so() -> None:
    growing = itertools.count(1)
    found = warm_up(lambda: busy(next(growing) ** 2 / 10), seconds=0.15)
    assert not found.stable
    assert len(warm_up(lambda: busy(30), seconds=0.0).times_ms) == 1


@pytest.mark.parametrize(
    ("times", "stable"),
    [
        ([1.0] * (2 * WINDOW), False),
        ([9.0] + [1.0] * (2 * WINDOW), True),
        ([9.0] + [1.0] * WINDOW + [1.04] * WINDOW, True),
        ([9.0] + [1.0] * WINDOW + [1.06] * WINDOW, False),
        ([9.0] + [1.06] * WINDOW + [1.0] * WINDOW, False),
        ([9.0] + [1.0] * WINDOW + [1.0, 1.0, 1.0, 50.0, 60.0], True),  # a few slow calls are no trend
    ],
)
def test_what_is_steady(times: list[float], stable: bool) -> None:
    assert is_stable(times) is stable


def test_there_is_nothing_to_wait_for_on_the_cpu() -> None:
    assert synchroniser("cpu") is timing._nothing
