"""Which pictures models are measured on: samples, scenes, and files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress

import streamlit as st

from core.bench.pictures import DIGEST
from core.bench.plan import Plan
from core.errors import InputError
from core.images import ImageInput, decode
from core.samples import SCENE_PREFIX, samples
from db.errors import StoreError
from db.records import RunRecord
from pages.ui import state
from pages.ui.bench_limits import limits as page_limits
from pages.ui.pictures import FORMATS, is_sample, limits, sample
from pages.ui.session import store, visitor
from pages.ui.text import plain

FIRST_SCENE = 1


def picture_name(image: ImageInput) -> str:
    """Return what the engine calls a picture: a sample's name, or the digest of a file."""
    return image.name if is_sample(image.name, image.sha256) else image.sha256


def given_of(images: Sequence[ImageInput]) -> dict[str, bytes]:
    """Return the bytes of the pictures that are files, by digest."""
    return {image.sha256: image.data for image in images if picture_name(image) == image.sha256}


def pictures_picker(key: str, *, files: bool = True) -> tuple[ImageInput, ...]:
    """Draw the choice of several pictures and return them.

    Raises:
        InputError: A file is no picture, or there are too many.
    """
    titles = {one.id: one.title for one in samples() if one.kind == "photo"}
    photos = st.multiselect(
        "Samples",
        list(titles),
        default=None if f"{key}_samples" in st.session_state else ["astronaut"],
        format_func=titles.__getitem__,
        key=f"{key}_samples",
        persist_state="session",
        placeholder="No sample",
    )
    one, two = st.columns(2)
    count = one.number_input(
        "Scenes", 0, page_limits().pictures, 1, key=f"{key}_scenes", persist_state="session"
    )
    first = two.number_input(
        "First scene", 0, 2**31 - 1000, FIRST_SCENE, key=f"{key}_first_scene", persist_state="session"
    )
    scenes = [f"{SCENE_PREFIX}{number}" for number in range(int(first), int(first) + int(count))]
    images = [sample(name) for name in (*photos, *scenes)]
    if files:
        images += _files(key)
    distinct = {image.sha256: image for image in images}
    if len(distinct) > page_limits().pictures:
        raise InputError(
            f"{len(distinct)} pictures are chosen.", f"Choose at most {page_limits().pictures} here."
        )
    return tuple(distinct.values())


def _files(key: str) -> tuple[ImageInput, ...]:
    files = st.file_uploader(
        "Own pictures",
        FORMATS,
        accept_multiple_files=True,
        key=f"{key}_upload",
        max_upload_size=max(1, int(limits().max_mb)),
    )
    before = state.BENCH_UPLOADS.get() or ()
    if not files:
        if before:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.caption(f"Using {len(before)} given earlier.", width="content")
                st.button(
                    "Leave out", type="tertiary", key=f"{key}_forget", on_click=state.BENCH_UPLOADS.clear
                )
        return before
    known = {image.sha256: image for image in before}
    found = []
    for file in files:
        data = file.getvalue()
        held = known.get(hashlib.sha256(data).hexdigest())
        found.append(held or decode(data, file.name, limits()))
    return state.BENCH_UPLOADS.set(tuple(found))


def files_at_hand(plan: Plan, runs: Sequence[RunRecord]) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """Return the bytes of a plan's files, and the digests of those that are nowhere to be had."""
    wanted = [name for name in plan.pictures if DIGEST.fullmatch(name)]
    own = [*(state.BENCH_UPLOADS.get() or ()), state.UPLOADED.get(), state.PHOTOGRAPHED.get()]
    found = {image.sha256: image.data for image in own if image is not None and image.sha256 in wanted}
    for run in runs[:1]:
        for picture in run.inputs:
            if picture.sha256 in wanted and picture.sha256 not in found and picture.kept:
                with suppress(StoreError):
                    if data := store().picture_data(run.id, picture.role, visitor()):
                        found[picture.sha256] = data
    return found, tuple(name for name in wanted if name not in found)


def picture_words(name: str, runs: Sequence[RunRecord] = ()) -> str:
    """Return what people call a picture of a plan, as Markdown."""
    if not DIGEST.fullmatch(name):
        return plain(name)
    known = {picture.sha256: picture.name for run in runs for picture in run.inputs}
    return plain(known.get(name) or name[:12])
