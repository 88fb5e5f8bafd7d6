"""The part of the store that knows of votes and of data-set runs."""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection

from db import calls, votes, workers
from db.engine import Transactions
from db.errors import InvalidRunError
from db.records import (
    FINISHED,
    CallCount,
    CallRecord,
    CallResult,
    NewCall,
    NewRun,
    NewVote,
    VoteRecord,
    VoteTally,
)
from db.store_values import CHUNK
from db.writing import RunWriter


class SetStore:
    """What `Store` knows of votes, of runs whose process is gone, and of runs over many pictures."""

    _database: Transactions
    _writer: RunWriter

    def interrupt_stale(self) -> int:
        """Make the running runs failed ones (`Interrupted`) whose process is gone. `open` does it, too.

        A process of this machine is looked up; one of another machine or container counts as gone when
        nothing was heard of its run for `workers.SILENCE`.

        Returns:
            How many runs there were.
        """
        with self._database.read() as connection:
            stale = workers.interrupted_runs(connection)
        if not stale:
            return 0
        with self._database.write() as connection:
            return workers.mark_interrupted(connection, stale)

    # Votes

    def vote(self, vote: NewVote, owner: str | None) -> int:
        """Keep which of two answers a person preferred, and return the vote's id.

        Args:
            owner: Who looks at the two runs; the vote itself is `vote.owner`'s.

        Raises:
            RunNotFoundError: `owner` may not see one of the runs.
            InvalidRunError: There is a vote of the same person on these runs, or the choice is unknown.
        """
        with self._database.write(alone=True) as connection:
            return votes.put(connection, vote, owner)

    def votes(self, owner: str | None, *, limit: int = 200, offset: int = 0) -> tuple[VoteRecord, ...]:
        """Return a page of the votes that `owner` cast, newest first; None sees all."""
        with self._database.read() as connection:
            return votes.load(connection, owner, limit, offset)

    def vote_tallies(self, owner: str | None, *, task: str | None = None) -> tuple[VoteTally, ...]:
        """Return the votes that count, those that are alike counted together: what a rating needs.

        Blind ones that are not set aside and whose answers no test server gave. `task` narrows.
        """
        with self._database.read() as connection:
            return votes.tallies(connection, owner, task)

    # Data-set runs: `set_id` is the run of the whole set, which `start` began

    def plan_calls(self, set_id: str, rows: Sequence[NewCall]) -> None:
        """Write down every call of a data-set run, in order; positions count from 0.

        Raises:
            RunNotFoundError: There is no such run.
            InvalidRunError: Its calls are planned already.
        """
        planned = calls.rows_of(set_id, rows)
        with self._database.write(alone=True) as connection:
            calls.plan(connection, set_id, planned)

    def claim_calls(
        self, set_id: str, limit: int = 1, *, models: Collection[str] = ()
    ) -> tuple[CallRecord, ...]:
        """Take the first open calls, of these models or of all; nobody else gets them."""
        with self._database.write() as connection:
            return calls.claim(connection, set_id, limit, models)

    def finish_call(self, set_id: str, position: int, run: NewRun) -> str:
        """Keep a call's run and mark the call as done, both or neither; return the run's id.

        Raises:
            RunNotFoundError: There is no such call.
            InvalidRunError: It is done already, or the run cannot be stored.
        """

        def finish(connection: Connection, run_id: str) -> None:
            calls.finish(connection, set_id, position, run_id)

        return self._writer.insert(run, finished(run.status), finish)

    def release_claims(self, set_id: str) -> int:
        """Open the calls that are claimed and not done, and return how many there were.

        Only whoever runs the set may do it, before it claims any: after `reopen`, or when it pauses.
        """
        with self._database.write() as connection:
            return calls.release(connection, set_id)

    def reopen(self, set_id: str, owner: str | None) -> None:
        """Make an own data-set run that was interrupted or paused a running one of this process.

        Metrics and files that its end brought go. Of two that try at once, one succeeds.

        Raises:
            RunNotFoundError: `owner` has no such run.
            InvalidRunError: It is still going, or it has no calls.
        """
        self.interrupt_stale()
        with self._database.write(alone=True) as connection:
            calls.reopen(connection, set_id, owner)

    def open_calls(self, set_id: str) -> tuple[CallRecord, ...]:
        """Return the calls that are not done, claimed ones too, in order."""
        with self._database.read() as connection:
            return calls.not_done(connection, set_id)

    def call_counts(self, set_id: str, owner: str | None) -> tuple[CallCount, ...]:
        """Return how many calls of each model and task are open, claimed, and done with which outcome.

        Raises:
            RunNotFoundError: There is no such run that `owner` may see.
        """
        with self._database.read() as connection:
            return calls.counts(connection, set_id, owner)

    def call_total(self, set_id: str, name: str) -> float:
        """Return the sum of a metric, such as `cost_usd`, over the runs of the calls that are done."""
        with self._database.read() as connection:
            return calls.total(connection, set_id, name)

    def set_results(
        self,
        set_id: str,
        owner: str | None,
        *,
        metrics: Collection[str] = (),
        after: int = -1,
        limit: int = CHUNK,
    ) -> tuple[CallResult, ...]:
        """Return a page of what the calls came to, in order: those done whose runs `owner` may see.

        Args:
            metrics: Names of the numbers to return with each.
            after: The last position that is known; only those behind it are returned.

        Raises:
            RunNotFoundError: There is no such run that `owner` may see.
        """
        with self._database.read() as connection:
            return calls.results(connection, set_id, owner, metrics, after, limit)


def finished(status: str) -> str:
    """Return the status of a finished run.

    Raises:
        InvalidRunError: It is another one.
    """
    if status not in FINISHED:
        raise InvalidRunError(
            f"The status is {status!r}.", f"A finished run is one of {', '.join(FINISHED)}."
        )
    return status
