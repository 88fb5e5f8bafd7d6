"""Which models are asked: shipped ones first, then those on this machine, then remote ones with a key."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from core.errors import InputError, VisionBenchError
from core.registry import ModelSpec, available, catalog
from core.vlm.keys import TITLES
from core.vlm.prices import price_table
from core.vlm.providers import LOCAL, NAMES
from pages.ui import state
from pages.ui.errors import show_error
from pages.ui.session import on_private_machine
from pages.ui.text import plain
from pages.ui.vlm_keys import providers, ready_providers
from pages.ui.vlm_state import MAX_MODELS, PAGE

MODELS = f"{PAGE}_models"
LOCAL_PREFIXES = tuple(f"{name}/" for name in LOCAL)


def local_models() -> dict[str, ModelSpec]:
    """Return the models of this machine that are ready: shipped ones first, the smallest of them first."""
    found = [spec for spec in catalog() if "vlm" in spec.tasks and available(spec)]
    found.sort(key=lambda spec: (spec.source != "shipped", spec.parameters or 0))
    return {spec.id: spec for spec in found}


def first_models() -> list[str]:
    """Return what the page starts with: the two shipped models, or fewer where they are not there."""
    return [model_id for model_id in local_models() if model_id.startswith("shipped/")][:2]


def remote_models() -> list[str]:
    """Return ids of the providers that can be asked: what they said they offer, else those with a price."""
    listed: Mapping[str, object] = state.VLM_LISTED.get() or {}
    found = []
    for name in ready_providers():
        if name in listed:
            offered = (state.VLM_LISTED.get() or {})[name]
            found += [f"{name}/{model.id}" for model in offered if model.sees is not False]
        else:
            priced = [price.model for price in price_table().prices if price.provider == name]
            found += [f"{name}/{model}" for model in dict.fromkeys(priced) if not model.endswith("*")]
    return found


def models_picker(
    key: str = MODELS, most: int = MAX_MODELS, placeholder: str = "Choose two to four models"
) -> tuple[str, ...]:
    """Draw the choice of models and return it.

    Args:
        key: Of the widget.
        most: How many may be chosen.

    Raises:
        InputError: Something typed in is no id that may be asked here.
    """
    local = local_models()
    st.session_state.setdefault(key, first_models())
    chosen = st.multiselect(
        "Models",
        [*local, *remote_models()],
        format_func=lambda model_id: _title(local, model_id),
        max_selections=most,
        wrap=True,
        accept_new_options=True,
        key=key,
        persist_state="session",
        placeholder=placeholder,
        help="Or type an id: `gemini/ID`, `openai/ID`, `together/ORG/ID`, `compatible/ID`; on your own "
        "machine also `hf/ORG/NAME` or `file/PATH`.",
    )
    _live_lists()
    return tuple(dict.fromkeys(checked_model(model_id.strip()) for model_id in chosen))


def _title(local: Mapping[str, ModelSpec], model_id: str) -> str:
    spec = local.get(model_id)
    return spec.title if spec else model_id


def checked_model(model_id: str) -> str:
    """Return an id that may be asked: a visitor must not make this machine read its files or fetch models."""
    name, _, rest = model_id.partition("/")
    is_local = model_id.startswith(LOCAL_PREFIXES)
    if not rest or not (is_local or name in TITLES):
        raise InputError(
            f"{model_id} is no model id.",
            f"Begin it with {', '.join(NAMES)} and /.",
        )
    if is_local and not on_private_machine() and model_id not in local_models():
        raise InputError(f"{model_id} is not offered here.", "Choose one of the listed models.")
    return model_id


def _live_lists() -> None:
    """Draw a button for each provider that can be asked, which fetches what it offers now."""
    ready = ready_providers()
    if not ready:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for name in ready:
            if st.button(
                f"{TITLES[name]}: list models",
                icon=":material/refresh:",
                type="tertiary",
                key=f"{PAGE}_list_{name}",
                help="Asks the provider which models it offers now.",
            ):
                _fetch_list(name)


def _fetch_list(name: str) -> None:
    try:
        with st.spinner(f"Asking {TITLES[name]} …"):
            offered = providers().open(name).models()
    except VisionBenchError as error:
        show_error(error)
        return
    state.VLM_LISTED.set((state.VLM_LISTED.get() or {}) | {name: offered})
    st.toast(plain(f"{TITLES[name]} offers {len(offered)} models."), icon=":material/list:")
    st.rerun()
