"""What a node of a Ray cluster does: one cell, in a process that may die or hang without harm to Ray's."""

from functools import lru_cache

from core.bench.sweep.place import Measured, Place
from core.bench.sweep.plan import Measure


def measure_on_node(measure: Measure, deadline_s: float, model_id: str, item: str) -> Measured:
    """Measure a cell; Ray's worker keeps the process for its next one."""
    return _place(measure, deadline_s).run(model_id, item)


@lru_cache(maxsize=1)
def _place(measure: Measure, deadline_s: float) -> Place:
    return Place(measure, deadline_s)
