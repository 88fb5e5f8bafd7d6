"""Models and accuracies that are known from own runs only."""

from core.recommend.candidates import Facts
from core.recommend.entries import Axis, Entry
from core.registry import ModelSpec, catalog

OWN = "own-runs"
"""Stands where the catalogue's entries name their source."""
RESEARCH = ("-NC", "noncommercial", "non-commercial", "research")


def own_axes(task: str, facts: Facts) -> tuple[Axis, ...]:
    """Return the axes of a task on which something was measured here."""
    return tuple(axis for axis in facts.evidence.axes.values() if task in axis.tasks)


def own_entries(task: str, facts: Facts) -> tuple[Entry, ...]:
    """Return the models that ran here for a task and are not in the catalogue."""
    listed = {name for entry in facts.catalog.entries.values() for name in (entry.id, entry.runs)}
    return tuple(
        _entry(model, tasks, facts)
        for model, tasks in facts.evidence.models.items()
        if task in tasks and model not in listed
    )


def _entry(model: str, tasks: tuple[str, ...], facts: Facts) -> Entry:
    spec = _spec(model)
    licence = spec.license if spec else "unknown"
    return Entry(
        model,
        spec.title if spec else model,
        "own",
        tasks,
        facts.today,
        licence,
        _allows_commercial(licence),
        OWN,
        spec.paper if spec and spec.paper.startswith("https://") else "",
        parameters=spec.parameters if spec else None,
        runs=model,
    )


def _spec(model: str) -> ModelSpec | None:
    """Return what the registry's list has of a model; any other name would be looked for in timm."""
    return next((spec for spec in catalog() if spec.id == model), None)


def _allows_commercial(licence: str) -> bool | None:
    """Return whether a licence by its name allows commercial use; None where the name does not tell."""
    if licence.startswith(("Apache-", "MIT", "BSD-", "CC-BY-4", "CC0", "CC-BY-SA")):
        return True
    return False if any(word in licence for word in RESEARCH) else None
