"""What a sweep costs over a bare loop, and what a second node of a Ray cluster brings.

    python -m tests.bench.sweep [--cells N] [--no-ray]

The bare loop calls a cell's function again and again in this process and stores nothing. The sweep measures
the same cells in a process of one worker, and writes each as a run into a new SQLite store. The pace of both
is that of the cells behind the first one: starting the process is told apart. On Ray, cells sleep, on a real
cluster of a head without CPUs and one or two nodes with one CPU each, on loopback.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time

from core.bench.sweep.crew import Here, Where
from core.bench.sweep.plan import SweepPlan
from core.bench.sweep.ray_crew import OnRay
from core.bench.sweep.run import SweepRun
from core.settings import ROOT
from db import Store
from tests.support.sweep_cells import measure
from tests.support.sweep_on_ray import on_loopback

LENGTHS_MS = (20, 50, 100, 200)
WANTED_MS, WANTED_SHARE, WANTED_NODES = 100, 0.9, 1.5
RAY_CELL_S, RAY_CELLS = 0.5, 24


def pace(times: list[float]) -> float:
    """Return how many cells a second came behind the first one, by when each was done."""
    return (len(times) - 1) / (times[-1] - times[0])


def bare(plan: SweepPlan) -> float:
    """Return the pace of a bare loop."""
    times = []
    for cell in plan.cells():
        measure(cell.model_id, cell.item)
        times.append(time.perf_counter())
    return pace(times)


def swept(plan: SweepPlan, where: Where) -> tuple[float, float]:
    """Return the pace of a sweep, and how many seconds it took until its first cell was done."""
    with tempfile.TemporaryDirectory() as folder, Store.open(f"sqlite:///{folder}/store.sqlite3") as store:
        run = SweepRun.begin(plan, where=where, measure=measure, ledger=store, owner="bench")
        began, times = time.perf_counter(), list[float]()
        thread = threading.Thread(target=run.work)
        thread.start()
        while thread.is_alive() and len(times) < plan.count:
            times += [time.perf_counter()] * (run.progress.done - len(times))
            time.sleep(0.001)
        thread.join()
        if len(times) < plan.count or run.progress.failed:
            raise SystemExit(f"The sweep came to {run.progress}.")
        return pace(times), times[0] - began


def plan_of(seconds: float, cells: int) -> SweepPlan:
    """Return a plan of cells that sleep."""
    return SweepPlan((f"sleep-{seconds}",), tuple(map(str, range(cells))))


def measure_overhead(cells: int) -> bool:
    """Print the share of the bare loop's pace for each length of a cell; say whether it is enough."""
    print(f"{'cell':>8}{'bare':>12}{'sweep':>12}{'share':>8}{'first cell':>12}   ({cells} cells, one worker)")
    enough = False
    for length in LENGTHS_MS:
        plan = plan_of(length / 1e3, cells)
        alone, (ours, first_s) = bare(plan), swept(plan, Here())
        share = ours / alone
        print(f"{length:5} ms{alone:10.2f}/s{ours:10.2f}/s{share:8.1%}{first_s:10.1f} s")
        if length == WANTED_MS:
            enough = share >= WANTED_SHARE
    print(f"wanted: {WANTED_SHARE:.0%} at {WANTED_MS} ms a cell")
    return enough


def measure_nodes() -> bool:
    """Print what a second node brings; say whether it is enough."""
    command = [sys.executable, "-m", "tests.bench.sweep", "--cluster"]
    ended = subprocess.run(on_loopback(command), cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    one, two = json.loads(ended.stdout.splitlines()[-1])
    print(f"Ray, {RAY_CELLS} cells of {RAY_CELL_S} s: {one:.2f}/s on 1 node, {two:.2f}/s on 2 nodes")
    print(f"{two / one:.2f} x as many (wanted: {WANTED_NODES})")
    return bool(two / one >= WANTED_NODES)


def on_cluster() -> list[float]:
    """Return the pace of a sweep on one node, and on two."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    paces = []
    for _ in range(2):
        cluster.add_node(num_cpus=1)
        paces.append(swept(plan_of(RAY_CELL_S, RAY_CELLS), OnRay(cluster.address))[0])
    cluster.shutdown()
    return paces


def main() -> int:
    """Measure both and say whether they are good enough."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=40)
    parser.add_argument("--no-ray", action="store_true")
    parser.add_argument("--cluster", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.cluster:
        print(json.dumps(on_cluster()))
        return 0
    good = [measure_overhead(chosen.cells)]
    if not chosen.no_ray:
        good.append(measure_nodes())
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
