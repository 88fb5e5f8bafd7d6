"""What is left of an export of a million runs that is cancelled half way: memory, connections, files.

    python -m tests.bench.export --keep STORE.sqlite3 --rows 500000

The job behind the page's Export button writes all runs of a seeded store. After so many rows it is cancelled,
as by a click, or by a browser that goes away. Memory is looked at all the way; then it is checked that the
reader's connection is given back, that no file is left that could be taken for a whole one, and that the
store takes the next run at once.
"""

import argparse
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from db import RunFilter, Store
from pages.ui.history_export import Job
from tests.bench.history import OWNER, bulk, draft

MOST_GROWTH_MB = 32.0
LONGEST_CANCEL_S = 2.0
SAMPLES = 10


def resident_mb() -> float:
    """Return how much memory this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def watched(job: Job, store: Store, rows: int) -> tuple[list[float], float]:
    """Run a job until so many rows are written; return the memory in MB along the way, and rows a second."""
    seen: list[float] = []
    start = time.perf_counter()
    job.start(store)
    while job.written < rows and not job.done.is_set():
        if job.written >= rows * (len(seen) + 1) / SAMPLES:
            seen.append(resident_mb())
            print(f"{job.written:,} rows: {seen[-1]:.0f} MB", flush=True)
        time.sleep(0.05)
    return seen, job.written / (time.perf_counter() - start)


def left(job: Job, store: Store) -> list[str]:
    """Cancel a job and return what of it is left that should not be."""
    start = time.perf_counter()
    job.cancel()
    job.done.wait()
    took = time.perf_counter() - start
    print(f"cancelled at {job.written:,} of {job.total:,} rows, which took {took * 1000:.0f} ms")
    for thread in threading.enumerate():
        if thread.name == "history-export":
            thread.join()
    start = time.perf_counter()
    store.delete([store.record(draft(1))], OWNER)
    written = time.perf_counter() - start
    print(f"the next run is recorded and deleted in {written * 1000:.0f} ms")
    wrong = {
        f"a folder with {[path.name for path in job.folder.glob('*')]}": job.folder.exists(),
        "a connection that is not given back": store._database.engine.pool.checkedout(),  # type: ignore[attr-defined]
        f"{took:.1f} s until it stopped": took > LONGEST_CANCEL_S,
    }
    return [what for what, is_so in wrong.items() if is_so]


def main() -> int:
    """Print what happened; fail where anything of the export is left, or memory grew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=500_000, help="after which it is cancelled")
    parser.add_argument("--form", choices=("csv", "json", "parquet"), default="json")
    parser.add_argument("--keep", type=Path, help="file of the store: made where it is missing, and kept")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = f"sqlite:///{arguments.keep or folder / 'store.sqlite3'}"
        store = stack.enter_context(Store.open(url))
        where = RunFilter(owner=OWNER)
        if store.count(where) == 0:
            bulk(store, arguments.runs)
        job = Job(arguments.form, where, store.count(where))
        seen, rate = watched(job, store, arguments.rows)
        grown = max(seen[1:], default=0.0) - seen[0] if seen else 0.0
        print(f"{rate:.0f} rows a second; memory grew by {grown:.0f} MB after the first tenth")
        wrong = left(job, store)
    wrong += [f"{grown:.0f} MB more memory"] if grown > MOST_GROWTH_MB else []
    print("Left: " + "; ".join(wrong) if wrong else "Nothing of the export is left.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
