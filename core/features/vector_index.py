"""Vectors of many pictures in memory, to find the nearest: exact, and quick enough for 100,000 of them.

The store keeps the vectors; `VectorIndex` reads those that are new before each search. The product with all
of them takes about 10 ms for 100,000 of 384 numbers, so nothing is approximated: its recall is 1.
"""

import json
import logging
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from core.derived import derived_key
from core.errors import InputError
from core.features.values import FeatureOptions

VectorKind = Literal["cls", "mean"]
"""What stands for a picture: its CLS token, or the mean of its patches; either at length 1."""
VECTOR_KINDS: tuple[VectorKind, ...] = get_args(VectorKind)

FORMAT = "picture vectors 1"
"""Begins what names a space; another number makes all vectors in the store count as absent."""
READ_AT_ONCE = 10_000
"""How many vectors are read from the store in one go."""
LENGTH_ERROR = 1e-3
"""A stored vector whose length is further from 1 (or 0) than this was changed."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Space:
    """What vectors must share to be compared."""

    model_id: str
    revision: str
    options: FeatureOptions
    kind: VectorKind

    @property
    def key(self) -> str:
        """64 hex digits, by which the store knows the space."""
        options = json.dumps(self.options.as_json(), sort_keys=True)
        return derived_key(FORMAT, self.model_id, self.revision, options, self.kind)


def vector_kind(name: str) -> VectorKind:
    """Return the kind of that name.

    Raises:
        InputError: There is none.
    """
    for kind in VECTOR_KINDS:
        if kind == name:
            return kind
    raise InputError(f"There is no vector {name!r} of a picture.", f"Choose {' or '.join(VECTOR_KINDS)}.")


class StoredVector(Protocol):
    """A vector as the store has it."""

    @property
    def id(self) -> int: ...
    @property
    def sha256(self) -> str: ...
    @property
    def data(self) -> bytes: ...


class VectorStore(Protocol):
    """Keeps vectors across restarts. `db.Store` is one."""

    def vectors(self, space: str, *, after: int, limit: int) -> Sequence[StoredVector]:
        """Return vectors in the order in which they were put, from behind an id."""

    def put_vectors(self, space: str, by_picture: Mapping[str, bytes]) -> None:
        """Keep vectors by the digests of their pictures; a replaced one gets a new id."""

    def drop_vectors(self, space: str, sha256s: Collection[str]) -> None:
        """Delete the vectors of pictures."""


def vector_bytes(vector: NDArray[np.float32]) -> bytes:
    """Return what the store keeps of a vector: its numbers, little endian."""
    return vector.astype("<f4").tobytes()


class VectorIndex:
    """The vectors of one space. Safe to use from many threads.

    Args:
        space: As `Space.key`.
        dim: How many numbers a vector has.
    """

    def __init__(self, space: str, dim: int) -> None:
        import faiss

        # A second OpenMP runtime beside PyTorch's may crash on macOS; one query uses one thread anyway.
        faiss.omp_set_num_threads(1)
        self._space = space
        self._dim = dim
        self._vectors = faiss.IndexFlatIP(dim)
        self._sha256s: list[str] = []
        self._places: dict[str, int] = {}
        self._last_id = 0
        self._lock = threading.Lock()  # guards all of the above; FAISS may not search while it grows

    def __len__(self) -> int:
        with self._lock:
            return len(self._places)

    @property
    def memory_mb(self) -> float:
        """What the vectors take, in MB (10^6 bytes)."""
        with self._lock:
            return len(self._sha256s) * self._dim * 4 / 1e6

    def refresh(self, store: VectorStore) -> None:
        """Read what is new in the store. A vector that cannot be used is deleted there, and is missing."""
        with self._lock:
            while rows := store.vectors(self._space, after=self._last_id, limit=READ_AT_ONCE):
                vectors, good = self._checked(rows)
                self._add([row.sha256 for row, is_good in zip(rows, good, strict=True) if is_good], vectors)
                self._last_id = rows[-1].id
                bad = [row.sha256 for row, is_good in zip(rows, good, strict=True) if not is_good]
                if bad:
                    self._drop(store, bad)

    def _drop(self, store: VectorStore, sha256s: list[str]) -> None:
        _log.warning("%d vectors in the store cannot be used and are computed again.", len(sha256s))
        try:
            store.drop_vectors(self._space, sha256s)
        except Exception:  # the store's errors are of `db`, which is not known here
            _log.warning("They cannot be deleted.", exc_info=True)

    def _checked(self, rows: Sequence[StoredVector]) -> tuple[NDArray[np.float32], list[bool]]:
        """Return the vectors that can be used, n D, and for each row whether it is among them."""
        whole = [len(row.data) == 4 * self._dim for row in rows]
        data = b"".join(row.data for row, is_whole in zip(rows, whole, strict=True) if is_whole)
        vectors = np.frombuffer(data, "<f4").reshape(-1, self._dim).astype(np.float32)  # n D
        with np.errstate(over="ignore", invalid="ignore"):
            squares = np.einsum("nd,nd->n", vectors, vectors)
            sound = (np.abs(squares - 1) < 2 * LENGTH_ERROR) | (
                squares == 0
            )  # not for one that is not finite
        verdicts = iter(sound.tolist())
        return vectors[sound], [is_whole and next(verdicts) for is_whole in whole]

    def _add(self, sha256s: list[str], vectors: NDArray[np.float32]) -> None:
        """Read what is new in the store; a vector that cannot be used is deleted there, so it is missing."""
        if sha256s:
            self._vectors.add(vectors)
        self._places.update(zip(sha256s, range(len(self._sha256s), self._vectors.ntotal), strict=True))
        self._sha256s += sha256s

    def nearest(
        self, vector: NDArray[np.float32], n: int, among: Collection[str] | None = None
    ) -> list[tuple[str, float]]:
        """Return the pictures whose vectors are most like one (D, of length 1), and their cosines.

        At most `n`, the most alike first, equal ones in the order of their digests.

        Args:
            among: Digests of the pictures that may be found; None for all.
        """
        with self._lock:
            places = self._found(vector, n, among)
        return sorted(places, key=lambda found: (-found[1], found[0]))[:n]

    def _found(
        self, vector: NDArray[np.float32], n: int, among: Collection[str] | None
    ) -> list[tuple[str, float]]:
        """Search; needs the lock."""
        left_behind = len(self._sha256s) - len(self._places)
        options: dict[str, Any] = {}
        if among is not None:
            options["params"] = _only([self._places[one] for one in among if one in self._places])
        most = min(n + left_behind, len(self._sha256s))
        if not most:
            return []
        scores, places = self._vectors.search(vector[None].astype(np.float32), most, **options)
        return [
            (self._sha256s[place], min(1.0, max(-1.0, score)))
            for score, place in zip(scores[0].tolist(), places[0].tolist(), strict=True)
            if place >= 0 and self._places[self._sha256s[place]] == place
        ]


def _only(places: list[int]) -> Any:
    """Return what makes FAISS search these places alone."""
    import faiss

    only = faiss.IDSelectorBatch(np.array(places, np.int64))
    return faiss.SearchParameters(sel=only)  # type: ignore[call-arg]  # its stubs know the C++ side alone
