"""The benchmarks that work in this process: what a page drives. One measures at a time, the others wait."""

from core import live
from core.bench.suite import Benchmark

LiveBenchmark = live.LiveRun[Benchmark]


class LiveBenchmarks:
    """The benchmarks of one process. Safe for many threads; nobody finds those of another owner."""

    def __init__(self) -> None:
        self._runs: live.LiveRuns[Benchmark] = live.LiveRuns("benchmarks")

    def start(self, benchmark: Benchmark, owner: str) -> LiveBenchmark:
        """Let a benchmark work.

        Raises:
            InputError: The owner has `live.MOST_AT_ONCE` under way.
        """
        return self._runs.start(owner, lambda: benchmark)

    def find(self, benchmark_id: str, owner: str) -> LiveBenchmark | None:
        """Return an own benchmark that works here, or worked here a while ago."""
        return self._runs.find(benchmark_id, owner)

    def of(self, owner: str) -> tuple[LiveBenchmark, ...]:
        """Return all own benchmarks that are held, the oldest first."""
        return self._runs.of(owner)
