"""Derives what revision 0007 counts from the runs of a store: quarters of an hour, and what tagged runs took.

It is written in SQL and knows the tables as that revision left them, not as the models are now.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, text

from db.filling import each
from db.sketch import bin_of, packed

QUARTERS = """
SELECT series_id, time / 86400000 AS day, time % 86400000 / 900000 AS quarter, count(*) AS n
FROM run GROUP BY series_id, time / 86400000, time % 86400000 / 900000 ORDER BY 1, 2, 3"""
TAGGED = """
SELECT run_tag.tag, run.series_id, run.time / 86400000 AS day, run.time % 86400000 / 900000 AS quarter,
    CASE WHEN run.status = 'ok' THEN run.duration_ms END AS ms
FROM run_tag JOIN run ON run.id = run_tag.run_id ORDER BY 1, 2, 3"""
METRICS = """
INSERT INTO tag_metric_cell (tag, name, series_id, day, n, total, squares, unit)
SELECT run_tag.tag, metric.name, run.series_id, run.time / 86400000, count(*),
    sum(CASE WHEN abs(metric.value) > 1e300 THEN 0.0 ELSE metric.value END),
    sum(CASE WHEN abs(metric.value) > 1e150 THEN 1e300 WHEN abs(metric.value) < 1e-150 THEN 0.0
        ELSE metric.value * metric.value END),
    max(metric.unit)
FROM run_tag JOIN run ON run.id = run_tag.run_id JOIN metric ON metric.run_id = run.id
WHERE metric.step IS NULL AND run.status <> 'running'
GROUP BY run_tag.tag, metric.name, run.series_id, run.time / 86400000"""
PUT_QUARTERS = {
    "sqlite": "UPDATE cell SET quarters = :quarters WHERE series_id = :series_id AND day = :day",
    "postgresql": "UPDATE cell SET quarters = new.quarters FROM"
    " unnest(CAST(:series_id AS int[]), CAST(:day AS int[]), CAST(:quarters AS bytea[]))"
    " AS new (series_id, day, quarters) WHERE cell.series_id = new.series_id AND cell.day = new.day",
}
PUT_TAGGED = {
    "sqlite": "UPDATE tag_cell SET sketch = :sketch, quarters = :quarters"
    " WHERE tag = :tag AND series_id = :series_id AND day = :day",
    "postgresql": "UPDATE tag_cell SET sketch = new.sketch, quarters = new.quarters FROM"
    " unnest(CAST(:tag AS text[]), CAST(:series_id AS int[]), CAST(:day AS int[]),"
    " CAST(:sketch AS bytea[]), CAST(:quarters AS bytea[])) AS new (tag, series_id, day, sketch, quarters)"
    " WHERE tag_cell.tag = new.tag AND tag_cell.series_id = new.series_id AND tag_cell.day = new.day",
}


def fill(connection: Connection) -> None:
    """Give every cell its quarters, and every tag its durations and metrics; for a store without any."""
    each(connection, PUT_QUARTERS, list(_quarters(connection)))
    each(connection, PUT_TAGGED, list(_tagged(connection)))
    connection.execute(text(METRICS))


def _quarters(connection: Connection) -> Iterator[dict[str, Any]]:
    runs = connection.execute(text(QUARTERS))
    for (series_id, day), some in groupby(runs, key=lambda run: (run.series_id, run.day)):
        yield {"series_id": series_id, "day": day, "quarters": packed((run.quarter, run.n) for run in some)}


def _tagged(connection: Connection) -> Iterator[dict[str, Any]]:
    runs = connection.execute(text(TAGGED))
    for (tag, series_id, day), some in groupby(runs, key=lambda run: (run.tag, run.series_id, run.day)):
        bins: Counter[int] = Counter()
        quarters: Counter[int] = Counter()
        for run in some:
            quarters[run.quarter] += 1
            if run.ms is not None:
                bins[bin_of(run.ms)] += 1
        yield {
            "tag": tag,
            "series_id": series_id,
            "day": day,
            "sketch": packed(sorted(bins.items())),
            "quarters": packed(sorted(quarters.items())),
        }
