"""Pictures of known truth, for the accuracy: fresh scenes, or a labelled zip."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import streamlit as st

from core.bench.truths import open_truths
from core.errors import InputError
from core.vlm.datasets.scenes import PREFIX
from pages.ui import state
from pages.ui.bench_limits import limits
from pages.ui.session import uploads_folder
from pages.ui.text import plain

NONE, SCENES, LABELLED = "None", "Fresh scenes", "Labelled zip"
MOST_MB = 200
USUAL_SCENES = 50


def truths_picker(key: str) -> str | None:
    """Draw the choice of what accuracy is measured on; return its name for the engine, None for nothing.

    Raises:
        InputError: The zip cannot be used.
    """
    sources = [NONE, SCENES, *([LABELLED] if limits().uploads_data else [])]
    source = st.segmented_control(
        "Accuracy on",
        sources,
        default=None if f"{key}_truths" in st.session_state else NONE,
        required=True,
        key=f"{key}_truths",
        persist_state="session",
        help="Classes, retrieval, masks or captions, whatever a model can be asked, each with its interval.",
    )
    if source == SCENES:
        return _scenes(key)
    if source == LABELLED:
        path = labelled_zip(f"{key}_labelled")
        if path is None:
            raise InputError("No labelled zip is given.", "Give one, or choose another source.")
        return str(path)
    return None


def _scenes(key: str) -> str:
    one, two = st.columns(2)
    count = one.number_input(
        "Scenes to judge",
        1,
        limits().scenes,
        min(USUAL_SCENES, limits().scenes),
        key=f"{key}_truth_scenes",
        persist_state="session",
    )
    seed = two.number_input(
        "Seed",
        0,
        10**12,
        0,
        key=f"{key}_truth_seed",
        persist_state="session",
        help="The same seed gives the same scenes. No shipped model has learned from any of them.",
    )
    return f"{PREFIX}{int(count)}@{int(seed)}"


def labelled_zip(key: str) -> Path | None:
    """Draw the uploader and return where the zip lies, now or before.

    Raises:
        InputError: It is no data set that can be used.
    """
    file = st.file_uploader(
        "A zip with one folder for each class, or with a table of labels",
        ["zip"],
        key=key,
        max_upload_size=MOST_MB,
        help="The folder that a picture lies in is its class, as in beagle/1.jpg; or a table (CSV, TSV, "
        "JSONL) has the columns image and reference.",
    )
    if file is None:
        held = state.BENCH_LABELLED.get()
        if held is None or not Path(held[1]).is_file():
            return None
        st.caption(f"Using {plain(held[0])}, given earlier.")
        return Path(held[1])
    path = _kept(file.getvalue(), file.name)
    truths = open_truths(str(path))
    state.BENCH_LABELLED.set((file.name, str(path)))
    st.caption(f"**{plain(file.name)}**: {len(truths):,} pictures of {len(truths.classes()):,} classes")
    return path


def _kept(data: bytes, name: str) -> Path:
    """Write an upload where the processes that measure can read it; equal files lie there once."""
    stem = re.sub(r"[^\w-]+", "-", Path(name).stem, flags=re.ASCII).strip("-")[:60] or "labelled"
    folder = uploads_folder() / hashlib.sha256(data).hexdigest()[:32]
    path = folder / f"{stem}.zip"
    if not path.exists():
        folder.mkdir(exist_ok=True)
        part = folder / f"{stem}.part"
        part.write_bytes(data)
        part.replace(path)
    return path


def truths_words(source: str | None) -> str:
    """Return what people call a set, as Markdown; empty for none."""
    if source is None:
        return ""
    if source.startswith(PREFIX):
        return f"accuracy on {plain(source.removeprefix(PREFIX).partition('@')[0])} fresh scenes"
    return f"accuracy on {plain(Path(source).name)}"


def is_lost(source: str | None) -> bool:
    """Say whether a set was a file that is not there any more."""
    return source is not None and not source.startswith(PREFIX) and not Path(source).exists()
