"""Fresh scenes as a data set: pictures whose truth is exact, and which nothing has learned from."""

import re
from functools import lru_cache

from core.errors import InputError
from core.images import ImageInput, decode
from core.scenes import Scene, SceneOptions, generate_scene
from core.vlm.datasets.values import MAX_ITEMS, Item, Items
from core.vlm.tasks import TASKS, truth_of

PREFIX = "scenes:"
FIRST_SEED = 5 * 10**17
"""Of the scenes of seed 0; far from those that shipped models have learned from and were tested on."""
MAX_SEED = 10**12
OPTIONS = SceneOptions(text_probability=0.75)
"""A word on most of them, so that the other ones ask for "none"."""


def scene_items(count: int, seed: int = 0) -> Items:
    """Return `count` fresh scenes: the same ones for the same seed, and none of another seed's.

    Each task is asked of each; of a scene's questions one, over the scenes one kind after the other.

    Raises:
        InputError: There are too few or too many, or the seed is out of range.
    """
    if not 1 <= count <= MAX_ITEMS:
        raise InputError(f"{count} scenes were asked for.", f"Choose 1 to {MAX_ITEMS:,}.")
    if not 0 <= seed <= MAX_SEED:
        raise InputError(f"The seed is {seed}.", f"Choose a whole number from 0 to {MAX_SEED:,}.")
    name = f"{PREFIX}{count}@{seed}"
    ids = [f"scene-{seed}-{number}" for number in range(count)]
    return Items(
        name,
        name,
        ids,
        lambda position: _item(ids[position], seed, position),
        unprompted=lambda task: "A scene" if task == "free" else "",
    )


def parse_scenes(text: str) -> tuple[int, int]:
    """Return count and seed of what is written as in `scenes:500@7`; the seed is 0 where it is left out.

    Raises:
        InputError: It is written otherwise.
    """
    found = re.fullmatch(r"scenes:(\d{1,7})(?:@(\d{1,13}))?", text.strip(), re.ASCII)
    if found is None:
        raise InputError(f"{text!r} names no scenes.", "Write it as in scenes:500 or scenes:500@7.")
    return int(found[1]), int(found[2] or 0)


def _item(item_id: str, seed: int, position: int) -> Item:
    scene = _scene(seed, position)
    references, prompts = {}, {}
    for task in TASKS:
        truths = truth_of(scene, task)
        if truths:
            prompt, references[task] = truths[position % len(truths)]
            prompts[task] = prompt
    return Item(item_id, lambda: _picture(item_id, seed, position), references, prompts)


@lru_cache(maxsize=64)
def _scene(seed: int, position: int) -> Scene:
    """Return a scene; several models and tasks ask for the same one shortly after each other."""
    return generate_scene(FIRST_SEED + seed * MAX_ITEMS + position, OPTIONS)


def _picture(item_id: str, seed: int, position: int) -> ImageInput:
    return decode(_scene(seed, position).png(), item_id)
