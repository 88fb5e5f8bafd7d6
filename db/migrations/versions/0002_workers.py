"""Remember which process works on a run that is going, so that a dead one's run does not run for ever."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "worker",
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("machine", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("process_started_s", sa.Double, nullable=False),
        sa.Column("seen", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_worker_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", name="pk_worker"),
        sqlite_with_rowid=False,
    )
    op.execute(
        "UPDATE run SET status = 'failed', error_class = 'Interrupted', "
        "error_message = 'The process that worked on it is not known.' WHERE status = 'running'"
    )
