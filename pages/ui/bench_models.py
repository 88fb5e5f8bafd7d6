"""Which models are measured: those of the catalogue, by kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from core.errors import InputError
from core.registry import ModelSpec, available, catalog, resolve
from core.vlm.safe import plain as readable
from pages.ui.bench_limits import limits

KINDS = {
    "segmentation": "segmenter",
    "vlm": "captioner",
    "classification": "classifier",
    "features": "features",
    "attention": "features",
}
"""Task to the kind of model that is measured at it, the first that a model can do."""
ORDER = ("classifier", "features", "segmenter", "captioner")


def kind_of(spec: ModelSpec) -> str:
    """Return as what a model is measured."""
    return next(kind for task, kind in KINDS.items() if task in spec.tasks)


def offered() -> dict[str, ModelSpec]:
    """Return the models of the catalogue that may be measured, by kind; those that work here first."""
    specs = [spec for spec in catalog() if spec.source != "api"]
    ready = {spec.id for spec in specs if available(spec)}
    chosen = [spec for spec in specs if spec.id in ready or limits().downloads]
    chosen.sort(key=lambda spec: (spec.id not in ready, ORDER.index(kind_of(spec))))
    return {spec.id: spec for spec in chosen}


def title_of(model_id: str, known: Mapping[str, ModelSpec] | None = None) -> str:
    """Return what people call a model; a stranger's id letter by letter."""
    spec = (known or {spec.id: spec for spec in catalog()}).get(model_id)
    return readable(spec.title if spec else model_id)


def models_picker(key: str) -> tuple[str, ...]:
    """Draw the choice of models, all that work here chosen at first; return their ids.

    Raises:
        InputError: A typed id is unknown.
    """
    found, may = offered(), limits()
    ready = [model_id for model_id, spec in found.items() if available(spec)]
    chosen = st.multiselect(
        "Models",
        list(found),
        default=None if key in st.session_state else ready[: may.models],
        format_func=lambda model_id: _title(found.get(model_id), model_id),
        key=key,
        persist_state="session",
        max_selections=may.models,
        wrap=True,
        accept_new_options=may.downloads,
        placeholder="Choose models",
        help="Classifiers, feature extractors, segmenters and captioners are timed alike: a picture goes "
        "in, an answer comes out."
        + (
            " Any other can be typed: `timm/` and a name of timm, or `random/` and that name for the same "
            "network untrained, which takes just as long."
            if may.downloads
            else ""
        ),
    )
    return _checked(chosen, found)


def _checked(chosen: Sequence[str], found: Mapping[str, ModelSpec]) -> tuple[str, ...]:
    ids = [model_id if model_id in found else resolve(model_id).id for model_id in chosen]
    if not limits().downloads and any(model_id not in found for model_id in ids):
        raise InputError("One of these models is not offered here.", "Choose from the list.")
    return tuple(dict.fromkeys(ids))


def _title(spec: ModelSpec | None, model_id: str) -> str:
    if spec is None:
        return readable(model_id)
    more = "" if available(spec) else ", to be downloaded"
    return f"{readable(spec.title)} ({kind_of(spec)}{more})"
