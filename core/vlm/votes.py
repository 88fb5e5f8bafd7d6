"""Which of two answers a person preferred, as plain values: no database."""

from dataclasses import dataclass
from typing import Literal, Protocol

from core.errors import InputError

CHOICES = ("first", "second", "tie", "both_bad")
NAMED = "names its maker"
"""What a reason to set a vote aside holds where an answer gave away who made it."""

Aside = Literal["", "loopback", "not blind", "named", "other"]
"""Why a vote does not count; empty where it does."""


@dataclass(frozen=True, slots=True)
class Vote:
    """A vote on its way into the store.

    Raises:
        InputError: It is no vote: an unknown choice, or a model against itself.
    """

    owner: str
    first_run: str
    """Of the answer on the left."""
    second_run: str
    first_model: str
    second_model: str
    task: str
    choice: str
    """One of `CHOICES`."""
    blind: bool
    """Whether the names were hidden until the vote."""
    set_aside: str
    """Why it does not count; empty where it does."""
    first_length: int
    """Words of the answer."""
    second_length: int
    loopback: bool
    """Whether a test server gave one of the answers."""

    def __post_init__(self) -> None:
        if self.choice not in CHOICES:
            raise InputError(f"The vote is {self.choice!r}.", f"Choose one of {', '.join(CHOICES)}.")
        if self.first_model == self.second_model:
            raise InputError("Both answers are of the same model.", "Vote between two different models.")
        if min(self.first_length, self.second_length) < 0:
            raise InputError("An answer has fewer than no words.", "Count the words of the answer.")


class VoteTally(Protocol):
    """How many votes are alike in everything that a rating looks at; `db.Store.vote_tallies` gives them."""

    @property
    def first_model(self) -> str: ...
    @property
    def second_model(self) -> str: ...
    @property
    def choice(self) -> str: ...
    @property
    def first_share(self) -> int:
        """How many percent of the words of both answers the first one has, 0 to 100."""
        ...

    @property
    def count(self) -> int: ...


class Cast(Protocol):
    """What decides whether a vote counts; `Vote` and `db.records.VoteRecord` have this shape."""

    @property
    def blind(self) -> bool: ...
    @property
    def set_aside(self) -> str: ...
    @property
    def loopback(self) -> bool: ...


def why_aside(vote: Cast) -> Aside:
    """Return why a vote does not count, the reason that weighs most first; empty where it counts."""
    if vote.loopback:
        return "loopback"
    if not vote.blind:
        return "not blind"
    if vote.set_aside:
        return "named" if NAMED in vote.set_aside else "other"
    return ""
