"""What a sweep consists of: models x pictures x options -> cells."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple, Protocol

from core.errors import InputError
from core.runs import RunDraft

MAX_CELLS = 100_000
TASK = "benchmark"
"""What stands in a sweep's rows of the ledger as their task."""
DEADLINE_S = 600.0


class Measure(Protocol):
    """Measures a cell. A function that another process can import by its name."""

    def __call__(self, model_id: str, item: str, data: bytes = b"") -> RunDraft:
        """Return the run of a cell.

        Args:
            item: Of its row.
            data: The file of its picture, where that is one.
        """
        ...


class SweepCell(NamedTuple):
    """One measurement: a row of the ledger."""

    model_id: str
    task: str
    item: str
    """JSON of an object with `picture` and `options`, and `name` where the picture is a file."""


@dataclass(frozen=True)
class SweepPlan:
    """Which models are measured on which pictures, with which options.

    Raises:
        InputError: Nothing is chosen, something is chosen twice, or the deadline is none.
    """

    models: tuple[str, ...]
    pictures: tuple[str, ...]
    options: tuple[Mapping[str, Any], ...] = field(default=({},))
    """Each one a JSON object."""
    deadline_s: float = DEADLINE_S
    """How long one cell may take, loading the model included."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What the files among the pictures are called, by digest."""

    def __post_init__(self) -> None:
        _check("model", self.models)
        _check("picture", self.pictures)
        _check("set of options", [json.dumps(chosen, sort_keys=True) for chosen in self.options])
        if not 0 < self.deadline_s < math.inf:
            raise InputError(f"The deadline is {self.deadline_s} s.", "Give a number of seconds above 0.")
        if self.count > MAX_CELLS:
            raise InputError(
                f"That would be {self.count:,} cells.", f"Choose less: at most {MAX_CELLS:,} are measured."
            )

    @property
    def count(self) -> int:
        """How many cells there are."""
        return len(self.models) * len(self.pictures) * len(self.options)

    def cells(self) -> Iterator[SweepCell]:
        """Yield every cell. Models take turns, so that what drifts on a machine hits all alike."""
        for picture, options in product(self.pictures, self.options):
            name = {"name": self.names[picture]} if picture in self.names else {}
            item = json.dumps({"picture": picture, "options": options, **name}, sort_keys=True)
            yield from (SweepCell(model, TASK, item) for model in self.models)

    def to_json(self) -> dict[str, Any]:
        """Return it as the parent run keeps it."""
        return {
            "models": list(self.models),
            "pictures": list(self.pictures),
            "options": [dict(chosen) for chosen in self.options],
            "deadline_s": self.deadline_s,
            "cells": self.count,
            **({"names": dict(self.names)} if self.names else {}),
        }

    @classmethod
    def from_json(cls, parameters: Mapping[str, Any]) -> "SweepPlan":
        """Return the plan of a sweep that began earlier."""
        return cls(
            tuple(parameters["models"]),
            tuple(parameters["pictures"]),
            tuple(parameters["options"]),
            parameters["deadline_s"],
            parameters.get("names", {}),
        )


def every_option(choices: Mapping[str, Sequence[Any]]) -> tuple[dict[str, Any], ...]:
    """Return every combination of the values of some options; an option without values is left out."""
    given = {name: values for name, values in choices.items() if values}
    return tuple(dict(zip(given, values, strict=True)) for values in product(*given.values()))


def _check(what: str, names: Sequence[str]) -> None:
    if not names:
        raise InputError(f"No {what} is chosen.", f"Choose at least one {what}.")
    if len(set(names)) < len(names):
        doubled = next(name for name in names if names.count(name) > 1)
        raise InputError(f"The {what} {doubled} is chosen twice.", "Leave one out.")
