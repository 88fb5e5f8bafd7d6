"""The tables.

    environment ──< series ──< run          what runs have in common that are counted together
                     │   └──< cell, metric_cell, tag_cell, tag_metric_cell     their sums, by day
    environment ──< run ──< metric          numbers, in the order they were measured
                     │ ├──< run_tag
                     │ ├──< run_input >── image ──> artifact   the picture itself, where it is kept
                     │ ├──< run_artifact >── artifact          bytes, stored once by their SHA-256
                     │ └─── worker             the process, while the run is going

    run ──< call       a question of a data-set run: open, claimed before it is paid for, done with its run
    run ──< vote       which of two runs' answers a person preferred
    image ──< vector   what a model makes of a picture as a whole, for the search
    derived            bytes that can be computed again, by what they were computed from; of no run

A run owns the rows under it (`ON DELETE CASCADE`). Environments, images and artifacts are shared between
runs and go when the last run that refers to them goes (`Store.delete`); vectors go with their image. Derived
values go when others, more recently used, need their room (`Store.keep_derived`). Calls go with the data-set
run that they belong to. Cells are counted up in the transaction that changes a run (`cells`). Votes stay
without their runs, so that a rating does not change when runs are pruned.

The words by which a run is found are in `run_words`, another kind of table on each database (`words`).
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

BIG_ID = BigInteger().with_variant(Integer(), "sqlite")
"""Of rows that are replaced often; SQLite numbers rows only where the type is called INTEGER."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


def milliseconds(time: datetime) -> int:
    """Return a time in whole milliseconds since 1970, rounded up."""
    return -((EPOCH - time) // MILLISECOND)


class UtcTime(TypeDecorator[datetime]):
    """An aware time, kept as whole milliseconds since 1970 UTC: the same integer on every database.

    A bound is rounded up, which keeps `>= since` and `< until` exact against whole milliseconds.
    """

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else milliseconds(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else EPOCH + timedelta(milliseconds=value)


class Base(DeclarativeBase):
    """Registry of the tables, with constraint names that every migration can rely on."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {str: Text(), datetime: UtcTime(), dict[str, Any]: JSON(), bytes: LargeBinary()}  # noqa: RUF012


class Environment(Base):
    """What runs ran on; equal ones are one row, found by `digest`."""

    __tablename__ = "environment"
    __table_args__ = (
        UniqueConstraint("digest"),
        {"sqlite_autoincrement": True},
    )  # a stale id is never reused

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str]
    device: Mapped[str]
    device_name: Mapped[str]
    dtype: Mapped[str]
    threads: Mapped[int]
    versions: Mapped[dict[str, Any]]
    git_revision: Mapped[str]


class Artifact(Base):
    """Bytes, named by their SHA-256 and stored once."""

    __tablename__ = "artifact"
    __table_args__ = (
        CheckConstraint("length(sha256) = 64", name="sha256"),
        CheckConstraint("size >= 0", name="size"),
    )

    sha256: Mapped[str] = mapped_column(primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    data: Mapped[bytes]


class Image(Base):
    """A picture that runs took. `kept_sha256` points at the file itself where it is kept."""

    __tablename__ = "image"
    __table_args__ = (
        CheckConstraint("length(sha256) = 64", name="sha256"),
        CheckConstraint("kept_sha256 = sha256", name="kept"),
        CheckConstraint("width > 0 AND height > 0 AND size > 0", name="size"),
    )

    sha256: Mapped[str] = mapped_column(primary_key=True)
    format: Mapped[str]
    width: Mapped[int]
    height: Mapped[int]
    size: Mapped[int] = mapped_column(BigInteger)
    kept_sha256: Mapped[str | None] = mapped_column(ForeignKey("artifact.sha256"), index=True)
    thumbnail: Mapped[bytes]


class Run(Base):
    """One thing that ran. `id` is a ULID made from `time`, so ids sort as times do."""

    __tablename__ = "run"
    __table_args__ = (
        CheckConstraint("length(id) = 26", name="id"),
        CheckConstraint("kind <> '' AND model_id <> '' AND owner <> ''", name="named"),
        CheckConstraint("status IN ('running', 'ok', 'failed', 'cancelled')", name="status"),
        CheckConstraint("duration_ms >= 0", name="duration"),
        Index("ix_run_owner_time", "owner", "time", "id"),
        # A few runs among many: whoever may see them finds them without reading the rest.
        Index("ix_run_shared", "id", sqlite_where=text("shared = 1"), postgresql_where=text("shared")),
        Index(
            "ix_run_deleted",
            "deleted",
            sqlite_where=text("deleted IS NOT NULL"),
            postgresql_where=text("deleted IS NOT NULL"),
        ),
        # These cover the history's counts and charts: they never read the rows themselves.
        Index("ix_run_series", "series_id", "time", "duration_ms", "seq"),
        Index("ix_run_listed", "time", "seq", "series_id", "duration_ms"),
        Index("ix_run_found", "seq", "series_id", "time", "duration_ms", "id"),
        Index("ix_run_longest", "duration_ms", "time", "seq", "series_id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    time: Mapped[datetime]
    kind: Mapped[str]
    model_id: Mapped[str]
    model_revision: Mapped[str]
    status: Mapped[str]
    duration_ms: Mapped[float | None]
    environment_id: Mapped[int] = mapped_column(ForeignKey("environment.id"), index=True)
    owner: Mapped[str]
    shared: Mapped[bool]
    error_class: Mapped[str]
    error_message: Mapped[str]
    note: Mapped[str]
    parameters: Mapped[dict[str, Any]]
    view: Mapped[dict[str, Any]]
    seq: Mapped[int | None] = mapped_column(BigInteger)
    """Counts runs in the order in which they came in."""
    series_id: Mapped[int | None] = mapped_column(ForeignKey("series.id"))
    deleted: Mapped[datetime | None]
    """When it went into the bin."""


class RunTag(Base):
    """A word that its owner put on a run."""

    __tablename__ = "run_tag"
    __table_args__ = (Index("ix_run_tag_tag_seq", "tag", "seq"), {"sqlite_with_rowid": False})

    run_id: Mapped[str] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    tag: Mapped[str] = mapped_column(primary_key=True)
    seq: Mapped[int | None] = mapped_column(BigInteger)
    """Of the run, by which many are found without reading any."""


class RunInput(Base):
    """The part that a picture played in a run, and the name it came with."""

    __tablename__ = "run_input"
    __table_args__ = (UniqueConstraint("run_id", "role"), {"sqlite_with_rowid": False})

    run_id: Mapped[str] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    role: Mapped[str]
    image_sha256: Mapped[str] = mapped_column(ForeignKey("image.sha256"), index=True)
    name: Mapped[str]


class Metric(Base):
    """A measured number; `step` is NULL for a number of the whole run."""

    __tablename__ = "metric"
    __table_args__ = ({"sqlite_with_rowid": False},)

    run_id: Mapped[str] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]
    value: Mapped[float]
    unit: Mapped[str]
    step: Mapped[int | None] = mapped_column(BigInteger)


class RunArtifact(Base):
    """The name and media type that a run gave to some bytes."""

    __tablename__ = "run_artifact"
    __table_args__ = ({"sqlite_with_rowid": False},)

    run_id: Mapped[str] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("artifact.sha256"), index=True)
    media_type: Mapped[str]


class Worker(Base):
    """The process that works on a run which is still going."""

    __tablename__ = "worker"
    __table_args__ = ({"sqlite_with_rowid": False},)

    run_id: Mapped[str] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    machine: Mapped[str]
    pid: Mapped[int]
    process_started_s: Mapped[float]
    seen: Mapped[datetime]


class Derived(Base):
    """Bytes that can be computed again, named by the SHA-256 of what they were computed from."""

    __tablename__ = "derived"
    __table_args__ = (
        CheckConstraint("length(key) = 64", name="key"),
        CheckConstraint("size = length(data)", name="size"),
    )

    key: Mapped[str] = mapped_column(primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    used: Mapped[datetime]
    data: Mapped[bytes]  # the last column: SQLite reads and writes the others without going through it


class Vector(Base):
    """What a model makes of a picture as a whole. `space` says which model, weights and options.

    A row never changes: a vector that is put again is a new row. So whoever has read up to an `id` finds
    everything that is new behind it; writers are alone, or a smaller id might be committed later.
    """

    __tablename__ = "vector"
    __table_args__ = (
        CheckConstraint("length(space) = 64", name="space"),
        UniqueConstraint("image_sha256", "space"),
        Index("ix_vector_space_id", "space", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BIG_ID, primary_key=True)
    space: Mapped[str]
    image_sha256: Mapped[str] = mapped_column(ForeignKey("image.sha256", ondelete="CASCADE"))
    data: Mapped[bytes]


class Vote(Base):
    """Which of two answers a person preferred. It names the models itself, and so outlives the runs."""

    __tablename__ = "vote"
    __table_args__ = (
        CheckConstraint("choice IN ('first', 'second', 'tie', 'both_bad')", name="choice"),
        CheckConstraint("first_length >= 0 AND second_length >= 0", name="lengths"),
        CheckConstraint(
            "owner <> '' AND first_model <> '' AND second_model <> '' AND first_model <> second_model",
            name="named",
        ),
        Index("ix_vote_owner_id", "owner", "id"),
    )

    id: Mapped[int] = mapped_column(BIG_ID, primary_key=True)
    time: Mapped[datetime]
    owner: Mapped[str]
    first_run: Mapped[str | None] = mapped_column(ForeignKey("run.id", ondelete="SET NULL"), index=True)
    second_run: Mapped[str | None] = mapped_column(ForeignKey("run.id", ondelete="SET NULL"), index=True)
    first_model: Mapped[str]
    second_model: Mapped[str]
    task: Mapped[str]
    choice: Mapped[str]
    blind: Mapped[bool]
    set_aside: Mapped[str]
    first_length: Mapped[int] = mapped_column(BigInteger)
    second_length: Mapped[int] = mapped_column(BigInteger)
    loopback: Mapped[bool]


class Call(Base):
    """One question of a data-set run to one model; `set_id` is the run of the whole set."""

    __tablename__ = "call"
    __table_args__ = (
        CheckConstraint("state IN ('open', 'claimed', 'done')", name="state"),
        CheckConstraint("state = 'done' OR run_id IS NULL", name="run"),
        Index("ix_call_set_id_state_position", "set_id", "state", "position"),
        {"sqlite_with_rowid": False},
    )

    set_id: Mapped[str] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    model_id: Mapped[str]
    task: Mapped[str]
    item: Mapped[str]
    state: Mapped[str]
    claimed: Mapped[datetime | None]
    run_id: Mapped[str | None] = mapped_column(ForeignKey("run.id", ondelete="SET NULL"), index=True)


class Series(Base):
    """What runs have in common by which the history filters them; equal ones are one row, found by `digest`.

    A run that goes into the bin changes its series.
    """

    __tablename__ = "series"
    __table_args__ = (UniqueConstraint("digest"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str]
    owner: Mapped[str] = mapped_column(index=True)
    kind: Mapped[str]
    model_id: Mapped[str]
    model_revision: Mapped[str]
    environment_id: Mapped[int] = mapped_column(ForeignKey("environment.id"), index=True)
    device: Mapped[str]
    status: Mapped[str]
    outcome: Mapped[str]
    """`ok`, `running`, or the class of the failure."""
    loopback: Mapped[bool]
    deleted: Mapped[bool]


class Cell(Base):
    """The runs of a series that began on a day (UTC, counted from 1970)."""

    __tablename__ = "cell"
    __table_args__ = ({"sqlite_with_rowid": False},)

    series_id: Mapped[int] = mapped_column(ForeignKey("series.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    n: Mapped[int]
    sketch: Mapped[bytes]
    """Durations of successful ones (`sketch`)."""
    quarters: Mapped[bytes]
    """Of an hour, from 0 to 95, in which they began: packed as a sketch is."""


class MetricCell(Base):
    """The sum of a metric over the finished runs of a series that began on a day."""

    __tablename__ = "metric_cell"
    __table_args__ = (Index("ix_metric_cell_series_id", "series_id"), {"sqlite_with_rowid": False})

    name: Mapped[str] = mapped_column(primary_key=True)
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    n: Mapped[int]
    total: Mapped[float]
    squares: Mapped[float]
    """Sum of the squares."""
    unit: Mapped[str]
    """Of the last one."""


class TagCell(Base):
    """The runs of a series that began on a day and carry a tag."""

    __tablename__ = "tag_cell"
    __table_args__ = (Index("ix_tag_cell_series_id", "series_id"), {"sqlite_with_rowid": False})

    tag: Mapped[str] = mapped_column(primary_key=True)
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    n: Mapped[int]
    sketch: Mapped[bytes]
    quarters: Mapped[bytes]


class TagMetricCell(Base):
    """The sum of a metric over the finished runs of a series that began on a day and carry a tag."""

    __tablename__ = "tag_metric_cell"
    __table_args__ = (Index("ix_tag_metric_cell_series_id", "series_id"), {"sqlite_with_rowid": False})

    tag: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    n: Mapped[int]
    total: Mapped[float]
    squares: Mapped[float]
    unit: Mapped[str]


class SavedView(Base):
    """A view of the history that its owner kept by a name."""

    __tablename__ = "saved_view"
    __table_args__ = (CheckConstraint("owner <> '' AND name <> ''", name="named"),)

    owner: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    address: Mapped[str]
    """The parameters of its address."""
    time: Mapped[datetime]
