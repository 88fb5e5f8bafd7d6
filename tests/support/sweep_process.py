"""A sweep in a process of its own: `python -m tests.support.sweep_process URL PLAN [ROOM]`.

PLAN is a plan's JSON. With ROOM the store's log may grow by so many bytes only. Prints the sweep's id, and at
its end how it ended.
"""

import json
import resource
import sys
from pathlib import Path

from core.bench.sweep.crew import Here
from core.bench.sweep.plan import SweepPlan
from core.bench.sweep.run import SweepRun
from db import Store, StoreError
from tests.support.sweep_cells import measure


def say(line: str) -> None:
    """Tell the test."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(url: str, plan: str, room: str = "") -> None:
    """Begin a sweep and work at it."""
    with Store.open(url) as store:
        chosen = SweepPlan.from_json(json.loads(plan))
        run = SweepRun.begin(chosen, where=Here(2), measure=measure, ledger=store, owner="ada")
        say(run.set_id)
        if room:
            log = Path(url.removeprefix("sqlite:///") + "-wal")
            resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size + int(room),) * 2)
        try:
            run.work()
        except StoreError as error:
            say(type(error).__name__)
        say(f"{run.progress.phase} {run.progress.message}")


if __name__ == "__main__":
    main(*sys.argv[1:])
