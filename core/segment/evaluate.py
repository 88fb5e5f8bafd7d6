"""How good a segmenter is where the truth is known: simulated clicks and boxes on objects of known masks."""

import operator
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

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
from core.segment.segmenter import ImageEmbedding, Segmenter, decode, embed

KINDS = ("plain", "shapes", "cutouts")
"""Of fresh pictures: scenes, drawn things on any ground, and pieces of photographs on photographs."""
LEVELS = (0.85, 0.90)
"""IoU that a person is content with, as counted in the field (NoC@85, NoC@90)."""
TEST_SEEDS = 3 * 10**12
"""First seed of fresh pictures; training's begin at 10^12."""
SIDE_PX = 256
RESAMPLES = 2_000


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


@dataclass(frozen=True, slots=True)
class ObjectScore:
    """How well one object was found."""

    iou: tuple[float, ...]
    """0-1, after 1, 2 … K clicks."""
    predicted_iou: tuple[float, ...]
    """What the model thought of each of these answers, about 0-1."""
    box_iou: float
    """0-1, by the exact box alone."""
    box_predicted_iou: float
    decode_ms: float
    """Median time of one answer."""
    kind: str = ""
    picture: int = 0
    """Number of its picture in the evaluation, from 0."""

    def clicks_to(self, level: float) -> int | None:
        """Return how many clicks reached this IoU first; None if K did not."""
        return next((k for k, value in enumerate(self.iou, start=1) if value >= level), None)

    @property
    def answers(self) -> tuple[tuple[float, float], ...]:
        """Predicted and true IoU of each answer: those after clicks, then that for the box."""
        clicked = zip(self.predicted_iou, self.iou, strict=True)
        return (*clicked, (self.box_predicted_iou, self.box_iou))


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


class Summary(NamedTuple):
    """Many objects in numbers. IoUs are 0-1; tuples run over 1, 2 … K clicks, or over `LEVELS`."""

    objects: int
    pictures: int
    mean_iou: tuple[float, ...]
    median_iou: tuple[float, ...]
    box_mean_iou: float
    box_median_iou: float
    clicks_to: tuple[float, ...]
    """Mean number of clicks to each level; an object that K clicks did not bring there counts as K."""
    failed: tuple[float, ...]
    """Share (0-1) of the objects that K clicks did not bring to each level."""
    predicted_correlation: float | None
    """Pearson's, of predicted with true IoU over all answers; None below three, or if either is constant."""
    interval: tuple[float, float] | None
    """95 % bootstrap interval of the mean IoU after one click, over pictures; None for a single picture."""

    def row(self) -> dict[str, float]:
        """Return the numbers by name; one that is not defined is left out."""
        found: dict[str, float | None] = {"objects": self.objects, "pictures": self.pictures}
        for number, (mean, median) in enumerate(zip(self.mean_iou, self.median_iou, strict=True), start=1):
            found |= {f"iou_{number}_clicks": mean, f"iou_{number}_clicks_median": median}
        found |= {"iou_box": self.box_mean_iou, "iou_box_median": self.box_median_iou}
        for level, clicks, failed in zip(LEVELS, self.clicks_to, self.failed, strict=True):
            found |= {f"clicks_to_{level * 100:.0f}": clicks, f"failed_{level * 100:.0f}": failed}
        low, high = self.interval or (None, None)
        found |= {"iou_1_clicks_low": low, "iou_1_clicks_high": high}
        found["predicted_iou_correlation"] = self.predicted_correlation
        return {name: float(value) for name, value in found.items() if value is not None}


def summarise(scores: Sequence[ObjectScore], seed: int = 0) -> Summary:
    """Return the numbers of at least one object, all of the same number of clicks.

    `seed` is that of the bootstrap, whose unit is the picture: objects of one picture are alike.
    """
    values = np.array([score.iou for score in scores])  # objects clicks
    boxes = [score.box_iou for score in scores]
    reached = [[score.clicks_to(level) for score in scores] for level in LEVELS]
    most = values.shape[1]
    return Summary(
        objects=len(scores),
        pictures=len({score.picture for score in scores}),
        mean_iou=tuple(values.mean(axis=0).tolist()),
        median_iou=tuple(np.median(values, axis=0).tolist()),
        box_mean_iou=float(np.mean(boxes)),
        box_median_iou=float(np.median(boxes)),
        clicks_to=tuple(float(np.mean([most if k is None else k for k in row])) for row in reached),
        failed=tuple(row.count(None) / len(row) for row in reached),
        predicted_correlation=_correlation(np.array([pair for score in scores for pair in score.answers])),
        interval=_interval(scores, seed),
    )


def _correlation(pairs: NDArray[np.float64]) -> float | None:
    """Return Pearson's correlation of the two columns."""
    first, second = pairs.T
    if len(pairs) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def _interval(scores: Sequence[ObjectScore], seed: int) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean IoU after one click, pictures drawn with replacement."""
    from scipy.stats import bootstrap

    _, picture = np.unique([score.picture for score in scores], return_inverse=True)
    counts = np.bincount(picture)
    if len(counts) < 2:
        return None
    sums = np.bincount(picture, weights=[score.iou[0] for score in scores])
    found = bootstrap(
        (sums, counts),
        lambda total, count, axis: total.sum(axis=axis) / count.sum(axis=axis),
        paired=True,
        n_resamples=RESAMPLES,
        batch=100,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured, overall and by kind of picture."""

    clicks: int
    """Most clicks of an object, K."""
    seed: int
    scores: tuple[ObjectScore, ...]
    overall: Summary
    by_kind: dict[str, Summary]
    encode_ms: float
    """Median time of encoding a picture."""
    decode_ms: float
    """Median over the objects of the time of one answer."""

    @property
    def objects(self) -> int:
        """How many were clicked."""
        return len(self.scores)

    def metrics(self) -> dict[str, float]:
        """Return the overall numbers by name, and the times in milliseconds."""
        return self.overall.row() | {"encode_ms": self.encode_ms, "decode_ms": self.decode_ms}

    def rows(self) -> list[dict[str, float | str]]:
        """Return a table: one row over all pictures, and one for each kind where there are several."""
        kinds = self.by_kind if len(self.by_kind) > 1 else {}
        return [
            {"pictures of": kind, **found.row()} for kind, found in {"all": self.overall, **kinds}.items()
        ]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "clicks": self.clicks,
            "seed": self.seed,
            "levels": list(LEVELS),
            "encode_ms_p50": self.encode_ms,
            "decode_ms_p50": self.decode_ms,
            "overall": _plain(self.overall),
            "by_kind": {kind: _plain(summary) for kind, summary in self.by_kind.items()},
            "objects": [_lists(asdict(score)) for score in self.scores],
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Evaluation":
        """Return the evaluation that `to_json` wrote.

        Raises:
            InputError: It is none.
        """
        try:
            scores = [_score(row) for row in raw["objects"]]
            return _summed_up(scores, raw["clicks"], raw["seed"], float(raw["encode_ms_p50"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError("This is no stored evaluation.", "Evaluate again.") from error


def _score(row: Mapping[str, Any]) -> ObjectScore:
    several = {name: tuple(row[name]) for name in ("iou", "predicted_iou")}
    return ObjectScore(**{**row, **several})


def _plain(summary: Summary) -> dict[str, Any]:
    return _lists(summary._asdict())


def _lists(values: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


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
    return _summed_up(scores, clicks, seed, float(np.median(encode_ms)))


def _summed_up(scores: Sequence[ObjectScore], clicks: int, seed: int, encode_ms: float) -> Evaluation:
    by_kind = {
        kind: summarise([score for score in scores if score.kind == kind], seed)
        for kind in dict.fromkeys(score.kind for score in scores)
    }
    decode_ms = float(np.median([score.decode_ms for score in scores]))
    overall = summarise(scores, seed)
    return Evaluation(clicks, seed, tuple(scores), overall, by_kind, encode_ms, decode_ms)
