"""A recommendation as files, as a command and as a script."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import streamlit as st

from core.recommend.answer import Answer
from core.recommend.candidates import Candidate
from core.recommend.request import Request
from core.vlm.safe import csv_cell
from pages.ui.recommend_state import PAGE

FLAGS = {
    "latency_ms": "--latency-ms",
    "images_per_s": "--images-per-s",
    "axis": "--axis",
    "min_accuracy": "--min-accuracy",
    "deployment": "--deployment",
    "device": "--device",
    "memory_mb": "--memory-mb",
    "weights_mb": "--weights-mb",
    "access": "--access",
    "cost_per_1000": "--cost",
    "input_size": "--size",
    "batch": "--batch",
    "prefer": "--prefer",
}
"""Field of a request to the option of the command `recommend`."""
PARTS = ("value", "unit", "mark", "low", "high", "n", "date", "source", "device", "about")


def downloads(answer: Answer) -> None:
    """Draw the buttons that take the answer away, and how to ask the same without the page."""
    for label, make, form, media in (
        ("JSON", answer_json, "json", "application/json"),
        ("CSV", answer_csv, "csv", "text/csv"),
    ):
        st.download_button(
            label,
            lambda make=make: make(answer),
            f"recommendation-{answer.request.task}.{form}",
            media,
            icon=":material/download:",
            on_click="ignore",
            key=f"{PAGE}_{form}",
            help="Every model, with each number, its mark and its source.",
        )
    with st.popover("As Python", icon=":material/code:", key=f"{PAGE}_python"):
        st.code(command(answer.request), language="shell", wrap_lines=True)
        st.code(python_script(answer.request), language="python", wrap_lines=True)


def answer_json(answer: Answer) -> bytes:
    """Return everything that the answer says, as the command prints it."""
    return json.dumps(answer.to_json(), ensure_ascii=False, indent=1).encode(errors="replace")


def answer_csv(answer: Answer) -> bytes:
    """Return a table with a row for each model, those that fit first; no cell is taken for a formula."""
    rows = list(_rows(answer))
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, list(rows[0]) if rows else ["model"])
    writer.writeheader()
    writer.writerows({name: "" if v is None else csv_cell(v) for name, v in row.items()} for row in rows)
    return buffer.getvalue().encode(errors="replace")


def _rows(answer: Answer) -> Iterator[dict[str, Any]]:
    for place, one in enumerate(answer.recommended, 1):
        fits = "yes" if one.certain else "not surely"
        yield {"place": place, "fits": fits, "constraint": None, "why": one.why} | _cells(
            one.candidate, answer
        )
    for out in answer.excluded:
        fits = "not known" if out.unknown else "no"
        yield {
            "place": None,
            "fits": fits,
            "constraint": out.constraint,
            "why": out.sentence,
        } | _cells(out.candidate, answer)


def _cells(candidate: Candidate, answer: Answer) -> Mapping[str, Any]:
    entry = candidate.entry
    cells: dict[str, Any] = {
        "model": entry.id,
        "title": entry.title,
        "licence": entry.licence,
        "commercial": entry.commercial,
        "access": entry.access,
        "axis": answer.axis.id if answer.axis else None,
        "batch": candidate.batch,
        "images_per_s": candidate.images_per_s,
    }
    for name, figure in candidate.figures().items():
        told = figure.to_json() if figure is not None else {}
        cells |= {f"{name}_{part}": told.get(part) for part in PARTS}
    return cells


def command(request: Request) -> str:
    """Return the command that asks the same."""
    words = ["python", "-m", "core", "recommend", "--task", request.task]
    for name, value in _asked(request).items():
        if name == "commercial":
            words += ["--licence", "commercial"]
        elif name in FLAGS:
            words += [FLAGS[name], f"{value:.12g}" if isinstance(value, float) else str(value)]
    return f"{shlex.join(words)} --json"


def _asked(request: Request) -> dict[str, Any]:
    """Return the fields of a request that differ from the usual ones."""
    usual = Request(request.task).to_json()
    return {name: value for name, value in request.to_json().items() if value != usual[name]}


def python_script(request: Request) -> str:
    """Return a script that asks the same with this repository's own functions."""
    given = {name: value for name, value in _asked(request).items() if name != "task"}
    words = ", ".join([repr(request.task), *(f"{name}={value!r}" for name, value in given.items())])
    return f"""from core.recommend.answer import recommend
from core.recommend.evidence import KINDS
from core.recommend.facts import facts_here, measurable
from core.recommend.request import Request
from core.runs import LOCAL_OWNER
from core.settings import settings
from db import Store

with Store.open(settings().database_url) as store:
    runs = store.evidence(LOCAL_OWNER, kinds=KINDS).runs
answer = recommend(Request({words}), facts_here(runs), measurable)
for place, one in enumerate(answer.recommended, 1):
    print(place, one.candidate.entry.id, one.why)
"""
