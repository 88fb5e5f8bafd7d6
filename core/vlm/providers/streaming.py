"""One attempt at a remote provider: streamed, timed, limited as a whole, and cancelled at once.

The SDKs' asynchronous clients run on one event loop in a thread of its own. Only there can a read that waits
for a silent server be called off: in a blocking client it would last until its time-out. The thread that asks
takes the pieces of text from a queue, so `on_text` is called from it, and looks at `cancelled` in between.
"""

import asyncio
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import aclosing
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from core.vlm.base import AttemptError, LiveModel, Outcome, Question, Reply, TextSink, Usage
from core.vlm.pictures import Fitted, fit
from core.vlm.providers.failures import failure_of, remedy, speaker

if TYPE_CHECKING:
    import httpx
    import httpx2

CONNECT_S = 10.0
"""How long a connection may take to open."""
LISTING_S = 20.0
"""How long a list of models may take."""
MAX_CHARACTERS = 2_000_000
"""Where reading stops. The answer then counts as `TRUNCATED`: asked again, it would be paid again."""
MAX_TOKENS = 10**9
"""A provider that counts more, or less than none, has not counted."""
LONGEST_ID = 200
"""Characters of the names that a provider gives a model and a request."""
TICK_S = 0.05
"""How often `cancelled` is looked at while the server is silent."""
CLOSING_S = 1.0
"""How long to wait for a connection to close."""
OWN_TEMPERATURE = "The model takes no temperature; it used its own."
T = TypeVar("T")


def tokens(value: object) -> int | None:
    """Return a number of tokens as a server told it; None where it is no such number."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= MAX_TOKENS else None


@dataclass(frozen=True, slots=True)
class Piece:
    """What one event of a stream told. Later events add to the text, and replace the rest."""

    text: str = ""
    refusal: str = ""
    """Text with which the model declines."""
    thinks: bool = False
    """Whether it showed its thinking, which is no part of the answer."""
    finish: str = ""
    """The provider's word for why it ended."""
    ended: Outcome | None = None
    """What that word means: `OK`, `TRUNCATED`, `BLOCKED` or `MALFORMED`."""
    model: str = ""
    usage: Usage | None = None
    request_id: str = ""


@dataclass(slots=True)
class _Said:
    """What one attempt told so far: written by the loop's thread, read by the asking one when it ended."""

    arrived: "SimpleQueue[str | None]" = field(default_factory=SimpleQueue)
    """Pieces of text, then None."""
    texts: list[str] = field(default_factory=list)
    length: int = 0
    last: Piece = field(default_factory=Piece)
    """The newest value of everything but the text."""
    events: int = 0
    started: float = 0.0
    first: float | None = None
    ended: float = 0.0

    def take(self, piece: Piece) -> None:
        self.events += 1
        if text := piece.text + piece.refusal:
            self.first = self.first or time.perf_counter()
            text = text[: MAX_CHARACTERS - self.length]
            self.length += len(text)
            self.texts.append(text)
            self.arrived.put(text)
        old = self.last
        self.last = Piece(
            "",
            old.refusal or piece.refusal,
            old.thinks or piece.thinks,
            piece.finish or old.finish,
            piece.ended or old.ended,
            piece.model[:LONGEST_ID] or old.model,
            piece.usage or old.usage,
            piece.request_id[:LONGEST_ID] or old.request_id,
        )

    @property
    def text(self) -> str:
        return "".join(self.texts)

    @property
    def full(self) -> bool:
        return self.length >= MAX_CHARACTERS

    def reply(self, outcome: Outcome, message: str, note: str) -> Reply:
        return Reply(
            outcome,
            self.text,
            self.last.finish,
            self.last.model,
            self.last.usage or Usage(),
            None if self.first is None else (self.first - self.started) * 1e3,
            (self.ended - self.started) * 1e3,
            message,
            request_id=self.last.request_id,
            note=note,
        )


_SENDING: ContextVar[_Said] = ContextVar("sending")
"""The attempt that the running task makes."""


async def _sent(request: object) -> None:
    """Take the time just before a request goes out: what an SDK loads and encodes is not the model's."""
    if said := _SENDING.get(None):
        said.started = time.perf_counter()


_LOCK = threading.Lock()
_LOOPS: list[asyncio.AbstractEventLoop] = []


def _loop() -> asyncio.AbstractEventLoop:
    """Return the process's one loop, started at its first use."""
    with _LOCK:
        if not _LOOPS:
            _LOOPS.append(asyncio.new_event_loop())
            threading.Thread(target=_LOOPS[0].run_forever, name="vlm-network", daemon=True).start()
        return _LOOPS[0]


def _run(work: Coroutine[Any, Any, T]) -> "Future[T]":
    return asyncio.run_coroutine_threadsafe(work, _loop())


class RemoteProvider(ABC):
    """What all remote providers share; one of them says how its API is asked and read.

    Args:
        name: One of `core.vlm.providers.REMOTE`.
        is_loopback: Whether the loopback test server answers in its place.
        masked: Blanks keys in a text.
        http: Its SDK's HTTP client, closed with it, or when nobody holds it any more.
    """

    def __init__(
        self,
        name: str,
        is_loopback: bool,
        masked: Callable[[str], str],
        http: "httpx.AsyncClient | httpx2.AsyncClient",
    ) -> None:
        self.name, self.is_loopback, self._masked, self._http = name, is_loopback, masked, http
        self._own_temperature: set[str] = set()  # models that refused to be given one
        http.event_hooks = {"request": [_sent]}
        weakref.finalize(self, _close_later, http).atexit = False

    @abstractmethod
    def _pieces(self, model: str, question: Question, picture: Fitted) -> AsyncIterator[Piece]:
        """Send the request once and yield what comes."""

    @abstractmethod
    async def _list(self) -> tuple[LiveModel, ...]:
        """Ask for the list of models."""

    def attempt(
        self, model: str, question: Question, on_text: TextSink, cancelled: Callable[[], bool]
    ) -> Reply:
        """Ask once; see `core.vlm.base.Provider`."""
        picture, said = fit(question.image, self.name), _Said()
        note = picture.note
        if model in self._own_temperature:
            question, note = replace(question, temperature=None), f"{note} {OWN_TEMPERATURE}".strip()
        if cancelled():
            return said.reply(Outcome.CANCELLED, "It was cancelled.", note)
        task, stopped = _run(self._gather(model, question, picture, said)), True
        try:
            stopped = _hand_over(said, on_text, cancelled)
        finally:
            if stopped:  # also when `on_text` raises: nothing goes on that has to be paid for
                task.cancel()
                _settle(said)
        if stopped:
            return said.reply(Outcome.CANCELLED, "It was cancelled.", note)
        try:
            task.result()
        except AttemptError as error:
            error.again = self._learns_from(error, model, question)
            raise
        outcome, message = self._outcome(said, question)
        return said.reply(outcome, message, note)

    def _learns_from(self, error: AttemptError, model: str, question: Question) -> bool:
        """Remember a model that takes no temperature; say whether the next attempt will be another one."""
        refused = error.outcome is Outcome.BAD_REQUEST and "temperature" in error.message.lower()
        if not refused or question.temperature is None:
            return False
        self._own_temperature.add(model)
        return True

    async def _gather(self, model: str, question: Question, picture: Fitted, said: _Said) -> None:
        _SENDING.set(said)
        said.started = said.ended = time.perf_counter()
        try:
            async with (
                asyncio.timeout(question.timeout_s),
                aclosing(
                    self._pieces(model, question, picture)  # type: ignore[type-var]
                ) as pieces,
            ):
                async for piece in pieces:
                    said.take(piece)
                    if said.full:
                        break
        except TimeoutError:
            what = "did not finish its answer" if said.texts else "said nothing"
            raise self._failed(
                Outcome.TIMEOUT, f"{what} within {question.timeout_s:g} seconds.", said
            ) from None
        except Exception as error:
            # Not chained: the SDK's errors quote the request, and a traceback would print them.
            raise failure_of(error, self.name, self._masked, said.text, said.last.request_id) from None
        finally:
            said.ended = time.perf_counter()
            said.arrived.put(None)

    def _outcome(self, said: _Said, question: Question) -> tuple[Outcome, str]:
        """Return what an attempt came to that ended by itself, and why it is no answer."""
        last = said.last
        text = said.text.strip()
        if said.full:
            return (
                Outcome.TRUNCATED,
                f"The answer passed {MAX_CHARACTERS:,} characters; the rest was not read.",
            )
        if not said.events:
            raise self._failed(Outcome.MALFORMED, "sent something that is no answer.", said)
        if last.ended is None:
            raise self._failed(Outcome.NETWORK, "hung up before the answer had ended.", said)
        if last.ended is Outcome.MALFORMED:
            raise self._failed(Outcome.MALFORMED, f"ended with {last.finish}, which is no answer.", said)
        if last.ended is Outcome.BLOCKED:
            return Outcome.BLOCKED, f"{speaker(self.name)} withheld it: {last.finish}."
        if last.refusal:
            return Outcome.REFUSED, "The model declined to answer."
        thinking = _thinking(last)
        if last.ended is Outcome.TRUNCATED:
            what = "The answer was cut" if text else f"There is no answer{thinking}: it was cut"
            return Outcome.TRUNCATED, f"{what} at the limit of {question.max_tokens:,} tokens."
        if not text:
            return Outcome.EMPTY, f"The model ended without saying anything{thinking}."
        return Outcome.OK, ""

    def _failed(self, outcome: Outcome, what: str, said: _Said) -> AttemptError:
        return AttemptError(
            outcome,
            f"{speaker(self.name)} {what}",
            remedy(outcome, self.name),
            partial=said.text,
            request_id=said.last.request_id,
        )

    def models(self) -> tuple[LiveModel, ...]:
        """Return the models it offers now; see `core.vlm.base.Provider`."""
        return _run(self._listed()).result()

    async def _listed(self) -> tuple[LiveModel, ...]:
        try:
            async with asyncio.timeout(LISTING_S):
                listed = await self._list()
            # The SDKs do not check the types of what a server sent.
            return tuple(model for model in listed if model.id and isinstance(model.id, str))
        except TimeoutError:
            raise self._failed(Outcome.TIMEOUT, "did not list its models.", _Said()) from None
        except Exception as error:
            raise failure_of(error, self.name, self._masked) from None  # as in `_gather`

    def close(self) -> None:
        """Let go of its connections."""
        _run(self._http.aclose()).result(CLOSING_S)


def _close_later(http: "httpx.AsyncClient | httpx2.AsyncClient") -> None:
    _run(http.aclose())


def _thinking(last: Piece) -> str:
    tokens = last.usage.reasoning_tokens if last.usage else None
    if tokens:
        return f", all of it went into thinking ({tokens:,} tokens)"
    return ", all of it went into thinking" if last.thinks else ""


def _hand_over(said: _Said, on_text: TextSink, cancelled: Callable[[], bool]) -> bool:
    """Pass on pieces as they come until the attempt ends; whether it was cancelled before."""
    while not cancelled():
        try:
            text = said.arrived.get(timeout=TICK_S)
        except Empty:
            continue
        if text is None:
            return False
        on_text(text)
    return True


def _settle(said: _Said) -> None:
    """Wait until the loop has closed the connection of a cancelled attempt."""
    deadline = time.monotonic() + CLOSING_S
    try:
        while said.arrived.get(timeout=max(0.0, deadline - time.monotonic())) is not None:
            pass
    except Empty:
        pass  # it closes by itself a little later
