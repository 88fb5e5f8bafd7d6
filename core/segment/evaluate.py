"""How good a segmenter is where the truth is known: simulated clicks and boxes on objects of known masks."""

import operator
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.explain.attention import synchronise
from core.images import ImageInput, from_rgb
from core.samples import photographs
from core.scenes import generate_scene
from core.scenes.clutter import Style, generate_clutter
from core.segment.clicks import Place, box_of, first_click, next_click
from core.segment.masks import Masks
from core.segment.prompts import Prompts
from core.segment.regions import iou
from core.segment.scores import Evaluation, ObjectScore, summed_up
from core.segment.segmenter import ImageEmbedding, Segmenter, decode, embed

KINDS = ("plain", "shapes", "cutouts")
"""Of fresh pictures: scenes, drawn things on any ground, and pieces of photographs on photographs."""
TEST_SEEDS = 3 * 10**12
"""First seed of fresh pictures; training's begin at 10^12."""
SIDE_PX = 256


class TruthPicture(NamedTuple):
    """A picture of which is known what is in it."""

    image: ImageInput
    masks: tuple[NDArray[np.bool_], ...]
    """H W each: the visible pixels of every object."""
    kind: str
    """One of `KINDS`, or `uploaded`."""


@dataclass(frozen=True, slots=True)
class FreshPictures:
    """`n` pictures of each kind in turn, drawn when they are asked for; `len` is how many in all."""

    n: int
    seed: int

    def __len__(self) -> int:
        return self.n * len(KINDS)

    def __iter__(self) -> Iterator[TruthPicture]:
        first = TEST_SEEDS + self.seed * 10**6
        for number in range(first, first + self.n):
            yield from (_fresh(kind, number) for kind in KINDS)


def truth_pictures(n: int, seed: int) -> FreshPictures:
    """Return `n` (1 to 10^6) pictures of each kind that no training has seen; other seeds, other pictures.

    Cut-outs and grounds are of the photographs that are held out from training.

    Raises:
        InputError: `n` or `seed` is of no use.
    """
    if not 1 <= n <= 10**6 or not 0 <= seed < 10**12:
        raise InputError(
            f"There are no {n} pictures of each kind of seed {seed}.",
            "Choose 1 to 10^6, and a seed of 0 to 10^12.",
        )
    return FreshPictures(n, seed)


def _fresh(kind: str, seed: int) -> TruthPicture:
    name = f"{kind} {seed}"
    if kind == "plain":
        scene = generate_scene(seed)
        masks = tuple(item.mask for item in scene.objects if item.mask.any())
        return TruthPicture(from_rgb(scene.rgb, name), masks, kind)
    style: Style = "shapes" if kind == "shapes" else "cutouts"
    clutter = generate_clutter(seed, style, photographs(held_out=True), SIDE_PX)
    return TruthPicture(from_rgb(clutter.rgb, name), clutter.masks, kind)


def uploaded_pictures(
    pairs: Iterable[tuple[ImageInput, Sequence[NDArray[np.bool_]]]],
) -> tuple[TruthPicture, ...]:
    """Return pictures with the masks (H W bool) that a person gave; empty masks are left out.

    Raises:
        InputError: A mask has another size than its picture, or a picture has no object.
    """
    found = []
    for image, masks in pairs:
        for mask in masks:
            if mask.shape != (image.height, image.width):
                raise InputError(
                    f"A mask of {image.name} is {mask.shape[1]} x {mask.shape[0]} pixels, the picture "
                    f"{image.width} x {image.height}.",
                    "Give masks of the picture's size.",
                )
        objects = tuple(mask for mask in masks if mask.any())
        if not objects:
            raise InputError(f"No mask of {image.name} has a pixel.", "Give at least one object.")
        found.append(TruthPicture(image, objects, "uploaded"))
    return tuple(found)


def evaluate_object(
    model: Segmenter,
    embedding: ImageEmbedding,
    truth: NDArray[np.bool_],
    clicks: int,
    rng: np.random.Generator,
    first: Place = "random",
) -> ObjectScore:
    """Return how well `model` finds one object (H W bool) by up to `clicks` clicks, and by its exact box.

    The first click keeps, of three masks, that of the highest predicted IoU: one click is ambiguous. Each
    later click asks for a single mask, with all clicks so far and the logits of the answer before, because
    the published models answer more than one prompt by that mask (Kirillov et al. 2023, appendix A). The
    small one learns both; its best of three did about 0.01 better after three clicks, a quarter of the way
    through its training. After an answer without any error there are no more clicks; it stands for the rest.

    Raises:
        InputError: The mask is empty, or has another size than the picture.
    """
    answers, times = [], []
    prompts = Prompts((first_click(truth, rng, first),))
    for number in range(clicks):
        masks, ms = _timed(model, embedding, prompts, multimask=number == 0)
        mask = masks.mask(masks.best)
        answers.append((iou(mask, truth), float(masks.predicted_iou[masks.best])))
        times.append(ms)
        if np.array_equal(mask, truth):
            break
        prompts = Prompts((*prompts.points, next_click(truth, mask)), logits=masks.low_res[masks.best])
    answers += answers[-1:] * (clicks - len(answers))
    boxed, ms = _timed(model, embedding, Prompts(box=box_of(truth)), multimask=False)
    return ObjectScore(
        iou=tuple(value for value, _ in answers),
        predicted_iou=tuple(predicted for _, predicted in answers),
        box_iou=iou(boxed.mask(0), truth),
        box_predicted_iou=float(boxed.predicted_iou[0]),
        decode_ms=float(np.median([*times, ms])),
    )


def _timed(
    model: Segmenter, embedding: ImageEmbedding, prompts: Prompts, multimask: bool
) -> tuple[Masks, float]:
    started = time.perf_counter()
    masks = decode(model, embedding, prompts, multimask)
    synchronise(model.device)
    return masks, (time.perf_counter() - started) * 1000


def evaluate(
    model: Segmenter,
    pictures: Iterable[TruthPicture],
    *,
    clicks: int = 5,
    objects_per_picture: int = 3,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> Evaluation:
    """Click objects as a person would, and measure how well the answers fit.

    Args:
        pictures: Each is embedded once.
        clicks: Most clicks of an object, at least 1.
        objects_per_picture: How many of a picture's objects are clicked, chosen at random; fewer if it has
            fewer.
        seed: Of the choice, of the first clicks and of the bootstrap. Each picture has its own stream of
            chance, so what is measured on it does not depend on those before.
        progress: Given the share of the pictures done (0-1, 0 throughout if there is no telling how many
            there are); may raise to end everything.

    Raises:
        InputError: There is no object to click, or nothing is to be done with any.
    """
    if clicks < 1 or objects_per_picture < 1:
        raise InputError("Nothing is to be clicked.", "Allow at least one click on one object.")
    total, encode_ms = operator.length_hint(pictures), []
    scores: list[ObjectScore] = []
    for number, picture in enumerate(pictures):
        rng = np.random.default_rng((seed, number))
        started = time.perf_counter()
        embedding = embed(model, picture.image)
        synchronise(model.device)
        encode_ms.append((time.perf_counter() - started) * 1000)
        for index in rng.permutation(len(picture.masks))[:objects_per_picture]:
            found = evaluate_object(model, embedding, picture.masks[int(index)], clicks, rng)
            scores.append(replace(found, kind=picture.kind, picture=number))
        if progress is not None:
            progress((number + 1) / total if total else 0.0)
    if not scores:
        raise InputError("There is no object to evaluate on.", "Give pictures with masks.")
    return summed_up(scores, clicks, seed, float(np.median(encode_ms)))
