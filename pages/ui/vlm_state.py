"""A comparison: one question, the models that were asked it, and what became of each. No Streamlit here."""

from __future__ import annotations

import random
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.images import ImageInput
    from db.records import RunRecord

PAGE = "vlm"
MAX_MODELS = 4
SIDES = ("Left", "Right")
"""What blind answers are called."""


@dataclass(frozen=True, slots=True)
class Put:
    """What is put to every model."""

    task: str
    prompt: str
    references: tuple[str, ...]
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Shown:
    """An answer as the store keeps it: its run, and the text."""

    run: RunRecord
    text: str

    @property
    def outcome(self) -> str:
        """The class of what became of the question."""
        return str(self.parameter("outcome") or self.run.error_class or self.run.status)

    @property
    def is_ok(self) -> bool:
        """Whether the text is an answer."""
        return self.run.status == "ok"

    @property
    def is_loopback(self) -> bool:
        """Whether the loopback test server answered."""
        return bool(self.parameter("loopback"))

    def parameter(self, name: str) -> Any:
        """Return a parameter of the run, or None."""
        return self.run.parameters.get(name)


class Turn:
    """One model's turn: written by the thread that asks, read by the page."""

    def __init__(self, model_id: str, wake: threading.Event) -> None:
        self.model_id = model_id
        self.cancel = threading.Event()
        self.shown: Shown | None = None
        """The stored answer, or failure, once it is there."""
        self.error: BaseException | None = None
        """What kept it from being asked."""
        self.asked_at = time.perf_counter()
        self._wake = wake
        self._pieces: list[str] = []

    @classmethod
    def of(cls, shown: Shown, wake: threading.Event) -> Turn:
        """Return the turn of a stored answer."""
        turn = cls(shown.run.model_id, wake)
        turn.shown = shown
        return turn

    @property
    def text(self) -> str:
        """What has come so far."""
        return "".join(self._pieces)

    @property
    def is_running(self) -> bool:
        """Whether it is still being answered."""
        return self.shown is None and self.error is None

    @property
    def is_ok(self) -> bool:
        """Whether there is an answer."""
        return self.shown is not None and self.shown.is_ok

    def take(self, piece: str) -> None:
        """Add a piece of text."""
        self._pieces.append(piece)
        self._wake.set()

    def restart(self) -> None:
        """Forget the text of an attempt that failed."""
        self._pieces = []
        self._wake.set()

    def end(self, shown: Shown | None, error: BaseException | None = None) -> None:
        """Say what became of it."""
        self.shown, self.error = shown, error
        self._wake.set()

    def again(self) -> None:
        """Make it as if it had not been asked."""
        self.cancel = threading.Event()
        self.asked_at = time.perf_counter()
        self._pieces = []
        self.shown = self.error = None


@dataclass(eq=False)
class Comparison:
    """One question and everybody's turn. It belongs to one session."""

    image: ImageInput | None
    """None where it was not kept: then the answers are shown, and nobody is asked again."""
    put: Put
    models: tuple[str, ...]
    """As they were chosen. Blind, two of them have a turn."""
    is_blind: bool = False
    """Whether names are hidden until the vote."""
    vote: str = ""
    """`first`, `second`, `tie` or `both_bad`; empty until it is given."""
    vote_note: str = ""
    """Why the vote does not count; empty where it does."""
    turns: list[Turn] = field(default_factory=list)
    judged: list[str] = field(default_factory=list)
    """Runs of judges on these answers, in their order."""
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    wake: threading.Event = field(default_factory=threading.Event)
    """Set whenever there is something new to draw."""

    def add_turns(self) -> None:
        """Give each model its turn; blind, two of them, drawn by lot and in an order drawn by lot."""
        drawn: Sequence[str] = random.sample(self.models, 2) if self.is_blind else self.models
        self.turns = [Turn(model_id, self.wake) for model_id in drawn]

    @property
    def is_running(self) -> bool:
        """Whether a model is still answering."""
        return any(turn.is_running for turn in self.turns)

    @property
    def hides_names(self) -> bool:
        """Whether the vote is still open."""
        return self.is_blind and not self.vote

    @property
    def is_loopback(self) -> bool:
        """Whether the loopback test server gave any of the answers."""
        return any(turn.shown is not None and turn.shown.is_loopback for turn in self.turns)

    def name(self, turn: Turn) -> str:
        """Return what to call a turn on the page."""
        return SIDES[self.turns.index(turn)] if self.hides_names else turn.model_id

    def is_for(self, image: ImageInput, put: Put, models: Sequence[str]) -> bool:
        """Say whether this is what the inputs ask now."""
        asked = self.image.sha256 if self.image else ""
        return (asked, self.put, set(self.models)) == (image.sha256, put, set(models))
