"""What the recommender is asked for, as a value: the address holds all of it, so that a view is a link."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from core.errors import InputError
from core.recommend.entries import TASKS
from core.recommend.request import ACCESS, DEPLOYMENTS, HERE, PREFER, SPEED_MS, Request

LIMIT_MS, RATE, ANY = "ms", "rate", "any"
SPEED_WORDS = {
    "real-time": "Real time (30/s)",
    "fast": "Fast (10/s)",
    "normal": "Normal (1/s)",
    LIMIT_MS: "At most … ms",
    RATE: "At least … pictures/s",
    ANY: "No limit",
}
MOST_CHARACTERS = 300
"""Of one value in an address."""
GREATEST = 1e12
"""Of numbers that a field of the page can hold."""


@dataclass(frozen=True, slots=True)
class RecommendView:
    """One view of the page. The defaults are left out of the address."""

    task: str = "classification"
    speed: str = "fast"
    ms: float | None = 50.0
    """Most milliseconds for a batch, where `speed` is `ms`."""
    rate: float | None = 20.0
    """Least pictures a second, where `speed` is `rate`."""
    axis: str = ""
    """What accuracy means; the axis with most figures where it is empty."""
    least: float | None = None
    deployment: str = HERE
    device: str = ""
    memory: float | None = None
    weights: float | None = None
    commercial: bool = False
    access: str = "any"
    cost: float | None = None
    size: int | None = None
    batch: int | None = 1
    prefer: str = "accuracy"
    whole: bool = False
    """Whether all that fit are listed."""
    excluded: bool = True
    """Whether the chart shows what does not fit."""
    model: str = ""
    """The model whose details are shown."""
    run: str = ""
    """The saved recommendation that was opened."""

    def request(self) -> Request:
        """Return what is asked for.

        Raises:
            InputError: A value cannot be meant, or two of them contradict each other.
        """
        if self.batch is None:
            raise InputError("No batch is given.", "Give 1 for single pictures.")
        return Request(
            self.task,
            latency_ms=self._latency_ms(self.batch),
            images_per_s=_given(self.rate, "pictures a second") if self.speed == RATE else None,
            axis=self.axis or None,
            min_accuracy=self.least,
            deployment=self.deployment,
            device=self.device or None,
            memory_mb=self.memory,
            weights_mb=self.weights,
            commercial=self.commercial,
            access=self.access,  # type: ignore[arg-type]
            cost_per_1000=self.cost,
            input_size=self.size,
            batch=self.batch,
            prefer=self.prefer,  # type: ignore[arg-type]
        )

    def _latency_ms(self, batch: int) -> float | None:
        if self.speed in SPEED_MS:
            return SPEED_MS[self.speed] * max(batch, 1)
        return _given(self.ms, "milliseconds") if self.speed == LIMIT_MS else None

    def but(self, **values: Any) -> RecommendView:
        """Return the view with some fields changed; what hangs on them is let go."""
        loose: dict[str, Any] = {}
        if values.get("task", self.task) != self.task:
            loose |= {"axis": "", "least": None, "model": "", "size": None, "whole": False}
        if values.get("axis", self.axis) != self.axis:
            loose |= {"least": None}
        if values.get("deployment", self.deployment) != self.deployment:
            loose |= {"device": ""}
        if values.keys() - {"whole", "excluded", "model", "run"}:
            loose |= {"run": ""}  # what was saved is no longer what is asked for
        return replace(self, **(loose | values))


USUAL = RecommendView()


def view_of(request: Request) -> RecommendView:
    """Return the view that asks for a request."""
    speed, ms, rate = ANY, USUAL.ms, USUAL.rate
    if request.images_per_s is not None:
        speed, rate = RATE, request.images_per_s
    elif request.latency_ms is not None:
        one = request.latency_ms / request.batch
        speed = next((word for word, most in SPEED_MS.items() if math.isclose(one, most)), LIMIT_MS)
        ms = request.latency_ms if speed == LIMIT_MS else ms
    return RecommendView(
        request.task,
        speed,
        ms,
        rate,
        request.axis or "",
        request.min_accuracy,
        request.deployment,
        request.device or "",
        request.memory_mb,
        request.weights_mb,
        request.commercial,
        request.access,
        request.cost_per_1000,
        request.input_size,
        request.batch,
        request.prefer,
    )


def to_address(view: RecommendView) -> dict[str, str]:
    """Return the view as the parameters of an address."""
    return {
        field.name: _word(getattr(view, field.name))
        for field in fields(view)
        if getattr(view, field.name) != getattr(USUAL, field.name)
    }


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def from_address(given: Mapping[str, str]) -> tuple[RecommendView, tuple[str, ...]]:
    """Return the view that the parameters of an address describe, and a sentence for each that is wrong.

    What is wrong is as usual in the view; everything else stays.
    """
    found: dict[str, Any] = {}
    wrong: list[str] = []
    for field in fields(RecommendView):
        word = given.get(field.name)
        if word is None:
            continue
        try:
            found[field.name] = READ[field.name](word[:MOST_CHARACTERS])
        except ValueError as error:
            wrong.append(f"The address says {field.name}={word[:40]}: {error}.")
    return RecommendView(**found), tuple(wrong)


def _given(value: float | None, what: str) -> float:
    if value is None:
        raise InputError(f"No number of {what} is given.", "Give one, or choose another speed.")
    return value


def _one_of(*known: str) -> Callable[[str], str]:
    def read(word: str) -> str:
        if word not in known:
            raise ValueError(f"it can be {', '.join(known)}")
        return word

    return read


def _number(word: str) -> float | None:
    if word == "none":
        return None
    try:
        value = float(word)
    except ValueError:
        raise ValueError("that is no number") from None
    if not abs(value) <= GREATEST:  # NaN fails, too
        raise ValueError("that is no number that can be meant")
    return value


def _whole(word: str) -> int | None:
    if word == "none":
        return None
    if not word.isascii() or not word.isdigit() or int(word) > GREATEST:
        raise ValueError("that is no whole number that can be meant")
    return int(word)


def _yes(word: str) -> bool:
    return _one_of("yes", "no")(word) == "yes"


READ: Mapping[str, Callable[[str], Any]] = {
    "task": _one_of(*TASKS),
    "speed": _one_of(*SPEED_WORDS),
    "deployment": _one_of(*DEPLOYMENTS),
    "access": _one_of(*ACCESS),
    "prefer": _one_of(*PREFER),
    **dict.fromkeys(("ms", "rate", "least", "memory", "weights", "cost"), _number),
    **dict.fromkeys(("size", "batch"), _whole),
    **dict.fromkeys(("commercial", "whole", "excluded"), _yes),
    **dict.fromkeys(("axis", "device", "model", "run"), str),
}
"""Field to how its word in the address is read; raises a ValueError that says what it can be."""
