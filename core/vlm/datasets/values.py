"""A data set as a value: ids at once, each picture only when it is its turn.

What was right is kept by task. A table without a column of tasks says it for whichever task is asked: that is
the task `ANY`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from core.errors import InputError
from core.images import ImageInput

ANY = ""
"""In place of a task's name: whichever task is asked."""
MAX_ITEMS = 100_000
"""Most pictures of one data set, and most rows of a table."""


@dataclass(frozen=True, eq=False, slots=True)
class Item:
    """One picture, what is asked about it and what is right."""

    id: str
    load: Callable[[], ImageInput]
    """Reads the picture; raises an InputError where it cannot be used."""
    references: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Right answers by task, or under `ANY`."""
    prompts: Mapping[str, str] = field(default_factory=dict)
    """Prompts of its own by task, or under `ANY`."""

    def references_for(self, task: str) -> tuple[str, ...]:
        """Return the right answers of a task; none where they are not known."""
        return self.references.get(task) or self.references.get(ANY, ())

    def prompt_for(self, task: str) -> str:
        """Return its own prompt of a task; empty where it has none."""
        return self.prompts.get(task) or self.prompts.get(ANY, "")


@dataclass(frozen=True, eq=False)
class Items:
    """A data set. Nothing of a picture is held; `at` makes an item each time it is asked.

    Raises:
        InputError: It has no item, or more than `MAX_ITEMS`.
    """

    name: str
    """What to call it: a file's or folder's name, or the words that make the scenes."""
    digest: str
    """Tells it from every other data set, and from itself with other contents."""
    ids: Sequence[str]
    """Each once, in order."""
    at: Callable[[int], Item]
    """Position to item."""
    tasks_at: Callable[[int], frozenset[str]] | None = None
    """Position to the tasks that the data ask there; None where any task may be asked of any picture."""
    unprompted: Callable[[str], str] = lambda task: "The data set"
    """Task to the first row that has no prompt of its own for it; empty where each has one."""
    _positions: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.ids:
            raise InputError(f"{self.name} holds no picture.", "Give a data set of at least one.")
        if len(self.ids) > MAX_ITEMS:
            raise InputError(
                f"{self.name} holds {len(self.ids):,} pictures.", f"Give at most {MAX_ITEMS:,} at once."
            )
        object.__setattr__(self, "_positions", {item_id: at for at, item_id in enumerate(self.ids)})

    def __len__(self) -> int:
        return len(self.ids)

    def asks(self, position: int, task: str) -> bool:
        """Say whether a task is asked about the item at a position."""
        return self.tasks_at is None or bool({task, ANY} & self.tasks_at(position))

    def find(self, item_id: str) -> Item:
        """Return the item of an id.

        Raises:
            InputError: There is none.
        """
        if item_id not in self._positions:
            raise InputError(f"{self.name} has no picture {item_id!r}.", "Give the data set as it was.")
        return self.at(self._positions[item_id])
