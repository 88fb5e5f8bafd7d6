"""Answers as files, and as the commands that ask the same again."""

from __future__ import annotations

import csv
import io
import json
from functools import partial
from shlex import quote
from typing import Any

import streamlit as st

from core.vlm.safe import csv_cell
from pages.ui.pictures import is_sample
from pages.ui.vlm_card import scored
from pages.ui.vlm_state import PAGE, Comparison, Shown

METRICS = ("ttft_ms", "total_ms", "load_ms", "input_tokens", "image_tokens", "output_tokens")
METRICS += ("reasoning_tokens", "tokens_per_s", "cost_usd", "attempts")


def downloads(comparison: Comparison) -> None:
    """Draw the downloads and the commands that do the same."""
    shown = tuple(turn.shown for turn in comparison.turns if turn.shown is not None)
    if not shown:
        return
    with st.container(horizontal=True):
        for label, name, media_type, make in (
            ("Answers (JSON)", "answers.json", "application/json", answers_json),
            ("Answers (CSV)", "answers.csv", "text/csv", answers_csv),
        ):
            st.download_button(
                label,
                partial(make, shown),
                name,
                media_type,
                icon=":material/download:",
                on_click="ignore",
                key=f"{PAGE}_{name}",
            )
        with st.popover("As Python", icon=":material/code:"):
            st.code(command(comparison), language="shell", wrap_lines=True)
            st.code(python_script(comparison), language="python", wrap_lines=True)


def answers_json(shown: tuple[Shown, ...]) -> bytes:
    """Return the answers with all that is stored about them, as a JSON list."""
    rows = [_row(one) | {"attempts_one_by_one": one.parameter("attempts")} for one in shown]
    return json.dumps(rows, ensure_ascii=False, indent=1).encode()


def answers_csv(shown: tuple[Shown, ...]) -> bytes:
    """Return the answers as a table; no cell is taken for a formula by a spreadsheet."""
    rows = [{name: _flat(value) for name, value in _row(one).items()} for one in shown]
    names = list(dict.fromkeys(name for row in rows for name in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names)
    writer.writeheader()
    writer.writerows({name: csv_cell(value) for name, value in row.items()} for row in rows)
    return buffer.getvalue().encode()


def _row(shown: Shown) -> dict[str, Any]:
    run, found = shown.run, scored(shown)
    names = ("task", "prompt", "references", "requested", "returned", "finish", "loopback", "note")
    return {
        "run": run.id,
        "time": run.time.isoformat(),
        "model": run.model_id,
        "outcome": shown.outcome,
        "message": run.error_message,
        "text": shown.text,
        **{name: shown.parameter(name) for name in names},
        "picture_sha256": run.inputs[0].sha256 if run.inputs else None,
        **{name: run.metric(name) for name in METRICS},
        "cost": shown.parameter("cost") or "unknown",
        **{f"score_{value.name}": value.value for value in (found.values if found else ())},
    }


def _flat(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def command(comparison: Comparison) -> str:
    """Return the command that asks the same."""
    put = comparison.put
    parts = ["python -m core ask", quote(_picture(comparison))]
    parts += [f"--model {quote(model)}" for model in comparison.models]
    parts += [f"--task {put.task}", f"--prompt {quote(put.prompt)}"]
    parts += [f"--reference {quote(reference)}" for reference in put.references]
    return " ".join([*parts, f"--max-tokens {put.max_tokens}", "--json"])


def python_script(comparison: Comparison) -> str:
    """Return a script that asks the same with this repository's own functions."""
    put = comparison.put
    return f"""import os

from core.cli.shared import read_picture
from core.loaders import ModelPool
from core.settings import settings
from core.vlm.addresses import Addresses
from core.vlm.keys import Keys
from core.vlm.workflow import Providers, ask_about

image = read_picture({_picture(comparison)!r})
providers = Providers(Keys.from_env(os.environ), Addresses.from_settings(settings()), ModelPool())
for model in {list(comparison.models)!r}:
    asked = ask_about(
        image,
        model,
        {put.task!r},
        {put.prompt!r},
        {put.references!r},
        providers=providers,
        sink=None,
        owner="local",
        max_tokens={put.max_tokens},
    )
    print(model, asked.answer.outcome, asked.answer.text)
"""


def _picture(comparison: Comparison) -> str:
    image = comparison.image
    if image is None:
        return "picture.png"
    return f"sample:{image.name}" if is_sample(image.name, image.sha256) else image.name
