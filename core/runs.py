"""A run on its way into the store: plain values, no database.

`RunSink` is what a workflow needs of a store. `db.Store` satisfies it by shape alone, so neither package
imports the other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

LOCAL_OWNER = "local"
"""Who owns the runs of a private machine: the app's and the command line's alike."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One measured number of a run."""

    name: str
    value: float
    unit: str = ""
    """`ms`, `MB`, `%` …; empty for a pure number."""
    step: int | None = None
    """Epoch or step for a curve; None for a number of the whole run."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that belongs to a run; the store keeps equal bytes once."""

    name: str
    media_type: str
    data: bytes


class Picture(Protocol):
    """A picture as a store keeps it; `core.images.ImageInput` is one."""

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


@dataclass(frozen=True, slots=True)
class RunInput:
    """A picture that a run took, and the part it played (`picture`, `first`, `second` …)."""

    role: str
    image: Picture


@dataclass(frozen=True, slots=True)
class Environment:
    """What the run ran on."""

    device: str
    """`cpu`, `cuda:0`, `mps` …, or the service's name for a remote model."""
    device_name: str
    """The hardware as its maker calls it."""
    dtype: str
    threads: int
    versions: Mapping[str, str]
    """Package name to version, Python included."""
    git_revision: str
    """Commit of this repository, with `+` when the tree was changed; empty when unknown."""


@dataclass(frozen=True, slots=True)
class RunDraft:
    """Everything about one run, before the store gives it an id and a time.

    `parameters` holds what re-creates the run, as JSON values. `status` is `ok`, `failed` or `cancelled`
    (`running` is given by `RunSink.start` only).
    """

    kind: str
    """`attention`, `classification`, `training` …"""
    model_id: str
    model_revision: str
    environment: Environment
    owner: str
    status: str = "ok"
    duration_ms: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: Sequence[RunInput] = ()
    metrics: Sequence[Metric] = ()
    artifacts: Sequence[Artifact] = ()
    tags: Sequence[str] = ()
    note: str = ""
    error_class: str = ""
    error_message: str = ""


class Recorder(Protocol):
    """Where finished runs go."""

    def record(self, run: RunDraft) -> str:
        """Keep a finished run in one transaction and return its id."""
        ...


class RunSink(Recorder, Protocol):
    """Where finished and ongoing runs go."""

    def start(self, run: RunDraft) -> str:
        """Keep a run that is still going (its status becomes `running`) and return its id."""
        ...

    def log(self, run_id: str, metrics: Sequence[Metric]) -> None:
        """Add metrics to a run that is still going, in one transaction."""
        ...

    def finish(
        self,
        run_id: str,
        *,
        status: str,
        duration_ms: float,
        metrics: Sequence[Metric] = (),
        artifacts: Sequence[Artifact] = (),
        error_class: str = "",
        error_message: str = "",
    ) -> None:
        """Close a run that was started."""
        ...
