"""What runs ran on, and how they are made again."""

import json
from collections.abc import Mapping, Sequence
from shlex import quote
from typing import Any

from core.report.document import Block, Cell, Code, Column, Facts, Section, Table, Text
from core.report.facts import EnvironmentFacts, NewestRun, Reader, Revision, Totals
from core.report.overview import left_out
from core.report.request import SECTIONS, Request
from core.report.words import MISSING, count, many, name, shown, when
from core.samples import samples

MOST_ROWS = 30
COMMANDS = {"classification": "classify", "attention": "attend", "features": "features"}
"""Kind of run to the command that does the same with its defaults."""
MOST_COMMANDS = 20
MOST_REVISIONS = 8


def environment_section(reader: Reader, request: Request, totals: Totals) -> Section:
    """Return the section on machines and versions."""
    environments, total = reader.environments()
    head = f"{many(total, 'environment')}: device, precision, threads, versions and the commit of this app."
    return Section("environment", SECTIONS["environment"], (Text(head), _environments(environments, total)))


def _environments(environments: Sequence[EnvironmentFacts], total: int) -> Table:
    columns = (
        Column("Device", width=2.2),
        Column("Precision", width=1),
        Column("Threads", "right"),
        Column("Versions", width=4),
        Column("Commit", width=1.4),
        Column("Runs", "right"),
    )
    rows = [
        [
            Cell(f"{name(found.device)}, {name(found.device_name)}"),
            Cell(name(found.dtype)),
            Cell(str(found.threads)),
            Cell(
                shown(", ".join(f"{package} {version}" for package, version in found.versions.items()), 300)
            ),
            Cell(name(found.git_revision)),
            Cell(count(found.runs)),
        ]
        for found in environments[:MOST_ROWS]
    ]
    return Table(columns, rows, left_out(len(rows), total, "environments", "most runs"))


def reproduce_section(reader: Reader, request: Request, totals: Totals) -> Section:
    """Return the section on commits, weights and commands."""
    environments, _ = reader.environments()
    commits = list(dict.fromkeys(found.git_revision for found in environments if found.git_revision))
    newest = reader.newest()
    blocks: list[Block] = [
        Facts(
            [
                (
                    "Commits that ran, the most used first",
                    ", ".join(map(name, commits[:MOST_REVISIONS])) or MISSING,
                ),
                ("Of a commit that ends in +", "tracked files were changed; it cannot be had again exactly"),
            ]
        ),
        Text("The app at a commit, and this report again:"),
        Code(f"git checkout {_commit(commits)}\n./run app\n{report_command(request)}"),
    ]
    if newest:
        blocks += [
            Text("The newest successful run of each kind and model, as a command where there is one:"),
            Code("\n".join(run_command(run) for run in newest[:MOST_COMMANDS])),
        ]
    blocks += [
        Text("Weights, or the model that a service said it answered with:"),
        _revisions(reader.revisions(), request),
    ]
    return Section("reproduce", SECTIONS["reproduce"], blocks)


def _commit(commits: Sequence[str]) -> str:
    return quote(commits[0].rstrip("+")) if commits else "COMMIT"


def _revisions(revisions: Sequence[Revision], request: Request) -> Table:
    columns = (
        Column("Model", width=2),
        Column("Revision", width=2),
        Column("Runs", "right"),
        Column("First", width=1.2),
        Column("Last", width=1.2),
    )
    rows = [
        [
            Cell(name(found.model_id)),
            Cell(name(found.revision)),
            Cell(count(found.runs)),
            Cell(when(found.first, request.zone)),
            Cell(when(found.last, request.zone)),
        ]
        for found in revisions[:MOST_ROWS]
    ]
    return Table(columns, rows, left_out(len(rows), len(revisions), "revisions", "most runs"))


def report_command(request: Request) -> str:
    """Return the command that makes this report again."""
    parts = ["python -m core report"]
    for option, time in (("--from", request.since), ("--to", request.until)):
        parts += [f"{option} {time:%Y-%m-%dT%H:%M:%S%z}"] if time is not None else []
    for option, values in (
        ("--models", request.models),
        ("--kinds", request.kinds),
        ("--statuses", request.statuses),
        ("--outcomes", request.outcomes),
        ("--devices", request.devices),
        ("--tags", request.tags),
        ("--words", (request.text,) if request.text.strip() else ()),
    ):
        parts += [f"{option} {quote(shown(','.join(values), 2_000))}"] if values else []
    for option, bound in (("--min-ms", request.min_ms), ("--max-ms", request.max_ms)):
        parts += [f"{option} {bound:.15g}"] if bound is not None else []
    parts += ["--without-test-server"] if request.measured_only else []
    if len(request.sections) < len(SECTIONS):
        parts.append(f"--sections {','.join(request.sections)}")
    return " ".join([*parts, f"--zone {request.zone}", "--out report.pdf"])


def run_command(run: NewestRun) -> str:
    """Return the command that does the same as a run, or what the run was where no command does it."""
    model, picture = quote(name(run.model_id)), _picture(run.picture)
    given = run.parameters
    if run.kind == "vlm":
        task, prompt = name(str(given.get("task", "free"))), shown(_text(given, "prompt"), 300)
        asked = f"--task {quote(task)} --prompt {quote(prompt)}"
        return f"python -m core ask {picture} --model {model} {asked}"
    if run.kind == "vlm-set":
        lists = [f"--{key} {quote(_names(given, key))}" for key in ("models", "tasks") if _names(given, key)]
        return " ".join(["python -m core vlm-run --data", quote(name(_text(given, "data"))), *lists])
    if run.kind in COMMANDS:
        return f"python -m core {COMMANDS[run.kind]} {picture} --model {model}"
    parameters = shown(json.dumps(dict(given), ensure_ascii=False, sort_keys=True), 300)
    return f"# {name(run.kind)} on {name(run.model_id)}, run {run.run_id}: {' '.join(parameters.split())}"


def _picture(named: str) -> str:
    """Return how a command names a picture: a sample by its id."""
    if named in {sample.id for sample in samples()}:
        return f"sample:{named}"
    return quote(name(named)) if named else "PICTURE"


def _text(parameters: Mapping[str, Any], key: str) -> str:
    return " ".join(str(parameters.get(key, "")).split())


def _names(parameters: Mapping[str, Any], key: str) -> str:
    found = parameters.get(key)
    return ",".join(name(str(value)) for value in found) if isinstance(found, list) else ""
