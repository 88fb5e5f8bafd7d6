"""The sweeps that work in this process: what a page drives."""

from collections.abc import Callable, Mapping, Sequence

from core import live
from core.bench.sweep.crew import Where
from core.bench.sweep.files import PictureFile
from core.bench.sweep.plan import Measure, SweepPlan
from core.bench.sweep.run import SweepRun
from core.ledger import Ledger

LiveSweep = live.LiveRun[SweepRun]


class LiveSweeps:
    """The sweeps of one process. Safe for many threads; nobody finds those of another owner.

    Args:
        measure: What measures a cell: `core.bench.cells.measure_item`, found when it is needed.
    """

    def __init__(self, measure: Callable[[], Measure] | None = None) -> None:
        self._measure = measure or _measure_item
        self._runs: live.LiveRuns[SweepRun] = live.LiveRuns("sweeps")

    def begin(
        self,
        plan: SweepPlan,
        *,
        where: Where,
        ledger: Ledger,
        owner: str,
        files: Sequence[PictureFile] = (),
    ) -> LiveSweep:
        """Write down a new sweep and let it work.

        Args:
            files: Those among its pictures.

        Raises:
            InputError: The owner has `live.MOST_AT_ONCE` sweeps under way, or a file is missing.
            SetupError: A package is missing.
        """

        def make() -> SweepRun:
            return SweepRun.begin(
                plan, where=where, measure=self._measure(), ledger=ledger, owner=owner, files=files
            )

        return self._runs.start(owner, make)

    def resume(
        self,
        set_id: str,
        *,
        where: Where,
        ledger: Ledger,
        owner: str,
        given: Mapping[str, bytes] | None = None,
    ) -> LiveSweep:
        """Go on with an own sweep that ended before its end, wherever it was.

        Args:
            given: Digest to the bytes of files that the store did not keep.

        Raises:
            InputError: As `begin`, or it is no sweep.
            SetupError: As `begin`.
        """
        held = self._runs.find(set_id, owner)

        def make() -> SweepRun:
            return SweepRun.resume(
                set_id,
                where=where,
                measure=self._measure(),
                ledger=ledger,
                owner=owner,
                before=held.run if held is not None else None,
                given=given,
            )

        return self._runs.start(owner, make)

    def find(self, set_id: str, owner: str) -> LiveSweep | None:
        """Return an own sweep that works here, or worked here a while ago."""
        return self._runs.find(set_id, owner)

    def of(self, owner: str) -> tuple[LiveSweep, ...]:
        """Return all own sweeps that are held, the oldest first."""
        return self._runs.of(owner)


def _measure_item() -> Measure:
    from core.bench.cells import measure_item

    return measure_item
