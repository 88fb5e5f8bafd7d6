"""Keep which of two answers a person preferred, and which calls of a data-set run are paid for and done."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "vote",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("first_run", sa.Text, nullable=True),
        sa.Column("second_run", sa.Text, nullable=True),
        sa.Column("first_model", sa.Text, nullable=False),
        sa.Column("second_model", sa.Text, nullable=False),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("choice", sa.Text, nullable=False),
        sa.Column("blind", sa.Boolean, nullable=False),
        sa.Column("set_aside", sa.Text, nullable=False),
        sa.Column("first_length", sa.BigInteger, nullable=False),
        sa.Column("second_length", sa.BigInteger, nullable=False),
        sa.Column("loopback", sa.Boolean, nullable=False),
        sa.CheckConstraint("choice IN ('first', 'second', 'tie', 'both_bad')", name="ck_vote_choice"),
        sa.CheckConstraint("first_length >= 0 AND second_length >= 0", name="ck_vote_lengths"),
        sa.CheckConstraint(
            "owner <> '' AND first_model <> '' AND second_model <> '' AND first_model <> second_model",
            name="ck_vote_named",
        ),
        sa.ForeignKeyConstraint(["first_run"], ["run.id"], name="fk_vote_first_run", ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["second_run"], ["run.id"], name="fk_vote_second_run", ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name="pk_vote"),
    )
    op.create_index("ix_vote_owner_id", "vote", ["owner", "id"])
    op.create_index("ix_vote_first_run", "vote", ["first_run"])
    op.create_index("ix_vote_second_run", "vote", ["second_run"])
    op.create_table(
        "call",
        sa.Column("set_id", sa.Text, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("model_id", sa.Text, nullable=False),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("item", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("claimed", sa.BigInteger, nullable=True),
        sa.Column("run_id", sa.Text, nullable=True),
        sa.CheckConstraint("state IN ('open', 'claimed', 'done')", name="ck_call_state"),
        sa.CheckConstraint("state = 'done' OR run_id IS NULL", name="ck_call_run"),
        sa.ForeignKeyConstraint(["set_id"], ["run.id"], name="fk_call_set_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_call_run_id", ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("set_id", "position", name="pk_call"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_call_set_id_state_position", "call", ["set_id", "state", "position"])
    op.create_index("ix_call_run_id", "call", ["run_id"])
