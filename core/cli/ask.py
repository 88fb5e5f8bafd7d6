"""`ask` and `vlm-models`: vision-language models asked about a picture, and which there are."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.cli.shared import (
    Answer,
    JsonOption,
    MaxTokensOption,
    NoStoreOption,
    PictureArgument,
    read_picture,
    run_store,
)
from core.cli.vlm_run import open_providers
from core.errors import InputError, VisionBenchError
from core.runs import LOCAL_OWNER

if TYPE_CHECKING:
    from core.vlm.base import LiveModel
    from core.vlm.workflow import Asked

NO_ANSWER = 3
"""Exit code where a model gave none: something is missing here, or failed there."""


def ask_models(
    picture: Annotated[str, PictureArgument],
    models: Annotated[
        list[str], typer.Option("--model", metavar="PROVIDER/ID", help="Whom to ask; can be given again.")
    ],
    task: Annotated[
        str, typer.Option("--task", metavar="T", help="caption, question, ocr, objects or free.")
    ] = "caption",
    prompt: Annotated[
        str, typer.Option("--prompt", metavar="P", help="What to ask; the task's own if left out.")
    ] = "",
    references: Annotated[
        list[str] | None,
        typer.Option("--reference", metavar="R", help="A right answer, or one of the objects; can be again."),
    ] = None,
    max_tokens: MaxTokensOption = 1024,
    timeout_s: Annotated[
        float, typer.Option("--timeout", metavar="S", help="Seconds that one attempt may take.")
    ] = 60.0,
    as_json: JsonOption = False,
    no_store: NoStoreOption = False,
) -> Answer:
    """Ask models the same about a picture, one after the other; a run for each."""
    from core.vlm.tasks import task_named
    from core.vlm.workflow import ask_about, split

    prompt = prompt or task_named(task).prompt
    if not prompt:
        raise InputError(f"The task {task} has no prompt of its own.", "Say what to ask with --prompt.")
    for model in models:
        split(model)
    image = read_picture(picture)
    answers: list[dict[str, Any]] = []
    with run_store(no_store) as store, open_providers() as providers:
        for model in models:
            try:
                asked = ask_about(
                    image,
                    model,
                    task,
                    prompt,
                    references or (),
                    providers=providers,
                    sink=store,
                    owner=LOCAL_OWNER,
                    max_tokens=max_tokens,
                    timeout_s=timeout_s,
                )
            except VisionBenchError as error:
                if len(models) == 1:
                    raise
                answers.append(_not_asked(model, error))
            else:
                answers.append(_answered(asked))
    payload = {"picture": image.name, "task": task, "prompt": prompt, "answers": answers}
    failed = any(answer["outcome"] != "ok" for answer in answers)
    return Answer(payload, "\n".join(map(_text, answers)), NO_ANSWER if failed else 0)


def _not_asked(model: str, error: VisionBenchError) -> dict[str, Any]:
    return {
        "model": model,
        "outcome": "not_asked",
        "text": "",
        "message": f"{error.message} {error.remedy}".strip(),
        "run": None,
    }


def _answered(asked: "Asked") -> dict[str, Any]:
    answer, reply = asked.answer, asked.answer.reply
    usage = None if reply is None else reply.usage
    return {
        "model": answer.model_id,
        "outcome": answer.outcome.value,
        "text": answer.text,
        "message": f"{answer.message} {answer.remedy}".strip(),
        "returned_model": reply.returned_model if reply else None,
        "ttft_ms": reply.ttft_ms if reply else None,
        "total_ms": answer.latency_ms,
        "load_ms": reply.load_ms if reply else None,
        "input_tokens": usage.input_tokens if usage else None,
        "image_tokens": usage.image_tokens if usage else None,
        "output_tokens": usage.output_tokens if usage else None,
        "reasoning_tokens": usage.reasoning_tokens if usage else None,
        "cost_usd": None if asked.cost is None else asked.cost.usd,
        "scores": {value.name: value.value for value in asked.scored.values} if asked.scored else {},
        "right": asked.scored.right if asked.scored else None,
        "attempts": [
            {"outcome": attempt.outcome.value, "total_ms": attempt.total_ms, "wait_ms": attempt.wait_ms}
            for attempt in answer.attempts
        ],
        "run": asked.run_id or None,
    }


def _text(answer: dict[str, Any]) -> str:
    from core.vlm.safe import plain

    if answer["outcome"] != "ok":
        return f"{answer['model']}: {answer['outcome']}. {plain(answer['message'])}"
    cost = "cost unknown" if answer["cost_usd"] is None else f"${answer['cost_usd']:.6f}"
    scores = "".join(f", {name} {value:.3f}" for name, value in answer["scores"].items())
    return f"{answer['model']} ({answer['total_ms']:.0f} ms, {cost}{scores}):\n{plain(answer['text'])}"


def list_vlms(as_json: JsonOption = False) -> Answer:
    """List the models that can be asked now: those of this machine, and what each provider says it offers."""
    from core.vlm.providers import NAMES

    models: list[dict[str, Any]] = []
    problems: dict[str, str] = {}
    with open_providers() as providers:
        for name in NAMES:
            try:
                offered = providers.open(name).models()
            except VisionBenchError as error:
                problems[name] = f"{error.message} {error.remedy}".strip()
            else:
                models += [_offer(name, model) for model in offered]
    lines = [f"{model['id']:60}{model['title']}" for model in models]
    lines += [f"{name}: {problem}" for name, problem in problems.items()]
    return Answer({"models": models, "problems": problems}, "\n".join(lines))


def _offer(name: str, model: "LiveModel") -> dict[str, Any]:
    from core.vlm.prices import price_table
    from core.vlm.providers import LOCAL

    price = price_table().find(name, model.id, datetime.now(UTC).date())
    known = (
        None if price is None else {"input": price.input, "output": price.output, "as_of": str(price.as_of)}
    )
    return {
        "id": f"{name}/{model.id}",
        "title": model.title,
        "sees": model.sees,
        "usd_per_million_tokens": {"input": 0.0, "output": 0.0} if name in LOCAL else known,
    }
