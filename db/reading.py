"""From rows to records. Each function works inside a transaction that its caller holds."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, Connection, or_, select

from db.models import Artifact, Environment, Image, Metric, Run, RunArtifact, RunInput, RunTag
from db.records import (
    ArtifactRecord,
    EnvironmentRecord,
    KeptPicture,
    MetricRecord,
    PictureRecord,
    RunRecord,
    RunSummary,
)

RUNS_WITH_PICTURES = 1_000
"""How many of the newest runs are looked through for kept pictures."""

SUMMARY = (
    select(
        Run.id,
        Run.time,
        Run.kind,
        Run.model_id,
        Run.status,
        Run.duration_ms,
        Environment.device,
        Run.note,
        Run.shared,
        RunInput.image_sha256.label("picture_sha256"),
        Run.error_class,
        Run.deleted,
    )
    .join(Environment, Environment.id == Run.environment_id)
    .outerjoin(RunInput, (RunInput.run_id == Run.id) & (RunInput.position == 0))
)

WHOLE = select(
    Run,
    Environment.device,
    Environment.device_name,
    Environment.dtype,
    Environment.threads,
    Environment.versions,
    Environment.git_revision,
).join(Environment, Environment.id == Run.environment_id)

ENVIRONMENT_FIELDS = ("device", "device_name", "dtype", "threads", "versions", "git_revision")
PLAIN_FIELDS = (
    "id",
    "time",
    "kind",
    "model_id",
    "model_revision",
    "status",
    "error_class",
    "error_message",
    "parameters",
    "duration_ms",
    "owner",
    "shared",
    "note",
    "view",
)


def visible_to(owner: str | None) -> ColumnElement[bool]:
    """Return the condition that `owner` may see a run: an own or a shared one, None all; none in the bin."""
    kept = Run.deleted.is_(None)
    return kept if owner is None else kept & or_(Run.owner == owner, Run.shared)


def load_summaries(connection: Connection, seqs: Sequence[int]) -> tuple[RunSummary, ...]:
    """Return the rows of a list, in the order of their numbers `Run.seq`: two queries, however long it is."""
    statement = SUMMARY.add_columns(Run.seq).where(Run.seq.in_(seqs))
    rows = {seq: row for *row, seq in connection.execute(statement)}
    names = [str(column.key) for column in SUMMARY.selected_columns]
    found = [dict(zip(names, rows[seq], strict=True)) for seq in seqs]
    tags = load_tags(connection, [row["id"] for row in found])
    return tuple(RunSummary(**row, tags=tags[row["id"]]) for row in found)


def load_runs(connection: Connection, run_ids: Sequence[str]) -> tuple[RunRecord, ...]:
    """Return whole runs, oldest first: five queries, however many they are. Missing ones are left out."""
    rows = connection.execute(WHOLE.where(Run.id.in_(run_ids)).order_by(Run.id)).mappings().all()
    tags, inputs = load_tags(connection, run_ids), _load_inputs(connection, run_ids)
    metrics, artifacts = _load_metrics(connection, run_ids), _load_artifacts(connection, run_ids)
    return tuple(
        RunRecord(
            **{name: row[name] for name in PLAIN_FIELDS},
            environment=EnvironmentRecord(**{name: row[name] for name in ENVIRONMENT_FIELDS}),
            tags=tags[row["id"]],
            inputs=tuple(inputs[row["id"]]),
            metrics=tuple(metrics[row["id"]]),
            artifacts=tuple(artifacts[row["id"]]),
        )
        for row in rows
    )


def load_kept_pictures(connection: Connection, owner: str | None, limit: int) -> tuple[KeptPicture, ...]:
    """Return the kept pictures of the newest own runs, each once, newest first."""
    newest = (
        select(Run.id, Run.time)
        .where(Run.deleted.is_(None))
        .order_by(Run.time.desc(), Run.id.desc())
        .limit(RUNS_WITH_PICTURES)
    )
    runs = (newest if owner is None else newest.where(Run.owner == owner)).subquery()
    statement = (
        select(runs.c.id, RunInput.role, RunInput.name, RunInput.image_sha256, runs.c.time)
        .join(RunInput, RunInput.run_id == runs.c.id)
        .join(Image, Image.sha256 == RunInput.image_sha256)
        .where(Image.kept_sha256.is_not(None))
        .order_by(runs.c.id.desc(), RunInput.position)
    )
    found: dict[str, KeptPicture] = {}
    for run_id, role, name, sha256, time in connection.execute(statement):
        found.setdefault(sha256, KeptPicture(run_id, role, name, sha256, time))
    return tuple(found.values())[:limit]


def load_tags(connection: Connection, run_ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the tags of runs, sorted; an empty tuple for a run without any."""
    found: dict[str, tuple[str, ...]] = defaultdict(tuple)
    statement = select(RunTag.run_id, RunTag.tag).where(RunTag.run_id.in_(run_ids))
    for run_id, tag in sorted(connection.execute(statement)):
        found[run_id] += (tag,)
    return found


def _load_inputs(connection: Connection, run_ids: Sequence[str]) -> dict[str, list[PictureRecord]]:
    statement = (
        select(
            RunInput.run_id,
            RunInput.role,
            RunInput.name,
            Image.sha256,
            Image.format,
            Image.width,
            Image.height,
            Image.size,
            Image.thumbnail,
            Image.kept_sha256.is_not(None).label("kept"),
        )
        .join(Image, Image.sha256 == RunInput.image_sha256)
        .where(RunInput.run_id.in_(run_ids))
        .order_by(RunInput.run_id, RunInput.position)
    )
    found = defaultdict(list)
    for run_id, *values in connection.execute(statement):
        found[run_id].append(PictureRecord(*values))
    return found


def _load_metrics(connection: Connection, run_ids: Sequence[str]) -> dict[str, list[MetricRecord]]:
    statement = (
        select(Metric.run_id, Metric.name, Metric.value, Metric.unit, Metric.step)
        .where(Metric.run_id.in_(run_ids))
        .order_by(Metric.run_id, Metric.position)
    )
    found = defaultdict(list)
    for run_id, name, value, unit, step in connection.execute(statement):
        found[run_id].append(MetricRecord(name, value, unit, step))
    return found


def _load_artifacts(connection: Connection, run_ids: Sequence[str]) -> dict[str, list[ArtifactRecord]]:
    statement = (
        select(RunArtifact.run_id, RunArtifact.name, RunArtifact.media_type, Artifact.sha256, Artifact.size)
        .join(Artifact, Artifact.sha256 == RunArtifact.sha256)
        .where(RunArtifact.run_id.in_(run_ids))
        .order_by(RunArtifact.run_id, RunArtifact.name)
    )
    found = defaultdict(list)
    for run_id, name, media_type, sha256, size in connection.execute(statement):
        found[run_id].append(ArtifactRecord(name, media_type, sha256, size))
    return found
