"""`vlm-run`: vision-language models over a data set, within a budget, resumed where it was interrupted."""

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.cli.shared import (
    Answer,
    EstimateOption,
    JsonOption,
    MaxTokensOption,
    model_pool,
    names,
    open_store,
)
from core.cli.watching import CANCELLED, watched
from core.errors import InputError
from core.runs import LOCAL_OWNER
from core.settings import settings

if TYPE_CHECKING:
    from core.vlm.setrun.estimate import Estimate
    from core.vlm.setrun.progress import Progress
    from core.vlm.setrun.results import Difference, Summary
    from core.vlm.workflow import Providers
    from db import Store


def run_data_set(
    data: Annotated[
        str, typer.Option("--data", metavar="SET", help="scenes:N[@SEED], a zip, a table or a folder.")
    ],
    models: Annotated[
        str, typer.Option("--models", metavar="A,B", help="PROVIDER/ID, with commas between them.")
    ] = "",
    tasks: Annotated[
        str, typer.Option("--tasks", metavar="T,U", help="caption, question, ocr, objects or free.")
    ] = "",
    budget_usd: Annotated[
        float | None, typer.Option("--budget-usd", metavar="X", help="Most money; never exceeded.")
    ] = None,
    budget_calls: Annotated[
        int | None, typer.Option("--budget-calls", metavar="N", help="Most calls.")
    ] = None,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="SET_ID", help="Go on with an earlier run.")
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", metavar="N", help="Most calls at once, for each provider.")
    ] = 4,
    max_tokens: MaxTokensOption = 512,
    only_estimate: EstimateOption = False,
    as_json: JsonOption = False,
) -> Answer:
    """Ask several models the same about every picture of a data set."""
    from core.vlm.datasets import open_items
    from core.vlm.prices import price_table
    from core.vlm.setrun.estimate import estimate
    from core.vlm.setrun.plan import Plan
    from core.vlm.setrun.run import SetRun

    items = open_items(data)
    if resume is None:
        plan = Plan(
            items,
            _names(models, "--models"),
            _names(tasks, "--tasks"),
            max_tokens=max_tokens,
            budget_usd=budget_usd,
            budget_calls=budget_calls,
            concurrency=concurrency,
        )
        expected = estimate(plan, price_table(), datetime.now(UTC).date())
        if only_estimate:
            return Answer({"estimate": _estimate(expected)}, _estimate_text(expected))
        typer.echo(_estimate_text(expected), err=True)
    elif models or tasks or only_estimate:
        raise InputError("A resumed run has its own models and tasks.", "Leave --models and --tasks out.")
    with open_store() as store, open_providers() as providers:
        if resume is None:
            work = SetRun.begin(plan, providers=providers, ledger=store, owner=LOCAL_OWNER)
        else:
            work = SetRun.resume(
                resume,
                items,
                providers=providers,
                ledger=store,
                owner=LOCAL_OWNER,
                budget_usd=budget_usd,
                budget_calls=budget_calls,
            )
        typer.echo(f"Run {work.set_id}; go on with it by --resume {work.set_id}.", err=True)
        return _answer(watched(work, _progress_text), store)


def open_providers() -> "Providers":
    """Return the providers that the environment's keys and addresses open."""
    from core.vlm.addresses import Addresses
    from core.vlm.keys import Keys
    from core.vlm.workflow import Providers

    return Providers(Keys.from_env(os.environ), Addresses.from_settings(settings()), model_pool())


def _names(text: str, option: str) -> tuple[str, ...]:
    found = names(text)
    if not found:
        raise InputError(f"{option} is empty.", f"Name at least one, as in {option} A,B.")
    return found


def _answer(ended: "Progress", store: "Store") -> Answer:
    from core.vlm.setrun.progress import Phase
    from core.vlm.setrun.results import METRICS, differences, read_rows, summaries

    rows = read_rows(lambda after: store.set_results(ended.set_id, LOCAL_OWNER, metrics=METRICS, after=after))
    models, pairs = summaries(rows), differences(rows)
    payload = {
        "set": ended.set_id,
        "phase": ended.phase.value,
        "message": ended.message,
        "calls": ended.total,
        "done": ended.done,
        "failed": ended.failed,
        "charged_usd": ended.spending.usd,
        "unpriced_calls": ended.spending.unpriced,
        "elapsed_s": ended.elapsed_s,
        "models": [_summary(summary) for summary in models],
        "differences": [_difference(pair) for pair in pairs],
    }
    lines = [_progress_text(ended), *map(_summary_text, models)]
    lines += [f"{pair.task}: {pair.sentence}" for pair in pairs]
    return Answer(payload, "\n".join(lines), CANCELLED if ended.phase is Phase.CANCELLED else 0)


def _summary(summary: "Summary") -> dict[str, Any]:
    return {
        "model": summary.model_id,
        "task": summary.task,
        "calls": summary.calls,
        "outcomes": dict(summary.outcomes),
        "score": summary.mean_score,
        "right": summary.right,
        "cost_usd": summary.cost_usd,
        "usd_per_right": summary.usd_per_right,
        "latency_ms": {f"p{percentile}": summary.latency_ms(percentile) for percentile in (50, 90, 99)},
    }


def _difference(pair: "Difference") -> dict[str, Any]:
    return {
        "task": pair.task,
        "first": pair.first,
        "second": pair.second,
        "questions": pair.comparison.n,
        "mean": pair.comparison.mean,
        "low": pair.comparison.low,
        "high": pair.comparison.high,
        "told": pair.comparison.is_told,
        "sentence": pair.sentence,
    }


def _summary_text(summary: "Summary") -> str:
    score = "no score" if summary.mean_score is None else f"{summary.metric} {summary.mean_score:.3f}"
    cost = "cost unknown" if summary.cost_usd is None else f"${summary.cost_usd:.4f}"
    return f"  {summary.task} {summary.model_id}: {score}, {summary.reliability:.0%} answered, {cost}"


def _progress_text(progress: "Progress") -> str:
    left = "" if progress.left_s is None or progress.message else f", about {progress.left_s:.0f} s left"
    money = f"${progress.spending.usd:.4f} charged"
    text = f"{progress.done} of {progress.total} calls, {progress.failed} failed, {money}{left}"
    return f"{text}. {progress.message}".strip()


def _estimate(expected: "Estimate") -> dict[str, Any]:
    tokens_in, tokens_out = expected.tokens
    return {
        "calls": expected.calls,
        "input_tokens": tokens_in,
        "output_tokens": tokens_out,
        "usd": expected.usd,
        "most_usd": expected.most_usd,
        "seconds": expected.seconds,
        "models": [
            {"model": m.model_id, "calls": m.calls, "usd": m.usd, "seconds": m.seconds, "basis": m.basis}
            for m in expected.models
        ],
    }


def _estimate_text(expected: "Estimate") -> str:
    cost = "cost unknown" if expected.usd is None else f"about ${expected.usd:.4f}"
    if expected.unpriced:
        cost += f" (no price for {', '.join(expected.unpriced)})"
    seconds = "time unknown" if expected.seconds is None else f"about {expected.seconds:.0f} s"
    lines = [f"{expected.calls} calls, {cost}, {seconds}"]
    return "\n".join([*lines, *(f"  {model.model_id}: {model.basis}" for model in expected.models)])
