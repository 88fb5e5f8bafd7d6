"""Where values are kept that can be computed again, by what they were computed from."""

import hashlib
from typing import Protocol


class DerivedStore(Protocol):
    """Keeps bytes across restarts, until they have not been used for the longest time. `db.Store` is one."""

    def derived(self, key: str) -> bytes | None:
        """Return the bytes kept under `key` (see `derived_key`), None where there are none."""

    def keep_derived(self, key: str, data: bytes, budget_mb: float) -> None:
        """Keep bytes under `key`; drop the least recently used until all take at most `budget_mb`."""


def derived_key(*parts: str) -> str:
    """Return the SHA-256, as 64 hex digits, of what a value was computed from.

    Each part goes in behind its length, so that ("ab", "c") and ("a", "bc") differ.
    """
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")  # names of files may hold bytes that are no text
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()
