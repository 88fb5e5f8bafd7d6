"""How long it takes to rate many votes, from the store's rows to ranks with their intervals.

    python -m tests.bench.ratings [--votes N] [--models N] [--rounds N]

Votes between random pairs of models of known strengths, about one in ten a tie, are put into a SQLite store.
Ties take from wins and losses alike, so that half wins leave the strengths what they are. Timed are the
store's count of votes that are alike and the rating: raw and length-controlled, each fitted to the votes and
to every drawing of them.
"""

import argparse
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from sqlalchemy import insert

from core.vlm.ratings import MEAN, ROUNDS, SCALE, Ratings, rate
from db import Store
from db.models import Vote

WANTED_S = 10.0
CHUNK = 5_000
TIES = 0.4
"""Share of ties over the chances of both sides multiplied: one in ten between equals."""


def rows(votes: int, strengths: np.ndarray) -> list[dict[str, object]]:
    """Return votes whose outcome is drawn by the strengths of the models."""
    rng = np.random.default_rng(0)
    first = rng.integers(0, len(strengths), votes)
    second = (first + rng.integers(1, len(strengths), votes)) % len(strengths)
    chance = 1 / (1 + np.exp(strengths[second] - strengths[first]))
    drawn, half_tie = rng.random(votes), TIES * chance * (1 - chance) / 2
    choices = np.where(np.abs(drawn - chance) < half_tie, "tie", np.where(drawn < chance, "first", "second"))
    lengths = rng.poisson(20, (votes, 2))
    plain = {"owner": "local", "task": "caption", "blind": True, "set_aside": "", "loopback": False}
    return [
        plain
        | {"time": datetime.now(UTC), "choice": str(choices[i])}
        | {"first_model": f"model-{first[i]}", "second_model": f"model-{second[i]}"}
        | {"first_length": int(lengths[i, 0]), "second_length": int(lengths[i, 1])}
        for i in range(votes)
    ]


def held(ratings: Ratings, strengths: np.ndarray) -> int:
    """Return how many intervals hold the strength that votes were drawn by."""
    true = MEAN + SCALE * (strengths - strengths.mean())
    return sum(
        model.raw.low <= true[int(model.model_id.split("-")[1])] <= model.raw.high for model in ratings.models
    )


def main() -> int:
    """Print the times; fail where the rating takes too long."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--votes", type=int, default=100_000)
    parser.add_argument("--models", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    strengths = np.linspace(-0.6, 0.6, arguments.models)
    with tempfile.TemporaryDirectory() as name, Store.open(f"sqlite:///{Path(name) / 'b.sqlite3'}") as store:
        cast = rows(arguments.votes, strengths)
        for start in range(0, len(cast), CHUNK):
            with store._database.write() as connection:
                connection.execute(insert(Vote), cast[start : start + CHUNK])
        started = time.perf_counter()
        tallies = store.vote_tallies(None)
        counted = time.perf_counter()
        ratings = rate(tallies, rounds=arguments.rounds)
        ended = time.perf_counter()
    print(f"{arguments.votes} votes, {arguments.models} models, {arguments.rounds} rounds")
    print(f"counted by the store: {counted - started:6.2f} s, {len(tallies)} different")
    print(f"rated:                {ended - counted:6.2f} s, wanted: under {WANTED_S:g} s together")
    print(f"intervals that hold the true strength: {held(ratings, strengths)} of {arguments.models}")
    return 0 if ended - started < WANTED_S else 1


if __name__ == "__main__":
    sys.exit(main())
