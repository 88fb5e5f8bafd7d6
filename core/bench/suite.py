"""A benchmark: several models, each in a process of its own, measured in turn on the same pictures.

Models of one group are all loaded, and the clock goes round: one after the other is timed for a moment, in
the other direction the next time, so that what drifts on the machine hits all alike. Only one is busy at any
moment. A group is as large as the memory allows; each model is recorded as soon as it is complete.
It begins when no other measurement is under way on this machine (`core.bench.turn`).
"""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.bench.pictures import load_picture
from core.bench.plan import Entry, Plan, entry_s, key_of, weights_mb_of
from core.bench.progress import ENDED, Pace, Phase, Progress
from core.bench.seat import Seat
from core.bench.turn import LOOK_EVERY_S, Turn
from core.environment import choose_device
from core.errors import VisionBenchError
from core.loaders import FREE_SHARE, free_mb
from core.registry import resolve
from core.runs import LOCAL_OWNER, Recorder, RunDraft

MOST_TOGETHER = 8
"""Models that are loaded at the same time."""
PROCESS_MB, WEIGHTS_TIMES = 1_000.0, 3.0
"""What a process takes beside its model, and a model at work for each MB of its weights: guesses."""
COMPARE_ROUNDS = 4
"""Of a quick comparison on one picture."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A model that is through."""

    entry: Entry
    run: RunDraft
    run_id: str | None
    """None where it was not stored."""
    answers: Mapping[str, str]
    """Picture to what the model made of it, in words."""


class _Stopped(Exception):
    """It was cancelled."""


class Benchmark:
    """A benchmark on its way. `work` measures; every other method may be called from any thread meanwhile.

    Args:
        sink: Where runs go; None keeps none.
        given: Digest to the bytes of pictures that are no samples.
        done: Keys of entries that are recorded already (`recorded_keys`): they are not measured again.
        room_mb: How much memory loaded models may take together; None is half of what is free.
        on_outcome: Told of each model that is through.

    Raises:
        InputError: There is no such picture.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        sink: Recorder | None,
        owner: str = LOCAL_OWNER,
        given: Mapping[str, bytes] | None = None,
        done: Collection[str] = (),
        device: str = "auto",
        room_mb: float | None = None,
        on_outcome: Callable[[Outcome], None] = lambda _: None,
    ) -> None:
        self.plan, self._sink, self._owner, self._device = plan, sink, owner, device
        self._given, self._room_mb, self._on_outcome = dict(given or {}), room_mb, on_outcome
        self._images = {name: load_picture(name, given) for name in plan.pictures}
        entries = plan.entries()
        self._entries = [entry for entry in entries if entry.key not in done]
        self._total, self._before = len(entries), len(entries) - len(self._entries)
        self._expected = {entry.key: _expected_s(plan, entry) for entry in self._entries}
        self._pace = Pace(sum(self._expected.values()))
        self._outcomes: list[Outcome] = []
        self._seats: list[Seat] = []
        self._lock = threading.Lock()
        self._may_go, self._ended = threading.Event(), threading.Event()
        self._may_go.set()
        self._cancelled = threading.Event()
        self._phase, self._message = Phase.WAITING, ""
        self._began, self._paused_s = 0.0, 0.0
        self._paused_at: float | None = None
        self._thread: threading.Thread | None = None

    @property
    def set_id(self) -> str:
        """Common to all its runs."""
        return self.plan.id

    @property
    def estimate_s(self) -> float:
        """About how many seconds it takes."""
        return sum(self._expected.values())

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Models that are through in this sitting, in the order in which they were."""
        with self._lock:
            return tuple(self._outcomes)

    @property
    def pids(self) -> tuple[int, ...]:
        """Numbers of the processes that measure."""
        with self._lock:
            return tuple(seat.pid for seat in self._seats if seat.pid is not None)

    @property
    def progress(self) -> Progress:
        """Where it stands."""
        with self._lock:
            phase, failed = self._phase, sum(one.run.status == "failed" for one in self._outcomes)
            now = time.perf_counter() if self._paused_at is None else self._paused_at
            elapsed_s = now - self._began - self._paused_s if self._began else 0.0
            share = 1.0 if phase is Phase.DONE else self._pace.share
            left_s = 0.0 if phase in ENDED else self._pace.left_s(elapsed_s)
            done = self._before + len(self._outcomes)
            return Progress(
                self.plan.id, phase, self._total, done, failed, share, elapsed_s, left_s, self._message
            )

    # What a person does

    def start(self) -> None:
        """Measure in a thread of its own."""
        self._thread = threading.Thread(target=self._work_quietly, name="benchmark", daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it has ended; say whether it has."""
        return self._ended.wait(timeout_s)

    def pause(self) -> None:
        """Begin no other step; the one under way comes to its end."""
        self._may_go.clear()

    def go_on(self) -> None:
        """End a pause."""
        self._may_go.set()

    def cancel(self) -> None:
        """Kill what is under way; what is recorded stays."""
        self._cancelled.set()
        self._may_go.set()
        with self._lock:
            seats = list(self._seats)
        for seat in seats:
            seat.kill()

    # What it does

    def work(self) -> Progress:
        """Wait for its turn, measure every model, and return how it ended; `outcomes` are those through.

        Raises:
            SetupError: Measurements cannot take turns here.
            Exception: Whatever the sink or `on_outcome` raised; what a model does is its failed run.
        """
        turn = Turn()
        try:
            self._wait_for(turn)
            self._began = time.perf_counter()
            self._set(Phase.RUNNING, "")
            for group in self._groups():
                self._measure(group)
            self._set(Phase.DONE, "")
        except _Stopped:
            self._set(Phase.CANCELLED, "It was cancelled.")
        except BaseException as error:
            self._set(Phase.FAILED, str(error) or type(error).__name__)
            raise
        finally:
            self._clear()
            turn.give_up()
            self._ended.set()
        return self.progress

    def _wait_for(self, turn: Turn) -> None:
        while not turn.try_take():
            self._set(Phase.WAITING, turn.why)
            if self._cancelled.wait(LOOK_EVERY_S):
                raise _Stopped

    def _work_quietly(self) -> None:
        try:
            self.work()
        except VisionBenchError:
            pass  # its message is in the progress
        except Exception as error:
            if not hasattr(error, "remedy"):  # the store's errors have one, and are no bug
                raise

    def _groups(self) -> Iterator[Sequence[Entry]]:
        """Yield entries that fit into the memory together, in their order."""
        room = self._room_mb
        if room is None:
            room = free_mb(choose_device(self._device).device) * FREE_SHARE
        group: list[Entry] = []
        taken = 0.0
        for entry in self._entries:
            needed = PROCESS_MB + WEIGHTS_TIMES * _weights_mb(entry)
            if group and (len(group) == MOST_TOGETHER or taken + needed > room):
                yield group
                group, taken = [], 0.0
            group.append(entry)
            taken += needed
        if group:
            yield group

    def _measure(self, group: Sequence[Entry]) -> None:
        seats = [Seat(entry, self.plan, self._given, self._device) for entry in group]
        with self._lock:
            self._seats = seats
        rounds = self.plan.rounds
        for seat in seats:  # all at once: nothing is timed yet
            self._step(seat, "Starting a process for each model", 0.0, seat.start)
        for seat in seats:
            self._step(seat, "Starting a process for each model", 0.2, seat.ready)
        for seat in seats:
            self._step(seat, f"Loading {seat.entry.model_id}", 0.3, seat.open)
        for number in range(rounds):
            for seat in seats if number % 2 == 0 else reversed(seats):
                what = f"Timing {seat.entry.model_id}, round {number + 1} of {rounds}"
                self._step(seat, what, 0.4 / rounds, seat.round, number == 0)
        for seat in seats:
            self._step(seat, f"Answers of {seat.entry.model_id}", 0.1, seat.finish)
            while self._step(seat, f"Accuracy of {seat.entry.model_id}", 0.0, seat.look):
                pass
            self._record(seat)
            seat.close()

    def _step(self, seat: Seat, message: str, share: float, step: Callable[..., Any], *arguments: Any) -> Any:
        """Do a step, once it may begin."""
        self._gate()
        self._set(Phase.RUNNING, message)
        value = step(*arguments)
        if self._cancelled.is_set():  # a seat whose process was killed for that did not fail
            raise _Stopped
        with self._lock:
            self._pace.add(share * self._expected[seat.entry.key])
        return value

    def _gate(self) -> None:
        if not self._may_go.is_set():
            began = self._paused_at = time.perf_counter()
            self._set(Phase.PAUSED, self._message)
            self._may_go.wait()
            with self._lock:
                self._paused_s += time.perf_counter() - began
                self._paused_at = None
        if self._cancelled.is_set():
            raise _Stopped

    def _record(self, seat: Seat) -> None:
        run = seat.run(self._images, self._owner, (tag_of(self.plan.id),))
        run_id = self._sink.record(run) if self._sink is not None else None
        answers = seat.result.answers if seat.result is not None else {}
        said = {name: str(answer) for name, answer in answers.items()}
        outcome = Outcome(seat.entry, run, run_id, said)
        with self._lock:
            self._outcomes.append(outcome)
        self._on_outcome(outcome)

    def _clear(self) -> None:
        with self._lock:
            seats, self._seats = self._seats, []
        for seat in seats:
            seat.kill()

    def _set(self, phase: Phase, message: str) -> None:
        with self._lock:
            self._phase, self._message = phase, message


def tag_of(benchmark_id: str) -> str:
    """Return the tag that all runs of a benchmark have."""
    return f"benchmark {benchmark_id[:12]}"


def recorded_keys(runs: Collection[tuple[str, Mapping[str, Any]]]) -> frozenset[str]:
    """Return the keys of entries whose runs (model id, parameters) are stored, for a resume."""
    return frozenset(
        key_of(model_id, parameters["options"]) for model_id, parameters in runs if "options" in parameters
    )


def _expected_s(plan: Plan, entry: Entry) -> float:
    try:
        return entry_s(plan, entry)
    except VisionBenchError:  # there is no such model: its run will say so
        return 1.0


def _weights_mb(entry: Entry) -> float:
    try:
        return weights_mb_of(resolve(entry.model_id))
    except VisionBenchError:
        return 0.0
