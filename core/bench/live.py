"""The benchmarks that work in this process: what a page drives. One measures at a time, the others wait."""

import threading

from core import live
from core.bench.progress import Progress
from core.bench.suite import Benchmark

LOOK_EVERY_S = 0.2
"""How often one that waits for its turn looks whether it was cancelled."""

LiveBenchmark = live.LiveRun["BenchmarkJob"]


class BenchmarkJob:
    """A benchmark that measures when it is its turn: two at once would disturb each other's times."""

    def __init__(self, benchmark: Benchmark, turn: threading.Lock) -> None:
        self.benchmark, self._turn = benchmark, turn
        self.set_id = benchmark.plan.id
        self._cancelled = threading.Event()

    @property
    def progress(self) -> Progress:
        """Where it stands; it is in the phase of waiting until its turn comes."""
        return self.benchmark.progress

    def cancel(self) -> None:
        """Kill what is under way; what is recorded stays."""
        self._cancelled.set()
        self.benchmark.cancel()

    def work(self) -> Progress:
        """Wait for the turn, and measure every model."""
        mine = False
        while not mine and not self._cancelled.is_set():
            mine = self._turn.acquire(timeout=LOOK_EVERY_S)
        try:
            return self.benchmark.work()
        finally:
            if mine:
                self._turn.release()


class LiveBenchmarks:
    """The benchmarks of one process. Safe for many threads; nobody finds those of another owner."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._runs: live.LiveRuns[BenchmarkJob] = live.LiveRuns("benchmarks")

    def start(self, benchmark: Benchmark, owner: str) -> LiveBenchmark:
        """Let a benchmark work.

        Raises:
            InputError: The owner has `live.MOST_AT_ONCE` under way.
        """
        return self._runs.start(owner, lambda: BenchmarkJob(benchmark, self._turn))

    def find(self, benchmark_id: str, owner: str) -> LiveBenchmark | None:
        """Return an own benchmark that works here, or worked here a while ago."""
        return self._runs.find(benchmark_id, owner)

    def of(self, owner: str) -> tuple[LiveBenchmark, ...]:
        """Return all own benchmarks that are held, the oldest first."""
        return self._runs.of(owner)
