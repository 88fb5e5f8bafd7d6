"""The use case of a judge: a model rules on two stored answers, and what it said is one run in the store.

A run of kind `vlm-judge` names the runs it is about and keeps both rulings with their texts; it is never a
vote. It is `ok` where the judge answered in both orders, whether or not that came to a verdict; else it is
`failed`, with the class of what became of the question.
"""

import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from core.images import ImageInput
from core.runs import Artifact, Metric, Recorder, RunDraft, RunInput
from core.vlm.base import Answer, Outcome
from core.vlm.judge import Verdict, check_pinned, judge
from core.vlm.prices import Cost
from core.vlm.workflow import Providers, cost_of, environment_of, revision_of, split

KIND = "vlm-judge"
RULINGS = ("ruling-1.txt", "ruling-2.txt")
"""What the judge said with the first answer as A, and with the second one as A."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """A stored answer that is judged."""

    run_id: str
    model_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict, or why there is none, with its run."""

    verdict: Verdict
    costs: tuple[Cost | None, Cost | None]
    """Of each order; None where it is unknown."""
    run_id: str
    """In the store; empty without one."""


def judge_answers(
    image: ImageInput,
    judge_id: str,
    task: str,
    question: str,
    references: Sequence[str],
    contestants: tuple[Contestant, Contestant],
    *,
    providers: Providers,
    sink: Recorder | None,
    owner: str,
    cancel: threading.Event | None = None,
) -> Judged:
    """Ask a judge in both orders which of two answers is better, and leave one run.

    Args:
        judge_id: PROVIDER/ID of a model that does not change behind its name.
        task: The one that both answers are to.
        question: The prompt that both answers are to.
        references: What is known to be true.

    Raises:
        InputError: The judge's name is none, or not pinned; nothing is stored then.
        SetupError: A package, a key or weights are missing; nothing is stored then.
        StoreError: The run cannot be kept.
    """
    name, model = split(judge_id)
    check_pinned(judge_id)
    provider = providers.open(name)
    first, second = contestants
    verdict = judge(
        provider,
        judge_id,
        image,
        question,
        (first.text, second.text),
        (first.model_id, second.model_id),
        tuple(references),
        cancel=cancel,
    )
    one, two = verdict.answers
    costs = cost_of(name, model, one.reply), cost_of(name, model, two.reply)
    if sink is None:
        return Judged(verdict, costs, "")
    parameters = {
        "provider": name,
        "judge": judge_id,
        "runs": [first.run_id, second.run_id],
        "models": [first.model_id, second.model_id],
        "task": task,
        "prompt": question,
        "references": list(references),
        "choice": verdict.choice,
        "rulings": list(verdict.rulings),
        "reason": providers.keys.masked(verdict.reason),
        "kin": list(verdict.kin),
        "outcomes": [answer.outcome.value for answer in verdict.answers],
        "returned": [answer.reply.returned_model if answer.reply else "" for answer in verdict.answers],
        "costs": [None if cost is None else cost.to_json() for cost in costs],
        "loopback": provider.is_loopback,
    }
    failed = next((answer for answer in verdict.answers if answer.outcome is not Outcome.OK), None)
    run = RunDraft(
        kind=KIND,
        model_id=judge_id,
        model_revision=revision_of(one.reply),
        environment=environment_of(name, one.reply),
        owner=owner,
        duration_ms=sum(answer.latency_ms for answer in verdict.answers),
        parameters=parameters,
        inputs=(RunInput("picture", image),),
        metrics=_metrics(verdict, costs),
        artifacts=_texts(verdict),
        **_ending(failed, providers),
    )
    return Judged(verdict, costs, sink.record(run))


def _ending(failed: Answer | None, providers: Providers) -> dict[str, Any]:
    """Return how the run ended, by the answer that failed."""
    if failed is None:
        return {}
    return {
        "status": "cancelled" if failed.outcome is Outcome.CANCELLED else "failed",
        "error_class": failed.outcome.value,
        "error_message": providers.keys.masked(f"{failed.message} {failed.remedy}".strip()),
    }


def _metrics(verdict: Verdict, costs: Sequence[Cost | None]) -> list[Metric]:
    """Return the sums over both orders of what is known of both."""
    found = [Metric("total_ms", sum(answer.latency_ms for answer in verdict.answers), "ms")]
    known = [cost.usd for cost in costs if cost is not None]
    if len(known) == len(costs):
        found.append(Metric("cost_usd", sum(known), "USD"))
    usages = [asdict(answer.reply.usage) for answer in verdict.answers if answer.reply is not None]
    for name in ("input_tokens", "output_tokens", "reasoning_tokens"):
        counts = [usage[name] for usage in usages if usage[name] is not None]
        if len(counts) == len(verdict.answers):
            found.append(Metric(name, sum(counts)))
    return found


def _texts(verdict: Verdict) -> list[Artifact]:
    return [
        Artifact(name, "text/plain", answer.text.encode(errors="replace"))
        for name, answer in zip(RULINGS, verdict.answers, strict=True)
        if answer.text
    ]
