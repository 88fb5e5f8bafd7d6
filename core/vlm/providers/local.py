"""Models of this machine: the shipped captioners, and transformers' models by hub name, folder or file."""

import threading
import time
from collections.abc import Callable

from core.environment import describe_environment
from core.errors import InputError
from core.loaders import ModelPool
from core.registry import available, catalog, resolve
from core.vlm.base import AttemptError, LiveModel, Outcome, Question, Reply, TextSink, Usage
from core.vlm.local_model import Generated, LocalModel

LOOK_EVERY_S = 0.05
"""How often `cancelled` is looked at while another question is being answered."""
_ENDED = {"stop": Outcome.OK, "length": Outcome.TRUNCATED, "cancelled": Outcome.CANCELLED}


class LocalProvider:
    """`shipped`, `hf` or `file`. Neither loading nor waiting for one's turn is part of an answer's time.

    Args:
        name: What stands before the first slash of its models' ids.
        pool: Where models are held; None makes one.
    """

    is_loopback = False

    def __init__(self, name: str, pool: ModelPool | None) -> None:
        self.name = name
        self._pool = pool or ModelPool()

    def attempt(
        self, model: str, question: Question, on_text: TextSink, cancelled: Callable[[], bool]
    ) -> Reply:
        """Ask once; see `core.vlm.base.Provider`.

        Raises:
            AttemptError: The model cannot take the question, or the time limit passed.
            InputError: There is no such model, or it answers no prompts.
            SetupError: Its weights are not here and cannot be fetched, or the memory does not suffice.
        """
        started = time.perf_counter()
        with self._pool.vlm(resolve(f"{self.name}/{model}", "vlm")) as loaded:
            load_ms = (time.perf_counter() - started) * 1000
            if not _acquired(loaded.turn, cancelled):
                return _Asking(loaded, question, load_ms, on_text, cancelled).nothing()
            try:
                return _Asking(loaded, question, load_ms, on_text, cancelled).reply()
            finally:
                loaded.turn.release()

    def models(self) -> tuple[LiveModel, ...]:
        """Return the models that are ready here."""
        return tuple(
            LiveModel(spec.id.partition("/")[2], spec.title, True)
            for spec in catalog()
            if "vlm" in spec.tasks and spec.id.startswith(f"{self.name}/") and available(spec)
        )

    def close(self) -> None:
        """Do nothing: models belong to the pool."""


def _acquired(turn: threading.Lock, cancelled: Callable[[], bool]) -> bool:
    while not cancelled():
        if turn.acquire(timeout=LOOK_EVERY_S):
            return True
    return False


class _Asking:
    """One generation, with its clock."""

    def __init__(
        self,
        model: LocalModel,
        question: Question,
        load_ms: float,
        on_text: TextSink,
        cancelled: Callable[[], bool],
    ) -> None:
        self._model, self._question, self._load_ms = model, question, load_ms
        self._on_text, self._cancelled = on_text, cancelled
        self._started, self._first = time.perf_counter(), 0.0
        self._said: list[str] = []

    def reply(self) -> Reply:
        """Let the model answer; its `turn` is held."""
        question = self._question
        try:
            made = self._model.generate(
                question.image,
                question.prompt,
                max_tokens=question.max_tokens,
                temperature=question.temperature,
                on_text=self._take,
                cancelled=self._must_stop,
            )
        except InputError as error:
            raise AttemptError(Outcome.BAD_REQUEST, error.message, error.remedy) from error
        total_ms = self._elapsed_ms()
        if made.finish == "cancelled" and not self._cancelled():
            raise AttemptError(
                Outcome.TIMEOUT,
                f"{self._model.spec.id} did not finish its answer within {question.timeout_s:g} seconds.",
                "Ask for a shorter answer, or choose a smaller model.",
                partial=made.text,
            )
        outcome, message = self._outcome(made)
        usage = Usage(made.input_tokens, made.image_tokens, None, made.output_tokens, None)
        return self._reply(outcome, made.text, made.finish, usage, total_ms, message)

    def nothing(self) -> Reply:
        """Return the reply of a question that was cancelled before its turn came."""
        return self._reply(Outcome.CANCELLED, "", "cancelled", Usage(), 0.0, "It was cancelled.")

    def _take(self, text: str) -> None:
        self._first = self._first or time.perf_counter()
        self._said.append(text)
        self._on_text(text)

    def _elapsed_ms(self) -> float:
        return (time.perf_counter() - self._started) * 1000

    def _must_stop(self) -> bool:
        return self._cancelled() or self._elapsed_ms() > self._question.timeout_s * 1000

    def _outcome(self, made: Generated) -> tuple[Outcome, str]:
        outcome = _ENDED[made.finish]
        if outcome is Outcome.TRUNCATED:
            return outcome, f"The answer was cut at the limit of {made.output_tokens:,} tokens."
        if outcome is Outcome.CANCELLED:
            return outcome, "It was cancelled."
        if not made.text.strip():
            return Outcome.EMPTY, "The model ended without saying anything."
        return outcome, ""

    def _reply(
        self, outcome: Outcome, text: str, finish: str, usage: Usage, total_ms: float, message: str
    ) -> Reply:
        model = self._model
        return Reply(
            outcome,
            text,
            finish,
            model.spec.id,
            usage,
            (self._first - self._started) * 1000 if self._first else None,
            total_ms,
            message,
            load_ms=self._load_ms,
            revision=model.spec.revision,
            environment=describe_environment(model.device, model.dtype),
        )
