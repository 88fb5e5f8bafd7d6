"""What the store takes and hands out: shapes of new runs, frozen records of stored ones.

A caller never sees an ORM object. Times are aware `datetime`s in UTC; sizes are bytes; durations are
milliseconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Protocol

FINISHED = ("ok", "failed", "cancelled")
STATUSES = ("running", *FINISHED)


class NewMetric(Protocol):
    """A measured number on its way in."""

    @property
    def name(self) -> str: ...
    @property
    def value(self) -> float: ...
    @property
    def unit(self) -> str: ...
    @property
    def step(self) -> int | None: ...


class NewArtifact(Protocol):
    """A file of a run on its way in."""

    @property
    def name(self) -> str: ...
    @property
    def media_type(self) -> str: ...
    @property
    def data(self) -> bytes: ...


class NewPicture(Protocol):
    """A decoded picture on its way in; `sha256` is the hex digest of `data`, the file itself."""

    @property
    def name(self) -> str: ...
    @property
    def data(self) -> bytes: ...
    @property
    def sha256(self) -> str: ...
    @property
    def format(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def thumbnail(self) -> bytes: ...


class NewInput(Protocol):
    """A picture and the part it plays in a run."""

    @property
    def role(self) -> str: ...
    @property
    def image(self) -> NewPicture: ...


class NewEnvironment(Protocol):
    """What a run ran on."""

    @property
    def device(self) -> str: ...
    @property
    def device_name(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def threads(self) -> int: ...
    @property
    def versions(self) -> Mapping[str, str]: ...
    @property
    def git_revision(self) -> str: ...


class NewRun(Protocol):
    """A run on its way in; `core.runs.RunDraft` has this shape."""

    @property
    def kind(self) -> str: ...
    @property
    def model_id(self) -> str: ...
    @property
    def model_revision(self) -> str: ...
    @property
    def environment(self) -> NewEnvironment: ...
    @property
    def owner(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def duration_ms(self) -> float | None: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...
    @property
    def inputs(self) -> Sequence[NewInput]: ...
    @property
    def metrics(self) -> Sequence[NewMetric]: ...
    @property
    def artifacts(self) -> Sequence[NewArtifact]: ...
    @property
    def tags(self) -> Sequence[str]: ...
    @property
    def note(self) -> str: ...
    @property
    def error_class(self) -> str: ...
    @property
    def error_message(self) -> str: ...


class NewVote(Protocol):
    """A vote on its way in; `core.vlm.votes.Vote` has this shape."""

    @property
    def owner(self) -> str: ...
    @property
    def first_run(self) -> str: ...
    @property
    def second_run(self) -> str: ...
    @property
    def first_model(self) -> str: ...
    @property
    def second_model(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def choice(self) -> str: ...
    @property
    def blind(self) -> bool: ...
    @property
    def set_aside(self) -> str: ...
    @property
    def first_length(self) -> int: ...
    @property
    def second_length(self) -> int: ...
    @property
    def loopback(self) -> bool: ...


class NewCall(Protocol):
    """A question of a data-set run to one model, before anything is asked."""

    @property
    def model_id(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def item(self) -> str: ...


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
class RunFilter:
    """Which runs. Every field narrows; the empty filter is all runs of everybody.

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


@dataclass(frozen=True, slots=True)
class Facets:
    """What a set of runs consists of: each value with the number of its runs, most frequent first."""

    kinds: Mapping[str, int]
    models: Mapping[str, int]
    statuses: Mapping[str, int]
    devices: Mapping[str, int]


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
