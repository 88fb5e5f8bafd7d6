"""The statements that put runs in. Each function works inside a transaction that its caller holds."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
    text,
    update,
)
from ulid import ULID

from db import cells, words, workers
from db.engine import Transactions
from db.errors import InvalidRunError, RunNotFoundError, StaleReferenceError
from db.ids import RUN_IDS
from db.models import (
    EPOCH,
    Artifact,
    Base,
    Environment,
    Image,
    Metric,
    Run,
    RunArtifact,
    RunInput,
    RunTag,
    Series,
)
from db.records import NewArtifact, NewPicture, NewRun
from db.rows import (
    Row,
    artifact_rows,
    bytes_row,
    clean_text,
    environment_row,
    image_row,
    input_rows,
    metric_rows,
    run_row,
    tag_rows,
)
from db.series import is_loopback, series_row

CHUNK = 1_000

NEXT = {
    "sqlite": select(func.coalesce(func.max(Run.seq), 0) + 1).correlate(None).scalar_subquery(),
    "postgresql": func.nextval("run_seq"),
}
INSERT_RUN = {name: insert(Run).values(seq=number) for name, number in NEXT.items()}
INSERT_METRIC = insert(Metric)
INSERT_TAG = text(
    "INSERT INTO run_tag (run_id, tag, seq)"
    " SELECT id, CAST(:tag AS text), seq FROM run WHERE id = :run_id ON CONFLICT DO NOTHING"
)
INSERT_INPUT = insert(RunInput)
INSERT_RUN_ARTIFACT = insert(RunArtifact)
FIND_ENVIRONMENT = select(Environment.id).where(Environment.digest == bindparam("digest"))

UNUSED: dict[type[Base], ColumnElement[bool]] = {
    Image: ~exists().where(RunInput.image_sha256 == Image.sha256),
    Artifact: ~exists().where(RunArtifact.sha256 == Artifact.sha256)
    & ~exists().where(Image.kept_sha256 == Artifact.sha256),
    Series: ~exists().where(Run.series_id == Series.id),
    Environment: ~exists().where(Run.environment_id == Environment.id)
    & ~exists().where(Series.environment_id == Environment.id),
}
"""Of each table whose rows are shared, which ones nothing refers to; images refer to bytes, series
to environments."""


REMEMBERED = 64
"""Pictures: as many as a data-set run asks about at once."""

Then = Callable[[Connection, str], None]
"""What else is done in the transaction that inserts a run, given its id."""


def nothing(connection: Connection, run_id: str) -> None:
    """Do nothing else."""


@dataclass(frozen=True)
class RunRows:
    """A new run as rows, checked, with the id it will have."""

    run: Row
    environment: Row
    tags: list[Row]
    inputs: list[Row]
    metrics: list[Row]
    artifacts: list[Row]
    blobs: dict[str, bytes] = field(repr=False)
    """Bytes of the artifacts by digest."""
    pictures: dict[str, NewPicture] = field(repr=False)
    """Input pictures by digest."""


def run_rows(ulid: ULID, run: NewRun, status: str) -> RunRows:
    """Check a run and return its rows.

    Raises:
        InvalidRunError: Something in it cannot be stored.
    """
    run_id = str(ulid)
    artifacts = artifact_rows(run_id, run.artifacts)
    return RunRows(
        run={"id": run_id, "time": EPOCH + timedelta(milliseconds=ulid.milliseconds)} | run_row(run, status),
        environment=environment_row(run.environment),
        tags=tag_rows(run_id, run.tags),
        inputs=input_rows(run_id, run.inputs),
        metrics=metric_rows(run_id, run.metrics),
        artifacts=artifacts,
        blobs=blobs_of(artifacts, run.artifacts),
        pictures={item.image.sha256: item.image for item in run.inputs},
    )


def blobs_of(rows: Sequence[Row], artifacts: Sequence[NewArtifact]) -> dict[str, bytes]:
    """Return the bytes of artifacts by the digest in their rows."""
    return {row["sha256"]: artifact.data for row, artifact in zip(rows, artifacts, strict=True)}


class RunWriter:
    """Puts new runs in. Remembers the ids of environments and the pictures that runs lately shared."""

    def __init__(self, database: Transactions, *, keep_pictures: bool) -> None:
        self._database = database
        self._keep_pictures = keep_pictures
        self._environments: dict[str, int] = {}
        self._series: dict[str, int] = {}
        self._stored: tuple[str, ...] = ()

    def insert(self, run: NewRun, status: str, then: Then = nothing) -> str:
        """Insert a run in one transaction, in which `then` is done too, and return its id."""
        rows = run_rows(RUN_IDS.next(), run, status)
        images = self._prepare_images(rows)
        try:
            self._insert(rows, images, self._environments.get(rows.environment["digest"]), then)
        except StaleReferenceError:  # somebody deleted the environment or the series with its last run
            self._series.clear()
            self._insert(rows, images, None, then)
        return str(rows.run["id"])

    def _prepare_images(self, rows: RunRows) -> dict[str, Row]:
        """Make the thumbnails of new pictures now, so that nobody waits for them behind the write lock.

        One that was stored lately is taken to be there; where it was deleted since, its row is made behind
        the lock.
        """
        unsure = {digest: rows.pictures[digest] for digest in rows.pictures.keys() - set(self._stored)}
        if not unsure:
            return {}
        with self._database.read() as connection:
            due = due_pictures(connection, unsure, keep=self._keep_pictures)
        return {picture.sha256: self._image_row(picture) for picture in due}

    def _image_row(self, picture: NewPicture) -> Row:
        return image_row(picture, keep=self._keep_pictures)

    def _insert(self, rows: RunRows, images: dict[str, Row], environment_id: int | None, then: Then) -> None:
        with self._database.write() as connection:
            due = due_pictures(connection, rows.pictures, keep=self._keep_pictures)
            kept = {picture.sha256: picture.data for picture in due if self._keep_pictures}
            insert_blobs(connection, rows.blobs | kept)
            insert_images(connection, [images.get(p.sha256) or self._image_row(p) for p in due])
            if environment_id is None:
                environment_id = find_or_insert_environment(connection, rows.environment)
            insert_run(connection, rows, environment_id, self._series)
            then(connection, rows.run["id"])
        self._environments[rows.environment["digest"]] = environment_id
        fresh = rows.pictures.keys() - set(self._stored)
        self._stored = (*self._stored, *fresh)[-REMEMBERED:]


def due_pictures(connection: Connection, pictures: dict[str, NewPicture], *, keep: bool) -> list[NewPicture]:
    """Return the pictures that the store lacks, or lacks the file of and should keep, in a fixed order."""
    if not pictures:
        return []
    found = select(Image.sha256, Image.kept_sha256).where(Image.sha256.in_(pictures))
    is_kept = {sha256: kept_sha256 is not None for sha256, kept_sha256 in connection.execute(found)}
    return [pictures[i] for i in sorted(pictures) if i not in is_kept or (keep and not is_kept[i])]


def insert_blobs(connection: Connection, blobs: dict[str, bytes]) -> None:
    """Insert the bytes that the store lacks, in a fixed order."""
    if not blobs:
        return
    found = set(connection.scalars(select(Artifact.sha256).where(Artifact.sha256.in_(blobs))))
    rows = [bytes_row(sha256, blobs[sha256]) for sha256 in sorted(blobs.keys() - found)]
    insert_missing(connection, Artifact, "sha256", rows)


def insert_run(
    connection: Connection, rows: RunRows, environment_id: int, series: dict[str, int] | None = None
) -> None:
    """Insert a run and what belongs to it; its images and bytes are there already.

    Args:
        series: Ids of those that are known, by digest; a new one is added.
    """
    run = rows.run | {"environment_id": environment_id}
    known = {} if series is None else series
    row = series_row(run, rows.environment["device"], loopback=is_loopback(run["parameters"]))
    if row["digest"] not in known:
        known[row["digest"]] = cells.find_or_insert_series(connection, row)
    run["series_id"] = known[row["digest"]]
    connection.execute(INSERT_RUN[connection.dialect.name], run)
    for statement, some in (
        (INSERT_METRIC, rows.metrics),
        (INSERT_TAG, rows.tags),
        (INSERT_INPUT, rows.inputs),
        (INSERT_RUN_ARTIFACT, rows.artifacts),
    ):
        if some:
            connection.execute(statement, some)
    if run["status"] == "running":
        workers.register(connection, run["id"])
    answers = (rows.blobs[row["sha256"]] for row in rows.artifacts if row["media_type"] == words.SEARCHED)
    words.index(connection, run["id"], words.said_by(run["parameters"], run["note"], answers))
    cells.count_new(connection, run, rows.metrics, rows.tags)


def find_or_insert_environment(connection: Connection, row: Row) -> int:
    """Return the id of an environment, inserted unless an equal one is there."""
    insert_missing(connection, Environment, "digest", [row])
    return connection.scalars(FIND_ENVIRONMENT, {"digest": row["digest"]}).one()


def insert_missing(connection: Connection, table: type[Base], key: str, rows: list[Row]) -> None:
    """Insert rows, leaving out those whose `key` is there."""
    if rows:
        connection.execute(cells.upsert(connection, table).on_conflict_do_nothing(index_elements=[key]), rows)


def insert_images(connection: Connection, rows: list[Row]) -> None:
    """Insert images; one that is there becomes kept where the new row is."""
    if not rows:
        return
    statement = cells.upsert(connection, Image)
    kept = func.coalesce(statement.excluded.kept_sha256, Image.kept_sha256)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["sha256"], set_={"kept_sha256": kept}), rows
    )


def append_metrics(connection: Connection, run_id: str, rows: list[Row]) -> None:
    """Add metrics after those that a run has. The caller holds the run's row, so positions do not collide."""
    if not rows:
        return
    last = connection.scalar(select(func.max(Metric.position)).where(Metric.run_id == run_id))
    first = 0 if last is None else last + 1
    connection.execute(INSERT_METRIC, [row | {"position": first + row["position"]} for row in rows])


def set_tags(connection: Connection, run_id: str, tags: Sequence[str]) -> None:
    """Replace the tags of a run."""

    def change() -> None:
        connection.execute(delete(RunTag).where(RunTag.run_id == run_id))
        if rows := tag_rows(run_id, tags):
            connection.execute(INSERT_TAG, rows)

    cells.change_tags(connection, [run_id], change)


def change_tags(
    connection: Connection,
    run_ids: Collection[str],
    owner: str | None,
    add: Sequence[str],
    remove: Sequence[str],
) -> int:
    """Put tags on own runs, and take others off; return how many of the runs there are."""
    asked = [clean_text(run_id) for run_id in run_ids]
    own = select(Run.id).where(Run.id.in_(asked), Run.deleted.is_(None), *owned_by(owner)).with_for_update()
    ids = connection.scalars(own.order_by(Run.id)).all()
    new = [row for run_id in ids for row in tag_rows(run_id, add)]
    old = [row["tag"] for row in tag_rows("", remove)]

    def change() -> None:
        connection.execute(delete(RunTag).where(RunTag.run_id.in_(ids), RunTag.tag.in_(old)))
        if new:
            connection.execute(INSERT_TAG, new)

    cells.change_tags(connection, ids, change)
    return len(ids)


def hold_running(connection: Connection, run_id: str) -> None:
    """Take the row of a run that is still going, so that nobody else changes it until the commit.

    Raises:
        RunNotFoundError: There is no such run.
        InvalidRunError: It is finished.
    """
    if update_run(connection, run_id, {"status": "running"}, Run.status == "running"):
        return
    if connection.scalar(select(Run.id).where(Run.id == run_id)) is None:
        raise RunNotFoundError(run_id)
    raise InvalidRunError(f"The run {run_id} is finished.", "Start a new one.")


def update_own_run(connection: Connection, run_id: str, owner: str | None, values: Mapping[str, Any]) -> None:
    """Change the columns of a run that belongs to `owner`; None is the operator.

    Raises:
        RunNotFoundError: `owner` has no such run.
    """
    if not update_run(connection, run_id, values or {"id": run_id}, *owned_by(owner)):
        raise RunNotFoundError(run_id)


def delete_runs(connection: Connection, *conditions: ColumnElement[bool]) -> int:
    """Delete runs with all that only they refer to; return how many there were."""
    ids = connection.scalars(select(Run.id).where(*conditions)).all()
    for some in (ids[i : i + CHUNK] for i in range(0, len(ids), CHUNK)):
        shared = shared_by(connection, some)
        cells.count(connection, some, -1)
        connection.execute(delete(Run).where(Run.id.in_(some)))
        delete_unused(connection, shared)
    return len(ids)


def owned_by(owner: str | None) -> list[ColumnElement[bool]]:
    """Return the condition that a run is `owner`'s; None is the operator, whose every run is."""
    return [] if owner is None else [Run.owner == owner]


def update_run(
    connection: Connection, run_id: str, values: Mapping[str, Any], *conditions: ColumnElement[bool]
) -> bool:
    """Change a run's own columns where the conditions hold; say whether they did."""
    statement = update(Run).where(Run.id == run_id, *conditions).values(**values)
    return connection.execute(statement).rowcount == 1


@dataclass(frozen=True)
class Shared:
    """What some runs may share with others."""

    images: Sequence[str]
    artifacts: Sequence[str]
    environments: Sequence[int]


def shared_by(connection: Connection, run_ids: Sequence[str]) -> Shared:
    """Return what runs refer to that may belong to others, too: to be asked before they are deleted."""
    images = set(connection.scalars(select(RunInput.image_sha256).where(RunInput.run_id.in_(run_ids))))
    artifacts = set(connection.scalars(select(RunArtifact.sha256).where(RunArtifact.run_id.in_(run_ids))))
    environments = set(connection.scalars(select(Run.environment_id).where(Run.id.in_(run_ids))))
    return Shared(sorted(images), sorted(artifacts | images), sorted(environments))


def delete_unused(connection: Connection, shared: Shared) -> None:
    """Delete what no run refers to any more, with the series of its environments."""
    for table, column, values in (
        (Image, Image.sha256, shared.images),
        (Artifact, Artifact.sha256, shared.artifacts),
        (Series, Series.environment_id, shared.environments),
        (Environment, Environment.id, shared.environments),
    ):
        for some in (values[i : i + CHUNK] for i in range(0, len(values), CHUNK)):
            connection.execute(delete(table).where(column.in_(some), UNUSED[table]))
