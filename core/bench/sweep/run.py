"""The engine of a sweep: one thread that claims cells, gives them to a crew, and writes down what comes back.

    claim -> crew -> run and "done" in one transaction

One parent run of kind `sweep` holds the plan; each cell is a row of the ledger and, when done, a run. Only
this thread writes, wherever cells are measured. A cell that is done is never measured again, and takes no
second run. A process that is killed leaves its cells claimed; whoever resumes opens them, so that what was
under way, and only that, is measured anew.

On this machine it waits until no other measurement is under way, and gives way while it is paused.

A store that is gone for a while is waited for, with the results in hand. One that is full or broken ends the
sweep; it can be resumed.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from functools import partial
from queue import SimpleQueue
from typing import Self, TypeVar

from core.bench.sweep.crew import Crew, Where
from core.bench.sweep.files import PictureFile, check_files, inputs_of, kept_files
from core.bench.sweep.place import Measured, failed_run
from core.bench.sweep.plan import Measure, SweepPlan
from core.bench.sweep.progress import ENDED, Pace, Phase, Progress
from core.bench.turn import LOOK_EVERY_S, Turn
from core.environment import describe_environment
from core.errors import InputError
from core.ledger import Claimed, Ledger
from core.runs import Metric, RunDraft

KIND = "sweep"
PATIENCE_S = 120.0
"""How long a store that cannot be reached is waited for."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.05, 5.0

T = TypeVar("T")
Arrival = tuple[Claimed, "Future[Measured]"]


class SweepRun:
    """A sweep of this process: `begin` or `resume` it, then `work`, here or in another thread.

    Safe to be paused, cancelled and looked at from other threads while it works.

    Args:
        given: Digest to the bytes of the files among the pictures.
        patience_s: How long a store that cannot be reached is waited for.
    """

    def __init__(
        self,
        plan: SweepPlan,
        set_id: str,
        *,
        where: Where,
        measure: Measure,
        ledger: Ledger,
        owner: str,
        given: Mapping[str, bytes] | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.plan, self.set_id, self.given = plan, set_id, dict(given or {})
        self._where, self._measure, self._ledger, self._owner = where, measure, ledger, owner
        self._patience_s = patience_s
        self._counts, self._pace = _counted(ledger, set_id, owner)
        self._under_way: dict[int, Claimed] = {}
        self._arrivals: SimpleQueue[Arrival | None] = SimpleQueue()
        self._state, self._stop = threading.Lock(), threading.Event()
        self._phase, self._message = Phase.RUNNING, ""
        self._worked_s, self._since = 0.0, time.perf_counter()
        self._closed = False

    @classmethod
    def begin(
        cls,
        plan: SweepPlan,
        *,
        where: Where,
        measure: Measure,
        ledger: Ledger,
        owner: str,
        files: Sequence[PictureFile] = (),
        patience_s: float = PATIENCE_S,
    ) -> Self:
        """Write down a new sweep and all its cells; nothing is measured yet.

        Args:
            files: Those among its pictures, which the plan calls by their digests.

        Raises:
            InputError: A file of the plan is not among them.
            SetupError: A package is missing.
        """
        where.check()
        given = {file.sha256: file.data for file in files}
        check_files(plan.pictures, given)
        plan = replace(plan, names={file.sha256: file.name for file in files})
        set_id = ledger.start(_parent(plan, owner, where, files))
        ledger.plan_calls(set_id, list(plan.cells()))
        return cls(
            plan,
            set_id,
            where=where,
            measure=measure,
            ledger=ledger,
            owner=owner,
            given=given,
            patience_s=patience_s,
        )

    @classmethod
    def resume(
        cls,
        set_id: str,
        *,
        where: Where,
        measure: Measure,
        ledger: Ledger,
        owner: str,
        before: "SweepRun | None" = None,
        given: Mapping[str, bytes] | None = None,
        patience_s: float = PATIENCE_S,
    ) -> Self:
        """Go on with a sweep that was interrupted or cancelled, or that failed.

        Args:
            where: May be elsewhere than before.
            before: The same sweep as it ended in this process: the store may have refused that end.
            given: Digest to the bytes of files; those that the store kept need not be among them.

        Raises:
            InputError: It is no sweep, or a file of it is not to be had.
            SetupError: As `begin`.
        """
        where.check()
        kept = ledger.run(set_id, owner)
        if kept.kind != KIND:
            raise InputError(f"The run {set_id} is no sweep.", f"Name one of kind {KIND}.")
        plan = SweepPlan.from_json(kept.parameters)
        at_hand = {**(before.given if before is not None else {}), **(given or {})}
        at_hand = kept_files(ledger, set_id, owner, kept, at_hand)
        check_files(plan.pictures, at_hand)
        if before is not None:
            before.close()
        ledger.reopen(set_id, owner)
        ledger.release_claims(set_id)
        return cls(
            plan,
            set_id,
            where=where,
            measure=measure,
            ledger=ledger,
            owner=owner,
            given=at_hand,
            patience_s=patience_s,
        )

    # For whoever watches

    def pause(self) -> None:
        """Let the cells under way come to their end and begin no other."""
        with self._state:
            if self._phase not in (Phase.PAUSED, *ENDED):
                self._worked_s, self._phase, self._message = self._elapsed(), Phase.PAUSED, ""
        self._arrivals.put(None)

    def go_on(self) -> None:
        """End a pause."""
        with self._state:
            if self._phase is Phase.PAUSED:
                self._since, self._phase = time.perf_counter(), Phase.RUNNING
        self._arrivals.put(None)

    def cancel(self) -> None:
        """Break off the cells under way and begin no other. The sweep can be resumed later."""
        self._end(Phase.CANCELLED, "It was cancelled.")

    @property
    def progress(self) -> Progress:
        """Where the sweep stands."""
        with self._state:
            elapsed_s = self._elapsed()
            return Progress(
                self.set_id,
                self._phase,
                self.plan.count,
                self._counts["done"],
                self._counts["failed"],
                len(self._under_way),
                elapsed_s,
                self._pace.left_s(elapsed_s),
                self._message,
            )

    def _elapsed(self) -> float:
        """Return the seconds worked; `_state` is held."""
        if self._phase in (Phase.RUNNING, Phase.WAITING):
            return self._worked_s + time.perf_counter() - self._since
        return self._worked_s

    # The work

    def work(self) -> Progress:
        """Measure the cells, until all are done or something ends the sweep; return how it ended.

        Raises:
            VisionBenchError, StoreError: What broke here; what became of a cell is a row and never raised.
        """
        try:
            self._measure_all()
            self._end(Phase.DONE, "")
            self._patiently(self.close)
        except BaseException as error:
            remedy = getattr(error, "remedy", "")
            self._end(Phase.FAILED, f"{getattr(error, 'message', str(error))} {remedy}".strip())
            with suppress(Exception):  # the store may be what failed: the next start, or `resume`, closes it
                self.close()
            raise
        return self.progress

    def close(self) -> None:
        """Write down how the sweep ended, once; does nothing before its end.

        Raises:
            StoreError: The store refuses; it may be tried again.
        """
        ended = self.progress
        if self._closed or ended.phase not in ENDED:
            return
        self._ledger.release_claims(self.set_id)
        status = {Phase.DONE: "ok", Phase.CANCELLED: "cancelled"}.get(ended.phase, "failed")
        with suppress(ValueError):  # written before the connection was lost
            self._ledger.finish(
                self.set_id,
                status=status,
                duration_ms=ended.elapsed_s * 1000,
                metrics=[Metric("cells_done", ended.done), Metric("cells_failed", ended.failed)],
                error_class="" if status == "ok" else ended.phase.name.title(),
                error_message=ended.message,
            )
        self._closed = True

    def _measure_all(self) -> None:
        turn = Turn() if self._where.takes_turns else None
        crew: Crew | None = None
        try:
            more = True
            while not self._stop.is_set():
                if turn is not None:
                    self._give_or_take(turn)
                if crew is None:
                    crew = self._where.open(self._measure, self.plan.deadline_s)
                if more and self._phase is Phase.RUNNING and (room := crew.width - len(self._under_way)) > 0:
                    claimed = self._patiently(partial(self._ledger.claim_calls, self.set_id, room))
                    more = len(claimed) == room
                    for cell in claimed:
                        self._under_way[cell.position] = cell
                        future = crew.submit(cell.model_id, cell.item, self._file_of(cell))
                        future.add_done_callback(partial(self._arrive, cell))
                if not more and not self._under_way:
                    return
                if (arrival := self._arrivals.get()) is not None and not self._stop.is_set():
                    self._take(*arrival)
        finally:
            if crew is not None:
                crew.close()
            self._under_way.clear()
            if turn is not None:
                turn.give_up()

    def _give_or_take(self, turn: Turn) -> None:
        """Wait for the turn, unless the sweep is paused: then, with nothing under way, give it up."""
        while self._phase is not Phase.PAUSED and not self._stop.is_set() and not turn.try_take():
            self._change(Phase.IN_LINE, turn.why)
            self._stop.wait(LOOK_EVERY_S)
        if turn.is_mine and self._phase is Phase.IN_LINE:
            self._change(Phase.RUNNING, "")
        if self._phase is Phase.PAUSED and not self._under_way:
            turn.give_up()

    def _file_of(self, cell: Claimed) -> bytes:
        """Return the bytes of a cell's picture where it is a file."""
        return self.given.get(json.loads(cell.item)["picture"], b"") if self.given else b""

    def _arrive(self, cell: Claimed, future: "Future[Measured]") -> None:
        self._arrivals.put((cell, future))

    def _take(self, cell: Claimed, future: "Future[Measured]") -> None:
        """Write down what a cell came to."""
        measured = future.result()
        status = self._record(cell, measured.run)
        with self._state:
            del self._under_way[cell.position]
            self._counts["done"] += 1
            self._counts["failed"] += status != "ok"
            self._pace.add(cell.model_id, measured.seconds)

    def _record(self, cell: Claimed, run: RunDraft) -> str:
        """Keep a cell's run and mark the cell as done; return the status that was kept."""
        run = replace(run, owner=self._owner, parameters={**run.parameters, "sweep": self.set_id})
        try:
            self._finish(cell, run)
            return run.status
        except ValueError as error:
            left = self._patiently(partial(self._ledger.open_calls, self.set_id))
            if cell.position not in {other.position for other in left}:
                return run.status  # kept before the connection was lost, or by somebody else
            refused = failed_run(cell.model_id, cell.item, type(error).__name__, str(error))
        return self._record(cell, refused)

    def _finish(self, cell: Claimed, run: RunDraft) -> None:
        self._patiently(partial(self._ledger.finish_call, self.set_id, cell.position, run))

    def _patiently(self, use: Callable[[], T]) -> T:
        """Use the store; while it cannot be reached, wait and try again, a cancelled sweep only shortly.

        Raises:
            StoreError: It refuses, or is still gone when patience ends.
        """
        wait_s, until = FIRST_WAIT_S, time.monotonic() + self._patience_s
        while True:
            try:
                result = use()
            except Exception as error:
                gone = time.monotonic() > until or (self._phase is Phase.CANCELLED and wait_s > 1.0)
                if gone or not getattr(error, "passes", False):
                    raise
                self._change(Phase.WAITING, f"{error} It is tried again.")
                time.sleep(wait_s) if self._stop.is_set() else self._stop.wait(wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            else:
                self._change(Phase.RUNNING, "")
                return result

    def _change(self, phase: Phase, message: str) -> None:
        """Go over to another phase, unless a person paused or ended the sweep meanwhile."""
        with self._state:
            if self._phase not in (Phase.PAUSED, *ENDED):
                self._worked_s, self._since = self._elapsed(), time.perf_counter()
                self._phase, self._message = phase, message

    def _end(self, phase: Phase, message: str) -> None:
        with self._state:
            if self._phase not in ENDED:
                self._worked_s = self._elapsed()
                self._phase, self._message = phase, message
        self._stop.set()
        self._arrivals.put(None)


def _parent(plan: SweepPlan, owner: str, where: Where, files: Sequence[PictureFile]) -> RunDraft:
    name = plan.models[0] if len(plan.models) == 1 else f"{len(plan.models)} models"
    environment = describe_environment("cpu", "")
    parameters = plan.to_json() | {"where": str(where)}
    return RunDraft(KIND, name, "", environment, owner, parameters=parameters, inputs=inputs_of(files))


def _counted(ledger: Ledger, set_id: str, owner: str) -> tuple[Counter[str], Pace]:
    """Return how many cells are done and failed, and the pace of the open ones."""
    counts: Counter[str] = Counter()
    left: Counter[str] = Counter()
    for row in ledger.call_counts(set_id, owner):
        if row.state == "done":
            counts["done"] += row.count
            counts["failed"] += row.count if row.status != "ok" else 0
        else:
            left[row.model_id] += row.count
    return counts, Pace(left)
