"""Which pictures a data-set run asks about: fresh scenes, uploaded files, or a folder of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from core.errors import InputError
from core.vlm.datasets import ANY, Item, Items, given_items, open_items, scene_items
from core.vlm.datasets.pictures import PICTURES, TABLES
from core.vlm.datasets.table import RowErrors
from core.vlm.safe import plain as readable
from core.vlm.tasks import TASKS
from pages.ui import state
from pages.ui.errors import show_error
from pages.ui.session import on_private_machine
from pages.ui.text import plain

NAME = "vlm_set"
"""Prefix of the widget keys of this view."""
SCENES, UPLOAD, FOLDER = "Fresh scenes", "Upload", "Folder"
MOST_UPLOADED_MB = 200
KINDS = sorted(suffix.removeprefix(".") for suffix in (*PICTURES, *TABLES, ".zip"))
PREVIEWED = 4
MOST_SAID = 160
"""Characters of a prompt or reference in the preview."""


@dataclass(frozen=True)
class Given:
    """A data set, and where it came from."""

    items: Items
    source: str
    """What tells one upload or folder from another."""
    path: str = ""
    """On this machine; empty where it is no folder or file of it."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that it can be asked, in the order they are offered."""
        if self.items.tasks_at is None:
            return tuple(TASKS)
        asked = frozenset[str]().union(*(self.items.tasks_at(at) for at in range(len(self.items))))
        return tuple(TASKS) if ANY in asked else tuple(task for task in TASKS if task in asked)


def said(text: str, most: int = MOST_SAID) -> str:
    """Return a stranger's text as one line of Markdown that shows it letter by letter."""
    line = " ".join(readable(text[: most + 1]).split())
    return plain(line if len(text) <= most else f"{line[:most]} …")


def data_picker() -> Given | None:
    """Draw the choice of a data set; return it, or None while there is none or it cannot be used."""
    sources = [SCENES, UPLOAD, *([FOLDER] if on_private_machine() else [])]
    source = st.segmented_control(
        "Data set",
        sources,
        default=None if f"{NAME}_source" in st.session_state else SCENES,
        required=True,
        key=f"{NAME}_source",
        persist_state="session",
    )
    try:
        return {SCENES: _scenes, UPLOAD: upload, FOLDER: _folder}[str(source)]()
    except InputError as error:
        show_data_error(error)
        return None


def show_data_error(error: InputError) -> None:
    """Draw why a data set cannot be used: each wrong row, where several are."""
    if not isinstance(error, RowErrors):
        show_error(error)
        return
    rows = "\n".join(f"- {said(str(row), 400)}" for row in error.rows)
    st.error(f"{said(error.message.splitlines()[0])}\n\n{rows}", icon=":material/error:")


def _scenes() -> Given:
    one, two = st.columns(2)
    count = one.number_input("Pictures", 1, 100_000, 20, key=f"{NAME}_count", persist_state="session")
    seed = two.number_input(
        "Seed",
        0,
        10**12,
        0,
        key=f"{NAME}_seed",
        persist_state="session",
        help="The same seed gives the same pictures. No shipped model has learned from any of them.",
    )
    return Given(scene_items(int(count), int(seed)), f"{count}@{seed}")


def upload(key: str = f"{NAME}_upload") -> Given | None:
    """Draw the uploader and return what was given, now or before.

    Raises:
        InputError: It is no data set that can be used.
    """
    files = st.file_uploader(
        "A zip, or a table with its pictures, or pictures alone",
        KINDS,
        accept_multiple_files=True,
        key=key,
        max_upload_size=MOST_UPLOADED_MB,
        help="A table (CSV, TSV or JSONL) has a column `image` with the file's name, and may have `id`, "
        "`task`, `prompt`, `reference` and `references`. A zip may hold one such table beside its pictures.",
    )
    held = state.VLM_SET_GIVEN.get()
    if held is not None and held.path:
        held = None
    if not files:
        if held is not None:
            st.caption(f"Using {said(held.items.name)}, given earlier.")
        return held
    source = " ".join(sorted(file.file_id for file in files))
    if held is None or held.source != source:
        held = state.VLM_SET_GIVEN.set(Given(given_items(_by_name(files)), source))
    return held


def _by_name(files: Sequence[UploadedFile]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for file in files:
        if file.name in found:
            raise InputError(f"Two files are called {file.name}.", "Give each a name of its own, or a zip.")
        found[file.name] = file.getvalue()
    return found


def _folder() -> Given | None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        path = st.text_input(
            "Folder, table or zip on this machine",
            key=f"{NAME}_path",
            persist_state="session",
            placeholder="/home/you/pictures",
        ).strip()
        again = st.button("Read again", icon=":material/refresh:", key=f"{NAME}_reread", disabled=not path)
    if not path:
        st.caption(
            "A folder of pictures, with or without a table in it. It is read here, nothing is uploaded."
        )
        return None
    held = state.VLM_SET_GIVEN.get()
    if held is None or held.path != path or again:
        state.VLM_SET_GIVEN.clear()
        held = state.VLM_SET_GIVEN.set(Given(open_items(path), path, path))
    return held


def preview(given: Given) -> None:
    """Draw the first pictures with what is asked and what is right."""
    items = given.items
    count = f"{len(items):,} picture{'s' if len(items) > 1 else ''}"
    st.caption(f"**{said(items.name)}**: {count}. The first of them:")
    for first in range(0, min(PREVIEWED, len(items)), 2):
        for column, at in zip(st.columns(2, wrap=False), range(first, len(items)), strict=False):
            with column:
                _preview_one(items.at(at))


def _preview_one(item: Item) -> None:
    try:
        st.image(item.load().rgb, width="stretch")
    except InputError as error:
        show_error(error)
    known = [task for task in (*TASKS, ANY) if item.references.get(task)]
    truths = [f"{TASKS[task].title if task else 'Truth'}: {_truth(item, task)}" for task in known[:3]]
    st.caption("  \n".join([f"**{said(item.id, 60)}**", *(truths or ["no truth is given"])]))


def _truth(item: Item, task: str) -> str:
    return said(", ".join(item.references[task]), 80)
