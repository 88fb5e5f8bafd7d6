"""Derives what the history counts from the runs of a store, all at once: for a store that has none of it.

It is written in SQL and knows the tables as revision 0006 left them, not as the models are now.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, text

from db.series import FIELDS, series_row
from db.sketch import bin_of, packed
from db.words import said_by, words_of

CHUNK = 5_000
DAY_MS = 86_400_000
CACHE_KB = 400_000
"""Of SQLite's pages in memory meanwhile, so that none is written twice."""
ALL = -1
"""Stands among the bins of a cell for all of its runs."""

NUMBER = """
UPDATE run SET seq = ranked.n
FROM (SELECT id, row_number() OVER (ORDER BY time, id) AS n FROM run) AS ranked WHERE ranked.id = run.id"""
NUMBER_TAGS = "UPDATE run_tag SET seq = (SELECT run.seq FROM run WHERE run.id = run_tag.run_id)"
RUNS = """
SELECT run.id, run.seq, run.time, run.owner, run.kind, run.model_id, run.model_revision, run.environment_id,
    run.status, run.error_class, run.duration_ms, environment.device, run.parameters, run.note
FROM run JOIN environment ON environment.id = run.environment_id
WHERE run.seq > :after ORDER BY run.seq LIMIT :limit"""
ANSWERS = """
SELECT run_artifact.run_id, artifact.data
FROM run JOIN run_artifact ON run_artifact.run_id = run.id
    JOIN artifact ON artifact.sha256 = run_artifact.sha256
WHERE run.seq > :after AND run.seq <= :until AND run_artifact.media_type = 'text/plain'
ORDER BY run_artifact.run_id, run_artifact.name"""
METRICS = """
INSERT INTO metric_cell (name, series_id, day, n, total, squares, unit)
SELECT metric.name, run.series_id, run.time / 86400000, count(*),
    sum(CASE WHEN abs(metric.value) > 1e300 THEN 0.0 ELSE metric.value END),
    sum(CASE WHEN abs(metric.value) > 1e150 THEN 1e300 WHEN abs(metric.value) < 1e-150 THEN 0.0
        ELSE metric.value * metric.value END),
    max(metric.unit)
FROM run JOIN metric ON metric.run_id = run.id
WHERE metric.step IS NULL AND run.status <> 'running'
GROUP BY metric.name, run.series_id, run.time / 86400000"""
TAGS = """
INSERT INTO tag_cell (tag, series_id, day, n)
SELECT run_tag.tag, run.series_id, run.time / 86400000, count(*)
FROM run_tag JOIN run ON run.id = run_tag.run_id GROUP BY run_tag.tag, run.series_id, run.time / 86400000"""
SETTLE = {
    "sqlite": "UPDATE run SET series_id = :series_id WHERE id = :id",
    "postgresql": "UPDATE run SET series_id = new.series_id"
    " FROM unnest(CAST(:id AS text[]), CAST(:series_id AS int[])) AS new (id, series_id)"
    " WHERE run.id = new.id",
}
WORDS = {
    "sqlite": "INSERT INTO run_words (rowid, words) VALUES (:seq, :words)",
    "postgresql": "INSERT INTO run_words (run_id, seq, words)"
    " SELECT id, seq, array_to_tsvector(string_to_array(words, ' '))"
    " FROM unnest(CAST(:id AS text[]), CAST(:seq AS bigint[]), CAST(:words AS text[]))"
    " AS new (id, seq, words)",
}


def fill(connection: Connection) -> None:
    """Give every run its number and series, find it by its words, and count it; for a store without any."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA cache_size = -{CACHE_KB}")
    connection.execute(text(NUMBER))
    connection.execute(text(NUMBER_TAGS))
    if connection.dialect.name == "postgresql":  # or it reads whole tables for each chunk
        connection.execute(text("ANALYZE run, run_artifact, artifact"))
    series: dict[str, int] = {}
    cells: dict[tuple[int, int], Counter[int]] = defaultdict(Counter)
    for runs in _chunks(connection):
        rows = [_series_row(run) for run in runs]
        _insert_series(connection, {row["digest"]: row for row in rows}, series)
        for run, row in zip(runs, rows, strict=True):
            run["series_id"] = series[row["digest"]]
            _count(cells[run["series_id"], run["time"] // DAY_MS], run)
        settled = [{"series_id": run["series_id"], "id": run["id"]} for run in runs]
        each(connection, SETTLE, settled)
        _index(connection, runs)
    rows = [
        {
            "series_id": series_id,
            "day": day,
            "n": bins.pop(ALL),
            "sketch": packed(sorted(bins.items())),
        }
        for (series_id, day), bins in cells.items()
    ]
    many(
        connection,
        "INSERT INTO cell (series_id, day, n, sketch) VALUES (:series_id, :day, :n, :sketch)",
        rows,
    )
    connection.execute(text(METRICS))
    connection.execute(text(TAGS))
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA cache_size = -2000")
    else:
        connection.execute(text("SELECT setval('run_seq', coalesce(max(seq), 0) + 1, false) FROM run"))


def many(connection: Connection, statement: str, rows: list[dict[str, Any]]) -> None:
    """Run a statement for each row; on SQLite by the driver alone, which is far quicker."""
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        connection.connection.cursor().executemany(statement, rows)
    else:
        connection.execute(text(statement), rows)


def each(connection: Connection, statements: dict[str, str], rows: list[dict[str, Any]]) -> None:
    """Run a statement for each row; PostgreSQL's takes the columns of all rows at once, as arrays."""
    if connection.dialect.name == "sqlite":
        many(connection, statements["sqlite"], rows)
    elif rows:
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        connection.execute(text(statements["postgresql"]), columns)


def _chunks(connection: Connection) -> Iterator[list[dict[str, Any]]]:
    after = 0
    while rows := connection.execute(text(RUNS), {"after": after, "limit": CHUNK}).mappings().all():
        runs = [dict(row) for row in rows]
        for run in runs:
            if isinstance(run["parameters"], str):
                run["parameters"] = json.loads(run["parameters"])
        yield runs
        after = runs[-1]["seq"]


def _series_row(run: dict[str, Any]) -> dict[str, Any]:
    return series_row(run, run["device"], loopback=run["parameters"].get("loopback") is True)


def _insert_series(connection: Connection, rows: dict[str, dict[str, Any]], known: dict[str, int]) -> None:
    names = ("digest", *FIELDS)
    insert = text(
        f"INSERT INTO series ({', '.join(names)})"
        f" VALUES ({', '.join(f':{name}' for name in names)}) RETURNING id"
    )
    for digest in rows.keys() - known.keys():
        known[digest] = connection.execute(insert, rows[digest]).scalar_one()


def _count(bins: Counter[int], run: dict[str, Any]) -> None:
    bins[ALL] += 1
    if run["status"] == "ok" and run["duration_ms"] is not None:
        bins[bin_of(run["duration_ms"])] += 1


def _index(connection: Connection, runs: list[dict[str, Any]]) -> None:
    answers: dict[str, list[bytes]] = defaultdict(list)
    bounds = {"after": runs[0]["seq"] - 1, "until": runs[-1]["seq"]}
    for run_id, data in connection.execute(text(ANSWERS), bounds):
        answers[run_id].append(data)
    rows = []
    for run in runs:
        if words := words_of(said_by(run["parameters"], run["note"], answers[run["id"]])):
            rows.append({"id": run["id"], "seq": run["seq"], "words": " ".join(words)})
    each(connection, WORDS, rows)
