"""The store: every run that was, in one database."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, exists, select

from db import calls, derived, queries, reading, upkeep, vectors, votes, workers, writing
from db.engine import Transactions, create_store_engine, store_url
from db.errors import InvalidRunError, RunNotFoundError, StoreDamagedError, StoreError, translated
from db.migrations import migrate
from db.models import Artifact, Image, Run, RunArtifact, RunInput
from db.queries import Bucket
from db.records import (
    FINISHED,
    CallCount,
    CallRecord,
    CallResult,
    CountPoint,
    Facets,
    KeptPicture,
    LatencyPoint,
    NewArtifact,
    NewCall,
    NewMetric,
    NewRun,
    NewVote,
    RunFilter,
    RunRecord,
    RunSummary,
    VectorRecord,
    VoteRecord,
    VoteTally,
)
from db.rows import artifact_rows, clean_json, clean_text, metric_rows, outcome_row
from db.store_history import HistoryStore
from db.writing import RunWriter

CHUNK = 1_000
"""Most ids in one statement; both databases bound the number of parameters."""


class Store(HistoryStore):
    """Every run that was, in one SQLite file or PostgreSQL database.

    What is guaranteed:

    - **Atomic.** Each method that writes does it in one transaction, and returns when it is committed. What
      was acknowledged survives the process being killed; what was not leaves no trace.
    - **Immutable.** A finished run's parameters, pictures, metrics and artifacts never change. Its tags,
      note, sharing and view may. Records handed out are frozen and share nothing with the store.
    - **Owned.** A run belongs to `owner`. Methods that take an owner show that visitor's own and the shared
      runs, and change own ones only; a stranger's run does not exist for them. `owner=None` is the operator,
      who may do everything.
    - **Stored once.** Equal pictures, files and environments are one row each, and go with the last run that
      refers to them.
    - **Paid once.** A call of a data-set run is claimed before it is made, by one claimer only, and done in
      the transaction that records its run.
    - **Voted.** A vote keeps the models' names and outlives the runs. Visitors see their own votes.
    - **Searched.** Vectors of pictures go with their picture. Who may see no run with a picture finds none.
    - **Derived.** Values that can be computed again are kept by a key, belong to no run, and go when their
      room is needed.
    - **Concurrent.** One store serves all threads of a process, and any number of processes may open the same
      database. Readers see one moment and never wait for writers. A writer waits for another one up to
      `LOCK_TIMEOUT_S`. Do not carry an open store over a fork.

    Every method raises a `StoreError` when the database fails.
    """

    def __init__(self, database: Transactions, *, keep_pictures: bool) -> None:
        self._database = database
        self._writer = RunWriter(database, keep_pictures=keep_pictures)

    # Life

    @classmethod
    def open(cls, url: str, *, keep_pictures: bool = True) -> Self:
        """Open a store; create or upgrade its tables where needed.

        Args:
            url: `sqlite:////folder/file.sqlite3` or `postgresql://user:password@host/database`.
            keep_pictures: Whether runs keep their input pictures. If not, digest and thumbnail are kept.

        Raises:
            NotAStoreError: Something else is there. It is left as it is.
            StoreVersionError: A newer version of the app wrote it. It is left as it is.
            StoreUnavailableError: The file's folder or the server cannot be reached.
        """
        store = cls(Transactions(create_store_engine(store_url(url))), keep_pictures=keep_pictures)
        try:
            migrate(store._database)
        except BaseException:
            store.close()
            raise
        with suppress(StoreError):  # a store that cannot be written now can still be read
            store.interrupt_stale()
        return store

    def close(self) -> None:
        """Close every connection."""
        self._database.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Writing

    def record(self, run: NewRun) -> str:
        """Keep a finished run.

        Returns:
            The run's id: 26 letters and digits that sort by time.

        Raises:
            InvalidRunError: A metric is not finite, a parameter is no JSON value, the status is unknown …
        """
        return self._writer.insert(run, _finished(run.status))

    def start(self, run: NewRun) -> str:
        """Keep a run that is still going, whatever its draft's status says, and return its id."""
        return self._writer.insert(run, "running")

    def log(self, run_id: str, metrics: Sequence[NewMetric]) -> None:
        """Add metrics to a run that is still going.

        Raises:
            RunNotFoundError: There is no such run.
            InvalidRunError: It is finished, or a metric is not finite.
        """
        rows = metric_rows(run_id, metrics)
        with self._database.write() as connection:
            writing.hold_running(connection, run_id)
            workers.heard_of(connection, run_id)
            writing.append_metrics(connection, run_id, rows)

    def finish(
        self,
        run_id: str,
        *,
        status: str,
        duration_ms: float | None,
        metrics: Sequence[NewMetric] = (),
        artifacts: Sequence[NewArtifact] = (),
        error_class: str = "",
        error_message: str = "",
    ) -> None:
        """Close a run that was started.

        Raises:
            RunNotFoundError: There is no such run.
            InvalidRunError: It is finished already, or something cannot be stored.
        """
        outcome = outcome_row(_finished(status), duration_ms, error_class, error_message)
        new_metrics, new_artifacts = metric_rows(run_id, metrics), artifact_rows(run_id, artifacts)
        blobs = writing.blobs_of(new_artifacts, artifacts)
        with self._database.write() as connection:
            writing.hold_running(connection, run_id)
            writing.insert_blobs(connection, blobs)
            writing.append_metrics(connection, run_id, new_metrics)
            if new_artifacts:
                connection.execute(writing.INSERT_RUN_ARTIFACT, new_artifacts)
            writing.update_run(connection, run_id, outcome)
            workers.release(connection, run_id)

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

    def annotate(
        self,
        run_id: str,
        owner: str | None,
        *,
        tags: Sequence[str] | None = None,
        note: str | None = None,
        shared: bool | None = None,
    ) -> None:
        """Change what a person says about an own run; None leaves a part as it is.

        Raises:
            RunNotFoundError: `owner` has no such run.
        """
        given = {"note": None if note is None else clean_text(note), "shared": shared}
        values = {name: value for name, value in given.items() if value is not None}
        with self._database.write() as connection:
            writing.update_own_run(connection, run_id, owner, values)
            if tags is not None:
                writing.set_tags(connection, run_id, tags)

    def set_view(self, run_id: str, owner: str | None, view: Mapping[str, Any]) -> None:
        """Keep the last state of the page that shows an own run; `parameters` stay as they were.

        Raises:
            RunNotFoundError: `owner` has no such run.
            InvalidRunError: `view` is not made of JSON values.
        """
        values = {"view": clean_json(view, "view")}
        with self._database.write() as connection:
            writing.update_own_run(connection, run_id, owner, values)

    def delete(self, run_ids: Collection[str], owner: str | None) -> int:
        """Delete own runs, and the pictures, files and environments that no other run refers to.

        Returns:
            How many runs there were; ids that are not `owner`'s are passed over.
        """
        ids, own = sorted(set(run_ids)), writing.owned_by(owner)
        chunks = [ids[i : i + CHUNK] for i in range(0, len(ids), CHUNK)]
        with self._database.write(alone=True) as connection:
            return sum(writing.delete_runs(connection, Run.id.in_(chunk), *own) for chunk in chunks)

    def prune(self, before: datetime, owner: str | None = None) -> int:
        """Delete the runs, of one owner or of all, that began before a time. Running ones stay.

        A SQLite file keeps its size; the room is used by later runs.

        Returns:
            How many runs there were.
        """
        old = [Run.time < before, Run.status != "running", *writing.owned_by(owner)]
        with self._database.write(alone=True) as connection:
            return writing.delete_runs(connection, *old)

    # Reading

    def run(self, run_id: str, owner: str | None) -> RunRecord:
        """Return one run, whole.

        Raises:
            RunNotFoundError: There is none that `owner` may see.
        """
        with self._database.read() as connection:
            seen = connection.scalar(select(Run.id).where(Run.id == run_id, reading.visible_to(owner)))
            records = reading.load_runs(connection, [seen] if seen else [])
        if not records:
            raise RunNotFoundError(run_id)
        return records[0]

    def runs(
        self,
        where: RunFilter,
        *,
        limit: int = 200,
        offset: int = 0,
        order_by: str = "time",
        descending: bool = True,
    ) -> tuple[RunSummary, ...]:
        """Return a page of the list of runs, by two queries.

        Args:
            order_by: `time`, `kind`, `model`, `status`, `duration` or `device`; equal ones newest first.
        """
        statement = reading.SUMMARY.where(*queries.conditions(where))
        statement = statement.order_by(*queries.ordering(order_by, descending=descending))
        with self._database.read() as connection:
            return reading.load_summaries(connection, statement.limit(limit).offset(offset))

    def count(self, where: RunFilter) -> int:
        """Return how many runs there are."""
        with self._database.read() as connection:
            return queries.count_runs(connection, where)

    def facets(self, where: RunFilter) -> Facets:
        """Return the kinds, models, statuses and devices of runs, each with its count."""
        with self._database.read() as connection:
            return queries.facets(connection, where)

    def runs_over_time(self, where: RunFilter, bucket: Bucket) -> tuple[CountPoint, ...]:
        """Return how many runs of each model began in each `hour` or `day` (UTC), in order of time.

        At most `queries.MAX_POINTS` points, the newest.
        """
        with self._database.read() as connection:
            return queries.runs_over_time(connection, where, bucket)

    def latency_over_time(self, where: RunFilter, bucket: Bucket) -> tuple[LatencyPoint, ...]:
        """Return how long successful runs of each model took in each `hour` or `day` (UTC), in order of time.

        At most `queries.MAX_POINTS` points, the newest.
        """
        with self._database.read() as connection:
            return queries.latency_over_time(connection, where, bucket)

    def picture_data(self, run_id: str, role: str, owner: str | None) -> bytes | None:
        """Return the file of an input picture, or None where only digest and thumbnail were kept.

        Raises:
            RunNotFoundError: There is no such run for `owner`, or it took no picture in that role.
        """
        statement = (
            select(Artifact.data)
            .select_from(Run)
            .join(RunInput, RunInput.run_id == Run.id)
            .join(Image, Image.sha256 == RunInput.image_sha256)
            .outerjoin(Artifact, Artifact.sha256 == Image.kept_sha256)
            .where(Run.id == run_id, RunInput.role == role, reading.visible_to(owner))
        )
        with self._database.read() as connection:
            row = connection.execute(statement).one_or_none()
        if row is None:
            raise RunNotFoundError(run_id)
        return row[0]

    def artifact(self, run_id: str, name: str, owner: str | None) -> bytes:
        """Return the bytes of a run's file.

        Raises:
            RunNotFoundError: There is no such run for `owner`, or no file of that name in it.
        """
        statement = (
            select(Artifact.data)
            .join(RunArtifact, RunArtifact.sha256 == Artifact.sha256)
            .join(Run, Run.id == RunArtifact.run_id)
            .where(Run.id == run_id, RunArtifact.name == name, reading.visible_to(owner))
        )
        with self._database.read() as connection:
            data = connection.scalar(statement)
        if data is None:
            raise RunNotFoundError(run_id)
        return data

    def thumbnails(self, sha256s: Collection[str], owner: str | None) -> dict[str, bytes]:
        """Return the thumbnails of pictures by digest, of those that `owner` may see, by one query."""
        seen = exists().where(
            RunInput.image_sha256 == Image.sha256, Run.id == RunInput.run_id, reading.visible_to(owner)
        )
        statement = select(Image.sha256, Image.thumbnail).where(Image.sha256.in_(set(sha256s)), seen)
        with self._database.read() as connection:
            return dict(connection.execute(statement).all())

    def pictures(self, owner: str | None, *, limit: int = 50) -> tuple[KeptPicture, ...]:
        """Return the kept pictures of the newest own runs, each once, the most recently used first."""
        with self._database.read() as connection:
            return reading.load_kept_pictures(connection, owner, limit)

    # Values that can be computed again

    def derived(self, key: str) -> bytes | None:
        """Return the derived value under `key`, None where there is none.

        It counts as used now. That is not written where it was within the last minute, or where the store
        is being written or may not be: a read neither waits nor fails for it.
        """
        with self._database.read() as connection:
            return derived.load(connection, key)

    def keep_derived(self, key: str, data: bytes, budget_mb: float) -> None:
        """Keep a derived value, in the place of an older one of that key.

        Args:
            key: SHA-256, as 64 hex digits, of what it was computed from.
            data: One larger than the budget is not kept.
            budget_mb: What all derived values may take, in MB (10^6 bytes); the least recently used go.
        """
        with self._database.write(alone=True) as connection:
            derived.keep(connection, key, data, int(budget_mb * 1e6))

    # Vectors of pictures

    def vectors(self, space: str, *, after: int = 0, limit: int = CHUNK) -> tuple[VectorRecord, ...]:
        """Return vectors of a space in the order in which they were put; whoever's the pictures are.

        Args:
            space: 64 hex digits that stand for the model, its weights and options.
            after: The last id that is known; only newer ones are returned.
        """
        with self._database.read() as connection:
            return vectors.load(connection, space, after, limit)

    def put_vectors(self, space: str, by_picture: Mapping[str, bytes]) -> None:
        """Keep vectors by the digests of their pictures, in the place of older ones.

        Pictures that are not in the store, or no longer, are passed over.
        """
        with self._database.write(alone=True) as connection:
            vectors.put(connection, space, by_picture)

    def drop_vectors(self, space: str, sha256s: Collection[str]) -> None:
        """Delete the vectors of pictures."""
        with self._database.write() as connection:
            vectors.drop(connection, space, sha256s)

    def pictures_without_vector(self, space: str, owner: str | None) -> tuple[str, ...]:
        """Return the digests of the kept pictures that `owner` may see and that have no vector there."""
        with self._database.read() as connection:
            return vectors.without(connection, space, owner)

    def seen_pictures(self, owner: str | None) -> frozenset[str]:
        """Return the digests of all pictures of the runs that `owner` may see."""
        with self._database.read() as connection:
            return vectors.seen(connection, owner)

    def find_pictures(self, sha256s: Collection[str], owner: str | None) -> dict[str, KeptPicture]:
        """Return those of at most `CHUNK` pictures that are kept and that `owner` may see, by digest."""
        with self._database.read() as connection:
            return vectors.find(connection, owner, sha256s)

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

        return self._writer.insert(run, _finished(run.status), finish)

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

    # For the operator

    def backup(self, path: Path) -> None:
        """Copy a SQLite store to a new file, consistent while others write.

        Raises:
            StoreError: The file exists, or the store is on PostgreSQL (the remedy names pg_dump).
        """
        with translated():
            upkeep.backup_sqlite(self._database.engine, path)

    def export(self, where: RunFilter, *, limit: int | None = None) -> Iterator[RunRecord]:
        """Yield whole runs, newest first, in bounded memory (`RunRecord.to_json` for a file)."""
        return upkeep.export_runs(self._database, where, limit)

    def check(self) -> tuple[str, ...]:
        """Return what is wrong with the store, a sentence each; nothing where it is sound."""
        found: list[str] = []
        try:
            with self._database.read() as connection:
                found.extend(upkeep.problems(connection))
        except StoreDamagedError as error:
            found.append(error.message)
        return tuple(found)


def _finished(status: str) -> str:
    if status not in FINISHED:
        raise InvalidRunError(
            f"The status is {status!r}.", f"A finished run is one of {', '.join(FINISHED)}."
        )
    return status
