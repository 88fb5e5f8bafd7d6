"""The store: every run that was, in one database."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import exists, select

from db import bin, cells, evidence, reading, upkeep, words, workers, writing
from db.engine import Transactions, create_store_engine, store_url
from db.errors import RunNotFoundError, StoreDamagedError, StoreError, translated
from db.evidence_records import Evidence
from db.migrations import migrate
from db.models import Artifact, Image, Run, RunArtifact, RunInput
from db.records import (
    KeptPicture,
    NewArtifact,
    NewMetric,
    NewRun,
    RunFilter,
    RunRecord,
)
from db.report_queries import ReportReader
from db.rows import artifact_rows, clean_json, clean_text, metric_rows, outcome_row
from db.store_history import HistoryStore
from db.store_sets import SetStore, finished
from db.store_values import CHUNK, ValueStore
from db.store_views import ViewStore
from db.writing import RunWriter


class Store(HistoryStore, SetStore, ValueStore, ViewStore):
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
    - **Viewed.** A view of the history that was kept by a name is its owner's alone.
    - **Voted.** A vote keeps the models' names and outlives the runs. Visitors see their own votes.
    - **Searched.** Vectors of pictures go with their picture. Who may see no run with a picture finds none.
    - **Derived.** Values that can be computed again are kept by a key, belong to no run, and go when their
      room is needed.
    - **Counted.** Charts of many runs are made from sums that are kept up to date in the transaction that
      changes a run. A run in the bin is in no list, count or chart, and nobody can open it.
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
            store.purge()
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
        return self._writer.insert(run, finished(run.status))

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
        outcome = outcome_row(finished(status), duration_ms, error_class, error_message)
        new_metrics, new_artifacts = metric_rows(run_id, metrics), artifact_rows(run_id, artifacts)
        blobs = writing.blobs_of(new_artifacts, artifacts)
        with self._database.write() as connection:
            writing.hold_running(connection, run_id)
            writing.insert_blobs(connection, blobs)
            if new_artifacts:
                connection.execute(writing.INSERT_RUN_ARTIFACT, new_artifacts)
            with cells.recounted(connection, [run_id]):
                writing.append_metrics(connection, run_id, new_metrics)
                writing.update_run(connection, run_id, outcome)
            if new_artifacts:
                words.reindex(connection, run_id)
            workers.release(connection, run_id)

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
            if note is not None:
                words.reindex(connection, run_id)

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
        """Delete own runs for good, and the pictures, files and environments that no other run refers to.

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
            RunDeletedError: It is an own one and in the bin.
            RunNotFoundError: There is none that `owner` may see.
        """
        with self._database.read() as connection:
            seen = connection.scalar(select(Run.id).where(Run.id == run_id, reading.visible_to(owner)))
            records = reading.load_runs(connection, [seen] if seen else [])
            refused = None if records else bin.refuse(connection, run_id, owner)
        if refused is not None:
            raise refused
        return records[0]

    @contextmanager
    def report(self, where: RunFilter) -> Iterator[ReportReader]:
        """Give what a report on some runs is made from; all of it is of one moment."""
        with self._database.read() as connection:
            yield ReportReader(connection, where)

    def evidence(self, owner: str | None, *, kinds: Collection[str], each: int = 20) -> Evidence:
        """Return the newest own runs of each kind and model that say what a model does, newest first.

        Only those that succeeded and that no test server answered. Bounded, however many there are: runs of
        one model on one device in one precision count together, whichever versions of packages they ran with.
        """
        with self._database.read() as connection:
            return evidence.evidence(connection, owner, kinds, each)

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

    # For the operator

    def backup(self, path: Path) -> None:
        """Copy a SQLite store to a new file, consistent while others write.

        Raises:
            StoreError: The file exists, or the store is on PostgreSQL (the remedy names pg_dump).
        """
        with translated():
            upkeep.backup_sqlite(self._database.engine, path)

    def check(self) -> tuple[str, ...]:
        """Return what is wrong with the store, a sentence each; nothing where it is sound."""
        found: list[str] = []
        try:
            with self._database.read() as connection:
                found.extend(upkeep.problems(connection))
        except StoreDamagedError as error:
            found.append(error.message)
        return tuple(found)
