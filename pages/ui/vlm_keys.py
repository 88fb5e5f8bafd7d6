"""Keys of remote providers: from the environment, from Streamlit's secrets, or typed in for this session.

A typed key lives in this session's memory alone. It is not stored, and nothing shows it again.
"""

from __future__ import annotations

import os
from functools import partial

import streamlit as st

from core.errors import InputError
from core.settings import settings
from core.vlm.addresses import Addresses
from core.vlm.keys import KEY_VARIABLES, TITLES, Keys
from core.vlm.workflow import Providers
from pages.ui import state
from pages.ui.errors import show_error
from pages.ui.session import model_pool, on_private_machine
from pages.ui.vlm_state import PAGE


def operators_keys() -> Keys:
    """Return the keys that this deployment has: of the environment, then of `st.secrets`."""
    found = dict(os.environ)
    if st.secrets.load_if_toml_exists():
        for variable in (name for names in KEY_VARIABLES.values() for name in names):
            if variable in st.secrets:
                found.setdefault(variable, str(st.secrets[variable]))
    return Keys.from_env(found)


def session_keys() -> Keys:
    """Return the keys that this session asks with."""
    return state.VLM_KEYS.get() or operators_keys()


def providers() -> Providers:
    """Return the providers with this session's keys; they stay open until a key changes."""
    keys = session_keys()
    held = state.VLM_PROVIDERS.get()
    if held is None or held.keys != keys:
        held = state.VLM_PROVIDERS.set(Providers(keys, Addresses.from_settings(settings()), model_pool()))
    return held


def ready_providers() -> tuple[str, ...]:
    """Return the remote providers that can be asked now."""
    addresses, keys = Addresses.from_settings(settings()), session_keys()
    if addresses.loopback:
        return tuple(TITLES)
    needs_url = {"compatible"}
    with_key = [name for name in TITLES if name not in needs_url and keys.get(name)]
    return (*with_key, *(["compatible"] if addresses.compatible else []))


def key_entry() -> None:
    """Draw where a key is typed in, and who pays for what is asked."""
    with st.expander("Keys of remote models", icon=":material/key:"):
        st.caption(_who_pays())
        for name, title in TITLES.items():
            if name != "compatible" or Addresses.from_settings(settings()).compatible:
                _one_key(name, title)
        if state.VLM_TYPED.get() and st.button(
            "Forget the typed keys", icon=":material/delete:", key=f"{PAGE}_forget"
        ):
            state.VLM_TYPED.clear()
            state.VLM_KEYS.clear()
            st.rerun()


def _one_key(name: str, title: str) -> None:
    """Draw the entry of one provider's key; what was typed leaves the field at once."""
    typed = name in (state.VLM_TYPED.get() or ())
    place = "typed in for this session" if typed else "of this deployment" if session_keys().get(name) else ""
    with st.form(f"{PAGE}_key_{name}", border=False):
        field, button = st.columns([4, 1], vertical_alignment="bottom", wrap=False)
        field.text_input(
            f"{title}{f' · has a key, {place}' if place else ''}",
            type="password",
            autocomplete="off",
            key=f"{PAGE}_typed_{name}",
            placeholder=" or ".join(KEY_VARIABLES[name]),
        )
        button.form_submit_button("Use", on_click=partial(_take, name))
    refused = state.VLM_REFUSED_KEY.get()
    if refused is not None and refused[0] == name:
        show_error(refused[1])
        state.VLM_REFUSED_KEY.clear()


def _take(name: str) -> None:
    """Take what was typed out of its field, and use it as a key."""
    field = f"{PAGE}_typed_{name}"
    text = str(st.session_state[field])
    st.session_state[field] = ""
    if not text:
        return
    try:
        state.VLM_KEYS.set(session_keys().with_typed(name, text))
    except InputError as error:
        state.VLM_REFUSED_KEY.set((name, error))
        return
    state.VLM_TYPED.set((state.VLM_TYPED.get() or frozenset()) | {name})


def _who_pays() -> str:
    theirs = [title for name, title in TITLES.items() if operators_keys().get(name)]
    kept = "A key typed in here stays in this session's memory: it is not stored, and not shown again."
    if not theirs:
        return f"Remote models need a key of their provider, and whoever owns the key pays. {kept}"
    if on_private_machine():
        return f"From this machine's environment: {', '.join(theirs)}; you pay for what is asked. {kept}"
    return (
        f"The operator of this site lends keys for {', '.join(theirs)} and pays for what is asked with them. "
        f"With a key of your own, you pay. {kept}"
    )
