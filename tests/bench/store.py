"""How many runs a second are kept, each acknowledged by itself: this store, MLflow, bare SQLite.

    python -m tests.bench.store --mlflow-python ENVIRONMENT/bin/python

The same work on all: one finished run with 3 parameters and 2 metrics at a time, on SQLite, in the same
folder. MLflow is called by its client, with as few calls as it has for that: `create_run`, `log_batch`,
`set_terminated`. It is installed in an environment of its own, because this app does not need it. Bare
SQLite (two tables, no index but the keys) is what the disk and the processor allow at best.
"""

import argparse
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from core.runs import Environment, Metric, RunDraft
from db import RunFilter, Store

WANTED_RATIO = 20.0
ROUNDS = 3

MLFLOW_SIDE = """
import json, logging, sys, time
logging.disable(logging.CRITICAL)
from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

url, rounds, runs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
client = MlflowClient(tracking_uri=url)
experiment = client.create_experiment("bench")
parameters = [Param("layer", "3"), Param("head", "mean"), Param("query", "1,2")]

def record():
    run_id = client.create_run(experiment).info.run_id
    now = int(time.time() * 1000)
    metrics = [Metric("latency_ms", 12.5, now, 0), Metric("row_sum_error", 1e-7, now, 0)]
    client.log_batch(run_id, metrics=metrics, params=parameters)
    client.set_terminated(run_id)

record()
seconds = []
for _ in range(rounds):
    start = time.perf_counter()
    for _ in range(runs):
        record()
    seconds.append(time.perf_counter() - start)
print(json.dumps(seconds))
"""

ENVIRONMENT = Environment("cpu", "bench", "float32", 1, {"python": "3.11"}, "")


def measure(record: Callable[[], object], runs: int) -> float:
    """Return how many runs a second `record` keeps (median of some rounds, without the first run)."""
    record()
    rates = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(runs):
            record()
        rates.append(runs / (time.perf_counter() - start))
    return statistics.median(rates)


def this_store(folder: Path, runs: int) -> float:
    """Return the rate of this app's store."""
    draft = RunDraft(
        kind="attention",
        model_id="vit_tiny",
        model_revision="",
        environment=ENVIRONMENT,
        owner="bench",
        duration_ms=12.5,
        parameters={"layer": 3, "head": "mean", "query": [1, 2]},
        metrics=[Metric("latency_ms", 12.5, "ms"), Metric("row_sum_error", 1e-7)],
    )
    with Store.open(f"sqlite:///{folder / 'store.sqlite3'}") as store:
        rate = measure(lambda: store.record(draft), runs)
        assert store.count(RunFilter()) == ROUNDS * runs + 1
        assert store.check() == ()
    return rate


def bare_sqlite(folder: Path, runs: int) -> float:
    """Return the rate of two tables and nothing else."""
    with closing(sqlite3.connect(folder / "bare.sqlite3", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("CREATE TABLE run (id INTEGER PRIMARY KEY, layer INT, head TEXT, query TEXT)")
        connection.execute("CREATE TABLE metric (run_id INT, name TEXT, value REAL)")

        def record() -> None:
            connection.execute("BEGIN IMMEDIATE")
            run = connection.execute(
                "INSERT INTO run (layer, head, query) VALUES (3, 'mean', '1,2')"
            ).lastrowid
            metrics = [(run, "latency_ms", 12.5), (run, "row_sum_error", 1e-7)]
            connection.executemany("INSERT INTO metric VALUES (?, ?, ?)", metrics)
            connection.execute("COMMIT")

        return measure(record, runs)


def mlflow(python: str, folder: Path, runs: int) -> float:
    """Return the rate of MLflow, as installed beside `python`."""
    url = f"sqlite:///{folder / 'mlflow.sqlite3'}"
    command = [python, "-c", MLFLOW_SIDE, url, str(ROUNDS), str(runs)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=folder)
    return statistics.median(runs / seconds for seconds in json.loads(done.stdout.splitlines()[-1]))


def main() -> int:
    """Print the table; fail where the store is not as much faster than MLflow as it has to be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--mlflow-python", help="interpreter of an environment with MLflow; else it is left out"
    )
    parser.add_argument("--runs", type=int, default=1000, help="runs a round (MLflow: a tenth)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rates = {
            "this store": this_store(folder, arguments.runs),
            "bare sqlite3": bare_sqlite(folder, arguments.runs),
        }
        if arguments.mlflow_python:
            rates["MLflow"] = mlflow(arguments.mlflow_python, folder, max(arguments.runs // 10, 1))
    print(f"{'':14s}{'runs/s':>10s}")
    for who, rate in rates.items():
        print(f"{who:14s}{rate:10.0f}")
    if "MLflow" not in rates:
        return 0
    ratio = rates["this store"] / rates["MLflow"]
    print(f"this store / MLflow: {ratio:.1f} (wanted: at least {WANTED_RATIO:g})")
    return 0 if ratio >= WANTED_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
