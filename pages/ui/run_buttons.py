"""The buttons of a run that is under way: pause or go on, and cancel."""

from typing import Protocol

import streamlit as st


class Steered(Protocol):
    """A run that can be paused and cancelled."""

    def pause(self) -> None: ...
    def go_on(self) -> None: ...
    def cancel(self) -> None: ...


def run_buttons(
    run: Steered,
    *,
    paused: bool,
    ended: bool,
    key: str,
    cancels: str,
    pauses: str | None = None,
    may_pause: bool = True,
    waits: bool = False,
) -> None:
    """Draw the buttons.

    Args:
        key: Which those of the widgets begin with.
        cancels: What cancelling does, in a sentence or two.
        pauses: What pausing does.
        may_pause: Whether there is a button for it.
        waits: Whether it did not begin yet: then there is nothing to pause.
    """
    if paused:
        st.button(
            "Go on", icon=":material/play_arrow:", type="primary", key=f"{key}_go_on", on_click=run.go_on
        )
    elif may_pause:
        st.button(
            "Pause",
            icon=":material/pause:",
            key=f"{key}_pause",
            on_click=run.pause,
            disabled=ended or waits,
            help=pauses,
        )
    st.button(
        "Cancel",
        icon=":material/stop_circle:",
        key=f"{key}_cancel",
        on_click=run.cancel,
        disabled=ended,
        help=cancels,
    )
