"""Count also in which quarter of an hour runs began, and what those with a tag took and measured.

Runs can be listed by how long they took, and it can be asked which words there are."""

import sqlalchemy as sa
from alembic import op

from db.filling_tags import fill

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    for table, columns in (("cell", ("quarters",)), ("tag_cell", ("sketch", "quarters"))):
        for name in columns:
            op.add_column(table, sa.Column(name, sa.LargeBinary, nullable=False, server_default=_no_bytes()))
    op.create_table(
        "tag_metric_cell",
        sa.Column("tag", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("series_id", sa.Integer, nullable=False),
        sa.Column("day", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("n", sa.Integer, nullable=False),
        sa.Column("total", sa.Double, nullable=False),
        sa.Column("squares", sa.Double, nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("tag", "name", "series_id", "day", name="pk_tag_metric_cell"),
        sa.ForeignKeyConstraint(
            ["series_id"], ["series.id"], name="fk_tag_metric_cell_series_id", ondelete="CASCADE"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_tag_metric_cell_series_id", "tag_metric_cell", ["series_id"])
    few = sa.text("deleted IS NOT NULL")
    op.create_index("ix_run_deleted", "run", ["deleted"], sqlite_where=few, postgresql_where=few)
    op.create_index("ix_run_longest", "run", ["duration_ms", "time", "seq", "series_id"])
    if op.get_bind().dialect.name == "sqlite":
        op.execute("CREATE VIRTUAL TABLE run_words_terms USING fts5vocab(run_words, row)")
    fill(op.get_bind())


def _no_bytes() -> sa.TextClause:
    return sa.text("x''" if op.get_bind().dialect.name == "sqlite" else "''")
