"""The statements that put runs in. Each function works inside a transaction that its caller holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, delete, exists, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from ulid import ULID

from db.models import EPOCH, Artifact, Base, Environment, Image, Metric, Run, RunArtifact, RunInput, RunTag
from db.records import NewArtifact, NewPicture, NewRun
from db.rows import (
    Row,
    artifact_rows,
    bytes_row,
    environment_row,
    image_row,
    input_rows,
    metric_rows,
    run_row,
    tag_rows,
)

INSERT_RUN = insert(Run)
INSERT_METRIC = insert(Metric)
INSERT_TAG = insert(RunTag)
INSERT_INPUT = insert(RunInput)
INSERT_RUN_ARTIFACT = insert(RunArtifact)
FIND_ENVIRONMENT = select(Environment.id).where(Environment.digest == bindparam("digest"))


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


def missing_images(connection: Connection, pictures: dict[str, NewPicture], *, keep: bool) -> list[Row]:
    """Return the rows of the pictures that the store lacks, or lacks the file of, in a fixed order.

    Thumbnails are made here: call it before the transaction that writes.
    """
    found = select(Image.sha256, Image.kept_sha256).where(Image.sha256.in_(pictures))
    kept = {sha256: kept_sha256 is not None for sha256, kept_sha256 in connection.execute(found)}
    due = (
        sha256 for sha256 in sorted(pictures) if not kept.get(sha256, False) and (keep or sha256 not in kept)
    )
    return [image_row(pictures[sha256], keep=keep) for sha256 in due]


def missing_blobs(connection: Connection, blobs: dict[str, bytes]) -> list[Row]:
    """Return the rows of the bytes that the store lacks, in a fixed order."""
    if not blobs:
        return []
    found = set(connection.scalars(select(Artifact.sha256).where(Artifact.sha256.in_(blobs))))
    return [bytes_row(sha256, blobs[sha256]) for sha256 in sorted(blobs.keys() - found)]


def insert_run(connection: Connection, rows: RunRows, environment_id: int) -> None:
    """Insert a run and what belongs to it; its images and bytes are there already."""
    connection.execute(INSERT_RUN, rows.run | {"environment_id": environment_id})
    for statement, some in (
        (INSERT_METRIC, rows.metrics),
        (INSERT_TAG, rows.tags),
        (INSERT_INPUT, rows.inputs),
        (INSERT_RUN_ARTIFACT, rows.artifacts),
    ):
        if some:
            connection.execute(statement, some)


def upsert(connection: Connection, table: type[Base]) -> sqlite.Insert | postgresql.Insert:
    """Return an INSERT that knows ON CONFLICT; both databases have the same."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def find_or_insert_environment(connection: Connection, row: Row) -> int:
    """Return the id of an environment, inserted unless an equal one is there."""
    insert_missing(connection, Environment, [row])
    return connection.scalars(FIND_ENVIRONMENT, {"digest": row["digest"]}).one()


def insert_missing(connection: Connection, table: type[Base], rows: list[Row]) -> None:
    """Insert rows, leaving out those whose key is there."""
    if rows:
        connection.execute(upsert(connection, table).on_conflict_do_nothing(), rows)


def insert_images(connection: Connection, rows: list[Row]) -> None:
    """Insert images; one that is there becomes kept where the new row is."""
    if not rows:
        return
    statement = upsert(connection, Image)
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
    connection.execute(delete(RunTag).where(RunTag.run_id == run_id))
    if rows := tag_rows(run_id, tags):
        connection.execute(INSERT_TAG, rows)


def update_run(connection: Connection, run_id: str, values: Mapping[str, Any], *conditions: Any) -> bool:
    """Change a run's own columns where the conditions hold; say whether they did."""
    statement = update(Run).where(Run.id == run_id, *conditions).values(**values)
    return connection.execute(statement).rowcount == 1


def delete_orphans(connection: Connection) -> None:
    """Delete the images, bytes and environments that no run refers to any more."""
    used_image = exists().where(RunInput.image_sha256 == Image.sha256)
    connection.execute(delete(Image).where(~used_image))
    used_bytes = or_(
        exists().where(RunArtifact.sha256 == Artifact.sha256),
        exists().where(Image.kept_sha256 == Artifact.sha256),
    )
    connection.execute(delete(Artifact).where(~used_bytes))
    used_environment = exists().where(Run.environment_id == Environment.id)
    connection.execute(delete(Environment).where(~used_environment))
