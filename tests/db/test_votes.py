"""Votes: whose they are, which count, how they are counted together, and that they outlive their runs."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from sqlalchemy import insert

from db import Store
from db.errors import InvalidRunError, RunNotFoundError
from db.models import Vote
from tests.support.runs import draft

RIVALS = ("gemini/a", "openai/b")


@dataclass(frozen=True)
class Ballot:
    """A vote as the store sees it."""

    first_run: str
    second_run: str
    choice: str = "first"
    owner: str = "ada"
    first_model: str = RIVALS[0]
    second_model: str = RIVALS[1]
    task: str = "caption"
    blind: bool = True
    set_aside: str = ""
    first_length: int = 10
    second_length: int = 30
    loopback: bool = False


@pytest.fixture
def booth(store: Store) -> Iterator[Store]:
    """A store that is sound in the end."""
    yield store
    assert store.check() == ()


def answers(store: Store, owner: str = "ada") -> tuple[str, str]:
    """Return the runs of two answers."""
    return tuple(store.record(draft(kind="vlm", model_id=model, owner=owner)) for model in RIVALS)  # type: ignore[return-value]


def test_a_vote_comes_back_as_it_was_cast(booth: Store) -> None:
    before = datetime.now(UTC)
    pair = answers(booth)
    ballot = Ballot(*pair, choice="both_bad", set_aside="names its maker", blind=False, loopback=True)
    vote_id = booth.vote(ballot, "ada")
    (record,) = booth.votes("ada")
    assert record.id == vote_id
    assert timedelta(0) <= record.time - before + timedelta(milliseconds=1) < timedelta(minutes=1)
    for name in Ballot.__dataclass_fields__:
        assert getattr(record, name) == getattr(ballot, name), name


def test_votes_are_listed_newest_first_by_pages(booth: Store) -> None:
    ids = [booth.vote(Ballot(*answers(booth)), "ada") for _ in range(5)]
    assert [vote.id for vote in booth.votes("ada")] == ids[::-1]
    assert [vote.id for vote in booth.votes("ada", limit=2, offset=1)] == [ids[3], ids[2]]


@pytest.mark.parametrize("swapped", [False, True])
def test_nobody_votes_twice_on_the_same_two_answers(booth: Store, swapped: bool) -> None:
    """The names are shown after the first vote."""
    one, two = answers(booth)
    booth.vote(Ballot(one, two), "ada")
    again = Ballot(two, one, "second", first_model=RIVALS[1], second_model=RIVALS[0])
    with pytest.raises(InvalidRunError, match="have a vote already"):
        booth.vote(again if swapped else Ballot(one, two, "tie"), "ada")
    assert [vote.choice for vote in booth.votes(None)] == ["first"]


def test_of_votes_cast_at_once_one_is_kept(booth: Store) -> None:
    one, two = answers(booth)

    def cast(_: int) -> bool:
        try:
            booth.vote(Ballot(one, two), "ada")
        except InvalidRunError:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(cast, range(8))) == 1


def test_a_stranger_sees_no_votes_and_votes_on_no_strange_run(booth: Store) -> None:
    pair = answers(booth)
    booth.vote(Ballot(*pair), "ada")
    assert booth.votes("bob") == ()
    assert booth.vote_tallies("bob") == ()
    with pytest.raises(RunNotFoundError):
        booth.vote(Ballot(*pair, owner="bob"), "bob")
    for run_id in pair:
        booth.annotate(run_id, "ada", shared=True)
    booth.vote(Ballot(*pair, "second", owner="bob"), "bob")
    assert [vote.choice for vote in booth.votes("bob")] == ["second"]
    assert [vote.choice for vote in booth.votes("ada")] == ["first"]
    assert sum(tally.count for tally in booth.vote_tallies(None)) == 2


def test_one_strange_run_is_enough_to_refuse(booth: Store) -> None:
    own, strange = answers(booth)[0], answers(booth, "bob")[1]
    with pytest.raises(RunNotFoundError):
        booth.vote(Ballot(own, strange), "ada")
    with pytest.raises(RunNotFoundError):
        booth.vote(Ballot(own, "0" * 26), None)
    assert booth.votes(None) == ()


@pytest.mark.parametrize(
    "wrong",
    [{"choice": "left"}, {"first_length": -1}, {"second_model": RIVALS[0]}, {"first_model": ""}],
)
def test_what_is_no_vote_is_refused(booth: Store, wrong: dict[str, str]) -> None:
    with pytest.raises(InvalidRunError):
        booth.vote(replace(Ballot(*answers(booth)), **wrong), "ada")  # type: ignore[arg-type]
    assert booth.votes(None) == ()


def test_votes_outlive_their_runs_and_ratings_stay(booth: Store) -> None:
    pair = answers(booth)
    booth.vote(Ballot(*pair), "ada")
    tallies = booth.vote_tallies("ada")
    assert booth.delete(pair, "ada") == 2
    (vote,) = booth.votes("ada")
    assert (vote.first_run, vote.second_run) == (None, None)
    assert (vote.first_model, vote.second_model) == RIVALS
    assert booth.vote_tallies("ada") == tallies != ()


def test_only_blind_real_votes_that_are_not_set_aside_count(booth: Store) -> None:
    for change in ({}, {"blind": False}, {"set_aside": "says who made it"}, {"loopback": True}):
        booth.vote(replace(Ballot(*answers(booth)), **change), "ada")  # type: ignore[arg-type]
    (tally,) = booth.vote_tallies("ada")
    assert (tally.first_model, tally.second_model, tally.choice, tally.count) == (*RIVALS, "first", 1)
    assert booth.vote_tallies("ada", task="caption") == (tally,)
    assert booth.vote_tallies("ada", task="ocr") == ()


@pytest.mark.parametrize(
    ("lengths", "share"),
    [((10, 30), 25), ((0, 0), 50), ((0, 9), 0), ((9, 0), 100), ((1, 2), 33), ((2, 1), 67), ((1, 199), 1)],
)
def test_lengths_are_told_as_the_first_ones_share(booth: Store, lengths: tuple[int, int], share: int) -> None:
    booth.vote(Ballot(*answers(booth), first_length=lengths[0], second_length=lengths[1]), "ada")
    assert booth.vote_tallies("ada")[0].first_share == share


def test_many_votes_are_counted_as_one_by_one(booth: Store) -> None:
    """Against the same count in Python with exact fractions."""
    rows = [
        {
            "time": datetime.now(UTC),
            "owner": "ada",
            "first_model": "bac"[i % 3],
            "second_model": "xyZ"[i % 2],
            "task": "ocr",
            "choice": ("first", "second", "tie", "both_bad")[i * i % 4],
            "blind": True,
            "set_aside": "",
            "first_length": i * 7 % 23,
            "second_length": i * 5 % 19,
            "loopback": False,
        }
        for i in range(2_000)
    ]
    with booth._database.write() as connection:
        connection.execute(insert(Vote), rows)
    wanted: Counter[tuple[str, str, str, int]] = Counter()
    for row in rows:
        one, two = int(str(row["first_length"])), int(str(row["second_length"]))
        share = int(Fraction(100 * one, one + two) + Fraction(1, 2)) if one + two else 50
        wanted[str(row["first_model"]), str(row["second_model"]), str(row["choice"]), share] += 1
    found = booth.vote_tallies("ada")
    assert [(t.first_model, t.second_model, t.choice, t.first_share, t.count) for t in found] == [
        (*key, n) for key, n in sorted(wanted.items())
    ]
