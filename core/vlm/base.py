"""What is asked of a vision-language model, what comes back, and what may go wrong: one contract for all.

A provider makes exactly one attempt when it is asked and never retries by itself; `core.vlm.asking` owns the
attempts. What an attempt came to is a class, not an exception text: reliability is counted by it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from core.errors import InputError, ProviderError
from core.images import ImageInput
from core.runs import Environment


class Outcome(StrEnum):
    """What became of a question. Only `OK` is an answer; everything else is kept as a failure."""

    OK = "ok"
    BLOCKED = "blocked"
    """The provider's filter withheld the prompt or the answer."""
    TRUNCATED = "truncated"
    """The answer stopped at the limit of tokens, with or without text."""
    EMPTY = "empty"
    """The model ended by itself and said nothing."""
    REFUSED = "refused"
    """The model itself declined (a refusal field, not words that sound like one)."""
    RATE_LIMITED = "rate_limited"
    """Too many requests; the same one may succeed after a wait."""
    AUTH = "auth"
    """No key, a wrong key, or a key without permission."""
    QUOTA = "quota"
    """Nothing is left of a daily quota, a spending limit or a prepaid sum: waiting a little does not help."""
    MODEL_GONE = "model_gone"
    """The provider does not know this model (any more)."""
    BAD_REQUEST = "bad_request"
    """The provider refuses this request: too large, too long, or an option that the model does not take."""
    SERVER_ERROR = "server_error"
    """The provider failed or is overloaded (5xx)."""
    TIMEOUT = "timeout"
    NETWORK = "network"
    """No connection, or one that was cut."""
    MALFORMED = "malformed"
    """Something came that is no answer of this protocol."""
    CANCELLED = "cancelled"


RETRIED = frozenset(
    {Outcome.RATE_LIMITED, Outcome.SERVER_ERROR, Outcome.TIMEOUT, Outcome.NETWORK, Outcome.MALFORMED}
)
"""Outcomes after which the same question is asked again, as long as attempts are left."""


@dataclass(frozen=True, eq=False, slots=True)
class Question:
    """One picture and one prompt, the same for every model that is asked.

    Raises:
        InputError: There is nothing to ask, or a limit is of no use.
    """

    image: ImageInput
    prompt: str
    max_tokens: int = 1024
    """Most tokens of the answer, those spent on thinking included."""
    temperature: float | None = 0.0
    """None leaves the provider's default, for models that take no other."""
    timeout_s: float = 60.0
    """Of one attempt, from request to last token."""

    def __post_init__(self) -> None:
        if not self.prompt.strip():
            raise InputError("The prompt is empty.", "Type what you want to ask about the picture.")
        if not 1 <= self.max_tokens <= 65_536:
            raise InputError(
                f"The answer is limited to {self.max_tokens} tokens.", "Choose a limit from 1 to 65,536."
            )
        if self.temperature is not None and not 0 <= self.temperature <= 2:
            raise InputError(f"The temperature is {self.temperature}.", "Choose one from 0 to 2.")
        if not 0 < self.timeout_s <= 3600:
            raise InputError(
                f"The time limit is {self.timeout_s} seconds.", "Choose one above 0 and up to an hour."
            )


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider counted them; None where it did not say."""

    input_tokens: int | None = None
    """All tokens of the request, those of the picture included."""
    image_tokens: int | None = None
    """Those of the picture, where they are told apart."""
    cached_tokens: int | None = None
    """Those of the request that were read from the provider's cache, where that is told."""
    output_tokens: int | None = None
    """All tokens of the answer, those spent on thinking included: what is paid for."""
    reasoning_tokens: int | None = None
    """Those spent on thinking, where that is told."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What one attempt brought when it ended by the protocol, well or not."""

    outcome: Outcome
    """`OK`, `BLOCKED`, `TRUNCATED`, `EMPTY`, `REFUSED` or `CANCELLED`."""
    text: str
    """All that was said, also when it is not a whole answer."""
    finish: str
    """The provider's own word for why it ended."""
    returned_model: str
    """The model that answered, as the provider calls it; empty where it did not say."""
    usage: Usage
    ttft_ms: float | None
    """From sending the request to the first piece of text; None where none came."""
    total_ms: float
    """From sending the request to the end of the answer."""
    message: str = ""
    """Why it is not `OK`, in one sentence."""
    load_ms: float = 0.0
    """How long a model on this machine had to be loaded first; not part of the other two times."""
    request_id: str = ""
    note: str = ""
    """What was done to the request to make it fit, such as a picture made smaller."""
    revision: str = ""
    """Which weights answered, where that is known."""
    environment: Environment | None = None
    """What it ran on; None for a remote model."""


class AttemptError(ProviderError):
    """One attempt failed before its end.

    Args:
        outcome: Its class.
        message: What was wrong, in one sentence that names no key.
        remedy: How to mend it.
        status: HTTP status, where there was one.
        hint_s: How long the server asks to wait before the next attempt, in seconds.
        partial: Text that had come by then.
        request_id: What the provider calls the request, where it said so.
        again: Whether the provider would put the question otherwise the next time.
    """

    def __init__(
        self,
        outcome: Outcome,
        message: str,
        remedy: str = "",
        *,
        status: int | None = None,
        hint_s: float | None = None,
        partial: str = "",
        request_id: str = "",
        again: bool = False,
    ) -> None:
        super().__init__(message, remedy)
        self.outcome, self.status, self.hint_s = outcome, status, hint_s
        self.partial, self.request_id, self.again = partial, request_id, again


@dataclass(frozen=True, slots=True)
class Attempt:
    """One of the requests that a question took."""

    number: int
    """From 1."""
    outcome: Outcome
    total_ms: float
    """Of this attempt alone."""
    ttft_ms: float | None
    wait_ms: float
    """Waited before it, since the attempt before."""
    status: int | None = None
    hint_s: float | None = None
    """The wait that the server asked for afterwards, in seconds."""
    message: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model made of a question, after all its attempts."""

    model_id: str
    """As asked: PROVIDER/ID."""
    outcome: Outcome
    text: str
    """All that was said in the last attempt; an answer only where the outcome is `OK`."""
    message: str
    """Why there is no answer, in one sentence; empty for `OK`."""
    remedy: str
    reply: Reply | None
    """Of the last attempt; None where that failed before its end."""
    attempts: tuple[Attempt, ...]

    @property
    def latency_ms(self) -> float:
        """Duration of the last attempt: waits and failed attempts are not in it."""
        return self.attempts[-1].total_ms if self.attempts else 0.0


@dataclass(frozen=True, slots=True)
class LiveModel:
    """A model that a provider offers at this moment."""

    id: str
    """As the provider calls it, without the provider's name."""
    title: str = ""
    sees: bool | None = None
    """Whether it takes pictures; None where the provider does not say."""


TextSink = Callable[[str], None]
"""Takes each piece of text as it arrives; called from the thread that asks."""


class Provider(Protocol):
    """One service, or this machine. Safe to use from many threads; closed when nobody needs it any more."""

    @property
    def name(self) -> str:
        """What stands before the first slash of its models' ids."""
        ...

    @property
    def is_loopback(self) -> bool:
        """Whether it is the loopback test server: its answers are marked and never count."""
        ...

    def attempt(
        self, model: str, question: Question, on_text: TextSink, cancelled: Callable[[], bool]
    ) -> Reply:
        """Ask once, streaming.

        Args:
            model: The provider's own id, without the provider's name.
            cancelled: Looked at before and between pieces of text; when it says yes, the connection is closed
                and the reply's outcome is `CANCELLED`.

        Raises:
            AttemptError: It failed before its end.
            SetupError: A package or a key is missing.
        """
        ...

    def models(self) -> tuple[LiveModel, ...]:
        """Return the models it offers now, by asking it.

        Raises:
            AttemptError, SetupError: As `attempt`.
        """
        ...

    def close(self) -> None:
        """Let go of its connections."""
        ...
