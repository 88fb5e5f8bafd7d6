"""What the search for pictures needs of a store, and what it returns."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from core.features.vector_index import VectorStore
from core.preprocess import Frame


class FoundPicture(Protocol):
    """A picture that the visitor may see, and a run that took it."""

    @property
    def run_id(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def sha256(self) -> str: ...


class PictureStore(VectorStore, Protocol):
    """Knows pictures, and who may see them. `db.Store` is one."""

    def pictures_without_vector(self, space: str, owner: str | None) -> Sequence[str]:
        """Return the digests of kept pictures that `owner` may see and that have no vector."""

    def seen_pictures(self, owner: str | None) -> Collection[str]:
        """Return the digests of all pictures that `owner` may see."""

    def find_pictures(self, sha256s: Collection[str], owner: str | None) -> Mapping[str, FoundPicture]:
        """Return those of up to a thousand pictures that are kept and that `owner` may see."""

    def picture_data(self, run_id: str, role: str, owner: str | None) -> bytes | None:
        """Return the file of a picture."""


@dataclass(frozen=True, slots=True)
class Indexed:
    """What `index_missing` did."""

    done: int
    """Pictures that can be found now and could not before."""
    failed: tuple[tuple[str, str], ...]
    """Name of each picture that cannot be found, and why."""


@dataclass(frozen=True, eq=False, slots=True)
class Hit:
    """A picture that was found."""

    sha256: str
    name: str
    run_id: str
    """A run that took it, to read it by (`Store.picture_data`)."""
    role: str
    """The part that it took there."""
    score: float
    """Cosine, -1 to 1: of the pictures, or of the region and the best patch."""
    map: NDArray[np.float32]
    """rows columns: cosine of each patch and what was looked for; for a whole picture, the mean of its
    patches."""
    frame: Frame
    """Where the patches lie in the picture."""

    @property
    def best(self) -> tuple[int, int]:
        """Row and column of the patch that is most like what was looked for."""
        row, column = np.unravel_index(int(self.map.argmax()), self.map.shape)
        return int(row), int(column)
