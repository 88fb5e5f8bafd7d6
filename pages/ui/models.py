"""The model picker: the catalogue's models for a task, or any id typed in."""

import streamlit as st

from core.registry import PLAIN_TASKS, ModelSpec, available, catalog, check_plain, resolve
from pages.ui.session import on_private_machine
from pages.ui.text import count, plain

TYPED = (
    "Type any timm vision transformer, a Hugging Face id, `random/` and a timm name (untrained weights, "
    "a control), or the path of a weights file on this machine."
)


def model_picker(page: str, task: str, label: str = "Model", first: str = "") -> ModelSpec:
    """Draw the picker and return the chosen model's facts. Models ready on this machine come first.

    Ids can be typed on a private machine only: a visitor of a public one must not make it read its files or
    fill its disk.

    Args:
        page: Prefix of the widget key.
        task: Only models that can do it are listed.
        label: Name of the model on the page.
        first: Id of the model to start with, where it is there.

    Raises:
        InputError: A typed id is unknown; the message offers the nearest names.
    """
    private = on_private_machine()
    listed = {spec.id: spec for spec in catalog() if task in spec.tasks}
    ready = {spec_id for spec_id, spec in listed.items() if available(spec)}
    order = sorted(
        listed,
        key=lambda spec_id: (spec_id not in ready, spec_id != first, listed[spec_id].source != "shipped"),
    )
    chosen = st.selectbox(
        label,
        order,
        format_func=lambda spec_id: _title(listed.get(spec_id), spec_id, spec_id in ready),
        key=f"{page}_model",
        persist_state="session",
        accept_new_options=private,
        help=TYPED if private else None,
    )
    spec = listed.get(chosen) or resolve(chosen)
    if task in PLAIN_TASKS:
        check_plain(spec)
    facts = [
        f"{count(spec.parameters)} parameters" if spec.parameters else "",
        f"licence {spec.license}",
        plain(spec.note),
    ]
    st.caption(" · ".join(fact for fact in facts if fact))
    return spec


def _title(spec: ModelSpec | None, spec_id: str, ready: bool) -> str:
    if spec is None:
        return spec_id
    return spec.title if ready else f"{spec.title} (to be downloaded)"
