"""Count runs by series and day as they come, find them by their words, and let deleted ones wait in a bin."""

import sqlalchemy as sa
from alembic import op

from db.filling import fill

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    _create_series()
    _create_cells()
    _extend_run()
    _create_words()
    fill(op.get_bind())


def _create_series() -> None:
    op.create_table(
        "series",
        sa.Column("id", sa.Integer, nullable=False),
        *(
            sa.Column(name, sa.Text, nullable=False)
            for name in ("digest", "owner", "kind", "model_id", "model_revision")
        ),
        sa.Column("environment_id", sa.Integer, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("device", "status", "outcome")),
        sa.Column("loopback", sa.Boolean, nullable=False),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_series"),
        sa.UniqueConstraint("digest", name="uq_series_digest"),
        sa.ForeignKeyConstraint(["environment_id"], ["environment.id"], name="fk_series_environment_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_series_owner", "series", ["owner"])
    op.create_index("ix_series_environment_id", "series", ["environment_id"])


def _create_cells() -> None:
    _create_cell(
        "cell",
        None,
        sa.Column("n", sa.Integer, nullable=False),
        sa.Column("sketch", sa.LargeBinary, nullable=False),
    )
    _create_cell(
        "metric_cell",
        "name",
        sa.Column("n", sa.Integer, nullable=False),
        sa.Column("total", sa.Double, nullable=False),
        sa.Column("squares", sa.Double, nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
    )
    _create_cell("tag_cell", "tag", sa.Column("n", sa.Integer, nullable=False))


def _create_cell(table: str, key: str | None, *columns: sa.Column[object]) -> None:
    keys = [*([key] if key else []), "series_id", "day"]
    op.create_table(
        table,
        *([sa.Column(key, sa.Text, nullable=False)] if key else []),
        sa.Column("series_id", sa.Integer, nullable=False),
        sa.Column("day", sa.Integer, autoincrement=False, nullable=False),
        *columns,
        sa.PrimaryKeyConstraint(*keys, name=f"pk_{table}"),
        sa.ForeignKeyConstraint(
            ["series_id"], ["series.id"], name=f"fk_{table}_series_id", ondelete="CASCADE"
        ),
        sqlite_with_rowid=False,
    )
    if key:
        op.create_index(f"ix_{table}_series_id", table, ["series_id"])


def _extend_run() -> None:
    op.add_column("run", sa.Column("seq", sa.BigInteger))
    if op.get_bind().dialect.name == "sqlite":  # it has no other way to add a reference
        op.execute(
            "ALTER TABLE run ADD COLUMN series_id INTEGER CONSTRAINT fk_run_series_id REFERENCES series (id)"
        )
    else:
        op.add_column("run", sa.Column("series_id", sa.Integer))
        op.create_foreign_key("fk_run_series_id", "run", "series", ["series_id"], ["id"])
        op.execute("CREATE SEQUENCE run_seq")
    op.add_column("run", sa.Column("deleted", sa.BigInteger))
    op.drop_index("ix_run_aggregate", "run")
    op.drop_index("ix_run_time", "run")
    op.create_index("ix_run_series", "run", ["series_id", "time", "duration_ms", "seq"])
    op.create_index("ix_run_listed", "run", ["time", "seq", "series_id", "duration_ms"])
    op.create_index("ix_run_found", "run", ["seq", "series_id", "time", "duration_ms", "id"])
    op.add_column("run_tag", sa.Column("seq", sa.BigInteger))
    op.drop_index("ix_run_tag_tag", "run_tag")
    op.create_index("ix_run_tag_tag_seq", "run_tag", ["tag", "seq"])


def _create_words() -> None:
    if op.get_bind().dialect.name == "sqlite":
        # A word is what stands between two blanks; where in a text it stands is not kept.
        op.execute(
            "CREATE VIRTUAL TABLE run_words"
            " USING fts5(words, tokenize = 'ascii', detail = none, columnsize = 0)"
        )
        op.execute(
            "CREATE TRIGGER run_words_deleted AFTER DELETE ON run BEGIN"
            " DELETE FROM run_words WHERE rowid = OLD.seq; END"
        )
        return
    op.create_table(
        "run_words",
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("words", sa.dialects.postgresql.TSVECTOR, nullable=False),
        sa.PrimaryKeyConstraint("run_id", name="pk_run_words"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_run_words_run_id", ondelete="CASCADE"),
    )
    op.create_index("ix_run_words_words", "run_words", ["words"], postgresql_using="gin")
    op.create_index("ix_run_words_seq", "run_words", ["seq"])
