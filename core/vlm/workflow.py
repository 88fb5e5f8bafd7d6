"""The use case of vision-language models: one question to one model, one run in the store.

An answer is a run that is `ok`, with its text as `answer.txt`. Everything else is a run that is `failed` or
`cancelled`, whose error class is the outcome; what had come by then is `partial.txt`, and never an answer.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from core.environment import describe_environment
from core.errors import InputError
from core.images import ImageInput
from core.runs import Artifact, Environment, Metric, Recorder, RunDraft, RunInput
from core.vlm.addresses import Addresses
from core.vlm.asking import ask
from core.vlm.base import Answer, Outcome, Provider, Question, Reply, TextSink
from core.vlm.keys import TITLES, Keys
from core.vlm.pictures import fit
from core.vlm.prices import NOTHING_PAID, Cost, cost, price_table
from core.vlm.providers import LOCAL, NAMES, open_provider
from core.vlm.scoring import Scored, score

if TYPE_CHECKING:
    from core.loaders import ModelPool

KIND = "vlm"
ANSWER, PARTIAL = "answer.txt", "partial.txt"
ATTEMPTS = 3
"""Most requests to a remote provider for one answer. A model of this machine is asked once."""


@dataclass(frozen=True, slots=True)
class ItemRef:
    """The item of a data-set run that a question is about."""

    set_id: str
    id: str


@dataclass(frozen=True, slots=True)
class Asked:
    """An answer, or what became of it, with its score and its run."""

    answer: Answer
    cost: Cost | None
    """None where it is unknown."""
    scored: Scored | None
    """None where it is no answer, or nothing is known to be true."""
    run_id: str
    """In the store; empty without one."""


class Providers:
    """The providers that one session or process asks, each opened at its first use. Safe for many threads.

    Args:
        keys: What it asks with.
        addresses: Where the remote providers are spoken to.
        pool: Where models of this machine are held; None makes one when it is needed.
    """

    def __init__(self, keys: Keys, addresses: Addresses, pool: "ModelPool | None" = None) -> None:
        self.keys, self._addresses, self._pool = keys, addresses, pool
        self._opened: dict[str, Provider] = {}
        self._lock = threading.Lock()

    def open(self, name: str) -> Provider:
        """Return a provider of `core.vlm.providers.NAMES`, ready to be asked.

        Raises:
            InputError: There is no such provider.
            SetupError: A package, a key or an address is missing; the message says which.
        """
        with self._lock:
            if name not in self._opened:
                self._opened[name] = open_provider(name, self.keys, self._addresses, self._pool)
            return self._opened[name]

    def is_loopback(self, model_ids: Iterable[str]) -> bool:
        """Say whether the loopback test server answers for any of these models."""
        return bool(self._addresses.loopback) and any(
            split(model_id)[0] not in LOCAL for model_id in model_ids
        )

    def close(self) -> None:
        """Let go of all connections."""
        with self._lock:
            opened, self._opened = tuple(self._opened.values()), {}
        for provider in opened:
            with suppress(TimeoutError):  # the connection closes by itself a little later
                provider.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def split(model_id: str) -> tuple[str, str]:
    """Return the provider's name and its own id of a model.

    Raises:
        InputError: It is not PROVIDER/ID.
    """
    name, _, model = model_id.partition("/")
    if name not in NAMES or not model:
        raise InputError(
            f"{model_id!r} is no model that can be asked.",
            f"Name it as PROVIDER/ID, with one of the providers {', '.join(NAMES)}.",
        )
    return name, model


def _nothing(*_: object) -> None:
    pass


def ask_about(
    image: ImageInput,
    model_id: str,
    task: str,
    prompt: str,
    references: Sequence[str],
    *,
    providers: Providers,
    sink: Recorder | None,
    owner: str,
    on_text: TextSink = _nothing,
    on_restart: Callable[[], None] = _nothing,
    cancel: threading.Event | None = None,
    max_tokens: int = 1024,
    timeout_s: float = 60.0,
    comparison: str = "",
    item: ItemRef | None = None,
    turn: AbstractContextManager[None] | None = None,
) -> Asked:
    """Ask a model about a picture, score what it says, and leave one run, whatever became of it.

    Args:
        model_id: PROVIDER/ID.
        task: One of `core.vlm.tasks.TASKS`; it decides how an answer is scored.
        references: What is true; none where that is not known.
        on_text, on_restart, cancel: As `core.vlm.asking.ask`.
        comparison: What runs that belong together share; empty for a run of its own.
        item: The item of a data-set run.
        turn: Entered while the model is asked, and no longer.

    Raises:
        InputError: The model's name or the question is of no use; nothing is stored then.
        SetupError: A package, a key or weights are missing; nothing is stored then.
        StoreError: The run cannot be kept.
    """
    name, model = split(model_id)
    question = Question(image, prompt, max_tokens=max_tokens, timeout_s=timeout_s)
    provider = providers.open(name)
    if name not in LOCAL:
        fit(image, name)  # made now, and kept: not in the time that a model is asked
    with turn or nullcontext():
        answer = ask(
            provider,
            model,
            question,
            on_text=on_text,
            on_restart=on_restart,
            cancel=cancel,
            max_attempts=1 if name in LOCAL else ATTEMPTS,
        )
    is_answer = answer.outcome is Outcome.OK
    paid = cost_of(name, model, answer.reply)
    scored = score(task, answer.text, references) if is_answer else None
    if sink is None:
        return Asked(answer, paid, scored, "")
    parameters = {
        "provider": name,
        "requested": model_id,
        "task": task,
        "prompt": prompt,
        "references": list(references),
        "max_tokens": max_tokens,
        "temperature": question.temperature,
        "timeout_s": timeout_s,
        **_told(answer),
        "cost": None if paid is None else paid.to_json(),
        "loopback": provider.is_loopback or None,
        "comparison": comparison or None,
        "item": None if item is None else {"set": item.set_id, "id": item.id},
    }
    run = RunDraft(
        kind=KIND,
        model_id=model_id,
        model_revision=revision_of(answer.reply),
        environment=environment_of(name, answer.reply),
        owner=owner,
        status="ok" if is_answer else "cancelled" if answer.outcome is Outcome.CANCELLED else "failed",
        duration_ms=answer.latency_ms,
        parameters={key: value for key, value in parameters.items() if value is not None},
        inputs=(RunInput("picture", image),),
        metrics=[*_measured(answer, paid), *_scores(scored)],
        artifacts=_texts(answer),
        error_class="" if is_answer else answer.outcome.value,
        error_message="" if is_answer else providers.keys.masked(f"{answer.message} {answer.remedy}".strip()),
    )
    return Asked(answer, paid, scored, sink.record(run))


def cost_of(name: str, model: str, reply: Reply | None) -> Cost | None:
    """Return what an answer cost today, by the price of the model that gave it; None where it is unknown."""
    if name in LOCAL:
        return NOTHING_PAID
    if reply is None:
        return None
    price = price_table().find(name, reply.returned_model or model, datetime.now(UTC).date())
    return cost(price, reply.usage) if price else None


def revision_of(reply: Reply | None) -> str:
    """Return which model answered, as exactly as it was told."""
    return "" if reply is None else reply.revision or reply.returned_model


def environment_of(name: str, reply: Reply | None) -> Environment:
    """Return what an answer ran on: this machine, or the provider of that name."""
    if reply is not None and reply.environment is not None:
        return reply.environment
    here = describe_environment("cpu", "")
    return here if name in LOCAL else replace(here, device=name, device_name=f"{TITLES[name]} API")


def _told(answer: Answer) -> dict[str, Any]:
    """Return what a run keeps of an answer beside its numbers."""
    reply = answer.reply
    attempts = [
        {key: value for key, value in asdict(attempt).items() if value not in (None, "")}
        | {"outcome": attempt.outcome.value}
        for attempt in answer.attempts
    ]
    found: dict[str, Any] = {"outcome": answer.outcome.value, "attempts": attempts}
    if reply is not None:
        found |= {
            "returned": reply.returned_model or None,
            "finish": reply.finish or None,
            "request_id": reply.request_id or None,
            "note": reply.note or None,
        }
    return found


def _measured(answer: Answer, paid: Cost | None) -> list[Metric]:
    reply = answer.reply
    found: list[tuple[str, float | None, str]] = [("attempts", len(answer.attempts), "")]
    if paid is not None:
        found.append(("cost_usd", paid.usd, "USD"))
    if reply is None:
        found.append(("total_ms", answer.latency_ms or None, "ms"))
    else:
        found += [
            ("total_ms", reply.total_ms, "ms"),
            ("ttft_ms", reply.ttft_ms, "ms"),
            ("load_ms", reply.load_ms or None, "ms"),
            *((name, count, "") for name, count in asdict(reply.usage).items()),
            ("tokens_per_s", _speed(reply), "1/s"),
        ]
    return [Metric(name, value, unit) for name, value, unit in found if value is not None]


def _speed(reply: Reply) -> float | None:
    """Return the tokens of an answer, thinking included, per second of its whole time."""
    tokens = reply.usage.output_tokens
    return tokens / reply.total_ms * 1000 if tokens and reply.total_ms > 0 else None


def _scores(scored: Scored | None) -> list[Metric]:
    return [] if scored is None else [Metric(f"score_{value.name}", value.value) for value in scored.values]


def _texts(answer: Answer) -> list[Artifact]:
    if not answer.text:
        return []
    name = ANSWER if answer.outcome is Outcome.OK else PARTIAL
    return [Artifact(name, "text/plain", answer.text.encode(errors="replace"))]
