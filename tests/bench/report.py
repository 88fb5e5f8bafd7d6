"""How long a report of many runs takes, how large it is, and how much memory it needs.

    python -m tests.bench.report [--runs 100000]

Each file is made by the command line in a process of its own, from a store that is filled first; the peak
is that process's, the loading of Python and of every library in it. Wanted: the PDF of 100,000 runs in under
30 s and 10 MB.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from core.runs import LOCAL_OWNER
from db import Store
from tests.support.report_runs import seed

WANTED_S, WANTED_MB = 30.0, 10.0
SIZES = (0, 1, 1_000)


def filled(folder: Path, runs: int) -> str:
    """Return the address of a store with this machine's own runs."""
    url = f"sqlite:///{folder / f'{runs}.sqlite3'}"
    with Store.open(url) as store:
        if runs:
            seed(store, runs, owner=LOCAL_OWNER)
    return url


def measure(url: str, out: Path) -> tuple[float, float, float, float]:
    """Return seconds, seconds of the processor, MB of the file, and MB of memory at most."""
    command = [sys.executable, "-m", "core", "report", "--zone", "UTC", "--out", str(out)]
    start = time.perf_counter()
    environment = os.environ | {"VISION_BENCH_DATABASE_URL": url}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the report ended with {process.returncode}")
    busy = usage.ru_utime + usage.ru_stime
    return seconds, busy, out.stat().st_size / 1e6, usage.ru_maxrss * resource_unit() / 1e6


def resource_unit() -> int:
    """Return how many bytes `ru_maxrss` counts in."""
    return 1 if sys.platform == "darwin" else 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000)
    runs = parser.parse_args().runs
    print(f"{'runs':>9} {'file':>5} {'seconds':>8} {'of CPU':>7} {'MB':>7} {'peak MB':>8}")
    with tempfile.TemporaryDirectory(prefix="report-") as name:
        folder = Path(name)
        for size in (*SIZES, runs):
            url = filled(folder, size)
            for kind in ("pdf", "html"):
                seconds, busy, megabytes, peak = measure(url, folder / f"report.{kind}")
                print(f"{size:>9,} {kind:>5} {seconds:>8.1f} {busy:>7.1f} {megabytes:>7.2f} {peak:>8.0f}")
                if kind == "pdf" and size == runs:
                    last = (seconds, megabytes)
    share = f"{last[0] / WANTED_S:.2f} of {WANTED_S:.0f} s, {last[1] / WANTED_MB:.2f} of {WANTED_MB:.0f} MB"
    print(f"PDF of {runs:,} runs: {share}")


if __name__ == "__main__":
    main()
