"""The part of the store that keeps what can be computed again: derived values, vectors of pictures."""

from collections.abc import Collection, Mapping

from db import derived, vectors
from db.engine import Transactions
from db.records import KeptPicture, VectorRecord

CHUNK = 1_000
"""Most ids in one statement; both databases bound the number of parameters."""


class ValueStore:
    """What `Store` keeps so that it need not be computed twice."""

    _database: Transactions

    # Values that can be computed again

    def derived(self, key: str) -> bytes | None:
        """Return the derived value under `key`, None where there is none.

        It counts as used now. That is not written where it was within the last minute, or where the store
        is being written or may not be: a read neither waits nor fails for it.
        """
        with self._database.read() as connection:
            return derived.load(connection, key)

    def keep_derived(self, key: str, data: bytes, budget_mb: float) -> None:
        """Keep a derived value, in the place of an older one of that key.

        Args:
            key: SHA-256, as 64 hex digits, of what it was computed from.
            data: One larger than the budget is not kept.
            budget_mb: What all derived values may take, in MB (10^6 bytes); the least recently used go.
        """
        with self._database.write(alone=True) as connection:
            derived.keep(connection, key, data, int(budget_mb * 1e6))

    # Vectors of pictures

    def vectors(self, space: str, *, after: int = 0, limit: int = CHUNK) -> tuple[VectorRecord, ...]:
        """Return vectors of a space in the order in which they were put; whoever's the pictures are.

        Args:
            space: 64 hex digits that stand for the model, its weights and options.
            after: The last id that is known; only newer ones are returned.
        """
        with self._database.read() as connection:
            return vectors.load(connection, space, after, limit)

    def put_vectors(self, space: str, by_picture: Mapping[str, bytes]) -> None:
        """Keep vectors by the digests of their pictures, in the place of older ones.

        Pictures that are not in the store, or no longer, are passed over.
        """
        with self._database.write(alone=True) as connection:
            vectors.put(connection, space, by_picture)

    def drop_vectors(self, space: str, sha256s: Collection[str]) -> None:
        """Delete the vectors of pictures."""
        with self._database.write() as connection:
            vectors.drop(connection, space, sha256s)

    def pictures_without_vector(self, space: str, owner: str | None) -> tuple[str, ...]:
        """Return the digests of the kept pictures that `owner` may see and that have no vector there."""
        with self._database.read() as connection:
            return vectors.without(connection, space, owner)

    def seen_pictures(self, owner: str | None) -> frozenset[str]:
        """Return the digests of all pictures of the runs that `owner` may see."""
        with self._database.read() as connection:
            return vectors.seen(connection, owner)

    def find_pictures(self, sha256s: Collection[str], owner: str | None) -> dict[str, KeptPicture]:
        """Return those of at most `CHUNK` pictures that are kept and that `owner` may see, by digest."""
        with self._database.read() as connection:
            return vectors.find(connection, owner, sha256s)
