"""Every session key, once, with its type. Widgets keep their own values by `persist_state="session"`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar, cast

import streamlit as st

if TYPE_CHECKING:
    from core.images import ImageInput
    from pages.ui.attention_run import Shown
    from pages.ui.attention_view import View

T = TypeVar("T")


@dataclass(frozen=True)
class Slot(Generic[T]):
    """One typed place in the session."""

    key: str

    def get(self) -> T | None:
        """Return what is there, or None."""
        return cast("T | None", st.session_state.get(self.key))

    def set(self, value: T) -> T:
        """Put `value` there and return it."""
        st.session_state[self.key] = value
        return value

    def clear(self) -> None:
        """Empty the place."""
        st.session_state.pop(self.key, None)


ROUTED: Slot[bool] = Slot("routed")
"""Set by `Home.py`: this session's pages are the router's."""

VISITOR: Slot[str] = Slot("visitor")
"""Random id of a visitor of a public deployment."""

UPLOADED: Slot[ImageInput] = Slot("uploaded_picture")
"""The last picture uploaded in this session."""

PHOTOGRAPHED: Slot[ImageInput] = Slot("camera_picture")
"""The last picture taken with the camera in this session."""

REOPENED_PICTURE: Slot[ImageInput] = Slot("reopened_picture")
"""The picture of a run that was opened again."""

ATTENTION: Slot[Shown] = Slot("attention_result")
"""The last attention result, with what it was made from."""

KEPT_VIEW: Slot[tuple[str, View]] = Slot("kept_view")
"""The run and view that the store was last told of."""

ADDRESS_RUN: Slot[str] = Slot("address_run")
"""The run id in the address that the page has already acted on."""
