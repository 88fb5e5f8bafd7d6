"""Which of the models that fit comes first, which are on the front, and why.

    accuracy   the most accurate first, and of equals the fastest
    speed      the fastest first, and of equals the most accurate
    balance    accuracy less the logarithm of the time, each from 0 to 1 over what fits

Each puts a model that is worse in everything below the better one. What is not known counts as worst.
"""

import math
from collections.abc import Sequence

from core.recommend.candidates import Candidate
from core.recommend.entries import Axis
from core.recommend.figures import Figure, ms_words
from core.recommend.request import Prefer

WORST = math.inf


def ordered(fitting: Sequence[Candidate], axis: Axis | None, prefer: Prefer) -> tuple[Candidate, ...]:
    """Return models, the best first; equal ones by memory, cost and then by id."""
    balance = _balance(fitting, axis) if prefer == "balance" else {}

    def key(one: Candidate) -> tuple[object, ...]:
        error, time = loss(one, axis), time_of(one)
        first = {"accuracy": (error, time), "speed": (time, error)}.get(
            prefer, (balance.get(one.entry.id, WORST), error, time)
        )
        return (*first, _value(one.memory), _value(one.cost), one.entry.id)

    return tuple(sorted(fitting, key=key))


def _balance(fitting: Sequence[Candidate], axis: Axis | None) -> dict[str, float]:
    known = [one for one in fitting if one.accuracy is not None and one.latency is not None]
    errors = [loss(one, axis) for one in known]
    times = [math.log(time_of(one)) for one in known]
    return {
        one.entry.id: _share(error, errors) + _share(time, times)
        for one, error, time in zip(known, errors, times, strict=True)
    }


def _share(value: float, among: Sequence[float]) -> float:
    span = max(among) - min(among)
    return (value - min(among)) / span if span else 0.0


def loss(one: Candidate, axis: Axis | None) -> float:
    """Return the accuracy so that less is better; infinite where it is not known."""
    if axis is None or one.accuracy is None:
        return WORST
    return -one.accuracy.value if axis.higher_is_better else one.accuracy.value


def time_of(one: Candidate) -> float:
    """Return ms for one picture; infinite where it is not known."""
    return WORST if one.latency is None else one.latency.value / one.batch


def _value(figure: Figure | None) -> float:
    return WORST if figure is None else figure.value


def front(candidates: Sequence[Candidate], axis: Axis | None) -> tuple[Candidate, ...]:
    """Return the Pareto front of accuracy and speed, the fastest first: no other model is better in both.

    Models of which either is not known are not on it.
    """
    known = [one for one in candidates if loss(one, axis) < WORST and time_of(one) < WORST]
    found: list[Candidate] = []
    least = WORST
    for one in sorted(known, key=lambda c: (time_of(c), loss(c, axis), c.entry.id)):
        if loss(one, axis) < least:
            found.append(one)
            least = loss(one, axis)
    return tuple(found)


def is_tied(first: Figure | None, second: Figure | None) -> bool:
    """Say whether the intervals of two figures overlap, so that their order is open."""
    if first is None or second is None:
        return False
    return first.least <= second.most and second.least <= first.most


def why(place: int, one: Candidate, ranked: Sequence[Candidate], axis: Axis | None, on_front: bool) -> str:
    """Return one sentence: what speaks for a model at its place among those that fit."""
    parts = [_accuracy_words(one, ranked[0], axis) if place else _first_words(one, ranked, axis)]
    parts.append(_time_words(one, ranked[0]) if place else _own_time(one))
    if on_front and place:
        parts.append("nothing that fits is both faster and more accurate")
    if place and is_tied(one.accuracy, ranked[0].accuracy):
        parts.append("by accuracy the two are not told apart")
    text = "; ".join(part for part in parts if part)
    return f"{text[:1].upper()}{text[1:]}." if text else "It fits; nothing more is known of it."


def _first_words(one: Candidate, ranked: Sequence[Candidate], axis: Axis | None) -> str:
    if one.accuracy is None or axis is None:
        return "no accuracy is known of any model that fits"
    best = min(loss(other, axis) for other in ranked)
    value = f"{axis.title} {one.accuracy.value:.4g}{_unit(axis)}"
    if loss(one, axis) == best:
        return f"the most accurate of the {len(ranked)} that fit ({value})" if len(ranked) > 1 else value
    return value


def _accuracy_words(one: Candidate, first: Candidate, axis: Axis | None) -> str:
    if axis is None or one.accuracy is None:
        return "its accuracy is not known on this axis"
    if first.accuracy is None:
        return ""
    apart = one.accuracy.value - first.accuracy.value
    if abs(apart) < 0.005:
        return "as accurate as the first"
    better = (apart > 0) == axis.higher_is_better
    unit = " points" if axis.unit == "%" else _unit(axis)
    return f"{abs(apart):.3g}{unit} {'better' if better else 'worse'} than the first"


def _own_time(one: Candidate) -> str:
    if one.latency is None:
        return "its speed is not known there"
    return f"{ms_words(one.latency.value)} {_mark(one.latency)}"


def _time_words(one: Candidate, first: Candidate) -> str:
    if one.latency is None:
        return "its speed is not known there"
    if first.latency is None:
        return _own_time(one)
    ratio = time_of(first) / time_of(one)
    if 0.95 < ratio < 1.05:
        return f"as fast as the first ({_own_time(one)})"
    words = f"{ratio:.2g} times as fast" if ratio > 1 else f"{1 / ratio:.2g} times as slow"
    return f"{words} ({_own_time(one)})"


def _mark(figure: Figure) -> str:
    return "measured here" if figure.mark == "measured" else figure.mark


def _unit(axis: Axis) -> str:
    return f" {axis.unit}" if axis.unit else ""
