"""What a person asks of two pictures, and what is compared. No Streamlit here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from core.errors import InputError
from core.features.query import Direction, Patch, PatchQuery, moved, patch_centres

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from core.features.similarity import UnitGrid
    from core.features.unrelated import Unrelated
    from core.features.values import FeatureOptions, ImageFeatures
    from core.features.workflow import SimilarResult
    from core.images import ImageInput
    from core.preprocess import Frame
    from core.registry import ModelSpec
    from db.records import RunRecord

Side = Literal["first", "second"]
SIDES: tuple[Side, ...] = get_args(Side)
Mode = Literal["one", "several", "box", "mask"]
MODES: tuple[Mode, ...] = get_args(Mode)


def other(side: Side) -> Side:
    """Return the picture that is not this one."""
    return "second" if side == "first" else "first"


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked: which patches of which picture, and what a click does next."""

    side: Side = "first"
    """The picture that the patches are in."""
    mode: Mode = "one"
    include: tuple[Patch, ...] = ()
    exclude: tuple[Patch, ...] = ()
    wants: bool = True
    """With several patches: whether the next click says what is meant (+) or what is not (-)."""
    corner: Patch | None = None
    """The first corner of a box that has no second one yet."""

    @property
    def query(self) -> PatchQuery | None:
        """The query; None while no patch is included."""
        return PatchQuery(self.include, self.exclude) if self.include else None

    def click(self, side: Side, patch: Patch) -> Asked:
        """Return what is asked after a click on a patch of one of the pictures."""
        if self.mode == "several":
            return self._several(side, patch)
        if self.mode == "box":
            return self._box(side, patch)
        return Asked(side, "one", (patch,))

    def _several(self, side: Side, patch: Patch) -> Asked:
        if side != self.side:  # a query lies in one picture
            return Asked(side, "several", (patch,))
        if patch in (*self.include, *self.exclude):
            return self.without(patch)
        if self.wants or not self.include:
            return replace(self, include=(*self.include, patch))
        return replace(self, exclude=(*self.exclude, patch))

    def _box(self, side: Side, patch: Patch) -> Asked:
        if self.corner is None or side != self.side:
            return replace(self, side=side, include=(patch,), exclude=(), corner=patch)
        (top, bottom), (left, right) = (sorted(pair) for pair in zip(self.corner, patch, strict=True))
        inside = tuple((r, c) for r in range(top, bottom + 1) for c in range(left, right + 1))
        return replace(self, include=inside, corner=None)

    def without(self, patch: Patch) -> Asked:
        """Return it with one patch less; what is excluded goes with the last one included."""
        include = tuple(p for p in self.include if p != patch)
        exclude = tuple(p for p in self.exclude if p != patch) if include else ()
        return replace(self, include=include, exclude=exclude)

    def moved(self, direction: Direction, grid: tuple[int, int]) -> Asked:
        """Return it with the last included patch one further."""
        if self.query is None:
            return self
        return replace(self, include=moved(self.query, direction, grid).include, corner=None)

    def on(self, before: Frame, now: Frame) -> Asked:
        """Return it for the same places where the picture is cut into other patches."""
        if before == now or not self.include:
            return self
        centres = patch_centres(before)
        include, exclude = (
            tuple(dict.fromkeys(now.patch_at(*centres[patch].tolist()) for patch in patches))
            for patches in (self.include, self.exclude)
        )
        exclude = tuple(patch for patch in exclude if patch not in include)
        return replace(self, include=include, exclude=exclude, corner=None)

    def as_mode(self, mode: Mode) -> Asked:
        """Return it for clicks that mean something else; one patch keeps the last of several."""
        kept = self.include[-1:] if mode == "one" else self.include
        return Asked(self.side, mode, kept, self.exclude if mode == "several" else ())

    def to_json(self) -> dict[str, Any]:
        """Return it as a stored run's view keeps it."""
        return {
            "side": self.side,
            "mode": self.mode,
            "include": [list(patch) for patch in self.include],
            "exclude": [list(patch) for patch in self.exclude],
        }

    @classmethod
    def from_json(cls, raw: Any) -> Asked:
        """Return what `to_json` wrote.

        Raises:
            InputError: It holds no query.
        """
        try:
            include, exclude = (
                tuple((int(row), int(column)) for row, column in raw[name]) for name in ("include", "exclude")
            )
            side, mode = raw["side"], raw["mode"]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError("The stored query cannot be read.", "Click a patch.") from error
        if side not in SIDES or mode not in MODES or not include:
            raise InputError("The stored query cannot be read.", "Click a patch.")
        PatchQuery(include, exclude)
        return cls(side, mode, include, exclude)


@dataclass(frozen=True, eq=False)
class Pair:
    """Two pictures as one model sees them, and what is asked of them now."""

    first: ImageInput
    second: ImageInput
    """The same picture as `first` where it is compared with itself."""
    spec: ModelSpec
    options: FeatureOptions
    features: tuple[ImageFeatures, ImageFeatures]
    """Features of both."""
    result: SimilarResult
    """What was stored: the patches of both at unit length, the pictures as a whole, and how long it took."""
    unrelated: Unrelated | None
    """What pictures that have nothing to do with these look like to the model, without these; None while
    that was not computed."""
    matrix: NDArray[np.float64] | None
    """3 3: the true place in the second picture of points (x, y, 1) of the first; None where not known."""
    reopened: RunRecord | None = None
    """The stored run that this repeats, which was not stored again."""
    asked: Asked = field(default_factory=Asked)

    @property
    def is_self(self) -> bool:
        """Whether a picture is compared with itself."""
        return self.first.sha256 == self.second.sha256

    @property
    def run_id(self) -> str | None:
        """Id of the stored run; None where nothing was stored."""
        return self.reopened.id if self.reopened else self.result.run_id

    def image(self, side: Side) -> ImageInput:
        """Return one of the pictures."""
        return self.first if side == "first" else self.second

    def grid(self, side: Side) -> UnitGrid:
        """Return the patches of one of the pictures."""
        return self.result.first if side == "first" else self.result.second

    @property
    def source(self) -> UnitGrid:
        """The patches of the picture that the query is in."""
        return self.grid(self.asked.side)

    @property
    def target(self) -> UnitGrid:
        """The patches of the other picture."""
        return self.grid(other(self.asked.side))

    def is_for(self, first: ImageInput, second: ImageInput, spec: ModelSpec, options: FeatureOptions) -> bool:
        """Say whether this is what comparing these pictures by this model would give."""
        mine = self.first.sha256, self.second.sha256, self.spec.id, self.spec.revision, self.options
        return mine == (first.sha256, second.sha256, spec.id, spec.revision, options)
