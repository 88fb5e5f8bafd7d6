"""Some runs beside each other: what they have in common and what not."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from sqlalchemy import Connection, select

from db.errors import InvalidRunError
from db.history_records import MOST_COMPARED, MOST_FACTS, ComparedRow, Comparison
from db.models import Environment, Metric, Run
from db.reading import visible_to
from db.rows import clean_text, sha256

Section = Literal["run", "parameter", "metric", "environment", "version"]
SECTIONS: tuple[Section, ...] = ("run", "parameter", "metric", "environment", "version")
Fact = tuple[Section, str]

LONGEST = 500
"""Characters of a fact; of a longer one, its beginning, length and digest stand for it."""
OF_RUN = ("kind", "model_id", "model_revision", "status", "error_class", "duration_ms")
OF_ENVIRONMENT = ("device", "device_name", "dtype", "threads", "git_revision")


def compare(connection: Connection, run_ids: Sequence[str], owner: str | None) -> Comparison:
    """Return parameters, metrics, environment and versions of runs: by two queries, however many there are.

    Raises:
        InvalidRunError: They are more than `MOST_COMPARED`.
    """
    asked = list(dict.fromkeys(clean_text(run_id) for run_id in run_ids))
    if len(asked) > MOST_COMPARED:
        raise InvalidRunError(
            f"{len(asked)} runs are too many to compare.", f"Choose at most {MOST_COMPARED}."
        )
    facts = {run_id: dict(found) for run_id, found in _load(connection, asked, owner)}
    for run_id, name, unit, value in _metrics(connection, list(facts)):
        facts[run_id]["metric", f"{name} ({unit})" if unit else name] = value
    present = [run_id for run_id in asked if run_id in facts]
    names = dict.fromkeys(fact for run_id in present for fact in facts[run_id])
    ordered = sorted(names, key=lambda fact: SECTIONS.index(fact[0]))[:MOST_FACTS]
    rows = (ComparedRow(*fact, tuple(facts[run_id].get(fact) for run_id in present)) for fact in ordered)
    return Comparison(tuple(present), tuple(rows), tuple(run_id for run_id in asked if run_id not in facts))


def _load(
    connection: Connection, run_ids: Sequence[str], owner: str | None
) -> Iterator[tuple[str, Iterator[tuple[Fact, Any]]]]:
    columns = [Run.__table__.c[name] for name in OF_RUN]
    columns += [Environment.__table__.c[name] for name in OF_ENVIRONMENT]
    statement = (
        select(Run.id, Run.parameters, Environment.versions, *columns)
        .join(Environment, Environment.id == Run.environment_id)
        .where(Run.id.in_(run_ids), visible_to(owner))
    )
    for row in connection.execute(statement).mappings():
        yield row["id"], _facts(row)


def _facts(row: Any) -> Iterator[tuple[Fact, Any]]:
    yield from ((("run", name), row[name]) for name in OF_RUN)
    yield from ((("parameter", name), _shown(value)) for name, value in row["parameters"].items())
    yield from ((("environment", name), row[name]) for name in OF_ENVIRONMENT)
    yield from ((("version", name), _shown(value)) for name, value in sorted(row["versions"].items()))


def _metrics(connection: Connection, run_ids: Sequence[str]) -> list[Any]:
    statement = (
        select(Metric.run_id, Metric.name, Metric.unit, Metric.value)
        .where(Metric.run_id.in_(run_ids), Metric.step.is_(None))
        .order_by(Metric.run_id, Metric.position)
    )
    return list(connection.execute(statement))


def _shown(value: Any) -> Any:
    """Return a JSON value as one fact: lists and objects as text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]} … ({len(text):,} characters, SHA-256 {sha256(text.encode())[:12]})"
