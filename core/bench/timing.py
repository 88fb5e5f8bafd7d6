"""How long a call takes, in whole nanoseconds of a clock that only goes forward.

A sample is one call, timed alone: percentiles need every call, and an average over a block hides the slow
ones. Work on a GPU is waited for before the clock is read. Python's collector of cycles is off meanwhile, as
it is in `timeit` and `torch.utils.benchmark`: it would strike single calls at random.
"""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Protocol, TypeVar

WINDOW = 5
"""Calls whose medians a warm-up compares."""
STABLE_SHARE = 0.05
"""Two windows in a row differ by less than this share of the first, once a model is warm."""
WARM_UP_S = 10.0
"""How long a warm-up may take."""
NS_PER_MS = 1_000_000

Inputs = TypeVar("Inputs")
Raw = TypeVar("Raw")
Answer = TypeVar("Answer", covariant=True)


def synchroniser(device: str) -> Callable[[], None]:
    """Return what waits for all work on a device: nothing to wait for on `cpu`."""
    if device.startswith("cuda"):
        import torch

        return lambda: torch.cuda.synchronize(device)
    if device == "mps":
        import torch

        return torch.mps.synchronize
    return _nothing


def _nothing() -> None:
    pass


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep the collector of cycles away while the block runs; it collects before."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@dataclass(frozen=True, slots=True)
class Sample:
    """One call from picture to answer, in ms."""

    preprocess_ms: float
    model_ms: float
    postprocess_ms: float

    @property
    def total_ms(self) -> float:
        """All three."""
        return self.preprocess_ms + self.model_ms + self.postprocess_ms


class Stages(Protocol[Inputs, Raw, Answer]):
    """What is done with a picture, in three steps."""

    def preprocess(self) -> Inputs:
        """Make the model's inputs."""
        ...

    def run(self, inputs: Inputs) -> Raw:
        """Run the model alone."""
        ...

    def postprocess(self, raw: Raw) -> Answer:
        """Read its answer."""
        ...


def time_stages(
    stages: Stages[Inputs, Raw, Answer], synchronise: Callable[[], None]
) -> tuple[Sample, Answer]:
    """Do the three steps once, timed apart, and return the answer too.

    Args:
        synchronise: As `synchroniser` returns it; called before each look at the clock.
    """
    synchronise()
    started = time.perf_counter_ns()
    inputs = stages.preprocess()
    synchronise()
    ready = time.perf_counter_ns()
    raw = stages.run(inputs)
    synchronise()
    done = time.perf_counter_ns()
    answer = stages.postprocess(raw)
    synchronise()
    ended = time.perf_counter_ns()
    ms = ((ready - started) / NS_PER_MS, (done - ready) / NS_PER_MS, (ended - done) / NS_PER_MS)
    return Sample(*ms), answer


def time_calls(
    call: Callable[[], object],
    seconds: float,
    synchronise: Callable[[], None] = _nothing,
    *,
    at_least: int = 1,
    at_most: int = 1_000_000,
) -> list[float]:
    """Return the milliseconds of each call, of as many as begin within `seconds`.

    Args:
        at_least: Calls that are made whatever they take.
        at_most: Calls after which it ends.

    Raises:
        ValueError: The numbers of calls are no range of at least one.
    """
    if not 1 <= at_least <= at_most:
        raise ValueError(f"at_least is {at_least} and at_most {at_most}, expected 1 <= at_least <= at_most")
    clock = time.perf_counter_ns
    found: list[int] = []
    with undisturbed():
        synchronise()
        deadline = clock() + int(seconds * 1e9)
        while len(found) < at_least or (len(found) < at_most and clock() < deadline):
            started = clock()
            call()
            synchronise()
            found.append(clock() - started)
    return [nanoseconds / NS_PER_MS for nanoseconds in found]


@dataclass(frozen=True, slots=True)
class WarmUp:
    """What it took until calls became steady."""

    times_ms: tuple[float, ...]
    """Of each call; the first one is the first call of all where nothing ran before."""
    stable: bool
    """Whether they became steady in the time they had."""

    @property
    def first_ms(self) -> float:
        """The first call."""
        return self.times_ms[0]


def warm_up(
    call: Callable[[], object], synchronise: Callable[[], None] = _nothing, *, seconds: float = WARM_UP_S
) -> WarmUp:
    """Call until the medians of two windows of `WINDOW` calls in a row agree, or the time is over.

    The first call always counts as unsteady. A call that alone takes longer than `seconds` ends it.
    """
    clock = time.perf_counter_ns
    times: list[float] = []
    with undisturbed():
        synchronise()
        deadline = clock() + int(seconds * 1e9)
        while not times or (clock() < deadline and not is_stable(times)):
            started = clock()
            call()
            synchronise()
            times.append((clock() - started) / NS_PER_MS)
    return WarmUp(tuple(times), is_stable(times))


def is_stable(times_ms: list[float]) -> bool:
    """Say whether the medians of the last two windows agree; the very first call is in neither."""
    if len(times_ms) < 2 * WINDOW + 1:
        return False
    before, now = median(times_ms[-2 * WINDOW : -WINDOW]), median(times_ms[-WINDOW:])
    return abs(now - before) <= STABLE_SHARE * before
