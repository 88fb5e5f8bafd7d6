"""Which two pictures, and which features of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from core.features.values import FACETS, FeatureOptions
from core.samples import PAIR_PREFIX
from pages.ui.pictures import SAMPLES, SECOND, give_picture, picture_picker, sample, select_picture
from pages.ui.text import milliseconds, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.images import ImageInput
    from core.registry import ModelSpec
    from db.records import PictureRecord

PAGE = "similarity"
FIRST_PICKER, SECOND_PICKER = f"{PAGE}_first", f"{PAGE}{SECOND}"
PICTURES = f"{PAGE}_pictures"
SCENE_PAIR, TWO, ITSELF = "Scene pair", "Two pictures", "One with itself"
LOOK_FOR = f"{PAGE}_look_for"
WHOLE, REGION = "The whole picture", "What is asked"
"""What a search looks for."""
FIRST_MODEL = "shipped/dino-scenes"
"""What the page starts with, where it is there: trained to describe, not to name."""
FIRST_SCENE = 6
"""A pair with large things in it, of which the shipped models find most places again."""
OWN_SIZE = "the model's own"
SIZES = (OWN_SIZE, "128", "224", "256", "336", "448", "518", "672")
SMALL_MODEL_SIZE = "128"
"""Input size that a shipped model starts with: 16 x 16 patches of 8 pixels."""
FACET_HELP = {
    "token": "what leaves the layer",
    "key": "what its attention is found by; often the sharpest for parts of things",
    "query": "what its attention asks with",
    "value": "what its attention hands on",
}


def two_pictures() -> tuple[ImageInput, ImageInput] | None:
    """Draw the choice of the pictures and return them; None while one is missing."""
    kind = st.segmented_control(
        "Compare",
        [SCENE_PAIR, TWO, ITSELF],
        default=None if PICTURES in st.session_state else SCENE_PAIR,
        required=True,
        key=PICTURES,
        persist_state="session",
        help="A scene pair is two views of one drawn scene, in which the true place of every point is known.",
    )
    if kind == SCENE_PAIR:
        return _scene_pair()
    if kind == ITSELF:
        only = picture_picker(FIRST_PICKER)
        return None if only is None else (only, only)
    if f"{SECOND_PICKER}_source" not in st.session_state:
        _start_with_stereo_pair()
    left, right = st.columns(2, gap="medium")
    with left:
        first = picture_picker(FIRST_PICKER, "First picture")
    with right:
        second = picture_picker(SECOND_PICKER, "Second picture")
    return None if first is None or second is None else (first, second)


def wanted_pictures() -> str:
    """Return what has to be chosen before anything is shown, in words."""
    return "a picture" if st.session_state.get(PICTURES) == ITSELF else "both pictures"


def _scene_pair() -> tuple[ImageInput, ImageInput]:
    seed = st.number_input(
        "Scene pair number",
        min_value=0,
        max_value=2**31 - 1,
        value=FIRST_SCENE,
        key=f"{PAGE}_pair",
        persist_state="session",
        width=220,
        help="Each number is one drawn scene, seen twice; the same number is the same pair.",
    )
    return sample(f"{PAIR_PREFIX}{seed}/first"), sample(f"{PAIR_PREFIX}{seed}/second")


def _start_with_stereo_pair() -> None:
    """Make the second picture the other eye's of the first one, where nothing was chosen yet."""
    for picker, name in ((FIRST_PICKER, "motorcycle-left"), (SECOND_PICKER, "motorcycle-right")):
        if f"{picker}_source" not in st.session_state or picker == SECOND_PICKER:
            st.session_state[f"{picker}_source"] = SAMPLES
            st.session_state[f"{picker}_sample"] = name


def select_pictures(pictures: Sequence[PictureRecord]) -> list[PictureRecord]:
    """Set the pickers to the pictures of a run before they are drawn; return those not to be had."""
    names = [picture.name for picture in pictures]
    if len(pictures) == 1:  # a picture alone is shown against itself
        return select_pictures([*pictures, *pictures])
    if len(pictures) != 2:
        return []
    if (seed := _pair_seed(names)) is not None:
        st.session_state[PICTURES] = SCENE_PAIR
        st.session_state[f"{PAGE}_pair"] = seed
        return []
    same = pictures[0].sha256 == pictures[1].sha256
    st.session_state[PICTURES] = ITSELF if same else TWO
    pickers = (FIRST_PICKER,) if same else (FIRST_PICKER, SECOND_PICKER)
    return [one for picker, one in zip(pickers, pictures, strict=False) if not _select(picker, one)]


def _select(picker: str, picture: PictureRecord) -> bool:
    if not picture.name.startswith(PAIR_PREFIX):
        return select_picture(picker, picture)
    give_picture(picker, sample(picture.name))  # one view alone is on no picker's list
    return True


def _pair_seed(names: Sequence[str]) -> int | None:
    """Return the number of the pair of which these are the first and the second view; None of others."""
    seed = names[0].removeprefix(PAIR_PREFIX).partition("/")[0]
    if not seed.isdecimal() or list(names) != [f"{PAIR_PREFIX}{seed}/{view}" for view in ("first", "second")]:
        return None
    return int(seed)


def options_picker(spec: ModelSpec, expected_ms: float | None) -> FeatureOptions:
    """Draw which features are compared, and return it. Each choice runs the model once for a picture."""
    with st.expander("Which features", icon=":material/tune:"):
        took = f", about {milliseconds(expected_ms)} a picture" if expected_ms else ""
        st.caption(f"A new choice runs the model on both pictures once{took}; what ran before is kept.")
        left, right = st.columns(2)
        layer = left.number_input(
            "Layer",
            -64,
            63,
            -1,
            key=f"{PAGE}_layer",
            persist_state="session",
            help="From 0, the first; -1 is the last. Early ones know textures and places, late ones things.",
        )
        facet = right.selectbox(
            "Facet",
            FACETS,
            format_func=lambda name: f"{name}: {FACET_HELP[name]}",
            key=f"{PAGE}_facet",
            persist_state="session",
            help="What is read in the layer.",
        )
        size = left.selectbox(
            "Input size",
            SIZES,
            SIZES.index(SMALL_MODEL_SIZE if spec.source == "shipped" else OWN_SIZE),
            key=f"{PAGE}_size_{spec.source == 'shipped'}",
            persist_state="session",
            help="Shorter side in pixels. Larger gives more, smaller patches; time grows with their square.",
        )
        stride = right.number_input(
            "Stride",
            0,
            64,
            0,
            key=f"{PAGE}_stride",
            persist_state="session",
            help="Pixels between the centres of patches. 0 lays them side by side; half a patch gives four "
            "times as many, which overlap: a finer map.",
        )
    return FeatureOptions(int(layer), facet, int(stride) or None, None if size == OWN_SIZE else int(size))


def set_options(options: FeatureOptions, spec_is_shipped: bool) -> str:
    """Set the widgets to the options of a run before they are drawn; return what cannot be set."""
    asked = st.session_state
    asked[f"{PAGE}_layer"], asked[f"{PAGE}_facet"] = options.layer, options.facet
    asked[f"{PAGE}_stride"] = options.stride or 0
    size = OWN_SIZE if options.size is None else str(options.size)
    if size not in SIZES:
        return f"The run's input size of {plain(size)} pixels is not on the list here."
    asked[f"{PAGE}_size_{spec_is_shipped}"] = size
    return ""
