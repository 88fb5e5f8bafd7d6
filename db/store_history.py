"""The part of the store behind the history page: lists, counts, charts, the bin, comparison, export."""

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, tzinfo

from db import bin, comparing, latencies, queries, reading, timelines, tradeoffs, upkeep, writing
from db.engine import Transactions
from db.history_records import (
    BIN_KEEPS,
    DURATION,
    Bucket,
    Comparison,
    CostPoint,
    CountPoint,
    DayCount,
    Facets,
    LatencyChart,
    LatencyPoint,
    MetricName,
    OutcomeCount,
    OutcomePoint,
    RunFilter,
    Spread,
    TradePoint,
)
from db.records import RunRecord, RunSummary


class HistoryStore:
    """What `Store` knows of many runs at once. Every answer is computed in SQL and bounded in size."""

    _database: Transactions

    # Lists

    def runs(
        self,
        where: RunFilter,
        *,
        limit: int = 200,
        offset: int = 0,
        order_by: str = "time",
        descending: bool = True,
    ) -> tuple[RunSummary, ...]:
        """Return a page of the list of runs, by a few queries however long it is.

        Args:
            order_by: `time`, `kind`, `model`, `status`, `duration` or `device`; equal ones newest first.
        """
        with self._database.read() as connection:
            seqs = queries.page(connection, where, limit, offset, order_by, descending=descending)
            return reading.load_summaries(connection, seqs)

    def count(self, where: RunFilter) -> int:
        """Return how many runs there are."""
        with self._database.read() as connection:
            return queries.count_runs(connection, where)

    def facets(self, where: RunFilter) -> Facets:
        """Return the kinds, models, statuses … of the runs of a filter, each with its count."""
        with self._database.read() as connection:
            return queries.facets(connection, where)

    def choices(self, where: RunFilter) -> Facets:
        """Return what each field of the filter could be set to: its counts ignore that one field.

        So with `kinds=("vlm",)` the other kinds are there, with as many runs as choosing them would show.
        `total`, `loopback` and `capped` are those of the whole filter. A chosen value without any run is
        there with 0.
        """
        with self._database.read() as connection:
            return queries.choices(connection, where)

    # Charts

    def runs_over_time(self, where: RunFilter, bucket: Bucket) -> tuple[CountPoint, ...]:
        """Return how many runs of each model began in each bucket, in order of time.

        At most `MAX_POINTS` points, the newest.
        """
        with self._database.read() as connection:
            return timelines.runs_over_time(connection, where, bucket)

    def latency_over_time(self, where: RunFilter, bucket: Bucket) -> tuple[LatencyPoint, ...]:
        """Return how long successful runs of each model took in each bucket: `latency_chart`'s points."""
        return self.latency_chart(where, bucket).points

    def latency_chart(self, where: RunFilter, bucket: Bucket) -> LatencyChart:
        """Return quartiles and 90th percentile of each model's durations in each bucket, and its breaks."""
        with self._database.read() as connection:
            return latencies.latency_chart(connection, where, bucket)

    def spread(self, where: RunFilter) -> Spread:
        """Return how the durations of successful runs are distributed, by model."""
        with self._database.read() as connection:
            return latencies.spread(connection, where)

    def metric_names(self, where: RunFilter) -> tuple[MetricName, ...]:
        """Return the numbers that runs measured once each, most frequent first; at most `MOST_METRICS`."""
        with self._database.read() as connection:
            return tradeoffs.metric_names(connection, where)

    def trade_off(self, where: RunFilter, quality: str, speed: str = DURATION) -> tuple[TradePoint, ...]:
        """Return quality against speed of the models that have both, over their successful runs.

        Args:
            quality: Name of a metric, such as `score_f1`.
            speed: Name of a metric, of which the mean is taken; `DURATION` is the median duration.
        """
        with self._database.read() as connection:
            return tradeoffs.trade_off(connection, where, quality, speed)

    def cost_over_time(self, where: RunFilter, bucket: Bucket) -> tuple[CostPoint, ...]:
        """Return what runs of each model cost in each bucket (`cost_usd`), in order of time.

        Failed ones are paid for, too. At most `MAX_POINTS` points, the newest.
        """
        with self._database.read() as connection:
            return timelines.cost_over_time(connection, where, bucket)

    def outcomes(self, where: RunFilter) -> tuple[OutcomeCount, ...]:
        """Return how many runs of each model came to each outcome, models with most runs first."""
        with self._database.read() as connection:
            return queries.outcomes(connection, where)

    def outcomes_over_time(self, where: RunFilter, bucket: Bucket) -> tuple[OutcomePoint, ...]:
        """Return how many runs came to each outcome in each bucket, in order of time."""
        with self._database.read() as connection:
            return timelines.outcomes_over_time(connection, where, bucket)

    def calendar(self, where: RunFilter, zone: tzinfo) -> tuple[DayCount, ...]:
        """Return how many runs began on each day of a time zone that has any, in order; newest `MOST_DAYS`.

        A day has the length that it has there: 23 or 25 hours where a clock is put forward or back.
        """
        with self._database.read() as connection:
            return timelines.calendar(connection, where, zone)

    # What a person does with runs

    def tag(
        self,
        run_ids: Collection[str],
        owner: str | None,
        *,
        add: Sequence[str] = (),
        remove: Sequence[str] = (),
    ) -> int:
        """Put tags on own runs and take tags from them; return how many of the runs there are."""
        with self._database.write() as connection:
            return writing.change_tags(connection, run_ids, owner, add, remove)

    def trash(self, run_ids: Collection[str], owner: str | None) -> int:
        """Put own finished runs into the bin and return how many went.

        They are in no list, count or chart any more, and cannot be opened; `restore` brings them back until
        `purge` deletes them. Ids that are not `owner`'s, or in the bin already, are passed over.
        """
        with self._database.write(alone=True) as connection:
            return bin.trash(connection, run_ids, owner)

    def restore(self, run_ids: Collection[str], owner: str | None) -> int:
        """Take own runs out of the bin and return how many there were."""
        with self._database.write(alone=True) as connection:
            return bin.restore(connection, run_ids, owner)

    def purge(self, before: datetime | None = None) -> int:
        """Delete for good what went into the bin before a time, and return how many runs there were.

        Opening a store does it, with the default: `BIN_KEEPS` ago.
        """
        due = datetime.now(UTC) - BIN_KEEPS if before is None else before
        with self._database.read() as connection:
            if not bin.is_due(connection, due):
                return 0
        with self._database.write(alone=True) as connection:
            return bin.purge(connection, due)

    def compare(self, run_ids: Sequence[str], owner: str | None) -> Comparison:
        """Return parameters, metrics, environment and versions of runs beside each other.

        Args:
            run_ids: At most `MOST_COMPARED`; repeated ones count once.

        Raises:
            InvalidRunError: There are more.
        """
        with self._database.read() as connection:
            return comparing.compare(connection, run_ids, owner)

    # Export

    def export(self, where: RunFilter, *, limit: int | None = None) -> Iterator[RunRecord]:
        """Yield whole runs, newest first, in bounded memory (`RunRecord.to_json` for a file).

        Close the iterator to stop early; nothing is held between two runs.
        """
        return upkeep.export_runs(self._database, where, limit)
