"""What to measure next: the fewest runs that could change the order of the short list.

A model matters if the first places come out differently when its speed is at one end of its interval rather
than the other, everything else being as it is. Each such run alone could turn the order, so none of them can
be left out; that two of them err at once is not looked at.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.recommend.candidates import Candidate
from core.recommend.figures import Figure, ms_words

SHORT_LIST = 3
"""Places whose order is to be settled."""
MOST_RUNS = 12
UNKNOWN_SPAN = 1e4
"""By which factor a time that nobody knows may be off either way."""
SURE = 1.15
"""A measured interval that is narrower than this factor is not worth another run."""
Order = Callable[[Sequence[Candidate]], tuple[str, ...]]
"""Candidates to the ids of those that fit, the best first."""


@dataclass(frozen=True, slots=True)
class NextRun:
    """A run that could change the short list."""

    candidate: Candidate
    run: str
    """The registry's id to measure."""
    why: str
    first: bool
    """Whether it could change the first place, or only the ones behind it."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        model = self.candidate.entry.id
        return {"model": model, "run": self.run, "why": self.why, "changes_first_place": self.first}


def next_runs(
    candidates: Sequence[Candidate], order: Order, runnable: Callable[[Candidate], str | None]
) -> tuple[NextRun, ...]:
    """Return the runs that could change the first places, those that could change the very first one first.

    Args:
        candidates: All models of the task, fitting or not.
        order: How they are ranked; it is asked twice for each model that is not measured.
        runnable: The id under which a model can be measured here; None where it cannot.
    """
    now = order(candidates)[:SHORT_LIST]
    found = []
    for at, one in enumerate(candidates):
        run = runnable(one)
        if run is None or _is_sure(one.latency):
            continue
        ends = [order(_with(candidates, at, end))[:SHORT_LIST] for end in _ends(one)]
        changed = [end for end in ends if end != now]
        if changed:
            first = any(end[:1] != now[:1] for end in changed)
            found.append(NextRun(one, run, _why(one, first), first))
    return tuple(sorted(found, key=lambda one: (not one.first, one.candidate.entry.id))[:MOST_RUNS])


def _is_sure(latency: Figure | None) -> bool:
    return latency is not None and latency.mark == "measured" and latency.most <= SURE * latency.least


def _ends(one: Candidate) -> tuple[Figure, Figure]:
    """Return the speed of a model at both ends of its interval."""
    if one.latency is None:
        return _certain(1 / UNKNOWN_SPAN), _certain(UNKNOWN_SPAN * 1000)
    return _certain(one.latency.least), _certain(one.latency.most)


def _certain(ms: float) -> Figure:
    return Figure(ms, "ms", "estimated")


def _with(candidates: Sequence[Candidate], at: int, latency: Figure) -> list[Candidate]:
    changed = list(candidates)
    changed[at] = replace(candidates[at], latency=latency)
    return changed


def _why(one: Candidate, first: bool) -> str:
    what = "the first place" if first else f"the first {SHORT_LIST} places"
    if one.latency is None:
        return f"Its speed here is not known; it could change {what}."
    ends = f"{ms_words(one.latency.least)} to {ms_words(one.latency.most)}"
    known = "measured" if one.latency.mark == "measured" else f"only {one.latency.mark}"
    return f"Its speed is {known} as {ends}; either end would change {what}."
