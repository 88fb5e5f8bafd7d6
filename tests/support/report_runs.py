"""Many runs of a store that is used for months, put in by bulk: benchmarks and reports need them."""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert
from ulid import ULID

from core.runs import Artifact, Environment, Metric, RunDraft
from db import Store
from db.filling import fill
from db.models import Call, Run, RunArtifact
from db.models import Metric as MetricRow
from db.writing import RunRows, find_or_insert_environment, insert_blobs, run_rows

UNTIL = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
CPU = Environment(
    "cpu", "Example CPU, 8 cores", "float32", 8, {"python": "3.11.9", "torch": "2.14.1"}, "0a1b2c3d4e5f"
)
GPU = replace(CPU, device="cuda:0", device_name="Example GPU, 80 GB", dtype="float16")
LATER = replace(CPU, versions={"python": "3.11.9", "torch": "2.14.2"}, git_revision="6f7a8b9c0d1e")
REMOTE = replace(CPU, device="openai", device_name="OpenAI-compatible API", dtype="")
ENCODERS = {"vit_small_patch16": 37.4, "vit_base_patch16": 120.0, "dinov2_small": 41.0, "resnet50": 32.8}
ASKED = {"openai/quick": (420.0, 0.82), "together/exact": (910.0, 0.93), "gemini/chatty": (640.0, 0.80)}
QUESTIONS = (
    "How many cups are there?",
    "사진에 고양이가 몇 마리 있나요?",
    "写真に何が写っていますか？",
    "图片里有什么？",
    "كم قطة في الصورة؟",
    "כמה חתולים בתמונה?",
    "तस्वीर में कितनी बिल्लियाँ हैं?",
    "ในภาพมีแมวกี่ตัวและแต่ละตัวกำลังทำอะไรอยู่",
    "<script>alert('a')</script> =1+1 #panic() $x$ ![a](http://example.org/x.png)",
    "Emoji 🐈🐈‍⬛, and \u202eturned\u202c text",
)
FAILURES = ("rate_limited", "timeout", "blocked", "truncated")


def drafts(count: int, owner: str = "ada", seed: int = 0) -> Iterator[tuple[datetime, RunDraft]]:
    """Yield an owner's runs over 120 days up to `UNTIL`, oldest first; each third one is a question."""
    random_ = random.Random(seed)
    step = timedelta(days=120) / max(count, 1)
    for i in range(count):
        time = UNTIL - step * (count - i)
        run = _asked(i, random_) if i % 3 == 0 else _encoded(i, random_)
        yield time, replace(run, owner=owner)


def _encoded(i: int, random_: random.Random) -> RunDraft:
    model, ms = random_.choice(list(ENCODERS.items()))
    environment = random_.choice((CPU, CPU, LATER, GPU))
    took = ms * random_.lognormvariate(0, 0.12) * (0.06 if environment is GPU else 1.0)
    failed = random_.random() < 0.01
    return RunDraft(
        kind=random_.choice(("attention", "classification")),
        model_id=model,
        model_revision="r1",
        environment=environment,
        owner="ada",
        status="failed" if failed else "ok",
        duration_ms=None if failed else took,
        parameters={"layer": -1, "head": "mean"},
        metrics=()
        if failed
        else (Metric("model_ms", took * 0.9, "ms"), Metric("top1_score", random_.random())),
        error_class="OutOfMemoryError" if failed else "",
        error_message="The model needs 9 GB and 4 GB are free." if failed else "",
    )


def _asked(i: int, random_: random.Random) -> RunDraft:
    model, (ms, right) = list(ASKED.items())[(i // 3) % len(ASKED)]
    failure = random_.choice(FAILURES) if random_.random() < 0.04 else ""
    took, question = ms * random_.lognormvariate(0, 0.35), QUESTIONS[(i // 9) % len(QUESTIONS)]
    is_right = random_.random() < right
    numbers = (
        Metric("total_ms", took, "ms"),
        Metric("ttft_ms", took * 0.4, "ms"),
        Metric("cost_usd", took * 1e-6, "USD"),
    )
    answer = f"{question} — {'둘' if is_right else 'three'}"
    return RunDraft(
        kind="vlm",
        model_id=model,
        model_revision=f"{model}-2026-09",
        environment=REMOTE,
        owner="ada",
        status="failed" if failure else "ok",
        duration_ms=took,
        parameters={
            "task": "question",
            "prompt": question,
            "references": ["2"],
            "item": {"set": "s", "id": f"q{i // 9}"},
        },
        metrics=(numbers[0],) if failure else (*numbers, Metric("score_exact", float(is_right))),
        artifacts=() if failure else (Artifact("answer.txt", "text/plain", answer.encode()),),
        error_class=failure,
        error_message=f"The provider said {failure}. <b>Wait</b> and ask again." if failure else "",
    )


def seed(store: Store, count: int, *, owner: str = "ada", chunk: int = 5_000) -> None:
    """Put `count` runs of `drafts` into an empty store, and the data-set run that asked the questions."""
    runs = drafts(count, owner)
    with store._database.write() as connection:
        whole = run_rows(ULID.from_datetime(UNTIL), replace(_set_run(), owner=owner), "ok")
        environments = {_digest(whole): find_or_insert_environment(connection, whole.environment)}
        connection.execute(insert(Run), whole.run | {"environment_id": environments[_digest(whole)]})
        position = 0
        while some := list(itertools.islice(runs, chunk)):
            rows = [run_rows(ULID.from_datetime(time), run, run.status) for time, run in some]
            for row in rows:
                if _digest(row) not in environments:
                    environments[_digest(row)] = find_or_insert_environment(connection, row.environment)
                insert_blobs(connection, row.blobs)
            connection.execute(
                insert(Run), [row.run | {"environment_id": environments[_digest(row)]} for row in rows]
            )
            _many(connection, MetricRow, [metric for row in rows for metric in row.metrics])
            _many(connection, RunArtifact, [artifact for row in rows for artifact in row.artifacts])
            asked = [row.run for row in rows if row.run["kind"] == "vlm"]
            _many(connection, Call, _calls(whole.run["id"], asked, position))
            position += len(asked)
        fill(connection)


def _set_run() -> RunDraft:
    return RunDraft(
        "vlm-set", "3 models", "", CPU, "ada", duration_ms=3.6e6, parameters={"data": "scenes:100"}
    )


def _digest(rows: RunRows) -> str:
    return str(rows.environment["digest"])


def _calls(set_id: str, runs: Sequence[dict[str, Any]], first: int) -> list[dict[str, Any]]:
    return [
        {
            "set_id": set_id,
            "position": first + i,
            "model_id": run["model_id"],
            "task": "question",
            "item": run["parameters"]["item"]["id"],
            "state": "done",
            "claimed": None,
            "run_id": run["id"],
        }
        for i, run in enumerate(runs)
    ]


def _many(connection: Any, table: Any, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert(table), rows)
