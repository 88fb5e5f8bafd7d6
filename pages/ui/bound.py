"""Widgets that show a value which is kept elsewhere, such as in the address, and change it there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st


def bound(key: str, value: object, write: Callable[[Any], None], *, afresh: bool = False) -> dict[str, Any]:
    """Return `key` and `on_change` of a widget.

    Args:
        value: What the widget shows now.
        write: Told of what the person chose.
        afresh: Whether the browser is told the value although it did not change: its words may have.
    """
    if afresh or key not in st.session_state or st.session_state[key] != value:
        st.session_state[key] = value
    return {"key": key, "on_change": lambda: write(st.session_state[key])}
