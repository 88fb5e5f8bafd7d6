"""The command line: the same workflows as the pages, in the same store.

With `--json`, stdout holds exactly one JSON object, whatever happens: the answer, or
`{"error": {"class", "message", "remedy"}}`. Everything else goes to stderr.
"""

import json
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout

import typer
from typer.exceptions import TyperException

from core.cli import (
    ask,
    attend,
    bench,
    calibrate,
    features,
    models,
    recommend,
    report,
    scenes,
    search,
    segment,
    similar,
    store,
    sweep,
    train,
    vlm_run,
)
from core.cli.shared import Answer
from core.errors import InputError, VisionBenchError

BUG, USAGE, SETUP, STORE, CANCELLED = 1, 2, 3, 4, 130
EXIT_CODES = {
    0: "done",
    BUG: "a bug; its traceback is on stderr",
    USAGE: "wrong usage, or an input that cannot be used",
    SETUP: "something is missing here: weights, a package, a device, the network",
    STORE: "the store failed, or `db check` found something",
    CANCELLED: "cancelled",
}

app = typer.Typer(
    name="python -m core",
    help="Vision Bench without the pages: the same workflows, the same store.",
    epilog="\n\n".join(f"Exit code {code}: {meaning}" for code, meaning in EXIT_CODES.items()),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("scenes")(scenes.write_scenes)
app.command("models")(models.list_models)
app.command("classify")(models.classify_pictures)
app.command("attend")(attend.attend_picture)
app.command("features")(features.write_features)
app.command("similar")(similar.compare_pictures)
app.command("search")(search.search_stored)
app.command("segment")(segment.segment_picture)
app.command("segment-eval")(segment.evaluate_model)
app.command("ask")(ask.ask_models)
app.command("vlm-models")(ask.list_vlms)
app.command("vlm-run")(vlm_run.run_data_set)
app.command("bench")(bench.benchmark_models)
app.command("calibrate")(calibrate.calibrate_machine)
app.command("recommend")(recommend.recommend_models)
app.command("report")(report.write_report)
app.command("sweep")(sweep.sweep_models)
app.add_typer(train.app, name="train")
app.add_typer(store.app, name="db")


def main(arguments: Sequence[str]) -> int:
    """Run one command, print its answer, and return the exit code."""
    as_json = "--json" in arguments
    try:
        # A library that prints must not spoil the one object on stdout.
        with redirect_stdout(sys.stderr) if as_json else nullcontext():
            result = app(list(arguments), standalone_mode=False)
        answer = result if isinstance(result, Answer) else _stopped(result)
    except Exception as error:
        answer = _failure(error)
    _print(answer, as_json)
    return answer.exit_code


def _print(answer: Answer, as_json: bool) -> None:
    try:
        if as_json:
            typer.echo(json.dumps(dict(answer.payload), ensure_ascii=False))
        elif answer.text:
            typer.echo(answer.text, err=bool(answer.exit_code))
    except BrokenPipeError:  # the reader has seen enough, as in `models | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes when it ends


def _stopped(exit_code: object) -> Answer:
    """Return the answer of a command that ended early: help was shown, or Ctrl-C pressed."""
    if exit_code == CANCELLED:
        return _error("Cancelled", "Cancelled.", "", CANCELLED)
    return Answer({}, "", exit_code if isinstance(exit_code, int) else 0)


def _failure(error: Exception) -> Answer:
    from db.errors import StoreError

    name = type(error).__name__
    if isinstance(error, TyperException):
        return _error("UsageError", error.format_message(), "See --help.", USAGE)
    if isinstance(error, StoreError):
        return _error(name, error.message, error.remedy, STORE)
    if isinstance(error, VisionBenchError):
        return _error(name, error.message, error.remedy, USAGE if isinstance(error, InputError) else SETUP)
    traceback.print_exception(error)
    return _error(name, str(error), "This is a bug; its traceback is on stderr.", BUG)


def _error(name: str, message: str, remedy: str, exit_code: int) -> Answer:
    payload = {"error": {"class": name, "message": message, "remedy": remedy}}
    return Answer(payload, f"{message} {remedy}".strip(), exit_code)
