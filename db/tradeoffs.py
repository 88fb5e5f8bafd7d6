"""Which numbers runs measured, and how good and how fast each model is by them."""

from collections import defaultdict
from typing import Any

from sqlalchemy import Connection, Select, case, func, select

from db.cells import MOST
from db.days import days_of, in_days, is_counted, sums_of
from db.filters import FoundFilter, conditions, is_listed, of_series
from db.found import finished, measured, searched
from db.history_records import DURATION, MOST_METRICS, MOST_MODELS, RUNNING, MetricName, RunFilter, TradePoint
from db.latencies import spread, timed
from db.models import Metric, Run, Series
from db.rows import clean_text

MODELS = select(Series.id, Series.model_id)
Sums = tuple[float, float, float]
"""Number, sum and sum of squares."""


def metric_names(connection: Connection, where: RunFilter) -> tuple[MetricName, ...]:
    """Return the numbers that runs measured once each, most frequent first."""
    where = searched(connection, where)
    n: dict[str, int] = defaultdict(int)
    units: dict[str, str] = {}
    for statement in _named(connection, where):
        for name, unit, count in connection.execute(
            statement.group_by(next(iter(statement.selected_columns)))
        ):
            n[name] += int(count)
            units[name] = unit
    most = sorted(n, key=lambda name: (-n[name], name))[:MOST_METRICS]
    return tuple(MetricName(name, units[name], n[name]) for name in most)


def _named(connection: Connection, where: RunFilter) -> list[Select[*tuple[Any, ...]]]:
    cell = sums_of(where)
    runs = (Metric.name, func.max(Metric.unit), func.count())
    if isinstance(where, FoundFilter):
        ids = finished(connection, where).ids.tolist()
        return [select(*runs).where(is_listed(Metric.run_id, ids), Metric.step.is_(None))]
    return _statements(where, (cell.name, func.max(cell.unit), func.sum(cell.n)), runs)


def trade_off(connection: Connection, where: RunFilter, quality: str, speed: str) -> tuple[TradePoint, ...]:
    """Return quality against speed of the models that have both."""
    good = timed(where)
    if good is None:
        return ()
    good = searched(connection, good)
    qualities = _sums(connection, good, clean_text(quality))
    if speed == DURATION:
        speeds = {row.model_id: (row.median_ms, row.count) for row in spread(connection, good).models}
    else:
        sums = _sums(connection, good, clean_text(speed))
        speeds = {model: (total / n, int(n)) for model, (n, total, _) in sums.items()}
    points = [
        TradePoint(model, total / n, _error(n, total, squares), int(n), *speeds[model])
        for model, (n, total, squares) in sorted(qualities.items())
        if model in speeds
    ]
    return tuple(sorted(points, key=lambda point: (-point.quality_n, point.model_id))[:MOST_MODELS])


def _error(n: float, total: float, squares: float) -> float | None:
    """Return the standard error of a mean."""
    if n < 2:
        return None
    variance = max(squares - total * total / n, 0.0) / (n - 1)
    return float((variance / n) ** 0.5)


def _sums(connection: Connection, where: RunFilter, name: str) -> dict[str, Sums]:
    if isinstance(where, FoundFilter):
        return _sums_of_found(connection, where, name)
    cell = sums_of(where)
    cells = (Series.model_id, func.sum(cell.n), func.sum(cell.total), func.sum(cell.squares))
    size = func.abs(Metric.value)
    square = case((size > 1e150, MOST), (size < 1e-150, 0.0), else_=Metric.value * Metric.value)
    value = case((func.abs(Metric.value) > MOST, 0.0), else_=Metric.value)
    runs = (Series.model_id, func.count(), func.sum(value), func.sum(square))
    found: dict[str, Sums] = defaultdict(lambda: (0.0, 0.0, 0.0))
    for statement in _statements(where, cells, runs, name):
        for model, *sums in connection.execute(statement.group_by(Series.model_id)):
            n, total, squared = found[model]
            found[model] = (n + float(sums[0]), total + sums[1], squared + sums[2])
    return dict(found)


def _sums_of_found(connection: Connection, where: FoundFilter, name: str) -> dict[str, Sums]:
    runs = finished(connection, where)
    models = {series.id: series.model_id for series in connection.execute(MODELS.where(*of_series(where)))}
    found: dict[str, Sums] = defaultdict(lambda: (0.0, 0.0, 0.0))
    for at, value in zip(*measured(connection, runs, name), strict=True):
        model = models[int(runs.series_ids[at])]
        n, total, squares = found[model]
        counted = 0.0 if abs(value) > MOST else value
        found[model] = (n + 1, total + counted, squares + min(value * value, MOST))
    return dict(found)


def _statements(
    where: RunFilter, cells: tuple[Any, ...], runs: tuple[Any, ...], name: str | None = None
) -> list[Select[*tuple[Any, ...]]]:
    """Return what selects from the days that are summed up already, and from the runs beside them."""
    days, rest = days_of(where) if is_counted(where) else (None, [where])
    found: list[Select[*tuple[Any, ...]]] = []
    if days is not None:
        cell = sums_of(where)
        summed = select(*cells).where(*in_days(cell, days, where, in_turn=name is None))
        of_name = summed.join(Series, Series.id == cell.series_id).where(cell.name == name)
        found.append(summed if name is None else of_name)
    for some in rest:
        read = select(*runs).select_from(Run).join(Series, Series.id == Run.series_id)
        read = read.join(Metric, Metric.run_id == Run.id).where(*conditions(some))
        read = read.where(Metric.step.is_(None), Series.status != RUNNING)
        found.append(read if name is None else read.where(Metric.name == name))
    return found
