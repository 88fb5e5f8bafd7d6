"""The picture picker: samples, scenes, an upload, the camera, or a picture of an earlier run."""

from functools import lru_cache

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from core.errors import InputError
from core.images import ImageInput, Limits, decode
from core.samples import PAIR_PREFIX, SCENE_PREFIX, load_sample, samples
from core.settings import settings
from db.records import KeptPicture, PictureRecord
from pages.ui import state
from pages.ui.session import store, visitor
from pages.ui.text import ago, plain

SAMPLES, SCENES, UPLOAD, CAMERA, HISTORY = "Samples", "Scenes", "Upload", "Camera", "From history"
SECOND = "_second"
"""How the prefix of a page's second picker ends."""
FORMATS = ["png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff", "gif"]


def limits() -> Limits:
    """Return the configured limits of a picture."""
    return Limits(max_mb=settings().max_upload_mb, max_megapixels=settings().max_megapixels)


@lru_cache(maxsize=16)
def sample(sample_id: str) -> ImageInput:
    """Return a sample picture, decoded once for everybody."""
    return load_sample(sample_id)


def picture_picker(page: str, label: str = "Picture", first: str = SAMPLES) -> ImageInput | None:
    """Draw the picker and return the chosen picture, or None while there is none.

    Args:
        page: Prefix of the widget keys; each page (and each of two pictures on a page) has its own. One that
            ends in `SECOND` keeps its upload apart from that of the first.
        label: Name of the picture on the page.
        first: Where the first picture comes from, before anybody chooses.

    Raises:
        InputError: The chosen picture cannot be read.
    """
    source = st.segmented_control(
        label,
        [SAMPLES, SCENES, UPLOAD, CAMERA, HISTORY],
        default=None if f"{page}_source" in st.session_state else first,
        required=True,
        wrap=True,
        key=f"{page}_source",
        persist_state="session",
    )
    pick = {SAMPLES: _sample, SCENES: _scene, UPLOAD: _upload, CAMERA: _camera, HISTORY: _history}
    return pick[source](page)


def _sample(page: str) -> ImageInput:
    titles = {s.id: s.title for s in samples() if s.kind == "photo"}
    chosen = st.selectbox(
        "Sample picture",
        list(titles),
        format_func=titles.__getitem__,
        key=f"{page}_sample",
        persist_state="session",
        label_visibility="collapsed",
    )
    return sample(chosen)


def _scene(page: str) -> ImageInput:
    seed = st.number_input(
        "Scene number",
        min_value=0,
        max_value=2**31 - 1,
        value=1,
        key=f"{page}_scene",
        persist_state="session",
        help="Each number is one drawn scene with exact ground truth; the same number is the same picture.",
    )
    return sample(f"scene/{seed}")


def _upload(page: str) -> ImageInput | None:
    upload = st.file_uploader(
        "Upload a picture",
        FORMATS,
        key=f"{page}_upload",
        max_upload_size=max(1, int(settings().max_upload_mb)),
        label_visibility="collapsed",
    )
    return _latest(_uploaded(page), upload)


def _uploaded(page: str) -> state.Slot[ImageInput]:
    return state.UPLOADED_SECOND if page.endswith(SECOND) else state.UPLOADED


def _camera(page: str) -> ImageInput | None:
    shot = st.camera_input("Take a picture", key=f"{page}_camera", label_visibility="collapsed")
    return _latest(state.PHOTOGRAPHED, shot)


def _latest(slot: state.Slot[ImageInput], file: UploadedFile | None) -> ImageInput | None:
    """Return what was just given, else what was given before; the uploader forgets when its page is left."""
    before = slot.get()
    if file is None:
        if before is not None:
            st.caption(f"Using {plain(before.name)}, given earlier.")
        return before
    data = file.getvalue()
    if before is None or before.data != data:
        slot.clear()
        before = slot.set(decode(data, file.name, limits()))
    return before


def _history(page: str) -> ImageInput | None:
    kept = {p.sha256: p for p in store().pictures(visitor(), limit=50)}
    if not kept:
        st.caption("No run has kept a picture yet.")
        return None
    chosen = st.selectbox(
        "Picture of an earlier run",
        list(kept),
        format_func=lambda sha256: f"{kept[sha256].name}, {ago(kept[sha256].time)}",
        key=f"{page}_history",
        persist_state="session",
        label_visibility="collapsed",
    )
    return _kept_picture(page, kept[chosen])


def _kept_picture(page: str, kept: KeptPicture) -> ImageInput:
    slot = state.REOPENED_SECOND if page.endswith(SECOND) else state.REOPENED_PICTURE
    held = slot.get()
    if held is None or held.sha256 != kept.sha256:
        data = store().picture_data(kept.run_id, kept.role, visitor())
        if data is None:
            raise InputError(f"The picture {kept.name} was not kept.", "Upload it again.")
        held = slot.set(decode(data, kept.name, limits()))
    return held


def hand_over_picture(page: str, other: str) -> None:
    """Make the picker of `other` choose what the picker of `page` has chosen."""
    for part in ("source", "sample", "scene", "history"):
        if (key := f"{page}_{part}") in st.session_state:
            st.session_state[f"{other}_{part}"] = st.session_state[key]


def give_picture(page: str, image: ImageInput) -> None:
    """Make the picker of `page` choose a picture, wherever it came from."""
    if is_sample(image.name, image.sha256) and not image.name.startswith(PAIR_PREFIX):
        _select_sample(page, image.name)
        return
    st.session_state[f"{page}_source"] = UPLOAD
    _uploaded(page).set(image)


def select_picture(page: str, picture: PictureRecord) -> bool:
    """Set the picker to a stored picture before it is drawn; say whether the picture is still to be had.

    A sample is found again by its digest even where pictures are not kept.
    """
    if is_sample(picture.name, picture.sha256):
        _select_sample(page, picture.name)
        return True
    if picture.kept:
        st.session_state[f"{page}_source"] = HISTORY
        st.session_state[f"{page}_history"] = picture.sha256
        return True
    st.session_state[f"{page}_source"] = UPLOAD
    held = _uploaded(page).get()
    return held is not None and held.sha256 == picture.sha256


def _select_sample(page: str, sample_id: str) -> None:
    if sample_id.startswith(SCENE_PREFIX):
        st.session_state[f"{page}_source"] = SCENES
        st.session_state[f"{page}_scene"] = int(sample_id.removeprefix(SCENE_PREFIX))
        return
    st.session_state[f"{page}_source"] = SAMPLES
    st.session_state[f"{page}_sample"] = sample_id


def is_sample(name: str, sha256: str) -> bool:
    """Say whether a picture is the sample of its name."""
    try:
        return sample(name).sha256 == sha256
    except InputError:  # an upload's name
        return False
