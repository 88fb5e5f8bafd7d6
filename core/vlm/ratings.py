"""How good models are by blind votes: Bradley-Terry strengths with intervals, raw and length-controlled.

A model with strength s beats one with strength t with probability 1 / (1 + exp(t - s)). Strengths are told as
points: 400 points more are odds of 10 to 1. The mean of all models of a group is 1,000.

- A tie is half a win for each. "Both bad" is a tie: neither was better. How often it was said is kept apart.
- The prior: every model has won half a vote and lost half a vote, spread evenly over all others of its group.
  So a model that has only won stays finite. Two models with w and l votes are
  400 log10((w + 1/2) / (l + 1/2)) points apart.
- The intervals: as many votes as there are, drawn anew from the votes and the prior together, `ROUNDS` times;
  2.5 and 97.5 percentiles of what comes out, widened to the rating itself where it lies outside. Votes that
  are alike are drawn together, by one multinomial. With the prior among them, three wins of three do not look
  like certainty.
- The rank: 1 + how many models have a lower bound above this one's upper bound.
- Length-controlled: a logistic regression that also knows the difference of the answers' lengths over their
  sum, -1 to 1, and so tells what the votes would be between answers of equal length.
- Models that were never compared, not even by way of others, are in different groups. Each group is rated by
  itself, its prior included: points of different groups say nothing about each other.

Sources: Bradley and Terry, Biometrika 39 (1952); Maystre and Grossglauser, "Fast and accurate inference of
Plackett-Luce models", NeurIPS 2015 (choix); Chiang et al., "Chatbot Arena", arXiv 2403.04132 (scale, ranks).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.vlm.numbers import about, points
from core.vlm.votes import VoteTally

ROUNDS = 200
MEAN = 1000.0
SCALE = 400 / math.log(10)
"""Points of one unit of strength."""
PRIOR = 1.0
"""Votes that each model is given: half won, half lost."""
SHARE_STEP = 5
"""Percent to which an answer's share of the words is rounded, so that many votes are few cells."""
PERCENTILES = (2.5, 97.5)
TOO_CLOSE = 1.0
"""Points below which no number of votes is told that would settle it."""

WON = {"first": 1.0, "second": 0.0, "tie": 0.5, "both_bad": 0.5}
"""Choice to how much of a win it is for the first."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Points:
    """A rating with the interval that holds it in 95 of 100 cases."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Rating:
    """One model by the votes on its answers."""

    model_id: str
    rank: int
    """From 1; models share one where their intervals do."""
    raw: Points
    length_controlled: Points
    """As if all answers had been of equal length."""
    votes: int
    wins: int
    losses: int
    ties: int
    both_bad: int
    group: int
    """From 0; only models of one group can be compared."""


@dataclass(frozen=True, slots=True)
class Ratings:
    """All models, the best first."""

    models: tuple[Rating, ...]
    votes: int
    longer_by: float
    """Points that an answer gains by being twice as long as the other one; of groups, their mean by votes."""
    lead: Points | None
    """By how much the first model is ahead of the second; None where there is more than one group."""
    more_votes: int | None
    """How many more would settle the first place; 0 where it is, None where that cannot be told."""
    sentence: str
    """What a person needs to know of the first place."""


class Cells(NamedTuple):
    """Votes that are alike, counted; models by their number, the smaller one first."""

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    won: Floats
    """Of the first: 1, 1/2 or 0."""
    longer: Floats
    """Difference of the lengths over their sum, -1 to 1."""
    times: Floats


class Rounds(NamedTuple):
    """What came out of each drawing: rounds by models."""

    raw: Floats
    length_controlled: Floats


def rate(tallies: Sequence[VoteTally], *, rounds: int = ROUNDS, seed: int = 0) -> Ratings:
    """Rate models by votes; the same votes give the same ratings.

    Args:
        tallies: Votes that count, those that are alike counted together.
        rounds: How often votes are drawn for the intervals.
    """
    groups = rate_groups(tallies, rounds=rounds, seed=seed)
    if not groups:
        return Ratings((), 0, 0.0, None, None, "There are no votes that count yet.")
    if len(groups) == 1:
        return groups[0]
    votes = sum(group.votes for group in groups)
    models = sorted((model for group in groups for model in group.models), key=_by_points)
    longer_by = sum(group.longer_by * group.votes for group in groups) / votes
    one, two = (group.models[0].model_id for group in groups[:2])
    sentence = f"{one} and {two} were never compared, not even by way of other models."
    return Ratings(tuple(models), votes, longer_by, None, None, sentence)


def rate_groups(tallies: Sequence[VoteTally], *, rounds: int = ROUNDS, seed: int = 0) -> tuple[Ratings, ...]:
    """Rate each group of models that were compared by itself, the group with most votes first.

    No vote of one group has a say in another one: each is rated as if the others were not there.
    """
    names = sorted({name for tally in tallies for name in (tally.first_model, tally.second_model)})
    if not names:
        return ()
    number_of = dict(zip(names, connected(to_cells(tallies, names), len(names)).tolist(), strict=True))
    groups: dict[int, list[VoteTally]] = {}
    for tally in tallies:
        groups.setdefault(number_of[tally.first_model], []).append(tally)
    order = sorted(groups.values(), key=lambda group: -sum(tally.count for tally in group))
    return tuple(_rate_group(group, number, rounds, seed) for number, group in enumerate(order))


def _rate_group(tallies: Sequence[VoteTally], group: int, rounds: int, seed: int) -> Ratings:
    """Rate models that were all compared, if only by way of others."""
    names = sorted({name for tally in tallies for name in (tally.first_model, tally.second_model)})
    cells, prior = to_cells(tallies, names), prior_cells(len(names))
    raw = strengths(cells, prior)
    controlled, length = controlled_strengths(cells, prior, raw)
    drawn = draw(cells, prior, raw, rounds, seed)
    raw_points = _points(raw, drawn.raw)
    controlled_points = _points(controlled, drawn.length_controlled)
    counts = _counts(tallies, names)
    rows = [
        Rating(
            model_id=name,
            rank=1 + sum(other.low > raw_points[i].high for other in raw_points),
            raw=raw_points[i],
            length_controlled=controlled_points[i],
            votes=int(counts[i].sum()),
            wins=int(counts[i, 0]),
            losses=int(counts[i, 1]),
            ties=int(counts[i, 2]),
            both_bad=int(counts[i, 3]),
            group=group,
        )
        for i, name in enumerate(names)
    ]
    models = tuple(sorted(rows, key=_by_points))
    best, second = (names.index(model.model_id) for model in models[:2])
    lead = _between(SCALE * (raw[best] - raw[second]), SCALE * (drawn.raw[:, best] - drawn.raw[:, second]))
    votes = int(cells.times.sum())
    rival, more = hardest_to_tell(models, votes)
    sentence = _sentence(models[0], rival, lead, more)
    return Ratings(models, votes, SCALE * length / 3, lead, more, sentence)


def _by_points(model: Rating) -> tuple[float, str]:
    return -model.raw.value, model.model_id


def to_cells(tallies: Sequence[VoteTally], names: Sequence[str]) -> Cells:
    """Count votes together whichever model stood first, and ties with "both bad"."""
    number = {name: i for i, name in enumerate(names)}
    found: dict[tuple[int, int, float, int], int] = {}
    for tally in tallies:
        one, two = number[tally.first_model], number[tally.second_model]
        won, share = WON[tally.choice], SHARE_STEP * round(tally.first_share / SHARE_STEP)
        key = (one, two, won, share) if one < two else (two, one, 1 - won, 100 - share)
        found[key] = found.get(key, 0) + tally.count
    keys = np.array(sorted(found), np.float64).reshape(-1, 4)
    first, second = keys[:, 0].astype(np.intp), keys[:, 1].astype(np.intp)
    count = np.array([found[key] for key in sorted(found)], np.float64)
    return Cells(first, second, keys[:, 2], keys[:, 3] / 50 - 1, count)


def prior_cells(n: int) -> Cells:
    """Return the votes that are given: `PRIOR` to each of n models, half won and half lost."""
    first, second = np.triu_indices(n, 1)
    pairs = len(first)
    return Cells(
        np.concatenate([first, first]),
        np.concatenate([second, second]),
        np.repeat([1.0, 0.0], pairs),
        np.zeros(2 * pairs),
        np.full(2 * pairs, PRIOR / (n - 1) / 2),
    )


def both(cells: Cells, prior: Cells) -> Cells:
    """Return the votes and those that are given."""
    return Cells(*(np.concatenate(parts) for parts in zip(cells, prior, strict=True)))


def strengths(cells: Cells, prior: Cells, start: Floats | None = None) -> Floats:
    """Return the Bradley-Terry strengths of the models, natural logarithms with mean 0."""
    import choix

    votes = both(cells, prior)
    n = int(votes.second.max()) + 1
    wins = np.zeros((n, n))
    np.add.at(wins, (votes.first, votes.second), votes.times * votes.won)
    np.add.at(wins, (votes.second, votes.first), votes.times * (1 - votes.won))
    found = choix.ilsr_pairwise_dense(wins, initial_params=start, max_iter=10_000)
    return np.asarray(found - found.mean())


def controlled_strengths(cells: Cells, prior: Cells, start: Floats) -> tuple[Floats, float]:
    """Return strengths between answers of equal length, and the strength of being longer.

    That has a prior of its own: between equal models, an answer beside an empty one won half a vote and lost
    half a vote. The likelihood has one maximum, which Newton's method in a trust region finds also where one
    model won every vote.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    votes = both(cells, prior)
    n, numbers = len(start), np.arange(len(votes.times))
    design = np.zeros((len(numbers) + 1, n + 1))
    design[numbers, votes.first], design[numbers, votes.second] = 1.0, -1.0
    design[:-1, n], design[-1, n] = votes.longer, 1.0
    won, times = np.append(votes.won, 0.5), np.append(votes.times, PRIOR)
    design = design[:, 1:]  # the first model's strength is 0 here: only differences can be known

    def loss(x: Floats) -> tuple[float, Floats]:
        odds = design @ x
        chance = expit(odds)
        return float(times @ (np.logaddexp(0, odds) - won * odds)), design.T @ (times * (chance - won))

    def curvature(x: Floats) -> Floats:
        chance = expit(design @ x)
        return np.asarray((design.T * (times * chance * (1 - chance))) @ design)

    at = np.append(start[1:] - start[0], 0.0)
    found = minimize(loss, at, jac=True, hess=curvature, method="trust-exact", options={"gtol": 1e-5}).x
    of_models = np.append(0.0, found[:-1])
    return of_models - of_models.mean(), float(found[-1])


def draw(cells: Cells, prior: Cells, start: Floats, rounds: int, seed: int) -> Rounds:
    """Draw as many votes as there are, `rounds` times, and return what each drawing gives."""
    pool = both(cells, prior)
    chances = pool.times / pool.times.sum()
    drawn = np.random.default_rng(seed).multinomial(int(cells.times.sum()), chances, size=rounds)
    raw, controlled = [], []
    for counts in drawn:
        met = counts > 0
        votes = Cells(*(part[met] for part in pool._replace(times=counts.astype(np.float64))))
        raw.append(strengths(votes, prior, start))
        controlled.append(controlled_strengths(votes, prior, raw[-1])[0])
    return Rounds(np.array(raw), np.array(controlled))


def connected(cells: Cells, n: int) -> NDArray[Any]:
    """Return the number of each model's group: those that were compared, also by way of others."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    met = coo_array((cells.times, (cells.first, cells.second)), shape=(n, n))
    return np.asarray(connected_components(met, directed=False)[1])


def hardest_to_tell(models: Sequence[Rating], votes: int) -> tuple[Rating, int | None]:
    """Return the model that takes most votes to be told from the first one, and how many (see below)."""
    needed = [(other, votes_to_settle(models[0], other, votes)) for other in models[1:]]
    return max(needed, key=lambda pair: math.inf if pair[1] is None else pair[1])


def votes_to_settle(best: Rating, other: Rating, votes: int) -> int | None:
    """Return about how many more votes would leave the best of two alone in the first place.

    Intervals shrink with the root of the number of votes. So if the difference d stays as it is, n votes
    whose bounds towards each other are a and b away are enough when they become n ((a + b) / d)^2, cast
    on the same pairs as until now.

    Returns:
        0 where it is settled; None where the two are too close.
    """
    if best.raw.low > other.raw.high:
        return 0
    lead = best.raw.value - other.raw.value
    if lead < TOO_CLOSE:
        return None
    towards = best.raw.value - best.raw.low + other.raw.high - other.raw.value
    return max(1, math.ceil(votes * ((towards / lead) ** 2 - 1)))


def _points(found: Floats, drawn: Floats) -> list[Points]:
    """Return each model's points with their bounds."""
    values = MEAN + SCALE * np.vstack([found, drawn])
    return [_between(column[0], column[1:]) for column in values.T]


def _between(value: float, drawn: Floats) -> Points:
    """Return a value with the bounds of what was drawn, which are never on one side of it."""
    low, high = np.percentile(drawn, PERCENTILES).tolist()
    return Points(float(value), min(low, float(value)), max(high, float(value)))


def _counts(tallies: Sequence[VoteTally], names: Sequence[str]) -> NDArray[np.int64]:
    """Return wins, losses, ties and "both bad" of each model."""
    number = {name: i for i, name in enumerate(names)}
    counts = np.zeros((len(names), 4), np.int64)
    columns = {"first": (0, 1), "second": (1, 0), "tie": (2, 2), "both_bad": (3, 3)}
    for tally in tallies:
        for name, column in zip((tally.first_model, tally.second_model), columns[tally.choice], strict=True):
            counts[number[name], column] += tally.count
    return counts


def _sentence(best: Rating, rival: Rating, lead: Points, more: int | None) -> str:
    one, two = best.model_id, rival.model_id
    if more is None:
        return f"{one} and {two} are too close to tell apart."
    if more:
        return f"Too few votes to tell {one} from {two}: about {about(more)} more."
    between = f"between {points(lead.low)} and {points(lead.high)}"
    return f"{one} is ahead of {two} by {points(lead.value)} points, {between}."
