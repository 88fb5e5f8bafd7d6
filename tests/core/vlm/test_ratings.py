"""Ratings against hand computations, another implementation, and simulations with known strengths."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import choix
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from core.errors import InputError
from core.vlm.ratings import MEAN, SCALE, Rating, Ratings, prior_cells, rate, rate_groups, strengths, to_cells
from core.vlm.votes import CHOICES, Vote


@dataclass(frozen=True)
class Tally:
    """Votes that are alike."""

    first_model: str
    second_model: str
    choice: str
    count: int
    first_share: int = 50


def by_name(ratings: Ratings) -> dict[str, Rating]:
    return {model.model_id: model for model in ratings.models}


def simulated(true: Sequence[float], votes: int, seed: int, ties: float = 0.0) -> list[Tally]:
    """Return votes between random pairs of models whose strengths are known.

    Args:
        ties: Share of ties over the chances of both sides multiplied. They take from wins and losses alike,
            so that with half a win for each the strengths are what they were.
    """
    rng = np.random.default_rng(seed)
    found: Counter[tuple[str, str, str]] = Counter()
    for _ in range(votes):
        i, j = rng.choice(len(true), 2, replace=False)
        chance, drawn = 1 / (1 + math.exp(true[j] - true[i])), rng.random()
        is_tie = abs(drawn - chance) < ties * chance * (1 - chance) / 2
        choice = "tie" if is_tie else ("first" if drawn < chance else "second")
        found[f"m{i}", f"m{j}", choice] += 1
    return [Tally(*key, n) for key, n in found.items()]


# By hand


@pytest.mark.parametrize(("wins", "losses"), [(1, 0), (3, 1), (10, 10), (999, 1), (50, 0)])
def test_two_models_are_as_far_apart_as_the_formula_says(wins: int, losses: int) -> None:
    ratings = rate([Tally("a", "b", "first", wins), Tally("a", "b", "second", losses)], rounds=5)
    rated = by_name(ratings)
    apart = 400 * math.log10((wins + 0.5) / (losses + 0.5))
    assert rated["a"].raw.value == pytest.approx(1000 + apart / 2, abs=1e-3)
    assert rated["b"].raw.value == pytest.approx(1000 - apart / 2, abs=1e-3)
    assert (rated["a"].votes, rated["a"].wins, rated["a"].losses) == (wins + losses, wins, losses)
    assert (rated["b"].wins, rated["b"].losses) == (losses, wins)


@pytest.mark.parametrize("choice", ["tie", "both_bad"])
def test_a_tie_is_half_a_win_for_each(choice: str) -> None:
    halves = rate([Tally("a", "b", "first", 5), Tally("a", "b", choice, 4)], rounds=5)
    wins = rate([Tally("a", "b", "first", 7), Tally("a", "b", "second", 2)], rounds=5)
    assert by_name(halves)["a"].raw.value == pytest.approx(by_name(wins)["a"].raw.value, abs=1e-6)
    assert getattr(by_name(halves)["b"], {"tie": "ties"}.get(choice, choice)) == 4


def test_the_side_of_an_answer_makes_no_difference() -> None:
    left = [Tally("a", "b", "first", 7, 30), Tally("a", "c", "second", 3, 80), Tally("b", "c", "tie", 2, 10)]
    swapped = {"first": "second", "second": "first", "tie": "tie"}
    right = [
        Tally(t.second_model, t.first_model, swapped[t.choice], t.count, 100 - t.first_share) for t in left
    ]
    assert rate(left, rounds=20) == rate(right, rounds=20)


# Against other implementations


def test_strengths_are_those_of_another_optimiser() -> None:
    """Newton's method of choix on single votes, ridge almost none, with the prior's votes doubled out."""
    tallies = simulated([0.0, 0.7, -0.4, 0.2], 300, seed=1)
    names = ["m0", "m1", "m2", "m3"]
    cells, prior = to_cells(tallies, names), prior_cells(4)
    votes = [
        (int(t.first_model[1]), int(t.second_model[1]))
        if t.choice == "first"
        else (int(t.second_model[1]), int(t.first_model[1]))
        for t in tallies
        for _ in range(t.count * 6)
    ]
    # Each pair was given 1/3 of a vote, half of it to either side: one of six votes where a vote counts six.
    votes += [(i, j) for i in range(4) for j in range(4) if i != j]
    wanted = choix.opt_pairwise(4, votes, alpha=1e-9, method="Newton-CG", tol=1e-10)
    assert strengths(cells, prior) == pytest.approx(wanted - wanted.mean(), abs=1e-5)


def test_length_control_maximises_the_likelihood_that_the_docstring_states() -> None:
    rng = np.random.default_rng(3)
    tallies = [
        Tally("a", "b", str(rng.choice(CHOICES)), int(rng.integers(1, 9)), 5 * int(rng.integers(0, 21)))
        for _ in range(12)
    ]

    def loss(parameters: np.ndarray) -> float:
        apart, length = parameters
        total = 2 * 0.5 * math.log(2 * math.cosh(apart / 2)) + 2 * 0.5 * math.log(2 * math.cosh(length / 2))
        for tally in tallies:
            x = apart + length * (tally.first_share / 50 - 1)
            won = {"first": 1.0, "second": 0.0}.get(tally.choice, 0.5)
            total += tally.count * (won * np.logaddexp(0, -x) + (1 - won) * np.logaddexp(0, x))
        return float(total)

    apart, length = minimize(loss, [0.0, 0.0], tol=1e-10).x
    ratings = rate(tallies, rounds=5)
    assert by_name(ratings)["a"].length_controlled.value == pytest.approx(MEAN + SCALE * apart / 2, abs=0.05)
    assert ratings.longer_by == pytest.approx(SCALE * length / 3, abs=0.05)


# Simulations


@pytest.mark.parametrize("ties", [0.0, 1.2])
def test_known_strengths_come_back_and_the_intervals_hold_them(ties: float) -> None:
    """Of 100 intervals, 95 should hold the true value; fewer than 88 would be wrong."""
    true = np.array([0.8, 0.3, 0.0, -0.3, -0.8])
    held, errors = 0, []
    for seed in range(20):
        rated = by_name(rate(simulated(true, 250, seed, ties), rounds=60, seed=seed))
        for i, strength in enumerate(true):
            points = rated[f"m{i}"].raw
            wanted = MEAN + SCALE * strength
            held += points.low <= wanted <= points.high
            errors.append(points.value - wanted)
    assert 88 <= held < 100
    assert abs(np.mean(np.reshape(errors, (-1, 5)), axis=0)).max() < 15


def test_equal_models_are_seldom_told_apart() -> None:
    told = sum(rate(simulated([0, 0], 30, seed), rounds=40, seed=seed).more_votes == 0 for seed in range(30))
    assert told <= 4  # 5 % of 30 are 1.5


def test_a_model_that_only_writes_longer_is_no_better_at_equal_length() -> None:
    """Voters who prefer the longer answer, and models that differ in nothing else."""
    rng = np.random.default_rng(0)
    tallies = []
    for share in (40, 50, 60, 70, 80):
        votes = 400
        wins = int(rng.binomial(votes, 1 / (1 + math.exp(-2.0 * (share / 50 - 1)))))
        tallies += [
            Tally("long", "short", "first", wins, share),
            Tally("long", "short", "second", votes - wins, share),
        ]
    ratings = rate(tallies, rounds=50)
    long = by_name(ratings)["long"]
    assert long.raw.low > 1010
    assert long.length_controlled.low < 1000 < long.length_controlled.high
    assert ratings.longer_by == pytest.approx(SCALE * 2.0 / 3, rel=0.2)


def test_the_votes_that_are_said_to_be_missing_settle_it() -> None:
    """The same shares of so many more votes leave the best alone; half of them do not."""
    few = [Tally("a", "b", "first", 12), Tally("a", "b", "second", 8)]
    more = rate(few).more_votes
    assert more is not None
    assert more > 20

    def scaled(votes: float) -> list[Tally]:
        return [replace(tally, count=round(tally.count * votes / 20)) for tally in few]

    assert rate(scaled(20 + 1.4 * more)).more_votes == 0
    assert rate(scaled(20 + 0.5 * more)).more_votes != 0


# What a person reads


def test_a_clear_lead_is_said_with_its_interval() -> None:
    ratings = rate([Tally("a", "b", "first", 80), Tally("a", "b", "second", 20)])
    assert ratings.sentence.startswith("a is ahead of b by 238 points, between ")
    assert [model.rank for model in ratings.models] == [1, 2]
    assert ratings.lead is not None
    assert 100 < ratings.lead.low < 238 < ratings.lead.high < 400


def test_too_few_votes_are_called_so() -> None:
    for wins in (1, 2, 3):
        ratings = rate([Tally("a", "b", "first", wins)])
        assert ratings.sentence.startswith("Too few votes to tell a from b: about ")
        assert [model.rank for model in ratings.models] == [1, 1]


def test_equal_models_are_too_close() -> None:
    ratings = rate([Tally("a", "b", "first", 50), Tally("a", "b", "second", 50)])
    assert ratings.more_votes is None
    assert ratings.sentence == "a and b are too close to tell apart."


def test_models_that_never_met_are_not_ranked_against_each_other() -> None:
    tallies = [Tally(a, b, "first", 500) for a, b in (("a", "b"), ("c", "d"))]
    ratings = rate([*tallies, Tally("c", "d", "second", 300)])
    rated = by_name(ratings)
    assert rated["a"].group == rated["b"].group != rated["c"].group == rated["d"].group
    assert {name: model.rank for name, model in rated.items()} == {"a": 1, "b": 2, "c": 1, "d": 2}
    assert "never compared" in ratings.sentence
    assert (ratings.more_votes, ratings.lead) == (None, None)
    alone = by_name(rate([Tally("a", "b", "first", 500)]))
    assert rated["a"].raw.value == pytest.approx(alone["a"].raw.value, abs=1)
    assert (rated["a"].raw, rated["b"].length_controlled) == (alone["a"].raw, alone["b"].length_controlled)


def test_groups_are_rated_by_themselves_the_one_with_most_votes_first() -> None:
    few, many = [Tally("a", "b", "first", 40)], [Tally("d", "c", "first", 300), Tally("c", "e", "tie", 7)]
    groups = rate_groups([*few, *many], rounds=20)
    assert [group.votes for group in groups] == [307, 40]
    assert [model.model_id for model in groups[0].models] == ["d", "e", "c"]
    assert groups[1].sentence == rate(few, rounds=20).sentence
    assert rate_groups([]) == ()


def test_a_third_model_with_few_votes_keeps_the_first_place_open() -> None:
    clear = [Tally("a", "b", "first", 300), Tally("a", "b", "second", 100)]
    assert rate(clear).more_votes == 0
    ratings = rate([*clear, Tally("a", "c", "first", 2), Tally("a", "c", "second", 1)])
    rated = by_name(ratings)
    assert rated["a"].rank == rated["c"].rank == 1
    assert ratings.more_votes
    assert ratings.sentence.startswith("Too few votes to tell a from c: about ")


def test_no_votes_are_no_ratings() -> None:
    ratings = rate([])
    assert ratings.models == ()
    assert ratings.sentence == "There are no votes that count yet."


# Whatever is voted

TALLIES = st.lists(
    st.builds(
        Tally,
        st.sampled_from("abc"),
        st.sampled_from("xyz"),
        st.sampled_from(CHOICES),
        st.one_of(st.integers(1, 5), st.just(100_000)),
        st.integers(0, 100),
    ),
    min_size=1,
    max_size=8,
)


@given(TALLIES)
@settings(max_examples=15, deadline=None)
def test_every_rating_is_finite_and_ordered(tallies: list[Tally]) -> None:
    ratings = rate(tallies, rounds=4)
    assert ratings.votes == sum(tally.count for tally in tallies)
    for kind in ("raw", "length_controlled"):
        values = [getattr(model, kind) for model in ratings.models]
        assert all(math.isfinite(p.value) for p in values)
        assert np.mean([points.value for points in values]) == pytest.approx(MEAN, abs=1e-3)
        assert all(-math.inf < p.low <= p.value <= p.high < math.inf for p in values)
    raw = [model.raw.value for model in ratings.models]
    assert raw == sorted(raw, reverse=True)
    assert ratings.models[0].rank == 1
    assert sum(model.wins for model in ratings.models) == sum(model.losses for model in ratings.models)


@pytest.mark.parametrize(
    "wrong", [{"choice": "left"}, {"second_model": "gemini/a"}, {"first_length": -1}, {"second_length": -1}]
)
def test_what_is_no_vote_is_refused(wrong: dict[str, object]) -> None:
    vote = Vote("ada", "1", "2", "gemini/a", "openai/b", "ocr", "tie", True, "", 1, 2, False)
    with pytest.raises(InputError):
        replace(vote, **wrong)  # type: ignore[arg-type]
