"""What a run over a data set consists of, before anything is paid: models x tasks x items -> calls."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

from core.errors import InputError
from core.vlm.datasets.values import Item, Items
from core.vlm.providers import LOCAL
from core.vlm.tasks import TASKS

MAX_CALLS = 1_000_000
MAX_MODELS = 20
DEFAULT_CONCURRENCY = 4


class Call(NamedTuple):
    """One question to one model: a row of the ledger."""

    model_id: str
    task: str
    item: str
    """Its id in the data set."""


def provider_of(model_id: str) -> str:
    """Return what stands before the first slash of a model's id."""
    return model_id.partition("/")[0]


def lane_of(model_id: str) -> str:
    """Return whose limit of concurrency a model falls under: its provider's, or this machine's."""
    provider = provider_of(model_id)
    return "this machine" if provider in LOCAL else provider


@dataclass(frozen=True)
class Plan:
    """A data set, who is asked what about it, and how far that may go.

    Raises:
        InputError: It cannot be run: no model, an unknown task, a question without a prompt, too many calls.
    """

    items: Items
    models: tuple[str, ...]
    tasks: tuple[str, ...]
    prompts: Mapping[str, str] = field(default_factory=dict)
    """By task, instead of its own; an item's own prompt goes before it."""
    max_tokens: int = 512
    budget_usd: float | None = None
    """Most money in US dollars; None sets no limit."""
    budget_calls: int | None = None
    """Most calls; None sets no limit."""
    concurrency: int = DEFAULT_CONCURRENCY
    """Most calls under way at one provider at once. This machine takes one at a time."""

    def __post_init__(self) -> None:
        _check_names("model", self.models)
        _check_names("task", self.tasks)
        if len(self.models) > MAX_MODELS:
            raise InputError(f"{len(self.models)} models were chosen.", f"Choose at most {MAX_MODELS}.")
        if unknown := next((task for task in self.tasks if task not in TASKS), ""):
            raise InputError(f"There is no task {unknown!r}.", f"Choose of {', '.join(TASKS)}.")
        for task in self.tasks:
            given = self.prompts.get(task) or TASKS[task].prompt
            if not given and (row := self.items.unprompted(task)):
                raise InputError(
                    f"{row} has no prompt, and the task {task} has none of its own.",
                    "Fill the column prompt, or give one prompt for all.",
                )
        if not 1 <= self.max_tokens <= 65_536:
            raise InputError(f"Answers are limited to {self.max_tokens} tokens.", "Choose 1 to 65,536.")
        if self.budget_usd is not None and not 0 <= self.budget_usd < float("inf"):
            raise InputError(f"The budget is ${self.budget_usd}.", "Give a sum of 0 or more.")
        if self.budget_calls is not None and self.budget_calls < 0:
            raise InputError(f"The budget is {self.budget_calls} calls.", "Give a number of 0 or more.")
        if not 1 <= self.concurrency <= 64:
            raise InputError(f"{self.concurrency} calls at once were asked for.", "Choose 1 to 64.")
        self._check_calls()

    def _check_calls(self) -> None:
        per_task = self.count_by_task()
        if empty := next((task for task, count in per_task.items() if not count), ""):
            raise InputError(
                f"{self.items.name} asks the task {empty} of no picture.", "Leave this task out."
            )
        if self.count > MAX_CALLS:
            raise InputError(
                f"That would be {self.count:,} calls.", f"Choose less: at most {MAX_CALLS:,} are made."
            )

    def count_by_task(self) -> dict[str, int]:
        """Return how many items each task is asked of."""
        if self.items.tasks_at is None:
            return dict.fromkeys(self.tasks, len(self.items))
        everything = range(len(self.items))
        return {task: sum(self.items.asks(at, task) for at in everything) for task in self.tasks}

    @cached_property
    def count(self) -> int:
        """How many calls there are."""
        return len(self.models) * sum(self.count_by_task().values())

    def calls(self) -> Iterator[Call]:
        """Yield every call, item by item: a run that stops early has asked its models about the same."""
        for position, item_id in enumerate(self.items.ids):
            for task in self.tasks:
                if self.items.asks(position, task):
                    yield from (Call(model, task, item_id) for model in self.models)

    def prompt_for(self, item: Item, task: str) -> str:
        """Return what is asked: the item's own prompt, the run's, or the task's."""
        own, usual = item.prompt_for(task), TASKS[task].prompt
        return own if own not in ("", usual) else self.prompts.get(task) or usual

    def lanes(self) -> dict[str, int]:
        """Return how many calls may be under way at once, by provider."""
        lanes = {lane_of(model) for model in self.models}
        return {lane: 1 if lane == "this machine" else self.concurrency for lane in sorted(lanes)}

    def with_budget(self, usd: float | None, calls: int | None) -> "Plan":
        """Return it with other limits; None leaves one as it is."""
        return replace(
            self,
            budget_usd=self.budget_usd if usd is None else usd,
            budget_calls=self.budget_calls if calls is None else calls,
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as the parent run keeps it: what makes it the same run again. No key is in it."""
        return {
            "data": self.items.name,
            "digest": self.items.digest,
            "items": len(self.items),
            "models": list(self.models),
            "tasks": list(self.tasks),
            "prompts": dict(self.prompts),
            "max_tokens": self.max_tokens,
            "budget_usd": self.budget_usd,
            "budget_calls": self.budget_calls,
            "concurrency": self.concurrency,
            "calls": self.count,
        }

    @classmethod
    def from_json(cls, parameters: Mapping[str, Any], items: Items) -> "Plan":
        """Return the plan of a run that began earlier, over the same data set.

        Raises:
            InputError: `items` is another data set, or has changed.
        """
        if parameters.get("digest") != items.digest:
            raise InputError(
                f"{items.name} is not the data set of this run ({parameters.get('data')}), or has changed.",
                "Give the data set as it was, or begin a new run.",
            )
        return cls(
            items,
            tuple(parameters["models"]),
            tuple(parameters["tasks"]),
            parameters["prompts"],
            parameters["max_tokens"],
            parameters["budget_usd"],
            parameters["budget_calls"],
            parameters["concurrency"],
        )


def _check_names(what: str, names: tuple[str, ...]) -> None:
    if not names:
        raise InputError(f"No {what} is chosen.", f"Choose at least one {what}.")
    if doubled := next((name for name in names if names.count(name) > 1), ""):
        raise InputError(f"The {what} {doubled} is chosen twice.", "Leave one out.")
