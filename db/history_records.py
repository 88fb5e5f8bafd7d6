"""What the history asks of the store and gets: filters, and the numbers behind its charts.

Every list here is bounded in size, however many runs there are. Times are aware `datetime`s in UTC, durations
are milliseconds, money is US dollars.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, Literal, Self

Bucket = Literal["hour", "day", "week"]
"""Width of a point of a chart over time. Days begin at midnight UTC, weeks on Monday."""
BUCKETS: Mapping[str, timedelta] = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
}
OK = "ok"
RUNNING = "running"
DURATION = "duration_ms"
"""Stands for the run's own duration where the name of a metric is asked for."""

MAX_POINTS = 5_000
"""Most points that a chart gets: those of the newest buckets."""
MOST_FOUND = 20_000
"""Most runs that a search for words takes: the newest that fit the whole filter."""
MOST_TAGS = 100
MOST_MODELS = 200
MOST_METRICS = 200
MOST_BREAKS = 200
MOST_DAYS = 1_100
"""Three years."""
MOST_COMPARED = 100
MOST_FACTS = 2_000
BIN_ERROR = 0.0025
"""Relative error of a quantile that comes from counted bins: the bins are half a per cent wide."""
BIN_KEEPS = timedelta(days=30)
"""How long a run in the bin can be restored."""


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs. Every field narrows; the empty filter is all runs of everybody that are not deleted.

    `owner` is a visitor's id: with it set, only that visitor's own runs are seen. `since` is inclusive,
    `until` exclusive.
    """

    owner: str | None = None
    kinds: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    """Runs that carry any of these."""
    since: datetime | None = None
    until: datetime | None = None
    outcomes: tuple[str, ...] = ()
    """What became of them: `ok`, `running`, or the class of the failure (`rate_limited`, `InputError` …)."""
    text: str = ""
    """Words that all occur in a run's prompt, answers or note, each as a word or the beginning of one.

    Case, accents and width do not matter; in scripts that are written without spaces a word is any part of
    the text. Anything but letters and digits separates words: no text is an operator. Of more runs than
    `MOST_FOUND` that fit the whole filter, the newest are taken.
    """
    min_ms: float | None = None
    """Least duration, inclusive."""
    max_ms: float | None = None
    """Greatest duration, exclusive."""
    measured_only: bool = False
    """Whether runs that a loopback test server answered are left out."""
    deleted: bool = False
    """The runs in the bin instead of the others."""

    def behind(self, time: datetime, bucket: Bucket, **more: Any) -> Self:
        """Return the filter of the runs behind a point of a chart over time.

        Args:
            time: Begin of the bucket, as the point has it.
            more: Other fields, such as `models=(point.model_id,)` or `outcomes=(point.outcome,)`.
        """
        end = time + BUCKETS[bucket]
        since = time if self.since is None else max(time, self.since)
        until = end if self.until is None else min(end, self.until)
        return replace(self, since=since, until=until, **more)


@dataclass(frozen=True, slots=True)
class Facets:
    """What a set of runs consists of: each value with the number of its runs, most frequent first."""

    kinds: Mapping[str, int]
    models: Mapping[str, int]
    statuses: Mapping[str, int]
    devices: Mapping[str, int]
    outcomes: Mapping[str, int] = field(default_factory=dict)
    tags: Mapping[str, int] = field(default_factory=dict)
    """At most `MOST_TAGS`."""
    total: int = 0
    """Runs that the whole filter lets through."""
    loopback: int = 0
    """Those of them that a loopback test server answered."""
    capped: bool = False
    """Whether the text was found in more runs than are taken: the newest `MOST_FOUND`."""


@dataclass(frozen=True, slots=True)
class CountPoint:
    """How many runs of a model began within a bucket of time."""

    time: datetime
    """Begin of the bucket."""
    model_id: str
    count: int


@dataclass(frozen=True, slots=True)
class LatencyPoint:
    """How long the successful runs of a model took within a bucket of time."""

    time: datetime
    """Begin of the bucket."""
    model_id: str
    count: int
    median_ms: float
    p90_ms: float
    """Nearest rank: the smallest duration that at least 90 % of the runs did not exceed."""
    p25_ms: float = 0.0
    """Nearest rank, as `p75_ms`."""
    p75_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Break:
    """Where the runs of a model are no longer comparable with those before."""

    time: datetime
    """Of the first run after the change."""
    model_id: str
    what: Literal["device", "versions", "revision"]
    """`revision` is the model's own, which for a remote model is the one that the provider returned."""
    before: str
    after: str
    """In words, such as `torch 2.13.0` and `torch 2.14.1`; several values are separated by commas."""


@dataclass(frozen=True, slots=True)
class LatencyChart:
    """How long successful runs took over time."""

    bucket: Bucket
    points: tuple[LatencyPoint, ...]
    """In order of time, then of model; the newest where there are more than `MAX_POINTS`."""
    breaks: tuple[Break, ...]
    """In order of time; the newest `MOST_BREAKS`."""
    exact: bool
    """Whether the quantiles are those of the runs themselves; else they are within `BIN_ERROR` of them."""


@dataclass(frozen=True, slots=True)
class ModelSpread:
    """How the durations of a model's successful runs are distributed."""

    model_id: str
    count: int
    min_ms: float
    p10_ms: float
    p25_ms: float
    median_ms: float
    p75_ms: float
    p90_ms: float
    p99_ms: float
    """Nearest ranks, but for the median: between the middle two of an even count."""
    max_ms: float
    bins: tuple[int, ...]
    """How many runs took from `edges_ms[i]` up to, not including, `edges_ms[i + 1]`."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Distributions of durations by model, on one common axis."""

    edges_ms: tuple[float, ...]
    """Increasing by a fixed ratio; one more than there are bins."""
    models: tuple[ModelSpread, ...]
    """Most runs first; at most `MOST_MODELS`."""
    exact: bool
    """Whether the quantiles are those of the runs themselves; else they are within `BIN_ERROR` of them.

    An edge of a bin is off by no more than that, either.
    """


@dataclass(frozen=True, slots=True)
class MetricName:
    """A number that some runs measured once each."""

    name: str
    unit: str
    count: int
    """Runs that have it."""


@dataclass(frozen=True, slots=True)
class TradePoint:
    """How good and how fast a model is, over its successful runs."""

    model_id: str
    quality: float
    """Mean of the quality metric."""
    quality_error: float | None
    """Standard error of that mean; None for one run."""
    quality_n: int
    speed: float
    """Median duration in ms, or the mean of the chosen speed metric."""
    speed_n: int


@dataclass(frozen=True, slots=True)
class CostPoint:
    """What the runs of a model cost within a bucket of time."""

    time: datetime
    """Begin of the bucket."""
    model_id: str
    usd: float
    priced: int
    """Runs whose cost is known."""


@dataclass(frozen=True, slots=True)
class OutcomeCount:
    """How many runs of a model came to an outcome."""

    model_id: str
    outcome: str
    count: int


@dataclass(frozen=True, slots=True)
class OutcomePoint:
    """How many runs that began within a bucket of time came to an outcome."""

    time: datetime
    """Begin of the bucket."""
    outcome: str
    count: int


@dataclass(frozen=True, slots=True)
class DayCount:
    """How many runs began on a day of the viewer's own time zone."""

    day: date
    count: int
    failed: int


@dataclass(frozen=True, slots=True)
class ComparedRow:
    """One fact about each of the compared runs."""

    section: Literal["run", "parameter", "metric", "environment", "version"]
    name: str
    """With the unit in brackets, where it has one."""
    values: tuple[Any, ...]
    """One a run, in the order of `Comparison.runs`: text, number or bool; None where it has no such fact."""

    @property
    def differs(self) -> bool:
        """Whether not all runs have the same."""
        return any(type(v) is not type(self.values[0]) or v != self.values[0] for v in self.values[1:])


@dataclass(frozen=True, slots=True)
class Comparison:
    """Some runs beside each other."""

    runs: tuple[str, ...]
    """Their ids, in the order that was asked for."""
    rows: tuple[ComparedRow, ...]
    """At most `MOST_FACTS`."""
    missing: tuple[str, ...]
    """Ids of which there is no run, or none that this visitor may see."""
