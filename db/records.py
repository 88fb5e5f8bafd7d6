"""Frozen records of what is stored; shapes of new runs are in `new_records`, filters in `history_records`.

A caller never sees an ORM object. Times are aware `datetime`s in UTC; sizes are bytes; durations are
milliseconds.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from db.history_records import CountPoint, Facets, LatencyPoint, RunFilter
from db.new_records import (
    NewArtifact,
    NewCall,
    NewEnvironment,
    NewInput,
    NewMetric,
    NewPicture,
    NewRun,
    NewVote,
)

FINISHED = ("ok", "failed", "cancelled")
STATUSES = ("running", *FINISHED)

__all__ = [
    "FINISHED",
    "STATUSES",
    "ArtifactRecord",
    "CallCount",
    "CallRecord",
    "CallResult",
    "CountPoint",
    "EnvironmentRecord",
    "Facets",
    "KeptPicture",
    "LatencyPoint",
    "MetricRecord",
    "NewArtifact",
    "NewCall",
    "NewEnvironment",
    "NewInput",
    "NewMetric",
    "NewPicture",
    "NewRun",
    "NewVote",
    "PictureRecord",
    "RunFilter",
    "RunRecord",
    "RunSummary",
    "VectorRecord",
    "ViewRecord",
    "VoteRecord",
    "VoteTally",
]


@dataclass(frozen=True, slots=True)
class MetricRecord:
    """One stored number."""

    name: str
    value: float
    unit: str
    step: int | None


@dataclass(frozen=True, slots=True)
class ArtifactRecord:
    """One stored file of a run, without its bytes (`Store.artifact` reads them)."""

    name: str
    media_type: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class PictureRecord:
    """What is known of an input picture. `kept` says whether `Store.picture_data` can return the file."""

    role: str
    name: str
    sha256: str
    format: str
    width: int
    height: int
    size: int
    thumbnail: bytes
    kept: bool


@dataclass(frozen=True, slots=True)
class EnvironmentRecord:
    """What a run ran on."""

    device: str
    device_name: str
    dtype: str
    threads: int
    versions: Mapping[str, str]
    git_revision: str


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One row of a list of runs."""

    id: str
    time: datetime
    kind: str
    model_id: str
    status: str
    duration_ms: float | None
    device: str
    tags: tuple[str, ...]
    note: str
    shared: bool
    picture_sha256: str | None
    """Digest of the first input picture."""
    error_class: str = ""
    deleted: datetime | None = None
    """When it went into the bin; None for one that did not."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run, whole."""

    id: str
    time: datetime
    kind: str
    model_id: str
    model_revision: str
    status: str
    error_class: str
    error_message: str
    parameters: Mapping[str, Any]
    duration_ms: float | None
    environment: EnvironmentRecord
    owner: str
    shared: bool
    tags: tuple[str, ...]
    note: str
    view: Mapping[str, Any]
    """The last state of the page that shows the run; unlike `parameters` it changes nothing that was run."""
    inputs: tuple[PictureRecord, ...]
    metrics: tuple[MetricRecord, ...]
    artifacts: tuple[ArtifactRecord, ...]

    def metric(self, name: str) -> float | None:
        """Return the run-level metric `name`, or None where it was not measured."""
        return next((m.value for m in self.metrics if m.name == name and m.step is None), None)

    def to_json(self) -> dict[str, Any]:
        """Return the run as JSON values; pictures and artifacts by their digest, without the bytes."""
        value = asdict(self) | {"time": self.time.isoformat()}
        for picture in value["inputs"]:
            del picture["thumbnail"]
        return value


@dataclass(frozen=True, slots=True)
class KeptPicture:
    """A picture that can be had again, by the newest run that took it (`Store.picture_data`)."""

    run_id: str
    role: str
    name: str
    sha256: str
    time: datetime


@dataclass(frozen=True, slots=True)
class VectorRecord:
    """What a model made of a picture as a whole."""

    id: int
    """Larger for one that was put later."""
    sha256: str
    """Of the picture."""
    data: bytes


@dataclass(frozen=True, slots=True)
class VoteRecord:
    """Which of two answers a person preferred."""

    id: int
    time: datetime
    owner: str
    first_run: str | None
    """None where the run was deleted since."""
    second_run: str | None
    first_model: str
    second_model: str
    task: str
    choice: str
    """`first`, `second`, `tie` or `both_bad`."""
    blind: bool
    """Whether the names were hidden until the vote."""
    set_aside: str
    """Why it does not count; empty where it does."""
    first_length: int
    """Words of the answer."""
    second_length: int
    loopback: bool
    """Whether a test server gave one of the answers."""


@dataclass(frozen=True, slots=True)
class VoteTally:
    """How many votes that count are alike in everything that a rating looks at."""

    first_model: str
    second_model: str
    choice: str
    first_share: int
    """How many percent of the words of both answers the first one has, 0 to 100; 50 where both are empty."""
    count: int


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One question of a data-set run to one model."""

    position: int
    model_id: str
    task: str
    item: str


@dataclass(frozen=True, slots=True)
class CallCount:
    """How many calls of a data-set run are in the same state."""

    model_id: str
    task: str
    state: str
    """`open`, `claimed` or `done`."""
    status: str
    """Of the runs of those that are done; empty for others, and where the runs were deleted."""
    error_class: str
    count: int


@dataclass(frozen=True, slots=True)
class CallResult:
    """What a call came to."""

    position: int
    model_id: str
    task: str
    item: str
    run_id: str
    status: str
    error_class: str
    metrics: Mapping[str, float]
    """Those that were asked for and measured."""


@dataclass(frozen=True, slots=True)
class ViewRecord:
    """A view of the history that its owner kept."""

    name: str
    address: str
    """The parameters of its address, as they stand behind the question mark."""
    time: datetime
    """When it was kept."""
