"""Example pictures that need no network: photographs that scikit-image installs, and scenes drawn here.

The photographs are read as files. Importing `skimage` would take a second and its accessors may download.
"""

import difflib
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.images import ImageInput, decode, from_rgb
from core.scenes import ScenePair, generate_pair, generate_scene

SCENE_PREFIX = "scene/"
PAIR_PREFIX = "pair/"


@dataclass(frozen=True, slots=True)
class Sample:
    """An example picture."""

    id: str
    """What `load_sample` takes, and the name of the picture that it returns."""
    title: str
    source: str
    """Who made it, and under which terms."""
    kind: Literal["photo", "scene"]


_PHOTOS = {
    "astronaut": ("astronaut.png", "Astronaut Eileen Collins", "NASA, public domain"),
    "chelsea": ("chelsea.png", "Chelsea the cat", "Stefan van der Walt, CC0"),
    "coffee": ("coffee.png", "Cup of coffee", "Rachel Michetti, Pikolo Espresso Bar, CC0"),
    "rocket": ("rocket.jpg", "Rocket launch", "SpaceX, public domain"),
    "motorcycle-left": (
        "motorcycle_left.png",
        "Motorcycle, left eye",
        "Middlebury Stereo 2014, Scharstein et al.",
    ),
    "motorcycle-right": (
        "motorcycle_right.png",
        "Motorcycle, right eye",
        "Middlebury Stereo 2014, Scharstein et al.",
    ),
    "camera": ("camera.png", "Photographer with camera", "Lav Varshney, CC0"),
    "coins": ("coins.png", "Greek coins from Pompeii", "Brooklyn Museum, no known restrictions"),
    "page": ("page.png", "Scanned page", "scikit-image"),
    "text": ("text.png", "Handwriting", "Wikipedia, public domain"),
    "retina": ("retina.jpg", "Human retina", "Mikael Häggström, CC0"),
    "hubble": ("hubble_deep_field.jpg", "Hubble deep field", "NASA, public domain"),
    "moon": ("moon.png", "Surface of the moon", "scikit-image"),
    "tissue": ("ihc.png", "Stained tissue", "CMMI, no known restrictions"),
    "brick": ("brick.png", "Brick wall", "CC0 Textures, CC0"),
}
"""Sample id to file, title and source; terms as scikit-image's data documentation states them."""

HELD_OUT = ("coffee", "rocket", "tissue", "moon")
"""Photographs that no shipped checkpoint has learned from."""

_SCENES = (1, 2, 3, 4, 5, 6)


def _folder() -> Path | None:
    """Return scikit-image's data folder, found without importing the package."""
    spec = find_spec("skimage")
    return Path(spec.origin).parent / "data" if spec and spec.origin else None


@lru_cache(maxsize=1)
def samples() -> tuple[Sample, ...]:
    """Return the examples that are on this machine: photographs first, then a few scenes.

    `scene/SEED` is a sample for every seed, not only for the listed ones; `pair/SEED/first` and
    `pair/SEED/second` are two views of one scene.
    """
    folder = _folder()
    photos = (
        Sample(key, title, source, "photo")
        for key, (file, title, source) in _PHOTOS.items()
        if folder and (folder / file).is_file()
    )
    scenes = (
        Sample(f"{SCENE_PREFIX}{seed}", f"Scene {seed}", "drawn by this program", "scene") for seed in _SCENES
    )
    return (*photos, *scenes)


def load_sample(sample_id: str) -> ImageInput:
    """Return a sample as if its file had been uploaded; its name is its id.

    Raises:
        InputError: There is no such sample here.
    """
    if sample_id.startswith(SCENE_PREFIX):
        return decode(generate_scene(_seed(sample_id, SCENE_PREFIX)).png(), sample_id)
    if sample_id.startswith(PAIR_PREFIX):
        pair, view = scene_pair(sample_id)
        return from_rgb(pair.first.rgb if view == "first" else pair.second, sample_id)
    folder = _folder()
    known = [sample.id for sample in samples()]
    if folder is None or sample_id not in _PHOTOS or sample_id not in known:
        near = difflib.get_close_matches(sample_id, known, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(known)}."
        raise InputError(f"There is no sample called {sample_id!r}.", hint)
    return decode((folder / _PHOTOS[sample_id][0]).read_bytes(), sample_id)


def motorcycle_disparity() -> NDArray[np.float32] | None:
    """Return how much further left `motorcycle-right` shows each pixel of `motorcycle-left`; None without it.

    H W float32, in pixels; infinite where that is not known. The right picture shows at (x - disparity, y)
    what the left one shows at (x, y), unless something in front hides it there.
    """
    path = (_folder() or Path()) / "motorcycle_disp.npz"
    if not path.is_file():
        return None
    with np.load(path) as file:
        disparity: NDArray[np.float32] = file["arr_0"]
    return disparity


@lru_cache(maxsize=2)
def photographs(held_out: bool = False) -> tuple[NDArray[np.uint8], ...]:
    """Return the pixels of the photographs (H W 3 each) to learn from, or of those held out."""
    chosen = [sample.id for sample in samples() if sample.kind == "photo"]
    return tuple(load_sample(name).rgb for name in chosen if (name in HELD_OUT) == held_out)


def scene_pair(sample_id: str) -> tuple[ScenePair, str]:
    """Return the pair that a sample is a view of, and which: `first` or `second`.

    Raises:
        InputError: The name is not that of a view.
    """
    name, _, view = sample_id.rpartition("/")
    if view not in ("first", "second"):
        raise InputError(f"{sample_id!r} names no view of a scene.", "End it in first or second.")
    return generate_pair(_seed(name, PAIR_PREFIX)), view


def _seed(sample_id: str, prefix: str) -> int:
    digits = sample_id.removeprefix(prefix)
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        raise InputError(f"{sample_id!r} names no scene.", f"Write {prefix} and a whole number from 0.")
    return int(digits)
