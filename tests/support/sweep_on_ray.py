"""Sweeps on a real Ray cluster on loopback, in one process: `python -m tests.support.sweep_on_ray URL …`.

For each store one sweep, and in its middle a node is killed; in the last one then a sweep of a file. Prints
what became of them as JSON.
Run it where the only network is loopback, for Ray listens on every address that it finds.
"""

import json
import os
import subprocess
import sys
import threading
import time
from typing import Any

from core.bench.sweep.files import files_of
from core.bench.sweep.plan import SweepPlan
from core.bench.sweep.ray_crew import OnRay
from core.bench.sweep.run import SweepRun
from core.samples import load_sample
from db import Store
from tests.support.sweep_cells import measure

BEGAN = time.monotonic()
PICTURES = tuple("abcdefgh")


def on_loopback(command: list[str]) -> list[str]:
    """Return a command that sees no network but loopback where that can be: Ray listens on all it finds."""
    if subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode != 0:
        return command
    return ["unshare", "-n", "bash", "-c", 'ip link set lo up && exec "$@"', "-", *command]


def say(what: str) -> None:
    """Tell whoever watches how long it has taken."""
    sys.stderr.write(f"{time.monotonic() - BEGAN:.1f} s: {what}\n")


def main(urls: list[str]) -> dict[str, Any]:
    """Sweep into each store, killing a node in each sweep's middle, and return how the sweeps ended."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.add_node(num_cpus=1, wait=False) for _ in urls]
    say("the cluster is up")
    answers = {}
    for url in urls:
        with Store.open(url) as store:
            plan = SweepPlan(("sleep-0.3",), PICTURES, deadline_s=30)
            where = OnRay(cluster.address)
            run = SweepRun.begin(plan, where=where, measure=measure, ledger=store, owner="ada")
            thread = threading.Thread(target=run.work)
            thread.start()
            while run.progress.done < 3 and thread.is_alive():
                time.sleep(0.02)
            cluster.remove_node(nodes.pop(), allow_graceful=False)
            say("killed a node")
            thread.join()
            say(f"swept {url}")
            answers[url] = {"set": run.set_id, "phase": run.progress.phase, "message": run.progress.message}
    with Store.open(urls[-1]) as store:
        answers[urls[-1]]["file"] = sweep_a_file(store, OnRay(cluster.address))
    cluster.shutdown()
    say("shut down")
    return answers


def sweep_a_file(store: Store, where: OnRay) -> float | None:
    """Return how large a file is on a node."""
    files = files_of([load_sample("coffee")])
    plan = SweepPlan(("size",), (files[0].sha256,), deadline_s=30)
    run = SweepRun.begin(plan, where=where, measure=measure, ledger=store, owner="ada", files=files)
    run.work()
    (row,) = store.set_results(run.set_id, "ada", metrics=("value",))
    say("swept a file")
    return row.metrics.get("value")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1:])))
