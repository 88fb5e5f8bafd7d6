"""Vectors of pictures, and which pictures a visitor may find by them.

Each function works inside a transaction that its caller holds.
"""

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, and_, delete, exists, func, insert, select, union

from db.models import Image, Run, RunInput, Vector
from db.reading import visible_to
from db.records import KeptPicture, VectorRecord


def load(connection: Connection, space: str, after: int, limit: int) -> tuple[VectorRecord, ...]:
    """Return the vectors of a space in the order in which they were put, from behind the id `after`."""
    statement = (
        select(Vector.id, Vector.image_sha256, Vector.data)
        .where(Vector.space == space, Vector.id > after)
        .order_by(Vector.id)
        .limit(limit)
    )
    return tuple(VectorRecord(*row) for row in connection.execute(statement))


def put(connection: Connection, space: str, vectors: Mapping[str, bytes]) -> None:
    """Put vectors in by their picture, in the place of those that are there.

    Pictures that are not in the store are passed over. The caller writes alone.
    """
    drop(connection, space, vectors)
    known = connection.scalars(select(Image.sha256).where(Image.sha256.in_(vectors))).all()
    rows = [{"space": space, "image_sha256": sha256, "data": vectors[sha256]} for sha256 in sorted(known)]
    if rows:
        connection.execute(insert(Vector), rows)


def drop(connection: Connection, space: str, sha256s: Collection[str]) -> None:
    """Delete the vectors of pictures."""
    connection.execute(delete(Vector).where(Vector.space == space, Vector.image_sha256.in_(sha256s)))


def without(connection: Connection, space: str, owner: str | None) -> tuple[str, ...]:
    """Return the digests of kept pictures that `owner` may see and that have no vector, in a fixed order."""
    has_vector = exists().where(Vector.image_sha256 == Image.sha256, Vector.space == space)
    is_seen = exists().where(
        RunInput.image_sha256 == Image.sha256, Run.id == RunInput.run_id, visible_to(owner)
    )
    statement = select(Image.sha256).where(Image.kept_sha256.is_not(None), ~has_vector, is_seen)
    return tuple(sorted(connection.scalars(statement)))


def seen(connection: Connection, owner: str | None) -> frozenset[str]:
    """Return the digests of all pictures that `owner` may see."""
    taken = select(RunInput.image_sha256).join(Run, Run.id == RunInput.run_id)
    if owner is None:
        return frozenset(connection.scalars(taken.distinct()))
    # Two questions, each answered by an index; one with "or" would read every run.
    own, shared = taken.where(Run.owner == owner), taken.where(Run.shared)
    return frozenset(connection.scalars(union(own, shared)))


def find(connection: Connection, owner: str | None, sha256s: Collection[str]) -> dict[str, KeptPicture]:
    """Return the kept ones of these pictures that `owner` may see, each by the newest run that took it."""
    newest = (
        select(RunInput.image_sha256, func.max(Run.id).label("run_id"))
        .join(Run, Run.id == RunInput.run_id)
        .join(Image, Image.sha256 == RunInput.image_sha256)
        .where(RunInput.image_sha256.in_(sha256s), Image.kept_sha256.is_not(None), visible_to(owner))
        .group_by(RunInput.image_sha256)
        .subquery()
    )
    statement = (
        select(Run.id, RunInput.role, RunInput.name, RunInput.image_sha256, Run.time)
        .select_from(newest)
        .join(Run, Run.id == newest.c.run_id)
        .join(RunInput, and_(RunInput.run_id == Run.id, RunInput.image_sha256 == newest.c.image_sha256))
        .order_by(RunInput.position.desc())  # of a picture that took two parts, the first one stays
    )
    return {row.image_sha256: KeptPicture(*row) for row in connection.execute(statement)}
