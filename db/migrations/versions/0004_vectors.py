"""Keep what a model makes of each picture as a whole, for the search; find shared runs quickly."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "vector",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("space", sa.Text, nullable=False),
        sa.Column("image_sha256", sa.Text, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.CheckConstraint("length(space) = 64", name="ck_vector_space"),
        sa.ForeignKeyConstraint(
            ["image_sha256"], ["image.sha256"], name="fk_vector_image_sha256", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_vector"),
        sa.UniqueConstraint("image_sha256", "space", name="uq_vector_image_sha256_space"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_vector_space_id", "vector", ["space", "id"])
    op.create_index(
        "ix_run_shared", "run", ["id"], sqlite_where=sa.text("shared = 1"), postgresql_where=sa.text("shared")
    )
