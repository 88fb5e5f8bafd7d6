"""A question with its attempts: asked again where that may help, each attempt on record, waits kept apart."""

import difflib
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_attempt, wait_exponential_jitter

from core.errors import VisionBenchError
from core.vlm.base import RETRIED, Answer, Attempt, AttemptError, Outcome, Provider, Question, Reply, TextSink

LONGEST_HINT_S = 60.0
"""A server that asks for a longer wait is not waited for."""
_BACKOFF = wait_exponential_jitter(initial=0.5, max=8.0, jitter=0.5)
"""Seconds before the next attempt where the server does not say."""
CANCELLED = "It was cancelled."
_REMEDIES = {
    Outcome.BLOCKED: "Change the prompt or the picture.",
    Outcome.TRUNCATED: "Ask for a shorter answer, or raise the limit of tokens.",
    Outcome.EMPTY: "Ask again, or in other words.",
    Outcome.REFUSED: "Ask in other words, or another model.",
}
"""How to mend what ended by the protocol, but not well."""


def _nothing(*_: object) -> None:
    pass


def ask(
    provider: Provider,
    model: str,
    question: Question,
    *,
    on_text: TextSink = _nothing,
    on_restart: Callable[[], None] = _nothing,
    cancel: threading.Event | None = None,
    max_attempts: int = 3,
    sleep: Callable[[float], None] | None = None,
) -> Answer:
    """Ask a model until it answers, or until asking again cannot help.

    Only the outcomes in `RETRIED` are asked again: after the wait that the server asks for, or after half a
    second that doubles from attempt to attempt; and at once what the provider would put otherwise the next
    time. Whatever becomes of it is an `Answer`.

    Args:
        model: The provider's own id, without the provider's name.
        on_restart: Called before an attempt that follows one of which text had been handed to `on_text`.
        cancel: Ends a running attempt and a wait when it is set.
        sleep: Waits a number of seconds; by default one that `cancel` ends.

    Raises:
        SetupError: A package or weights are missing.
    """
    cancel = cancel or threading.Event()
    asking = _Asking(provider, model, question, on_text, on_restart, cancel)
    Retrying(
        retry=retry_if_result(asking.is_worth_another),
        stop=stop_after_attempt(max_attempts),
        wait=_wait,
        sleep=sleep or (lambda seconds: _nothing(cancel.wait(seconds))),
        retry_error_callback=_nothing,
    )(asking.once)
    return asking.answer()


@dataclass(frozen=True, slots=True)
class _Tried:
    """What became of one attempt."""

    outcome: Outcome
    text: str = ""
    message: str = ""
    remedy: str = ""
    hint_s: float | None = None
    reply: Reply | None = None
    again: bool = False


@dataclass(slots=True)
class _Asking:
    """One question on its way through its attempts."""

    provider: Provider
    model: str
    question: Question
    on_text: TextSink
    on_restart: Callable[[], None]
    cancel: threading.Event
    attempts: list[Attempt] = field(default_factory=list)
    last: _Tried = field(default_factory=lambda: _Tried(Outcome.CANCELLED, message=CANCELLED))
    ended: float | None = None
    """When the attempt before ended, in seconds of `perf_counter`."""
    first: float | None = None
    """When the first piece of text of the running attempt came."""

    def once(self) -> _Tried:
        """Make one attempt and put it on record; none where it was cancelled before."""
        if self.cancel.is_set():
            self.last = replace(self.last, outcome=Outcome.CANCELLED, message=CANCELLED, remedy="")
            return self.last
        if self.first is not None:
            self.on_restart()
        started, self.first = time.perf_counter(), None
        waited = 0.0 if self.ended is None else started - self.ended
        try:
            reply = self.provider.attempt(self.model, self.question, self._take, self.cancel.is_set)
        except AttemptError as error:
            self._record_failure(error, started, waited)
        else:
            self._record(reply, waited)
        self.ended = time.perf_counter()
        return self.last

    def _take(self, text: str) -> None:
        self.first = self.first or time.perf_counter()
        self.on_text(text)

    def _record(self, reply: Reply, waited: float) -> None:
        self.last = _Tried(
            reply.outcome, reply.text, reply.message, _REMEDIES.get(reply.outcome, ""), reply=reply
        )
        self.attempts.append(
            Attempt(
                len(self.attempts) + 1,
                reply.outcome,
                reply.total_ms,
                reply.ttft_ms,
                waited * 1e3,
                message=reply.message,
                request_id=reply.request_id,
            )
        )

    def _record_failure(self, error: AttemptError, started: float, waited: float) -> None:
        hint_s = 0.0 if error.again else error.hint_s
        self.last = _Tried(
            error.outcome, error.partial, error.message, error.remedy, hint_s, again=error.again
        )
        self.attempts.append(
            Attempt(
                len(self.attempts) + 1,
                error.outcome,
                (time.perf_counter() - started) * 1e3,
                None if self.first is None else (self.first - started) * 1e3,
                waited * 1e3,
                error.status,
                error.hint_s,
                error.message,
                error.request_id,
            )
        )

    def is_worth_another(self, tried: _Tried) -> bool:
        return tried.again or (tried.outcome in RETRIED and (tried.hint_s or 0.0) <= LONGEST_HINT_S)

    def answer(self) -> Answer:
        last, message, remedy = self.last, self.last.message, self.last.remedy
        if last.outcome in RETRIED and (last.hint_s or 0.0) > LONGEST_HINT_S:
            message = f"{message} It asks to wait {_spoken(last.hint_s or 0.0)}."
            remedy = "Ask again after that time."
        if last.outcome is Outcome.MODEL_GONE and (kin := self._nearest()):
            message = f"{message} The nearest model that it offers is {kin}."
        model_id = f"{self.provider.name}/{self.model}"
        return Answer(model_id, last.outcome, last.text, message, remedy, last.reply, tuple(self.attempts))

    def _nearest(self) -> str:
        """Return the model on offer whose id is most like the one that is gone; empty where none is."""
        try:
            offered = [
                model.id
                for model in self.provider.models()
                if model.sees is not False and model.id != self.model
            ]
        except VisionBenchError:
            return ""  # the answer is what was asked for; that there is no list adds nothing to it
        return next(iter(difflib.get_close_matches(self.model, offered, 1, cutoff=0.4)), "")


def _wait(state: RetryCallState) -> float:
    tried: _Tried | None = state.outcome.result() if state.outcome else None
    return _BACKOFF(state) if tried is None or tried.hint_s is None else tried.hint_s


def _spoken(seconds: float) -> str:
    if seconds < 5400:
        return f"{math.ceil(seconds / 60)} minutes"
    return f"{seconds / 3600:.1f} hours"
