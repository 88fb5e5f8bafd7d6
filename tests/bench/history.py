"""How long the history's charts, lists and searches take on up to a million runs, beside MLflow and pandas.

    python -m tests.bench.history --runs 1000000
    python -m tests.bench.history --growth 10000,100000,1000000 --chart growth.html
    python -m tests.bench.history --runs 100000 --mlflow-python ENVIRONMENT/bin/python
    python -m tests.bench.history --runs 1000000 --postgres

A store is filled in bulk with what two years of use look like: 40 models, several kinds, 5 numbers a run,
12 % failures, tags, prompts and answers in three scripts. Then each question that the page asks is put,
filtered in each way, and its median time over some rounds is printed; the slowest of the first rounds, which
read the file into memory, is told, too. At the end runs are recorded one by one: how many a second, in an
empty store and in the full one, and how long a writer waits while a reader draws charts.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text
from ulid import ULID

from core.runs import Artifact, Environment, Metric, RunDraft
from db import RunFilter, Store
from db.filling import fill, many
from db.filling_tags import fill as fill_tags

LIMIT_MS = 300.0
WANTED_RATIO = 50.0
WANTED_INGEST = 0.7
LONGEST_WAIT_MS = 100.0
ROUNDS = 3
OWNER = "bench"
BEGIN = datetime(2024, 11, 1, tzinfo=UTC)
DAYS = 730
MODELS = [f"family-{i % 8}/model-{i:02d}" for i in range(40)]
KINDS = ("vlm", "attention", "segmentation", "features", "classification")
FAILURES = ("rate_limited", "timeout", "blocked", "truncated", "InputError", "ProviderError")
WORDS = [
    "a",
    "the",
    "dog",
    "cat",
    "street",
    "sign",
    "red",
    "small",
    "two",
    "people",
    "near",
    "water",
    "boat",
    "window",
    "table",
    "child",
    "umbrella",
    "night",
]
SCRIPTS = ("고양이가 창가에 앉아 있다", "一只猫坐在窗边看着街道", "猫が窓辺に座っている")
PROMPTS = (
    "Describe this picture in one sentence.",
    "What is written on the sign?",
    "이 그림을 설명해 주세요",
    "图中有什么",
)
CHUNK = 20_000
Rows = dict[str, list[dict[str, Any]]]
"""By table."""


TABLES = ("run", "metric", "run_tag", "artifact", "run_artifact")
"""In an order that breaks no reference."""


def bulk(store: Store, runs: int, seed: int = 7) -> None:
    """Fill an empty store as if the runs had been recorded one by one, which would take an hour."""
    database = store._database
    is_postgres = database.engine.dialect.name == "postgresql"
    with database.write(alone=True) as connection:
        indexes = _drop_indexes(connection) if is_postgres else []
        if not is_postgres:
            connection.exec_driver_sql("PRAGMA cache_size = -800000")
        environments = _environments(connection)
        for rows in _chunks(runs, random.Random(seed), environments):
            for table in TABLES:
                (_copy if is_postgres else _insert)(connection, table, rows[table])
        fill(connection)
        fill_tags(connection)
        for statement in indexes:
            connection.exec_driver_sql(statement)
    if is_postgres:  # it does so by itself, after a while; a SQLite store is never analysed
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for statement in ("VACUUM FULL run", "VACUUM ANALYZE"):
                connection.execute(text(statement))


def _insert(connection: Connection, table: str, rows: list[dict[str, Any]]) -> None:
    if rows:
        names = list(rows[0])
        values = ", ".join(f":{name}" for name in names)
        many(connection, f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values})", rows)


def _copy(connection: Connection, table: str, rows: list[dict[str, Any]]) -> None:
    """Insert rows into PostgreSQL the quick way."""
    if rows:
        cursor = connection.connection.cursor()
        with cursor.copy(f"COPY {table} ({', '.join(rows[0])}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(tuple(row.values()))


def _drop_indexes(connection: Connection) -> list[str]:
    """Drop the indexes that only slow down filling; return the statements that create them."""
    there = "SELECT indexname, indexdef FROM pg_indexes WHERE indexname LIKE 'ix%' AND indexname <> :kept"
    found = connection.execute(text(there), {"kept": "ix_run_found"}).all()
    for name, _ in found:
        connection.exec_driver_sql(f"DROP INDEX {name}")
    return [definition for _, definition in found]


def _environments(connection: Any) -> list[int]:
    """Insert three machines, one of which was updated once: the last two differ by their versions."""
    found = []
    for i, (device, name, torch) in enumerate(
        (("cpu", "Bench CPU", "2.13.0"), ("cuda:0", "Bench GPU", "2.13.0"), ("cuda:0", "Bench GPU", "2.14.1"))
    ):
        row = {
            "digest": f"bench {i}",
            "device": device,
            "name": name,
            "versions": json.dumps({"torch": torch}),
        }
        statement = text(
            "INSERT INTO environment (digest, device, device_name, dtype, threads, versions, git_revision)"
            " VALUES (:digest, :device, :name, 'float32', 2, :versions, '') RETURNING id"
        )
        found.append(connection.execute(statement, row).scalar_one())
    return found


def _chunks(runs: int, dice: random.Random, environments: list[int]) -> Iterator[Rows]:
    start = int(BEGIN.timestamp() * 1000)
    width = DAYS * 86_400_000
    times = sorted(start + int(dice.random() * width) for _ in range(runs))
    for first in range(0, runs, CHUNK):
        rows: Rows = {name: [] for name in TABLES}
        for i, ms in enumerate(times[first : first + CHUNK], first):
            _add(rows, i, ms, dice, environments, updated=ms > start + width * 2 // 3)
        yield rows


def _add(
    rows: Rows,
    i: int,
    ms: int,
    dice: random.Random,
    environments: list[int],
    *,
    updated: bool,
) -> None:
    model = min(int(dice.expovariate(0.06)), len(MODELS) - 1)
    kind = KINDS[0] if model < 16 else KINDS[1 + model % 4]
    failed = dice.random() < 0.12
    run_id = str(ULID.from_bytes(ms.to_bytes(6, "big") + dice.randbytes(10)))
    duration = dice.lognormvariate(3 + model / 10, 0.35)
    prompt = dice.choice(PROMPTS)
    rows["run"].append(
        {
            "id": run_id,
            "time": ms,
            "kind": kind,
            "model_id": MODELS[model],
            "model_revision": "r2" if updated and model % 5 == 0 else "r1",
            "status": "failed" if failed else "ok",
            "duration_ms": duration,
            "environment_id": environments[0 if model % 3 else 2 if updated else 1],
            "owner": OWNER,
            "shared": False,
            "error_class": dice.choice(FAILURES) if failed else "",
            "error_message": "",
            "view": "{}",
            "note": "worth a second look" if i % 500 == 0 else "",
            "parameters": json.dumps({"prompt": prompt} if kind == "vlm" else {"layer": 3}),
        }
    )
    numbers = {"total_ms": duration, "load_ms": 2.0, "attempts": 1.0, "score_f1": dice.random()}
    numbers["cost_usd" if kind == "vlm" else "model_ms"] = duration / 1e6
    rows["metric"] += [
        {"run_id": run_id, "position": p, "name": name, "value": value, "unit": "ms" if "_ms" in name else ""}
        for p, (name, value) in enumerate(numbers.items())
    ]
    for tag, every in (("baseline", 10), ("night run", 50), ("rare", 5000)):
        if i % every == 0:
            rows["run_tag"].append({"run_id": run_id, "tag": tag})
    if kind == "vlm" and not failed:
        words = dice.choices(WORDS, k=14)
        rare = ["zeppelin"] * (i % 2000 == 1) + [SCRIPTS[i % 3]] * (i % 40 == 0)
        said = " ".join([*words, *rare, str(i)])
        digest = f"{i:064x}"
        data = said.encode()
        rows["artifact"].append({"sha256": digest, "size": len(data), "data": data})
        file = {"run_id": run_id, "name": "answer.txt", "sha256": digest, "media_type": "text/plain"}
        rows["run_artifact"].append(file)


Question = Callable[[Store, RunFilter], object]
SEOUL = ZoneInfo("Asia/Seoul")

QUESTIONS: dict[str, Question] = {
    "first page": lambda store, where: store.runs(where, limit=100),
    "page by duration": lambda store, where: store.runs(where, limit=100, order_by="duration"),
    "page by model": lambda store, where: store.runs(where, limit=100, order_by="model", descending=False),
    "page 500": lambda store, where: store.runs(where, limit=100, offset=50_000),
    "choices": lambda store, where: store.choices(where),
    "latency by week": lambda store, where: store.latency_chart(where, "week"),
    "latency by day": lambda store, where: store.latency_chart(where, "day"),
    "spread": lambda store, where: store.spread(where),
    "quality, speed": lambda store, where: store.trade_off(where, "score_f1"),
    "metric names": lambda store, where: store.metric_names(where),
    "cost by week": lambda store, where: store.cost_over_time(where, "week"),
    "outcomes": lambda store, where: store.outcomes(where),
    "outcomes by week": lambda store, where: store.outcomes_over_time(where, "week"),
    "calendar": lambda store, where: store.calendar(where, SEOUL),
    "count": lambda store, where: store.count(where),
}
"""Everything that the history page asks for, by what it is called in the table."""

EVERYTHING = RunFilter(owner=OWNER)
FILTERS = {
    "everything": EVERYTHING,
    "kind": replace(EVERYTHING, kinds=("vlm",)),
    "model": replace(EVERYTHING, models=(MODELS[3], MODELS[20])),
    "status": replace(EVERYTHING, statuses=("failed",)),
    "outcome": replace(EVERYTHING, outcomes=("timeout",)),
    "device": replace(EVERYTHING, devices=("cpu",)),
    "a year to the ms": replace(EVERYTHING, since=BEGIN + timedelta(days=365, milliseconds=77)),
    "a week": replace(EVERYTHING, since=BEGIN + timedelta(days=723, hours=3)),
    "tag (10 %)": replace(EVERYTHING, tags=("baseline",)),
    "tag (rare)": replace(EVERYTHING, tags=("rare",)),
    "two tags (12 %)": replace(EVERYTHING, tags=("baseline", "night run")),
    "text (1 in 2,000)": replace(EVERYTHING, text="zeppelin"),
    "text (common)": replace(EVERYTHING, text="umbrella cat"),
    "text (Korean)": replace(EVERYTHING, text="창가"),
    "nothing": replace(EVERYTHING, models=("no such model",)),
    "bar of the spread": replace(EVERYTHING, models=(MODELS[3],), min_ms=25.0, max_ms=30.0),
    "10 ms to 1 s": replace(EVERYTHING, min_ms=10.0, max_ms=1_000.0),
}
OF_A_RANGE = ("first page", "page by duration", "page by model", "page 500", "count")
"""What the page asks about a range of durations: behind a bar of the spread there is a list, and no chart."""


Times = tuple[float, float, float]
"""In ms: of the first call, the median of the following, and the median of the processor's time in these."""


def milliseconds(ask: Callable[[], object]) -> Times:
    """Return how long calls take; the processor's time is what SQLite alone would take on an idle machine."""
    taken, busy = [], []
    for _ in range(1 + ROUNDS):
        start, at = time.perf_counter(), time.process_time()
        ask()
        taken.append((time.perf_counter() - start) * 1000)
        busy.append((time.process_time() - at) * 1000)
    return taken[0], statistics.median(taken[1:]), statistics.median(busy[1:])


def ask_all(store: Store, filters: dict[str, RunFilter]) -> dict[tuple[str, str], Times]:
    """Return the times of every question under every filter."""
    return {
        (name, said): milliseconds(lambda ask=ask, where=where: ask(store, where))  # type: ignore[misc]
        for said, where in filters.items()
        for name, ask in QUESTIONS.items()
        if where.min_ms is None or name in OF_A_RANGE
    }


def print_times(found: dict[tuple[str, str], Times]) -> None:
    """Print two tables: a row a filter, a column a question, medians in ms."""
    columns = list(QUESTIONS)
    for i, what in ((1, "ms"), (2, "ms of processor")):
        print(f"{what:18s}" + "".join(f"{name[:13]:>14s}" for name in columns))
        for said in dict.fromkeys(said for _, said in found):
            times = (found.get((name, said)) for name in columns)
            cells = "".join(f"{time[i]:14.0f}" if time else f"{'-':>14s}" for time in times)
            print(f"{said:18s}{cells}")
    slowest = max(found, key=lambda key: found[key][1])
    first = max(found, key=lambda key: found[key][0])
    print(f"slowest: {found[slowest][1]:.0f} ms ({slowest[0]}, {slowest[1]}); wanted: under {LIMIT_MS:g}")
    print(f"slowest of first calls: {found[first][0]:.0f} ms ({first[0]}, {first[1]})")


def draft(number: int) -> RunDraft:
    """Return a run with 3 parameters and 5 metrics, as most are."""
    return RunDraft(
        kind="attention",
        model_id=MODELS[number % 40],
        model_revision="r1",
        environment=Environment("cpu", "bench", "float32", 1, {"python": "3.11"}, ""),
        owner=OWNER,
        duration_ms=12.5 + number % 7,
        parameters={"layer": 3, "head": "mean", "query": [1, 2]},
        metrics=[Metric(f"metric_{i}", i * 1.5, "ms") for i in range(5)],
    )


def answered(number: int) -> RunDraft:
    """Return a run with a prompt and an answer."""
    said = " ".join(random.Random(number).choices(WORDS, k=30))
    return replace(
        draft(number),
        kind="vlm",
        parameters={"prompt": PROMPTS[number % 4], "task": "caption"},
        artifacts=[Artifact("answer.txt", "text/plain", f"{said} {number}".encode())],
    )


def ingest(store: Store, make: Callable[[int], RunDraft], runs: int = 500) -> float:
    """Return how many runs a second are recorded one by one (median of some rounds)."""
    rates = []
    for turn in range(1 + ROUNDS):
        drafts = [make(turn * runs + i) for i in range(runs)]
        start = time.perf_counter()
        for one in drafts:
            store.record(one)
        rates.append(runs / (time.perf_counter() - start))
    return statistics.median(rates[1:])


def longest_wait(url: str, store: Store) -> tuple[float, float]:
    """Return the longest time in ms that recording a run takes alone, and while charts are drawn."""

    def slowest() -> float:
        worst = 0.0
        for i in range(300):
            start = time.perf_counter()
            store.record(draft(i))
            worst = max(worst, time.perf_counter() - start)
        return worst * 1000

    alone = slowest()
    code = (
        "import sys; from db import Store; from tests.bench.history import QUESTIONS, EVERYTHING\n"
        f"store = Store.open({url!r}); print('reading', flush=True)\n"
        "while True:\n    for ask in QUESTIONS.values(): ask(store, EVERYTHING)"
    )
    reader = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert reader.stdout is not None
        reader.stdout.readline()
        return alone, slowest()
    finally:
        reader.kill()
        reader.wait()


MLFLOW_SIDE = """
import json, logging, sqlite3, sys, time
logging.disable(logging.CRITICAL)
import mlflow
from mlflow.tracking import MlflowClient

folder, rounds = sys.argv[1], int(sys.argv[2])
mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.sqlite3")
experiment = MlflowClient().create_experiment("bench")
there = sqlite3.connect(f"{folder}/mlflow.sqlite3", isolation_level=None)
there.execute("BEGIN")
for line in open(f"{folder}/runs.jsonl"):
    run_id, ms, model, kind, status, duration, numbers = json.loads(line)
    there.execute(
        "INSERT INTO runs (run_uuid, name, source_type, status, start_time, end_time, lifecycle_stage,"
        " artifact_uri, experiment_id, user_id) VALUES (?, ?, 'LOCAL', ?, ?, ?, 'active', '', ?, '')",
        (run_id, run_id, "FINISHED" if status == "ok" else "FAILED", ms, ms + int(duration), int(experiment)),
    )
    there.executemany(
        "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid)"
        " VALUES (?, ?, ?, 0, 0, ?)",
        [(key, value, ms, run_id) for key, value in numbers.items()],
    )
    there.executemany(
        "INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)",
        [("model", model, run_id), ("kind", kind, run_id)],
    )
there.execute("COMMIT")
there.close()

def ask():
    frame = mlflow.search_runs([experiment], max_results=10**9)
    good = frame[frame["status"] == "FINISHED"]
    week = good["start_time"].dt.tz_convert(None).dt.to_period("W")
    by_model = good.groupby([week, "tags.model"])["metrics.total_ms"]
    by_model.quantile([0.25, 0.5, 0.75, 0.9])
    return len(frame)

seconds = []
for _ in range(rounds):
    start = time.perf_counter()
    n = ask()
    seconds.append(time.perf_counter() - start)
print(json.dumps([n, seconds]))
"""


def against_mlflow(store: Store, python: str, runs: int) -> int:
    """Print how much quicker latency by week and model is here than by MLflow's `search_runs` and pandas.

    The same runs are in both, with the same metrics; MLflow's tables are filled directly, which it does not
    notice. It is given the metrics and two tags, and no parameters, prompts or answers.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "runs.jsonl").open("w") as file:
            for rows in _chunks(runs, random.Random(7), [1, 2, 3]):
                for run, metrics in zip(rows["run"], batched(rows["metric"], 5), strict=True):
                    numbers = {metric["name"]: metric["value"] for metric in metrics}
                    keys = ("id", "time", "model_id", "kind", "status", "duration_ms")
                    file.write(json.dumps([*(run[key] for key in keys), numbers]) + "\n")
        command = [python, "-c", MLFLOW_SIDE, str(folder), "2"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=folder)
        n, seconds = json.loads(done.stdout.splitlines()[-1])
    theirs = min(seconds) * 1000
    assert n == runs
    print(f"MLflow's search_runs and pandas, {n:,} runs: {theirs:.0f} ms")
    ratios = {}
    for name in ("latency by week", "latency by day"):
        ratios[name] = theirs / milliseconds(lambda name=name: QUESTIONS[name](store, EVERYTHING))[1]  # type: ignore[misc]
        print(f"{name}: {ratios[name]:.0f} times as fast (wanted: at least {WANTED_RATIO:g})")
    return int(ratios["latency by week"] < WANTED_RATIO)


def batched(rows: list[Any], size: int) -> Iterator[list[Any]]:
    """Yield a list in parts of a size."""
    return (rows[i : i + size] for i in range(0, len(rows), size))


def main() -> int:
    """Print the tables; fail where something is slower than it has to be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--growth", help="sizes with commas: how the times grow with the number of runs")
    parser.add_argument("--chart", type=Path, help="file for the chart of the growth (HTML)")
    parser.add_argument(
        "--postgres", action="store_true", help="on a private PostgreSQL server, not on SQLite"
    )
    parser.add_argument("--mlflow-python", help="interpreter of an environment with MLflow and pandas")
    parser.add_argument(
        "--keep",
        type=Path,
        help="file of the SQLite store: made where it is missing, and kept; with --growth, a file a size",
    )
    arguments = parser.parse_args()
    if arguments.growth:
        return growth([int(size) for size in arguments.growth.split(",")], arguments.chart, arguments.keep)
    with ExitStack() as stack:
        url = _url(stack, postgres=arguments.postgres, keep=arguments.keep)
        with Store.open(url) as store:
            if store.count(RunFilter()) == 0:
                start = time.perf_counter()
                bulk(store, arguments.runs)
                print(f"{arguments.runs:,} runs filled in {time.perf_counter() - start:.0f} s")
            found = ask_all(store, FILTERS)
            print_times(found)
            if arguments.mlflow_python:
                return against_mlflow(store, arguments.mlflow_python, arguments.runs)
            return max(_written(stack, store, url, postgres=arguments.postgres), _too_slow(found))


def _url(stack: ExitStack, *, postgres: bool, keep: Path | None = None) -> str:
    if postgres:
        from tests.support.postgres import server

        return stack.enter_context(server()).new_database()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    return f"sqlite:///{keep or folder / 'store.sqlite3'}"


def _too_slow(found: dict[tuple[str, str], Times]) -> int:
    return int(any(median > LIMIT_MS for _, median, _ in found.values()))


def _written(stack: ExitStack, store: Store, url: str, *, postgres: bool) -> int:
    """Print how quickly runs are recorded, and how long a writer waits; say whether it is too slow."""
    ratios = []
    with Store.open(_url(stack, postgres=postgres)) as new:
        bulk(new, 1_000)
        for name, make in (("without words", draft), ("with an answer", answered)):
            few, many = ingest(new, make), ingest(store, make)
            ratios.append(many / few)
            print(f"ingest {name}: {few:.0f} runs/s at 1,000; {many:.0f} runs/s here: {ratios[-1]:.2f}")
    alone, read = longest_wait(url, store)
    print(f"longest time to record a run: {alone:.0f} ms alone, {read:.0f} ms while charts are drawn")
    return int(min(ratios) < WANTED_INGEST or read - alone > LONGEST_WAIT_MS)


def growth(sizes: list[int], chart: Path | None, keep: Path | None) -> int:
    """Print how the times grow with the number of runs, and draw them."""
    found = {}
    for size in sizes:
        file = keep and keep.with_stem(f"{keep.stem}-{size}")
        with ExitStack() as stack, Store.open(_url(stack, postgres=False, keep=file)) as store:
            if store.count(RunFilter()) == 0:
                bulk(store, size)
            found[size] = ask_all(store, {"everything": EVERYTHING})
    for i, what in ((1, "ms"), (2, "ms of processor")):
        print(f"{what:18s}" + "".join(f"{size:14,}" for size in sizes))
        for name in QUESTIONS:
            print(f"{name:18s}" + "".join(f"{found[size][name, 'everything'][i]:14.1f}" for size in sizes))
    if chart:
        import plotly.graph_objects as go

        lines = [
            go.Scatter(x=sizes, y=[found[size][name, "everything"][2] for size in sizes], name=name)
            for name in QUESTIONS
        ]
        figure = go.Figure(lines).update_xaxes(type="log", title="Runs", dtick=1)
        figure.update_yaxes(type="log", title="Processor time, ms", dtick=1)
        figure.add_hline(LIMIT_MS, line_dash="dot", annotation_text=f"{LIMIT_MS:g} ms")
        figure.update_layout(template="plotly_white", title="History: time of each answer by number of runs")
        chart.write_text(figure.to_html(include_plotlyjs=True))
    return int(any(_too_slow(times) for times in found.values()))


if __name__ == "__main__":
    sys.exit(main())
