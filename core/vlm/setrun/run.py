"""The engine of a data-set run: threads with a limit for each provider, and a ledger that outlives them.

    claim -> picture -> a turn, for which the most it may cost is held -> ask -> run and "done" -> charge

A provider is asked as many questions at once as its limit says, and has a place for each; a few threads more
prepare the next ones and write down the last ones meanwhile.

One parent run of kind `vlm-set` holds the plan; each call is a row of the ledger and, when done, a run of
kind `vlm`. A call that is done is never made again. A process that is killed leaves its calls claimed;
whoever resumes opens them again, so that **what was under way at the kill, and only that, may be paid
twice**: at most as many calls as threads may have claimed. The budget knows: the most that claimed calls may
have cost is charged before a resumed run begins.
"""

import threading
import time
from collections import Counter, deque
from contextlib import suppress
from datetime import UTC, datetime
from typing import Self

from core.environment import describe_environment
from core.errors import InputError, VisionBenchError
from core.ledger import Claimed, Ledger
from core.runs import Metric, RunDraft
from core.vlm.base import Outcome
from core.vlm.datasets.values import Items
from core.vlm.prices import PriceTable, price_table
from core.vlm.setrun.budget import Budget, Room
from core.vlm.setrun.charging import CHARGED, CallSink
from core.vlm.setrun.estimate import look, most_usd, price_of
from core.vlm.setrun.gallery import Gallery
from core.vlm.setrun.lost import (
    ATTEMPTS,
    LOST,
    LOST_CALLS,
    NOTHING_LOST,
    Lost,
    counted,
    lost_of,
)
from core.vlm.setrun.plan import Plan, lane_of, provider_of
from core.vlm.setrun.progress import ENDED, Phase, Progress
from core.vlm.setrun.turns import NoTurn, Turn, Turns
from core.vlm.workflow import ItemRef, Providers, ask_about

KIND = "vlm-set"
CLAIM = 4
"""Most calls that a provider's threads claim at once."""
SPARE = 4
"""For one thread that prepares and writes down, so many ask a remote provider; at least two do."""


class SetRun:
    """A data-set run of this process: `begin` or `resume` it, then `work`, here or in another thread.

    Safe to be paused, cancelled and looked at from other threads while it works.
    """

    def __init__(
        self,
        plan: Plan,
        set_id: str,
        *,
        providers: Providers,
        ledger: Ledger,
        owner: str,
        prices: PriceTable,
        spent_usd: float = 0.0,
        lost: Lost = NOTHING_LOST,
        counts: Counter[str] | None = None,
    ) -> None:
        counts = counts or Counter()
        self.plan, self.set_id = plan, set_id
        self._providers, self._ledger, self._owner, self._prices = providers, ledger, owner, prices
        self._lost, self._counts = lost, counts
        made = counts["done"] + lost.calls
        self.budget = Budget(plan.budget_usd, plan.budget_calls, spent_usd=spent_usd + lost.usd, made=made)
        self._gallery = Gallery(plan.items)
        self._queues: dict[str, deque[Claimed]] = {lane: deque() for lane in plan.lanes()}
        self._locks = {lane: threading.Lock() for lane in plan.lanes()}
        self._state = threading.Lock()
        self._going, self._stop, self._cancel = threading.Event(), threading.Event(), threading.Event()
        self._going.set()
        self._turns = Turns(plan.lanes(), self.budget, self._going, self._stop)
        self._phase, self._message = Phase.RUNNING, ""
        self._error: BaseException | None = None
        self._worked_s, self._since, self._done_before = 0.0, time.perf_counter(), counts["done"]

    @classmethod
    def begin(
        cls,
        plan: Plan,
        *,
        providers: Providers,
        ledger: Ledger,
        owner: str,
        prices: PriceTable | None = None,
    ) -> Self:
        """Write down a new run and all its calls; nothing is asked yet.

        Raises:
            InputError: The budget is of money alone and the price of a model is unknown.
            SetupError: A provider's package or key is missing.
        """
        prices = prices or price_table()
        _check_prices(plan, prices)
        _open(plan, providers)
        set_id = ledger.start(_parent(plan, owner))
        ledger.plan_calls(set_id, list(plan.calls()))
        return cls(plan, set_id, providers=providers, ledger=ledger, owner=owner, prices=prices)

    @classmethod
    def resume(
        cls,
        set_id: str,
        items: Items,
        *,
        providers: Providers,
        ledger: Ledger,
        owner: str,
        prices: PriceTable | None = None,
        budget_usd: float | None = None,
        budget_calls: int | None = None,
    ) -> Self:
        """Go on with a run that was interrupted, cancelled or stopped by its budget.

        Args:
            items: The data set, as it was.
            budget_usd: In place of the run's own limit, for all its sittings together.
            budget_calls: Likewise.

        Raises:
            InputError: It is no data-set run, or `items` is another data set.
            SetupError: As `begin`.
        """
        kept = ledger.run(set_id, owner)
        if kept.kind != KIND:
            raise InputError(f"The run {set_id} is no data-set run.", "Name one of kind vlm-set.")
        plan = Plan.from_json(kept.parameters, items).with_budget(budget_usd, budget_calls)
        prices = prices or price_table()
        _check_prices(plan, prices)
        _open(plan, providers)
        before = {metric.name: metric.value for metric in kept.metrics}
        ledger.reopen(set_id, owner)
        counts, claimed = counted(ledger, set_id, owner)
        lost = Lost(int(before.get(LOST_CALLS, 0)), before.get(LOST, 0.0)) + lost_of(plan, claimed, prices)
        ledger.log(set_id, lost.metrics())
        ledger.release_claims(set_id)
        return cls(
            plan,
            set_id,
            providers=providers,
            ledger=ledger,
            owner=owner,
            prices=prices,
            spent_usd=ledger.call_total(set_id, CHARGED),
            lost=lost,
            counts=counts,
        )

    # For whoever watches

    def pause(self) -> None:
        """Let the calls under way come to their end and begin no other."""
        with self._state:
            if self._phase is Phase.RUNNING:
                self._phase, self._worked_s = Phase.PAUSED, self._elapsed()
                self._going.clear()

    def go_on(self) -> None:
        """End a pause."""
        with self._state:
            if self._phase is Phase.PAUSED:
                self._since, self._phase = time.perf_counter(), Phase.RUNNING
                self._going.set()

    def cancel(self) -> None:
        """Break off the calls under way and begin no other. The run can be resumed later."""
        self._end(Phase.CANCELLED, "It was cancelled.")
        self._cancel.set()

    @property
    def progress(self) -> Progress:
        """Where the run stands."""
        with self._state:
            elapsed, done = self._elapsed(), self._counts["done"]
            fresh, total = done - self._done_before, self.plan.count
            left = elapsed / fresh * (total - done) if fresh else None
            return Progress(
                self.set_id,
                self._phase,
                total,
                done,
                self._counts["failed"],
                self._turns.under_way,
                self.budget.spending,
                elapsed,
                left,
                self._message,
            )

    def _elapsed(self) -> float:
        """Return the seconds worked; `_state` is held."""
        if self._phase is Phase.RUNNING:
            return self._worked_s + time.perf_counter() - self._since
        return self._worked_s

    # The work

    def work(self) -> Progress:
        """Make the calls, until all are done or something ends the run; return how it ended.

        Raises:
            VisionBenchError, StoreError: What broke here; what a model came to is a row and never raised.
        """
        threads = [
            threading.Thread(target=self._lane, args=(lane,), name=f"{lane} {number}", daemon=True)
            for lane, limit in self.plan.lanes().items()
            for number in range(limit + max(2, limit // SPARE))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._error is not None:
            self._close_broken(self._error)
            raise self._error
        self._end(Phase.DONE, "")
        self._ledger.release_claims(self.set_id)
        ended = self.progress
        self._ledger.finish(
            self.set_id,
            status="ok" if ended.phase is Phase.DONE else "cancelled",
            duration_ms=ended.elapsed_s * 1000,
            metrics=self._metrics(ended),
            error_class="" if ended.phase is Phase.DONE else ended.phase.name.title(),
            error_message=ended.message,
        )
        return ended

    def _close_broken(self, error: BaseException) -> None:
        """Mark the parent as failed; where even that cannot be written, the next start does it."""
        message = error.message if isinstance(error, VisionBenchError) else str(error)
        with suppress(Exception):
            self._ledger.release_claims(self.set_id)
            self._ledger.finish(
                self.set_id,
                status="failed",
                duration_ms=self.progress.elapsed_s * 1000,
                metrics=self._metrics(self.progress),
                error_class=type(error).__name__,
                error_message=message,
            )

    def _metrics(self, ended: Progress) -> list[Metric]:
        return [
            Metric("calls_done", ended.done),
            Metric("calls_failed", ended.failed),
            Metric(CHARGED, ended.spending.usd, "USD"),
            *self._lost.metrics(),
        ]

    def _lane(self, lane: str) -> None:
        """Make one call of a provider after the other."""
        try:
            while (call := self._next(lane)) is not None:
                self._make(call)
        except BaseException as error:
            with self._state:
                self._error = self._error or error
            self._end(Phase.FAILED, error.message if isinstance(error, VisionBenchError) else str(error))

    def _next(self, lane: str) -> Claimed | None:
        """Return the next call of a provider; None where there is none, or the run has ended."""
        self._turns.wait_for_going()
        with self._locks[lane]:
            if self._stop.is_set():
                return None
            queue = self._queues[lane]
            if not queue:
                models = [model for model in self.plan.models if lane_of(model) == lane]
                limit = min(CLAIM, self.plan.lanes()[lane])
                queue.extend(self._ledger.claim_calls(self.set_id, limit, models=models))
            return queue.popleft() if queue else None

    def _make(self, call: Claimed) -> None:
        try:
            item, image = self._gallery.get(call.item)
        except InputError as error:
            self._ledger.finish_call(self.set_id, call.position, self._unreadable(call, error))
            self._count("failed")
            return
        prompt = self.plan.prompt_for(item, call.task)
        price = price_of(call.model_id, self._prices, datetime.now(UTC).date())
        size = (image.width, image.height)
        most = most_usd(call.model_id, price, prompt, size, self.plan.max_tokens)
        sink = CallSink(self._ledger, self.set_id, call.position, most)
        turn = Turn(lane_of(call.model_id), None if most is None else most * ATTEMPTS)
        try:
            ask_about(
                image,
                call.model_id,
                call.task,
                prompt,
                item.references_for(call.task),
                providers=self._providers,
                sink=sink,
                owner=self._owner,
                cancel=self._cancel,
                item=ItemRef(self.set_id, item.id),
                max_tokens=self.plan.max_tokens,
                turn=self._turns.take(turn),
            )
        except NoTurn as reason:
            if reason.room is not None:
                self._end(Phase.BUDGET, _no_room(reason.room, self.plan, turn.most_usd))
        finally:
            if turn.begun:
                self._settle(turn, sink)

    def _settle(self, turn: Turn, sink: CallSink) -> None:
        """Charge a call and count it; what broke before there was a run is charged the most."""
        self.budget.settle(turn.most_usd, sink.charged if sink.status else turn.most_usd)
        if sink.status == "cancelled":
            with self._state:
                self._lost += Lost(1, sink.charged or 0.0)
        elif sink.status:
            self._count("ok" if sink.status == "ok" else "failed")

    def _count(self, what: str) -> None:
        with self._state:
            self._counts["done"] += 1
            self._counts[what] += 1

    def _end(self, phase: Phase, message: str) -> None:
        with self._state:
            if self._phase not in ENDED:
                self._worked_s = self._elapsed()
                self._phase, self._message = phase, message
        self._stop.set()
        self._going.set()

    def _unreadable(self, call: Claimed, error: InputError) -> RunDraft:
        """Return the run of a call whose picture cannot be used: nobody was asked."""
        return RunDraft(
            kind="vlm",
            model_id=call.model_id,
            model_revision="",
            environment=describe_environment("cpu", ""),
            owner=self._owner,
            status="failed",
            parameters={
                "provider": provider_of(call.model_id),
                "requested": call.model_id,
                "task": call.task,
                "outcome": Outcome.BAD_REQUEST.value,
                "item": {"set": self.set_id, "id": call.item},
            },
            error_class=type(error).__name__,
            error_message=error.message,
        )


def _parent(plan: Plan, owner: str) -> RunDraft:
    name = plan.models[0] if len(plan.models) == 1 else f"{len(plan.models)} models"
    environment = describe_environment("cpu", "")
    return RunDraft(KIND, name, "", environment, owner, parameters=plan.to_json())


def _open(plan: Plan, providers: Providers) -> None:
    """Raise what is missing before anything is written or paid."""
    for name in dict.fromkeys(provider_of(model) for model in plan.models):
        providers.open(name)


def _check_prices(plan: Plan, prices: PriceTable) -> None:
    if plan.budget_usd is None or plan.budget_calls is not None:
        return
    today, seen = datetime.now(UTC).date(), look(plan)
    for model in plan.models:
        price = price_of(model, prices, today)
        if most_usd(model, price, seen.longest(plan.tasks[0]), seen.largest, plan.max_tokens) is None:
            raise InputError(
                f"The price of {model} is unknown, so that no budget of money can hold for it.",
                "Add it to the table of prices, or set a budget of calls, too.",
            )


def _no_room(room: Room, plan: Plan, most: float | None) -> str:
    if room is Room.NO_CALLS:
        return f"The budget of {plan.budget_calls:,} calls is used up."
    return (
        f"What is left of the budget of ${plan.budget_usd:g} does not cover the most that the next call may "
        f"cost (${most or 0:.4f}: {ATTEMPTS} attempts with answers of {plan.max_tokens:,} tokens)."
    )
