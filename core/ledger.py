"""What a run of many calls needs of a store: a ledger of them. `db.Store` satisfies it by shape alone.

A call is open, claimed or done. It is claimed before anything is done for it, and done in the transaction
that records its run: after a crash what is done is never done again, and what was only claimed can be opened.

What a store raises has a `message` and a `remedy`. `passes` says whether the same may succeed a little later;
what can never be stored, or was stored already, is a ValueError.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from core.runs import RunDraft, RunSink


class Planned(Protocol):
    """A call before anybody claims it."""

    @property
    def model_id(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def item(self) -> str: ...


class Claimed(Planned, Protocol):
    """A call that nobody else is given."""

    @property
    def position(self) -> int: ...


class Counted(Protocol):
    """How many calls of a model and task are in the same state."""

    @property
    def model_id(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def error_class(self) -> str: ...
    @property
    def count(self) -> int: ...


class KeptMetric(Protocol):
    """A stored number."""

    @property
    def name(self) -> str: ...
    @property
    def value(self) -> float: ...


class KeptInput(Protocol):
    """A picture that a stored run took; its file may be kept, too."""

    @property
    def role(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def kept(self) -> bool: ...


class Kept(Protocol):
    """A stored run."""

    @property
    def kind(self) -> str: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...
    @property
    def metrics(self) -> Sequence[KeptMetric]: ...
    @property
    def inputs(self) -> Sequence[KeptInput]: ...


class Ledger(RunSink, Protocol):
    """The calls of runs of many calls, and the runs themselves."""

    def plan_calls(self, set_id: str, rows: Sequence[Planned]) -> None:
        """Write down every call of a set, in order."""
        ...

    def claim_calls(self, set_id: str, limit: int = 1, *, models: Collection[str] = ()) -> Sequence[Claimed]:
        """Take the first open calls, of these models or of all; nobody else gets them."""
        ...

    def finish_call(self, set_id: str, position: int, run: RunDraft) -> str:
        """Keep a call's run and mark the call as done, both or neither."""
        ...

    def release_claims(self, set_id: str) -> int:
        """Open the calls that are claimed and not done."""
        ...

    def reopen(self, set_id: str, owner: str | None) -> None:
        """Make a set that ended, or whose process is gone, a running one of this process."""
        ...

    def open_calls(self, set_id: str) -> Sequence[Claimed]:
        """Return the calls that are not done, claimed ones too, in order."""
        ...

    def call_counts(self, set_id: str, owner: str | None) -> Sequence[Counted]:
        """Return how many calls are in which state."""
        ...

    def call_total(self, set_id: str, name: str) -> float:
        """Return the sum of a metric over the calls that are done."""
        ...

    def run(self, run_id: str, owner: str | None) -> Kept:
        """Return a stored run."""
        ...

    def picture_data(self, run_id: str, role: str, owner: str | None) -> bytes | None:
        """Return the file of an input picture, None where only its digest was kept."""
        ...
