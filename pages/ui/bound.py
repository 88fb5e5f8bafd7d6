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


def bound_fields(page: str, change: Callable[..., None]) -> Callable[..., dict[str, Any]]:
    """Return what `bound` is for the fields of a page's view.

    Its arguments are the field's name, what the widget shows now, how the widget's value becomes the field's
    (as it is, if left out), and `afresh` as above.

    Args:
        page: What the keys of the widgets begin with.
        change: Told of the new value by the field's name.
    """

    def field(
        name: str, value: object, read: Callable[[Any], Any] = lambda given: given, *, afresh: bool = False
    ) -> dict[str, Any]:
        return bound(f"{page}_{name}", value, lambda given: change(**{name: read(given)}), afresh=afresh)

    return field
