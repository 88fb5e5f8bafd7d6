"""Which pictures models are measured on: samples, scenes, and files."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from contextlib import suppress

import streamlit as st

from core.bench.pictures import DIGEST
from core.bench.plan import Plan
from core.bench.sweep.plan import SweepPlan
from core.errors import InputError
from core.images import ImageInput, decode
from core.samples import SCENE_PREFIX, samples
from core.vlm.datasets.archive import zip_items
from db.errors import StoreError
from db.records import RunRecord
from pages.ui import state
from pages.ui.bench_limits import limits as page_limits
from pages.ui.pictures import FORMATS, is_sample, limits, sample
from pages.ui.session import store, visitor
from pages.ui.text import plain

FIRST_SCENE = 1
MOST_ZIP_MB = 200


def picture_name(image: ImageInput) -> str:
    """Return what the engine calls a picture: a sample's name, or the digest of a file."""
    return image.name if is_sample(image.name, image.sha256) else image.sha256


def given_of(images: Sequence[ImageInput]) -> dict[str, bytes]:
    """Return the bytes of the pictures that are files, by digest."""
    return {image.sha256: image.data for image in images if picture_name(image) == image.sha256}


def pictures_picker(key: str) -> tuple[ImageInput, ...]:
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
    images = [*(sample(name) for name in (*photos, *scenes)), *_files(key)]
    distinct = {image.sha256: image for image in images}
    if len(distinct) > page_limits().pictures:
        raise InputError(
            f"{len(distinct)} pictures are chosen.", f"Choose at most {page_limits().pictures} here."
        )
    return tuple(distinct.values())


def _files(key: str) -> tuple[ImageInput, ...]:
    zips = page_limits().uploads_data
    files = st.file_uploader(
        "Own pictures, or a zip of them" if zips else "Own pictures",
        [*FORMATS, "zip"] if zips else FORMATS,
        accept_multiple_files=True,
        key=f"{key}_upload",
        max_upload_size=max(MOST_ZIP_MB if zips else 1, int(limits().max_mb)),
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
    known_zips = state.BENCH_ZIPS.get() or {}
    found: list[ImageInput] = []
    found_zips: dict[str, tuple[ImageInput, ...]] = {}
    for file in files:
        data = file.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        if zips and file.name.lower().endswith(".zip"):
            found_zips[digest] = known_zips.get(digest) or _of_zip(data, file.name)
            found += found_zips[digest]
        else:
            found.append(known.get(digest) or decode(data, file.name, limits()))
    state.BENCH_ZIPS.set(found_zips)
    return state.BENCH_UPLOADS.set(tuple(found))


def _of_zip(data: bytes, name: str) -> tuple[ImageInput, ...]:
    """Return the pictures in a zip, in order.

    Raises:
        InputError: It cannot be used, or holds too many.
    """
    items = zip_items(io.BytesIO(data), name)
    if len(items) > page_limits().pictures:
        raise InputError(
            f"{name} holds {len(items):,} pictures.", f"Pack at most {page_limits().pictures} of them."
        )
    return tuple(items.at(position).load() for position in range(len(items)))


def files_at_hand(
    plan: Plan | SweepPlan, runs: Sequence[RunRecord]
) -> tuple[dict[str, bytes], tuple[str, ...]]:
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


def again_uploader(
    lost: tuple[str, ...], given: Mapping[str, bytes], key: str
) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """Draw the uploader for pictures that were not kept; return what there is with them, and what is not."""
    count = "1 picture was" if len(lost) == 1 else f"{len(lost)} pictures were"
    st.caption(f"{count} not kept: give the very same files again.")
    files = st.file_uploader(
        "The pictures", FORMATS, accept_multiple_files=True, key=f"{key}_again", label_visibility="collapsed"
    )
    found = {hashlib.sha256(data).hexdigest(): data for file in files or () if (data := file.getvalue())}
    have = {**given, **{name: found[name] for name in lost if name in found}}
    return have, tuple(name for name in lost if name not in have)


def picture_words(name: str, runs: Sequence[RunRecord] = ()) -> str:
    """Return what people call a picture of a plan, as Markdown."""
    if not DIGEST.fullmatch(name):
        return plain(name)
    known = {picture.sha256: picture.name for run in runs for picture in run.inputs}
    return plain(known.get(name) or name[:12])
