"""Evaluation: the protocol asks what it says, and every number is what it claims to be."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from core.errors import InputError
from core.images import ImageInput, from_rgb
from core.registry import ModelSpec
from core.samples import photographs
from core.scenes.clutter import generate_clutter
from core.segment import Geometry, Segmenter, embed
from core.segment.clicks import first_click
from core.segment.evaluate import (
    TEST_SEEDS,
    TruthPicture,
    evaluate,
    evaluate_object,
    truth_pictures,
    uploaded_pictures,
)
from core.segment.original import OriginalSam
from core.segment.scores import Evaluation, ObjectScore, summarise
from core.segment.small_sam import build_small_sam
from core.training.promptable.data import TRAIN_SEEDS

SIDE = 64
RADII = (3, 8, 14)
"""Of the three answers; the middle one is thought best."""


def disc(x: float, y: float, radius: float) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    inside: NDArray[np.bool_] = (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
    return inside


@dataclass(frozen=True, eq=False)
class Painter(Segmenter):
    """A segmenter that can be foretold: a disc around the last point, added to the mask it starts from.

    Excluded points take a disc away; a box is filled. It takes pictures of its own size.
    """

    asked: list[tuple[int, bool, bool, bool]] = field(default_factory=list)
    """Of each prompt: number of points, whether a box, whether logits, whether several answers."""

    @property
    def side(self) -> int:
        return SIDE

    @property
    def low_res_side(self) -> int:
        return SIDE

    def encode(self, rgb: NDArray[np.uint8]) -> tuple[tuple[Tensor, ...], Geometry]:
        return (torch.zeros(1),), Geometry((SIDE, SIDE), (SIDE, SIDE), SIDE)

    def predict(
        self,
        tensors: tuple[Tensor, ...],
        points: Tensor | None,
        labels: Tensor | None,
        boxes: Tensor | None,
        logits: Tensor | None,
        multimask: bool,
    ) -> tuple[Tensor, Tensor]:
        count = 0 if points is None else points.shape[1]
        self.asked.append((count, boxes is not None, logits is not None, multimask))
        radii = RADII if multimask else RADII[1:2]
        start = np.zeros((SIDE, SIDE), bool) if logits is None else logits[0, 0].numpy() > 0
        answers = []
        for radius in radii:
            mask = start.copy()
            if points is not None and labels is not None:
                x, y = points[0, -1].tolist()
                mask = mask | disc(x, y, radius) if labels[0, -1] else mask & ~disc(x, y, radius)
            if boxes is not None:
                x0, y0, x1, y1 = (int(edge) for edge in boxes[0].tolist())
                mask[y0:y1, x0:x1] = True
            answers.append(mask)
        low = torch.from_numpy(np.where(np.stack(answers), 4.0, -4.0).astype(np.float32))[None]
        return low, torch.tensor([[0.2, 0.9, 0.5] if multimask else [0.7]])


def painter() -> Painter:
    spec = ModelSpec("shipped/painter", "Painter", "shipped", ("segmentation",), "painter")
    return Painter(spec, nn.Identity(), "cpu", "float32", 0.0, 0.0)


def blank(name: str = "blank") -> ImageInput:
    return from_rgb(np.full((SIDE, SIDE, 3), 128, np.uint8), name)


def overlap(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


def scored(model: Segmenter, truth: NDArray[np.bool_], clicks: int) -> ObjectScore:
    rng = np.random.default_rng(0)
    return evaluate_object(model, embed(model, blank()), truth, clicks, rng, first="centre")


def test_each_click_starts_from_the_answer_before_and_the_box_from_nothing() -> None:
    model = painter()
    truth = np.zeros((SIDE, SIDE), bool)
    truth[10:31, 5:56] = True
    score = scored(model, truth, clicks=3)
    first = first_click(truth, np.random.default_rng(0), "centre")
    start = disc(first.x, first.y, 8)
    assert score.iou[0] == overlap(start, truth)
    grown = [overlap(start | disc(x, y, 8), truth) for y, x in np.argwhere(truth & ~start)]
    assert any(score.iou[1] == pytest.approx(value) for value in grown)
    assert score.iou[0] < score.iou[1] < score.iou[2]
    assert score.box_iou == 1.0
    assert score.predicted_iou == pytest.approx((0.9, 0.7, 0.7))
    assert score.box_predicted_iou == pytest.approx(0.7)
    assert model.asked == [
        (1, False, False, True),
        (2, False, True, False),
        (3, False, True, False),
        (0, True, False, False),
    ]


def test_what_was_taken_too_much_is_clicked_away() -> None:
    truth = disc(32, 32, 8) & (np.arange(SIDE) < 36)
    score = scored(painter(), truth, clicks=2)
    first = first_click(truth, np.random.default_rng(0), "centre")
    start = disc(first.x, first.y, 8)
    assert (start & ~truth).sum() > (truth & ~start).sum()
    shrunk = [overlap(start & ~disc(x, y, 8), truth) for y, x in np.argwhere(start & ~truth)]
    assert any(score.iou[1] == pytest.approx(value) for value in shrunk)


def test_after_a_perfect_answer_nobody_clicks() -> None:
    model = painter()
    score = scored(model, disc(32, 32, 8), clicks=4)
    assert score.iou == (1.0,) * 4 and score.predicted_iou == pytest.approx((0.9,) * 4)
    assert [count for count, *_ in model.asked] == [1, 0]


def test_an_empty_truth_is_refused() -> None:
    with pytest.raises(InputError, match="empty"):
        scored(painter(), np.zeros((SIDE, SIDE), bool), clicks=1)


def an_object(ious: Sequence[float], box: float = 0.5, picture: int = 0, **more: Any) -> ObjectScore:
    return ObjectScore(tuple(ious), tuple(ious), box, box, 1.0, picture=picture, **more)


def test_clicks_to_a_level_and_the_failures_that_count_as_all_clicks() -> None:
    scores = [an_object([0.2, 0.86, 0.95]), an_object([0.9, 0.5, 0.5]), an_object([0.1, 0.2, 0.3])]
    assert [score.clicks_to(0.85) for score in scores] == [2, 1, None]
    assert [score.clicks_to(0.90) for score in scores] == [3, 1, None]
    found = summarise(scores)
    assert found.clicks_to == pytest.approx(((2 + 1 + 3) / 3, (3 + 1 + 3) / 3))
    assert found.failed == pytest.approx((1 / 3, 1 / 3))


def test_means_and_medians_are_over_the_objects() -> None:
    found = summarise([an_object([0.0, 1.0], 0.3), an_object([0.2, 0.4], 0.5), an_object([1.0, 0.7], 0.7)])
    assert found.mean_iou == pytest.approx((0.4, 0.7)) and found.median_iou == pytest.approx((0.2, 0.7))
    assert (found.box_mean_iou, found.box_median_iou) == pytest.approx((0.5, 0.5))
    assert (found.objects, found.pictures, found.interval) == (3, 1, None)


def test_the_correlation_is_over_all_answers() -> None:
    one = ObjectScore((0.2, 0.4), (0.9, 0.7), 0.6, 0.5, 1.0)
    assert summarise([one]).predicted_correlation == pytest.approx(-1.0)
    two = replace(one, box_predicted_iou=0.9)
    expected = np.corrcoef([0.2, 0.4, 0.6], [0.9, 0.7, 0.9])[0, 1]
    assert summarise([two]).predicted_correlation == pytest.approx(expected)
    constant = replace(one, predicted_iou=(0.5, 0.5))
    assert summarise([constant]).predicted_correlation is None
    assert summarise([ObjectScore((0.2,), (0.9,), 0.6, 0.5, 1.0)]).predicted_correlation is None


def test_the_interval_is_that_of_the_normal_approximation_and_its_unit_is_the_picture() -> None:
    values = np.random.default_rng(1).uniform(0.3, 1.0, 200)
    apart = [an_object([value], picture=number) for number, value in enumerate(values)]
    low, high = summarise(apart).interval or (0.0, 0.0)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.15 * half)
    again = summarise([score for score in apart for _ in range(5)])  # five alike in each picture
    assert again.interval == pytest.approx((low, high))


def truths(count: int, kind: str = "uploaded") -> list[TruthPicture]:
    rng = np.random.default_rng(count)
    return [
        TruthPicture(
            blank(f"{kind} {number}"),
            tuple(disc(*rng.uniform(15, 49, 2), rng.uniform(5, 12)) for _ in range(4)),
            kind,
        )
        for number in range(count)
    ]


def test_an_evaluation_is_over_the_pictures_and_by_kind() -> None:
    pictures = truths(3, "plain") + truths(2, "shapes")
    shares: list[float] = []
    found = evaluate(painter(), pictures, clicks=2, objects_per_picture=3, seed=4, progress=shares.append)
    assert shares == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert found.objects == 15
    assert {kind: row.objects for kind, row in found.by_kind.items()} == {"plain": 9, "shapes": 6}
    mean = sum(row.objects * row.mean_iou[1] for row in found.by_kind.values()) / 15
    assert found.overall.mean_iou[1] == pytest.approx(mean)
    assert found.by_kind["plain"] == summarise([s for s in found.scores if s.kind == "plain"], 4)
    raw = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert raw["overall"]["mean_iou"] == list(found.overall.mean_iou)
    assert len(raw["objects"]) == 15 and raw["by_kind"]["shapes"]["objects"] == 6
    metrics = found.metrics()
    assert metrics["iou_1_clicks"] == found.overall.mean_iou[0] and metrics["iou_box"] > 0.5
    assert [row["pictures of"] for row in found.rows()] == ["all", "plain", "shapes"]


def test_the_same_seed_measures_the_same_and_a_picture_does_not_depend_on_those_before() -> None:
    def ious(pictures: list[TruthPicture], seed: int) -> list[tuple[float, ...]]:
        return [score.iou for score in evaluate(painter(), pictures, clicks=2, seed=seed).scores]

    pictures = truths(3)
    assert ious(pictures, 1) == ious(pictures, 1) != ious(pictures, 2)
    assert ious([*truths(2, "other")[:1], *pictures[1:]], 1)[3:] == ious(pictures, 1)[3:]


class Stopped(BaseException):
    """As Streamlit raises to end a script."""


def test_an_evaluation_ends_where_progress_raises() -> None:
    told: list[float] = []

    def tell(share: float) -> None:
        told.append(share)
        if len(told) == 2:
            raise Stopped

    with pytest.raises(Stopped):
        evaluate(painter(), truths(5), clicks=1, progress=tell)
    assert told == pytest.approx([0.2, 0.4])


def test_a_stored_evaluation_is_read_again() -> None:
    found = evaluate(painter(), truths(3, "plain") + truths(2, "shapes"), clicks=2, seed=4)
    raw = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert Evaluation.from_json(raw) == found
    for broken in ({}, raw | {"objects": [{}]}, raw | {"encode_ms_p50": None}, raw | {"objects": 3}):
        with pytest.raises(InputError, match="no stored evaluation"):
            Evaluation.from_json(broken)


def test_an_evaluation_of_nothing_is_refused() -> None:
    for pictures, clicks in (([], 1), (truths(1), 0)):
        with pytest.raises(InputError):
            evaluate(painter(), pictures, clicks=clicks)


def test_fresh_pictures_are_of_each_kind_the_same_for_a_seed_and_none_of_training() -> None:
    one, again, other = (list(truth_pictures(2, seed)) for seed in (0, 0, 1))
    assert [picture.kind for picture in one] == ["plain", "shapes", "cutouts"] * 2
    digests = [picture.image.sha256 for picture in one]
    assert digests == [picture.image.sha256 for picture in again]
    assert not set(digests) & {picture.image.sha256 for picture in other}
    assert len(set(digests)) == len(one) == len(truth_pictures(2, 0))
    for picture in one:
        size = picture.image.height, picture.image.width
        assert picture.masks and all(mask.shape == size and mask.any() for mask in picture.masks)
        assert np.sum(picture.masks, axis=0).max() == 1  # each pixel is one object's at most
    assert TEST_SEEDS - TRAIN_SEEDS >= 10**12


def test_cutouts_are_of_photographs_that_are_held_out() -> None:
    *_, cutouts = truth_pictures(1, 3)
    drawn = generate_clutter(TEST_SEEDS + 3 * 10**6, "cutouts", photographs(held_out=True), 256)
    assert np.array_equal(cutouts.image.rgb, drawn.rgb)


def test_numbers_of_fresh_pictures_that_are_of_no_use_are_refused() -> None:
    for n, seed in ((0, 0), (1, -1), (10**6 + 1, 0)):
        with pytest.raises(InputError, match="pictures of each kind"):
            truth_pictures(n, seed)


def test_uploaded_masks_must_fit_their_picture() -> None:
    empty = np.zeros((SIDE, SIDE), bool)
    (picture,) = uploaded_pictures([(blank(), [disc(30, 30, 5), empty])])
    assert len(picture.masks) == 1 and picture.kind == "uploaded"
    with pytest.raises(InputError, match="64 x 64"):
        uploaded_pictures([(blank(), [np.ones((SIDE, SIDE + 1), bool)])])
    with pytest.raises(InputError, match="No mask"):
        uploaded_pictures([(blank(), [empty])])


def test_a_segment_anything_model_can_be_evaluated() -> None:
    torch.manual_seed(0)
    sam = build_small_sam(64, 8, dim=16, depth=1, heads=2, prompt_dim=16).eval()
    spec = ModelSpec("random/sam", "Sam", "shipped", ("segmentation",), "sam")
    model = OriginalSam(spec, sam, "cpu", "float32", 0.0, 0.0)
    found = evaluate(model, truth_pictures(1, 0), clicks=2, objects_per_picture=1)
    assert found.objects == 3 and found.encode_ms > 0 and found.decode_ms > 0
    assert all(0 <= value <= 1 for score in found.scores for value in (*score.iou, score.box_iou))
