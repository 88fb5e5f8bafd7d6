"""What a person is segmenting: objects, each with its history of prompts and masks. No Streamlit here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from core.errors import InputError
from core.segment.prompts import Point, Prompts

if TYPE_CHECKING:
    from core.images import ImageInput
    from core.segment.workflow import SegmentResult
    from pages.ui.segment_view import Looks

COLOURS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "violet": "#CC79A7",
    "green": "#009E73",
    "red": "#D55E00",
    "yellow": "#F0E442",
}
"""Of the objects, in order, by the name Streamlit's text colours have; hues that can be told apart with any
kind of colour vision (Okabe & Ito 2008)."""
MAX_OBJECTS = 50
SAME_PX = 0.75
"""Two prompts on the canvas this close, in its pixels, are the same one drawn again."""


@dataclass
class Step:
    """One state of an object's prompts, and what the model answered."""

    prompts: Prompts = field(default_factory=Prompts)
    result: SegmentResult | None = None
    index: int = 0
    """Which of the masks was chosen."""
    wanted: int | None = None
    """The mask to choose once it is answered, where an earlier session chose; None: the object's choice."""
    multimask: bool | None = None
    """Whether it was asked for three masks; None: as the page is set when it is asked."""
    refines: bool | None = None
    """Whether its answer started from the mask before; None as above."""
    run_id: str | None = None
    """The stored run of this answer. Set before there is an answer, it says not to store another."""

    def to_json(self) -> dict[str, Any]:
        """Return the prompts and how they were asked, so that asking again gives the same mask."""
        index = self.wanted if self.result is None else self.index
        return self.prompts.to_json() | {
            "index": index,
            "multimask": self.multimask,
            "refines": self.refines,
        }

    @classmethod
    def from_json(cls, raw: Any, run_id: str) -> Step:
        """Return what `to_json` wrote.

        Raises:
            InputError: It holds no prompts.
        """
        prompts = Prompts.from_json(raw)
        multimask, refines = _flag(raw.get("multimask")), _flag(raw.get("refines"))
        return cls(prompts, None, 0, _mask_index(raw.get("index")), multimask, refines, run_id)


def _flag(raw: Any) -> bool | None:
    return raw if isinstance(raw, bool) else None


@dataclass
class Edited:
    """One object of the picture, while it is being segmented. `steps[0]` has no prompts."""

    number: int
    name: str
    hue: str
    """One of `COLOURS`."""
    steps: list[Step] = field(default_factory=lambda: [Step()])
    at: int = 0
    choice: int | None = None
    """The mask a person chose by hand; it stays chosen when prompts are added. None takes the likeliest."""

    @property
    def colour(self) -> str:
        """`#rrggbb`"""
        return COLOURS[self.hue]

    @property
    def step(self) -> Step:
        """The state that is shown."""
        return self.steps[self.at]

    def show(self, prompts: Prompts, tolerance: float) -> None:
        """Go to the state with these prompts: an earlier or later one beside this, or else a new one.

        `tolerance` is how far, in pixels of the picture, prompts may lie apart and still be the same.
        """
        for at in (self.at, self.at - 1, self.at + 1):
            if 0 <= at < len(self.steps) and alike(self.steps[at].prompts, prompts, tolerance):
                self.at = at
                return
        self.steps[self.at + 1 :] = [Step(prompts)]
        self.at += 1

    def go(self, by: int) -> None:
        """Undo (-1) or redo (1)."""
        self.at = min(max(self.at + by, 0), len(self.steps) - 1)

    def starts_from(self) -> Step | None:
        """Return the state whose mask the shown one refines: the one before, if prompts were only added."""
        before = self.steps[self.at - 1] if self.at else None
        if before is None or before.result is None or not _extends(self.step.prompts, before.prompts):
            return None
        return before

    def to_json(self) -> dict[str, Any]:
        """Return the history up to the shown state, so that going through it again gives the same mask."""
        steps = [step.to_json() for step in self.steps[1 : self.at + 1]]
        return {"name": self.name, "steps": steps, "choice": self.choice}


def _extends(prompts: Prompts, before: Prompts) -> bool:
    kept = prompts.points[: len(before.points)] == before.points
    return kept and (before.box is None or prompts.box == before.box)


def alike(one: Prompts, other: Prompts, tolerance: float) -> bool:
    """Say whether two sets of prompts are the same but for how exactly they were drawn."""
    if len(one.points) != len(other.points) or (one.box is None) != (other.box is None):
        return False
    if one.mask is not other.mask:
        return False
    if any(a.include != b.include for a, b in zip(one.points, other.points, strict=True)):
        return False
    flat = [(p.x, p.y, q.x, q.y) for p, q in zip(one.points, other.points, strict=True)]
    apart = [max(abs(ax - bx), abs(ay - by)) for ax, ay, bx, by in flat]
    if one.box is not None and other.box is not None:
        apart += [abs(a - b) for a, b in zip(one.box, other.box, strict=True)]
    return all(distance <= tolerance for distance in apart)


@dataclass
class Work:
    """Everything on one picture in one session. It belongs to the picture: another picture is other work."""

    picture: str
    """Digest of the picture."""
    model: tuple[str, str]
    """Id and revision of the model whose masks these are."""
    objects: list[Edited] = field(default_factory=list)
    active: int = 0
    made: int = 0
    """How many objects there ever were; numbers are not used twice."""
    looks: Looks | None = None
    """How the page last showed the masks; a file is made outside the page, where no widget can be read."""
    canvas_key: str = ""
    drawing: dict[str, Any] = field(default_factory=dict)
    """What the canvas was last told to show."""
    seen: Any = None
    """What the canvas last told."""
    mounted: str = ""
    """The canvas that is on the page, by its key."""
    echoes: list[Prompts] = field(default_factory=list)
    """What that canvas was told to show since, and will tell back; that is no doing of the person."""

    @property
    def edited(self) -> Edited:
        """The object that clicks belong to."""
        return self.objects[self.active]

    def add(self, name: str = "") -> Edited:
        """Add an object and make it the active one.

        Raises:
            InputError: There are too many.
        """
        if len(self.objects) >= MAX_OBJECTS:
            raise InputError(f"There are {MAX_OBJECTS} objects already.", "Delete one first.")
        self.made += 1
        hue = list(COLOURS)[(self.made - 1) % len(COLOURS)]
        self.objects.append(Edited(self.made, name or f"object {self.made}", hue))
        self.active = len(self.objects) - 1
        return self.edited

    def blank(self) -> Edited:
        """Make the active object one without prompts: itself if it has none, else a new one.

        Raises:
            InputError: There are too many.
        """
        return self.edited if self.edited.step.prompts.is_empty else self.add()

    def remove(self) -> None:
        """Delete the active object; there is always one left, if an empty one."""
        del self.objects[self.active]
        self.active = max(0, self.active - 1)
        if not self.objects:
            self.add()

    def redraw(self) -> None:
        """Make the canvas show the active object's prompts as they are here."""
        self.drawing = {}

    def forget_canvas(self) -> None:
        """Begin anew with the canvas: it is not on the page yet, or not any more."""
        self.mounted, self.seen, self.echoes = "", None, []
        self.redraw()

    def sent(self, drawing: dict[str, Any]) -> None:
        """Remember what the canvas is told to show. One that is new on the page does not tell it back."""
        self.drawing = drawing
        if self.mounted == self.canvas_key:
            self.echoes.append(self.edited.step.prompts)
        self.mounted = self.canvas_key

    def is_echo(self, prompts: Prompts, tolerance: float) -> bool:
        """Say whether the canvas only tells back what it was told, maybe some time ago."""
        for place, echo in enumerate(self.echoes):
            if alike(echo, prompts, tolerance):
                del self.echoes[: place + 1]
                return True
        return False

    def for_model(self, model: tuple[str, str]) -> None:
        """Keep every object's prompts and drop the masks, which another model made."""
        if model == self.model:
            return
        self.model = model
        for item in self.objects:
            prompts = replace(item.step.prompts, logits=None)
            item.steps, item.at = [Step(), Step(prompts)] if not prompts.is_empty else [Step()], 0
            item.at = len(item.steps) - 1

    def to_json(self) -> dict[str, Any]:
        """Return it as a stored run's view keeps it."""
        return {"objects": [item.to_json() for item in self.objects], "active": self.active}

    def restore(self, view: Any, run_id: str) -> None:
        """Take over what `to_json` gave to a run's view. What cannot be read in it is left out."""
        rows = view.get("objects") if isinstance(view, dict) else None
        for row in rows if isinstance(rows, list) else []:
            try:
                steps = [Step.from_json(raw, run_id) for raw in row["steps"]]
                item = self.add(str(row["name"])[:60])
                item.steps += steps
                item.at = len(item.steps) - 1
                item.choice = _mask_index(row.get("choice"))
            except (InputError, KeyError, TypeError, AttributeError):
                continue
        if self.objects and isinstance(view, dict) and isinstance(view.get("active"), int):
            self.active = min(max(view["active"], 0), len(self.objects) - 1)


def _mask_index(raw: Any) -> int | None:
    return raw if type(raw) is int and 0 <= raw < 3 else None


def new_work(image: ImageInput, model: tuple[str, str], start: Point | None) -> Work:
    """Return fresh work on a picture, with one object; `start` is its first click, if any."""
    work = Work(image.sha256, model)
    item = work.add()
    if start is not None:
        item.show(Prompts((start,)), 0)
    return work
