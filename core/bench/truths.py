"""Pictures of which something is known: scenes, whose truth is exact, or a labelled zip, folder or table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from core.bench.labelled import label_of
from core.errors import InputError
from core.images import ImageInput, from_rgb
from core.scenes import CLASSES, Scene, generate_scene
from core.vlm.datasets import open_items
from core.vlm.datasets.scenes import PREFIX, parse_scenes
from core.vlm.datasets.values import Item, Items
from core.vlm.tasks import truth_of

FIRST_SEED = 6 * 10**17
"""Of the scenes of seed 0; far from those that shipped models have learned from and were tested on."""
MAX_SCENES = 100_000
MAX_SEED = 10**12
MAX_LABELLED = 10_000
"""Most pictures of a labelled set; of a larger one, give a sample."""
TASKS = ("caption", "objects")
"""What a model that writes is asked, where it is known."""


@dataclass(frozen=True, eq=False, slots=True)
class Truth:
    """One picture, and what is known of it."""

    id: str
    load: Callable[[], ImageInput]
    """Reads the picture; raises an InputError where it cannot be used."""
    label: Callable[[], str]
    """Returns its class; raises an InputError where it has none."""
    references: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Right answers by task, of `TASKS`."""
    masks: tuple[NDArray[np.bool_], ...] = ()
    """H W each: the visible pixels of every object."""


@dataclass(frozen=True, eq=False, slots=True)
class Truths:
    """Pictures with their truth, each made when it is asked for."""

    name: str
    digest: str
    """Tells it from every other set, and from itself with other contents."""
    ids: Sequence[str]
    at: Callable[[int], Truth]
    """Position to truth."""
    classes: Callable[[], tuple[str, ...]]
    """Returns all classes; raises an InputError where a picture has none."""
    closed: bool = False
    """Whether a model that was made for these pictures knows all classes; of another, a name that is the same
    by chance (`drop` is a cliff in ImageNet) says nothing."""

    def __len__(self) -> int:
        return len(self.ids)

    def sample(self, n: int, seed: int = 0) -> "Truths":
        """Return `n` of the pictures, drawn without looking at them, in their order; all if there are fewer.

        Raises:
            InputError: `n` is below 1.
        """
        if n < 1:
            raise InputError(f"{n} pictures were asked for.", "Choose at least 1.")
        if n >= len(self):
            return self
        drawn = np.sort(np.random.default_rng(seed).choice(len(self), n, replace=False)).tolist()
        name = f"{n} of {self.name}"
        ids = [self.ids[position] for position in drawn]
        digest = f"{self.digest} sample {n} {seed}"
        return replace(self, name=name, digest=digest, ids=ids, at=lambda position: self.at(drawn[position]))


def open_truths(source: str) -> Truths:
    """Return what a person on this machine names: `scenes:N[@SEED]`, a zip, a folder or a table.

    Raises:
        InputError: There is no such set, or it cannot be used.
    """
    if source.startswith(PREFIX):
        return scene_truths(*parse_scenes(source))
    return labelled_truths(open_items(source))


def scene_truths(count: int, seed: int = 0) -> Truths:
    """Return `count` fresh scenes: the same ones for the same seed, and none of another seed's.

    Raises:
        InputError: There are too few or too many, or the seed is out of range.
    """
    if not 1 <= count <= MAX_SCENES or not 0 <= seed <= MAX_SEED:
        raise InputError(
            f"There are no {count} scenes of seed {seed}.",
            f"Choose 1 to {MAX_SCENES:,}, and a seed of 0 to {MAX_SEED:,}.",
        )
    name = f"{PREFIX}{count}@{seed}"
    first = FIRST_SEED + seed * MAX_SCENES
    ids = [f"scene-{seed}-{number}" for number in range(count)]
    return Truths(name, name, ids, lambda at: _scene_truth(ids[at], first + at), lambda: CLASSES, closed=True)


def _scene_truth(name: str, seed: int) -> Truth:
    scene = _scene(seed)
    return Truth(
        name,
        lambda: from_rgb(scene.rgb, name),
        lambda: scene.label,
        {task: references for task in TASKS for _, references in truth_of(scene, task)},
        tuple(item.mask for item in scene.objects if item.mask.any()),
    )


@lru_cache(maxsize=16)
def _scene(seed: int) -> Scene:
    """Return a scene; several models look at the same one shortly after each other."""
    return generate_scene(seed)


def labelled_truths(items: Items) -> Truths:
    """Return the pictures of a data set with their classes, and with their captions where a table has some.

    Raises:
        InputError: There are more than `MAX_LABELLED`.
    """
    if len(items) > MAX_LABELLED:
        raise InputError(
            f"{items.name} holds {len(items):,} pictures.",
            f"Give at most {MAX_LABELLED:,}; the same number of each class says as much.",
        )

    def classes() -> tuple[str, ...]:
        return tuple(sorted({label_of(items.at(at)) for at in range(len(items))}))

    return Truths(items.name, items.digest, items.ids, lambda at: _labelled(items.at(at)), classes)


def _labelled(item: Item) -> Truth:
    references = {task: found for task in TASKS if (found := item.references.get(task, ()))}
    return Truth(item.id, item.load, lambda: label_of(item), references)
