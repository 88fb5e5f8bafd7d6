"""A recommendation as a run, and what has changed since it was saved."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import InputError
from core.recommend.answer import Answer
from core.recommend.figures import Figure, figure_from_json
from core.recommend.request import Request
from core.runs import Artifact, Environment, Metric, RunDraft

KIND = "recommendation"
ANSWER = "recommendation.json"
"""Name of the artifact with everything that was said."""
MODEL = "recommender"
"""What stands in the place of a model, which has the catalogue as its weights."""
SAME = 0.01
"""Figures that differ by less than this share are the same."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What a run says of a recommendation."""

    request: Request
    models: tuple[str, ...]
    """Ids of what fitted, the best first."""
    titles: Mapping[str, str]
    figures: Mapping[str, Mapping[str, Figure | None]]
    """Model to its figures by name."""
    device_title: str
    catalog: str


def draft_of(answer: Answer, *, owner: str, environment: Environment, duration_ms: float) -> RunDraft:
    """Return the run of a recommendation.

    Args:
        duration_ms: How long finding the answer took.
    """
    text = json.dumps(answer.to_json(), ensure_ascii=False)
    first = answer.recommended[0].candidate.entry.id if answer.recommended else None
    return RunDraft(
        kind=KIND,
        model_id=MODEL,
        model_revision=answer.catalog[:12],
        environment=environment,
        owner=owner,
        duration_ms=duration_ms,
        parameters={"request": answer.request.to_json(), "first": first},
        metrics=[Metric("fitting", len(answer.recommended)), Metric("excluded", len(answer.excluded))],
        artifacts=[Artifact(ANSWER, "application/json", text.encode())],
    )


def read_saved(data: bytes) -> Saved:
    """Return the recommendation in a run's artifact `recommendation.json`.

    Raises:
        InputError: It is none that this version can read.
    """
    try:
        raw = json.loads(data)
        rows = raw["recommendations"]
        return Saved(
            Request.from_json(raw["request"]),
            tuple(str(row["model"]) for row in rows),
            {str(row["model"]): str(row["title"]) for row in rows},
            {str(row["model"]): _figures(row["figures"]) for row in rows},
            str(raw["device"]["title"]),
            str(raw["catalog"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            "The saved recommendation cannot be read.", "It may be of another version; ask for a new one."
        ) from error


def _figures(raw: Mapping[str, Any]) -> dict[str, Figure | None]:
    return {str(name): figure_from_json(one) if one else None for name, one in raw.items()}


def saved_of(answer: Answer) -> Saved:
    """Return what a run would say of a recommendation."""
    rows = answer.recommended
    return Saved(
        answer.request,
        tuple(one.candidate.entry.id for one in rows),
        {one.candidate.entry.id: one.candidate.entry.title for one in rows},
        {one.candidate.entry.id: one.candidate.figures() for one in rows},
        answer.device_title,
        answer.catalog,
    )


def changes(old: Saved, new: Saved) -> tuple[str, ...]:
    """Return what is different now, a sentence each; the order first, figures of the models in both last."""
    return tuple(_changes(old, new))


def _changes(old: Saved, new: Saved) -> Iterator[str]:
    titles = {**old.titles, **new.titles}
    if old.models[:1] != new.models[:1]:
        yield f"First is now {_first(new, titles)}; it was {_first(old, titles)}."
    for model in new.models:
        if model not in old.models:
            yield f"{titles[model]} fits now."
    for model in old.models:
        if model not in new.models:
            yield f"{titles[model]} does not fit any more."
    both = [model for model in old.models if model in new.models]
    if both != [model for model in new.models if model in old.models]:
        yield "The order of the others is different."
    if old.device_title != new.device_title:
        yield f"The device is now {_device(new)}; it was {_device(old)}."
    for model in both:
        for name, figure in new.figures[model].items():
            before = old.figures[model].get(name)
            if not _same(before, figure):
                yield f"{titles[model]}: {name} {_words(before)} is now {_words(figure)}."
    if old.catalog != new.catalog:
        yield "The catalogue of published figures is another one."


def _first(saved: Saved, titles: Mapping[str, str]) -> str:
    return titles[saved.models[0]] if saved.models else "nothing"


def _device(saved: Saved) -> str:
    return saved.device_title or "not known"


def _same(old: Figure | None, new: Figure | None) -> bool:
    if old is None or new is None:
        return old is new
    return old.mark == new.mark and abs(old.value - new.value) <= SAME * max(abs(old.value), abs(new.value))


def _words(figure: Figure | None) -> str:
    if figure is None:
        return "not known"
    return f"{figure.value:.4g} {figure.unit} ({figure.mark})"
