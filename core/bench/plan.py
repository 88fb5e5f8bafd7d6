"""What a benchmark measures, and about how long that takes."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Self

from core.bench.options import Options
from core.bench.timing import WARM_UP_S
from core.errors import InputError
from core.registry import ModelSpec, resolve

ROUNDS = 5
"""How often the clock turns to each model again, so that drift hits all alike."""
MAX_ROUNDS = 100
DEADLINE_S = 600.0
MAX_ENTRIES = 1_000
START_S = 6.0
"""A new process with PyTorch and its libraries; about what it takes on two busy cores."""
LOAD_MB_PER_S = 200.0
"""Weights that are read and checked in a second, on a disk that is not new."""
TRUTH_S_PER_MB = 0.0005
"""What a picture of known truth takes for each MB of weights; a guess until some were looked at."""
BYTES_PER_PARAMETER = 4


@dataclass(frozen=True, slots=True)
class Entry:
    """A model with options: one run of a benchmark."""

    model_id: str
    options: Options

    @property
    def key(self) -> str:
        """What tells it from the other entries of its benchmark."""
        return key_of(self.model_id, self.options.to_json())


def key_of(model_id: str, options: Mapping[str, Any]) -> str:
    """Return the key of the entry that a run is of, from the run's model and its parameter `options`."""
    return f"{model_id} {json.dumps(dict(options), sort_keys=True)}"


def new_id() -> str:
    """Return an id for a benchmark that nothing else has."""
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True)
class Plan:
    """Which models are measured on which pictures, and how.

    Raises:
        InputError: Nothing is chosen, something is chosen twice, or a number is out of range.
    """

    models: tuple[str, ...]
    pictures: tuple[str, ...]
    """As `core.bench.pictures` names them."""
    options: tuple[Options, ...] = (Options(),)
    truths: str | None = None
    """Pictures of known truth for the accuracy, as `core.bench.truths.open_truths` names them."""
    rounds: int = ROUNDS
    deadline_s: float = DEADLINE_S
    """How long one step of a measurement may take before it counts as a hang."""
    id: str = field(default_factory=new_id)
    """Common to all runs of a benchmark."""

    def __post_init__(self) -> None:
        _check("model", self.models)
        _check("picture", self.pictures)
        _check("set of options", [json.dumps(one.to_json(), sort_keys=True) for one in self.options])
        if not 1 <= self.rounds <= MAX_ROUNDS:
            raise InputError(f"{self.rounds} rounds were asked for.", f"Choose 1 to {MAX_ROUNDS}.")
        if not 0 < self.deadline_s <= 86_400:
            raise InputError(f"The deadline is {self.deadline_s} s.", "Give up to 86,400 seconds.")
        if len(self.models) * len(self.options) > MAX_ENTRIES:
            raise InputError(
                f"That would be {len(self.models) * len(self.options):,} measurements.",
                f"Choose at most {MAX_ENTRIES:,}, or run a sweep.",
            )

    def entries(self) -> tuple[Entry, ...]:
        """Return every model with every set of options; models take turns."""
        return tuple(Entry(model, options) for options, model in product(self.options, self.models))

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values; each run of a benchmark has it."""
        return {
            "models": list(self.models),
            "pictures": list(self.pictures),
            "options": [one.to_json() for one in self.options],
            "truths": self.truths,
            "rounds": self.rounds,
            "deadline_s": self.deadline_s,
            "id": self.id,
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """Return the plan that `to_json` wrote.

        Raises:
            InputError: It is none.
        """
        try:
            return cls(
                tuple(raw["models"]),
                tuple(raw["pictures"]),
                tuple(Options.from_json(one) for one in raw["options"]),
                raw["truths"],
                raw["rounds"],
                raw["deadline_s"],
                raw["id"],
            )
        except (KeyError, TypeError) as error:
            raise InputError("This is no plan of a benchmark.", "Start a new one.") from error


def _check(what: str, names: Any) -> None:
    if not names:
        raise InputError(f"No {what} is chosen.", f"Choose at least one {what}.")
    if len(set(names)) < len(names):
        doubled = next(name for name in names if list(names).count(name) > 1)
        raise InputError(f"The {what} {doubled} is chosen twice.", "Leave one out.")


def estimate_s(plan: Plan) -> float:
    """Return about how many seconds a benchmark takes, as far as that can be known before."""
    return sum(entry_s(plan, entry) for entry in plan.entries())


def entry_s(plan: Plan, entry: Entry) -> float:
    """Return about how many seconds one model takes."""
    weights_mb = weights_mb_of(resolve(entry.model_id))
    truth_s = truth_count(plan.truths) * max(0.01, TRUTH_S_PER_MB * weights_mb)
    return timing_s(entry.options, weights_mb) + truth_s


def timing_s(options: Options, weights_mb: float) -> float:
    """Return about how many seconds a model of that size takes, without an accuracy."""
    timed_s = min(WARM_UP_S, max(1.0, 2 * options.seconds)) / 2 + options.seconds
    return START_S + weights_mb / LOAD_MB_PER_S + timed_s


def weights_mb_of(spec: ModelSpec) -> float:
    """Return the size of a model's weights in MB (10^6 bytes); 100 where its parameters are not known."""
    return 100.0 if spec.parameters is None else spec.parameters * BYTES_PER_PARAMETER / 1e6


def truth_count(source: str | None) -> int:
    """Return how many pictures of known truth there are; a file is taken to have 200, unopened."""
    if source is None:
        return 0
    digits = source.removeprefix("scenes:").partition("@")[0]
    return int(digits) if source.startswith("scenes:") and digits.isdigit() else 200
