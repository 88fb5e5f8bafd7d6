"""`db`: what the keeper of a store does."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from core.cli.shared import Answer, JsonOption, new_file, open_store, writing
from core.errors import InputError

app = typer.Typer(help="Keep the store: backup, export, prune, check.", no_args_is_help=True)

NewFile = Annotated[Path, typer.Option("--out", help="A new file; nothing is overwritten.")]
FOUND_PROBLEMS = 4


@app.command()
def backup(out: NewFile, as_json: JsonOption = False) -> Answer:
    """Copy a SQLite store to a new file, consistent while others write."""
    with open_store() as store, writing(out):
        store.backup(new_file(out))
    size = out.stat().st_size
    return Answer({"out": str(out), "bytes": size}, f"The store is in {out}, {size / 1e6:.1f} MB.")


@app.command()
def export(out: NewFile, as_json: JsonOption = False) -> Answer:
    """Write every run as a line of JSON, newest first; pictures and files by their digest."""
    from db import RunFilter

    if out.exists():
        raise InputError(f"{out} exists already.", "Name a new file for the export.")
    runs, part = 0, out.with_name(f"{out.name}.part")
    with open_store() as store, writing(out):
        try:
            with new_file(part).open("w", encoding="utf-8") as file:
                for record in store.export(RunFilter()):
                    file.write(json.dumps(record.to_json(), ensure_ascii=False) + "\n")
                    runs += 1
            part.rename(out)
        finally:
            part.unlink(missing_ok=True)
    return Answer({"out": str(out), "runs": runs}, f"{runs} runs are in {out}.")


@app.command()
def prune(
    before: Annotated[
        datetime,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Runs that began earlier than this, in UTC."
        ),
    ],
    yes: Annotated[
        bool, typer.Option("--yes", help="Delete them; without it they are only counted.")
    ] = False,
    as_json: JsonOption = False,
) -> Answer:
    """Delete everybody's old runs, with the pictures and files that only they refer to; running ones stay."""
    from db import RunFilter
    from db.records import STATUSES

    before = before.replace(tzinfo=UTC)
    ended = tuple(status for status in STATUSES if status != "running")
    with open_store() as store:
        runs = store.prune(before) if yes else store.count(RunFilter(statuses=ended, until=before))
    done = "are deleted" if yes else "would be deleted; add --yes to do it"
    payload = {"runs": runs, "deleted": yes, "before": before.isoformat()}
    return Answer(payload, f"{runs} runs from before {before:%Y-%m-%d %H:%M} UTC {done}.")


@app.command()
def check(as_json: JsonOption = False) -> Answer:
    """Say what is wrong with the store; the exit code is 4 where something is."""
    from db import RunFilter

    with open_store() as store:
        problems, runs = store.check(), store.count(RunFilter())
    text = "\n".join(problems) or f"The store is sound; it holds {runs} runs."
    payload = {"sound": not problems, "runs": runs, "problems": list(problems)}
    return Answer(payload, text, FOUND_PROBLEMS if problems else 0)
