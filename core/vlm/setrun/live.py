"""The data-set runs that work in this process."""

from core import live
from core.vlm.setrun.run import SetRun

LiveRun = live.LiveRun[SetRun]


class LiveRuns(live.LiveRuns[SetRun]):
    """The data-set runs of one process; the data sets of those that ended are still at hand for a while."""

    def __init__(self) -> None:
        super().__init__("data-set runs")
