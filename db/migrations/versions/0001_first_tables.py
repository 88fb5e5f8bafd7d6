"""The first tables: runs, what they took, what they measured, what they made."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _create_shared_tables()
    _create_run()
    _create_tables_of_a_run()


def _create_shared_tables() -> None:
    op.create_table(
        "environment",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("device", sa.Text, nullable=False),
        sa.Column("device_name", sa.Text, nullable=False),
        sa.Column("dtype", sa.Text, nullable=False),
        sa.Column("threads", sa.Integer, nullable=False),
        sa.Column("versions", sa.JSON, nullable=False),
        sa.Column("git_revision", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_environment"),
        sa.UniqueConstraint("digest", name="uq_environment_digest"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "artifact",
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.CheckConstraint("length(sha256) = 64", name="ck_artifact_sha256"),
        sa.CheckConstraint("size >= 0", name="ck_artifact_size"),
        sa.PrimaryKeyConstraint("sha256", name="pk_artifact"),
    )
    op.create_table(
        "image",
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("format", sa.Text, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("kept_sha256", sa.Text),
        sa.Column("thumbnail", sa.LargeBinary, nullable=False),
        sa.CheckConstraint("length(sha256) = 64", name="ck_image_sha256"),
        sa.CheckConstraint("kept_sha256 = sha256", name="ck_image_kept"),
        sa.CheckConstraint("width > 0 AND height > 0 AND size > 0", name="ck_image_size"),
        sa.ForeignKeyConstraint(["kept_sha256"], ["artifact.sha256"], name="fk_image_kept_sha256"),
        sa.PrimaryKeyConstraint("sha256", name="pk_image"),
    )
    op.create_index("ix_image_kept_sha256", "image", ["kept_sha256"])


def _create_run() -> None:
    op.create_table(
        "run",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("model_id", sa.Text, nullable=False),
        sa.Column("model_revision", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("duration_ms", sa.Double),
        sa.Column("environment_id", sa.Integer, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("shared", sa.Boolean, nullable=False),
        sa.Column("error_class", sa.Text, nullable=False),
        sa.Column("error_message", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("parameters", sa.JSON, nullable=False),
        sa.Column("view", sa.JSON, nullable=False),
        sa.CheckConstraint("length(id) = 26", name="ck_run_id"),
        sa.CheckConstraint("kind <> '' AND model_id <> '' AND owner <> ''", name="ck_run_named"),
        sa.CheckConstraint("status IN ('running', 'ok', 'failed', 'cancelled')", name="ck_run_status"),
        sa.CheckConstraint("duration_ms >= 0", name="ck_run_duration"),
        sa.ForeignKeyConstraint(["environment_id"], ["environment.id"], name="fk_run_environment_id"),
        sa.PrimaryKeyConstraint("id", name="pk_run"),
    )
    op.create_index("ix_run_time", "run", ["time", "id"])
    op.create_index("ix_run_owner_time", "run", ["owner", "time", "id"])
    op.create_index(
        "ix_run_aggregate",
        "run",
        ["owner", "kind", "model_id", "time", "status", "environment_id", "duration_ms"],
    )
    op.create_index("ix_run_environment_id", "run", ["environment_id"])


def _create_tables_of_a_run() -> None:
    op.create_table(
        "run_tag",
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("tag", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_run_tag_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "tag", name="pk_run_tag"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_run_tag_tag", "run_tag", ["tag"])
    op.create_table(
        "run_input",
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("position", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("image_sha256", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_run_input_run_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["image_sha256"], ["image.sha256"], name="fk_run_input_image_sha256"),
        sa.PrimaryKeyConstraint("run_id", "position", name="pk_run_input"),
        sa.UniqueConstraint("run_id", "role", name="uq_run_input_run_id_role"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_run_input_image_sha256", "run_input", ["image_sha256"])
    op.create_table(
        "metric",
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("position", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.Double, nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("step", sa.BigInteger),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_metric_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "position", name="pk_metric"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "run_artifact",
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("media_type", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_run_artifact_run_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["sha256"], ["artifact.sha256"], name="fk_run_artifact_sha256"),
        sa.PrimaryKeyConstraint("run_id", "name", name="pk_run_artifact"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_run_artifact_sha256", "run_artifact", ["sha256"])
