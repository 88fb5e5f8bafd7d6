"""What a report is made from: aggregates of the runs of a filter, each bounded in size."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class ReportTotals:
    """How many runs there are at all."""

    runs: int
    ok: int
    failed: int
    cancelled: int
    running: int
    first: datetime | None
    last: datetime | None
    groups: int
    """Different pairs of kind and model; more than the groups that are returned where there are many."""
    loopback: int
    """Runs that a test server answered."""


@dataclass(frozen=True, slots=True)
class ReportGroup:
    """The runs of one kind on one model."""

    kind: str
    model_id: str
    runs: int
    ok: int
    failed: int
    cancelled: int
    running: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class ReportTiming:
    """How long successful runs that are comparable took."""

    kind: str
    task: str
    """Of a question to a vision-language model; empty for other kinds."""
    model_id: str
    device: str
    device_name: str
    dtype: str
    threads: int
    n: int
    at: Mapping[int, float]
    """Rank among the sorted times, from 1, to milliseconds: the ranks that were asked for."""


@dataclass(frozen=True, slots=True)
class ReportMetric:
    """A number that successful runs measured once each."""

    kind: str
    task: str
    model_id: str
    name: str
    unit: str
    n: int
    mean: float
    variance: float
    """Of the values, as of a sample."""
    minimum: float
    maximum: float
    ones: int
    """How many are exactly 1."""
    zeros: int


@dataclass(frozen=True, slots=True)
class ReportPair:
    """Two models' scores of the same questions of data-set runs."""

    task: str
    first: str
    second: str
    n: int
    total: float
    """Sum of the differences, first less second."""
    squares: float
    """Sum of their squares."""
    first_higher: int
    second_higher: int


@dataclass(frozen=True, slots=True)
class ReportFailure:
    """Runs that failed, or were cancelled, alike."""

    kind: str
    model_id: str
    status: str
    error_class: str
    runs: int
    last: datetime
    run_id: str
    """Of the last one."""
    message: str


@dataclass(frozen=True, slots=True)
class ReportCost:
    """What the runs of one kind on one model cost."""

    kind: str
    model_id: str
    runs: int
    known: int
    """How many of them have a known cost; 0 dollars is one."""
    usd: float


@dataclass(frozen=True, slots=True)
class ReportSpan:
    """The runs of one kind within one span of time."""

    span: int
    """Number of the span, from 0."""
    kind: str
    ok: int
    other: int
    usd: float


@dataclass(frozen=True, slots=True)
class ReportTrend:
    """The median time of one model's successful runs on one device within one span of time."""

    span: int
    kind: str
    model_id: str
    device_name: str
    dtype: str
    n: int
    median_ms: float


@dataclass(frozen=True, slots=True)
class ReportEnvironment:
    """Something that runs ran on."""

    device: str
    device_name: str
    dtype: str
    threads: int
    versions: Mapping[str, str]
    git_revision: str
    runs: int


@dataclass(frozen=True, slots=True)
class ReportRevision:
    """The weights, or the answering model, that runs of a model had."""

    model_id: str
    revision: str
    runs: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class ReportExample:
    """A question to a vision-language model, and what came of it."""

    run_id: str
    time: datetime
    model_id: str
    status: str
    error_class: str
    error_message: str
    duration_ms: float | None
    parameters: Mapping[str, Any]
    answer: bytes | None
    """As UTF-8, cut after `report_queries.ANSWER_BYTES`; None where there is none."""
    picture: str
    """Its name; empty where there is none."""
    thumbnail: bytes | None


@dataclass(frozen=True, slots=True)
class ReportRun:
    """The newest successful run of one kind on one model, for how it is made again."""

    run_id: str
    time: datetime
    kind: str
    model_id: str
    model_revision: str
    git_revision: str
    parameters: Mapping[str, Any]
    picture: str


@dataclass(frozen=True, slots=True)
class ReportBenchmark:
    """One benchmark of a model, with every number that it measured once."""

    run_id: str
    time: datetime
    model_id: str
    device: str
    device_name: str
    dtype: str
    threads: int
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
