"""Keep values that can be computed again, so that they are not after a restart."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "derived",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("used", sa.BigInteger, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.CheckConstraint("length(key) = 64", name="ck_derived_key"),
        sa.CheckConstraint("size = length(data)", name="ck_derived_size"),
        sa.PrimaryKeyConstraint("key", name="pk_derived"),
    )
