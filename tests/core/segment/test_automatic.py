"""Everything at once against segment-anything's own generator, and against masks known beforehand."""

import copy
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.utils import amg

from core.errors import InputError
from core.images import ImageInput, from_rgb
from core.registry import ModelSpec
from core.segment import Geometry, Segmenter, embed, upscale
from core.segment.automatic import generate
from core.segment.automatic_values import AutomaticMask, AutomaticOptions
from core.segment.label_map import label_map, largest
from core.segment.masks import stability_score
from core.segment.original import OriginalSam
from core.segment.small_sam import build_small_sam

SPEC = ModelSpec("shipped/x", "x", "shipped", ("segmentation",), "x")
LOADED: dict[str, Any] = {"device": "cpu", "dtype": "float32", "load_ms": 0.0, "memory_mb": 0.0}
NAMES = {
    "min_predicted_iou": "pred_iou_thresh",
    "min_stability": "stability_score_thresh",
    "stability_offset": "stability_score_offset",
    "nms_iou": "box_nms_thresh",
    "crop_layers": "crop_n_layers",
    "crop_nms_iou": "crop_nms_thresh",
    "crop_overlap": "crop_overlap_ratio",
    "crop_points_downscale": "crop_n_points_downscale_factor",
    "min_region_px": "min_mask_region_area",
}
"""Of the options here, in segment-anything."""
LOOSE = AutomaticOptions(
    points_per_side=8, min_predicted_iou=0.4, min_stability=0.6, stability_offset=0.5, points_per_batch=24
)
"""Thresholds in the middle of what `LocalDecoder` answers."""
ALL = AutomaticOptions(points_per_side=2, min_predicted_iou=0.0, min_stability=0.0, nms_iou=1.0)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread: with networks this small, more only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class LocalDecoder(torch.nn.Module):
    """Marks what is like the point in place and, a little, in content: masks of three sizes, with islands.

    A random decoder of segment-anything answers much the same to every point.
    """

    def __init__(self) -> None:
        super().__init__()
        self.score = torch.nn.Linear(32, 3)

    def forward(
        self,
        image_embeddings: torch.Tensor,
        image_pe: torch.Tensor,
        sparse_prompt_embeddings: torch.Tensor,
        dense_prompt_embeddings: torch.Tensor,
        multimask_output: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        keys = torch.nn.functional.interpolate(
            image_pe + image_embeddings / 4, scale_factor=4.0, mode="bicubic"
        )
        point = sparse_prompt_embeddings[:, 0]
        alike = torch.einsum("nc,chw->nhw", point, keys[0]) / 16  # 1 at the point itself
        levels = torch.tensor([0.3, 0.5, 0.7])[:, None, None]
        return 8 * (alike[:, None] - levels), self.score(point).sigmoid()


@pytest.fixture(scope="module")
def plain_sam() -> OriginalSam:
    """Return a random model whose masks differ a little from point to point: its decoder is enlarged."""
    torch.manual_seed(0)
    module = build_small_sam(
        image_size=128,
        dim=32,
        depth=1,
        heads=2,
        global_blocks=(0,),
        prompt_dim=32,
        decoder_heads=2,
        decoder_mlp_dim=32,
    ).eval()
    with torch.no_grad():
        for parameter in module.mask_decoder.parameters():
            parameter.mul_(3.0 if parameter.dim() > 1 else 1.0)
    return OriginalSam(spec=SPEC, module=module, **LOADED)


@pytest.fixture(scope="module")
def sam(plain_sam: OriginalSam) -> OriginalSam:
    """Return the same with `LocalDecoder`."""
    module = copy.deepcopy(plain_sam.module)
    torch.manual_seed(0)
    module.mask_decoder = LocalDecoder().eval()
    return OriginalSam(spec=SPEC, module=module, **LOADED)


def picture(height: int, width: int, seed: int = 0) -> ImageInput:
    """Return a picture of coloured squares."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 256, (-(-height // 20), -(-width // 20), 3), dtype=np.uint8)
    return from_rgb(np.kron(colours, np.ones((20, 20, 1), np.uint8))[:height, :width], f"{width} x {height}")


def connected_components(mask: NDArray[np.uint8], connectivity: int) -> tuple[Any, ...]:
    """Return what `cv2.connectedComponentsWithStats` does, as far as segment-anything reads it."""
    assert connectivity == 8
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    return count + 1, labels, np.bincount(labels.ravel(), minlength=count + 1)[:, None], None


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """Return segment-anything's generator, with the one function it needs of OpenCV made of SciPy."""
    cv2 = SimpleNamespace(connectedComponentsWithStats=connected_components)
    monkeypatch.setitem(sys.modules, "cv2", cv2)

    def run(sam: OriginalSam, image: ImageInput, options: AutomaticOptions) -> list[dict[str, Any]]:
        arguments = {NAMES.get(name, name): value for name, value in asdict(options).items()}
        found: list[dict[str, Any]] = SamAutomaticMaskGenerator(sam.module, **arguments).generate(image.rgb)
        return found

    return run


def check_same(found: tuple[AutomaticMask, ...], wanted: list[dict[str, Any]]) -> None:
    """Check masks, their order, and everything said of them, against those of segment-anything."""
    assert len(found) == len(wanted)
    for own, other in zip(found, wanted, strict=True):
        union = (own.mask | other["segmentation"]).sum()
        assert (own.mask & other["segmentation"]).sum() >= 0.999 * union
        assert own.area == own.mask.sum() == pytest.approx(other["area"], rel=1e-3)
        assert amg.box_xyxy_to_xywh(list(own.box)) == pytest.approx(other["bbox"], abs=1)
        assert own.predicted_iou == pytest.approx(other["predicted_iou"], abs=1e-5)
        assert own.stability == pytest.approx(other["stability_score"], abs=1e-3)
        assert own.point == pytest.approx(other["point_coords"][0])
        assert amg.box_xyxy_to_xywh(list(own.crop)) == other["crop_box"]


@pytest.mark.parametrize(
    ("height", "width", "changes"),
    [
        (120, 160, {}),
        (300, 130, {"points_per_side": 11, "nms_iou": 0.9}),
        (128, 128, {"points_per_side": 16, "points_per_batch": 64, "nms_iou": 0.5}),
        (40, 57, {"min_predicted_iou": 0.0, "nms_iou": 0.95}),
        (150, 240, {"crop_layers": 1}),
        (230, 190, {"crop_layers": 2, "crop_points_downscale": 2, "crop_nms_iou": 0.6, "crop_overlap": 0.2}),
        (200, 200, {"min_region_px": 300, "nms_iou": 0.9}),
        (150, 240, {"crop_layers": 1, "min_region_px": 60, "nms_iou": 0.85, "crop_nms_iou": 0.8}),
    ],
)
def test_the_masks_are_those_of_segment_anything(
    sam: OriginalSam,
    reference: Callable[..., list[dict[str, Any]]],
    height: int,
    width: int,
    changes: dict[str, Any],
) -> None:
    image, options = picture(height, width), replace(LOOSE, **changes)
    wanted = reference(sam, image, options)
    assert len(wanted) > 4
    check_same(generate(sam, image, options), wanted)


def test_the_masks_are_those_of_segment_anything_with_its_own_decoder(
    plain_sam: OriginalSam, reference: Callable[..., list[dict[str, Any]]]
) -> None:
    options = replace(LOOSE, min_predicted_iou=0.0, stability_offset=0.05, nms_iou=0.95)
    image = picture(40, 57)
    wanted = reference(plain_sam, image, options)
    assert len(wanted) > 1
    check_same(generate(plain_sam, image, options), wanted)


def test_removing_small_regions_changes_masks_of_the_random_model(sam: OriginalSam) -> None:
    # otherwise the comparison above would show nothing of it
    image, options = picture(200, 200), replace(LOOSE, nms_iou=0.9)
    plain, cleaned = (generate(sam, image, replace(options, min_region_px=px)) for px in (0, 300))
    assert {mask.area for mask in cleaned} - {mask.area for mask in plain}


def test_the_size_of_batches_changes_nothing(sam: OriginalSam) -> None:
    image = picture(120, 160)
    one, other = (generate(sam, image, replace(LOOSE, points_per_batch=size)) for size in (7, 64))
    assert len(one) == len(other)
    assert all(np.array_equal(a.mask, b.mask) for a, b in zip(one, other, strict=True))


def test_a_given_embedding_is_used_and_must_belong_to_the_picture(sam: OriginalSam) -> None:
    image = picture(120, 160)
    embedding = embed(sam, image)
    found, wanted = generate(sam, image, LOOSE, embedding=embedding), generate(sam, image, LOOSE)
    assert [mask.area for mask in found] == [mask.area for mask in wanted]
    emptied = replace(embedding, tensors=tuple(torch.zeros_like(tensor) for tensor in embedding.tensors))
    assert [mask.area for mask in generate(sam, image, LOOSE, embedding=emptied)] != [m.area for m in wanted]
    with pytest.raises(ValueError, match="another picture"):
        generate(sam, picture(120, 160, seed=1), LOOSE, embedding=embedding)
    with pytest.raises(ValueError, match="not of shipped/x"):
        generate(sam, image, LOOSE, embedding=replace(embedding, model_id="other"))


def test_progress_rises_to_one(sam: OriginalSam) -> None:
    told: list[float] = []
    options = replace(LOOSE, crop_layers=1, crop_points_downscale=2)
    generate(sam, picture(120, 160), options, progress=told.append)
    total = 64 + 4 * 16
    assert told == pytest.approx([n / total for n in (24, 48, 64, 80, 96, 112, 128)])
    assert told[-1] == 1.0


class Stopped(BaseException):
    """As Streamlit raises to end a script."""


def test_it_stops_before_the_next_batch_when_progress_raises(sam: OriginalSam) -> None:
    told: list[float] = []

    def tell(share: float) -> None:
        told.append(share)
        if len(told) == 2:
            raise Stopped

    with pytest.raises(Stopped):
        generate(sam, picture(120, 160), LOOSE, progress=tell)
    assert told == [24 / 64, 48 / 64]


def test_no_mask_is_good_enough(sam: OriginalSam) -> None:
    strict = replace(LOOSE, min_predicted_iou=1.0, crop_layers=1, min_region_px=10)
    assert generate(sam, picture(60, 80), strict) == ()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (8, 400), (500, 6)])
def test_odd_pictures(
    sam: OriginalSam, reference: Callable[..., list[dict[str, Any]]], height: int, width: int
) -> None:
    image, options = picture(height, width), replace(LOOSE, points_per_side=4)
    found = generate(sam, image, options)
    check_same(found, reference(sam, image, options))
    assert all(mask.mask.shape == (height, width) for mask in found)
    generate(sam, image, replace(options, crop_layers=2))  # parts of less than a pixel are left out


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"points_per_side": 0}, "points_per_side"),
        ({"points_per_side": 1.5}, "points_per_side"),
        ({"points_per_batch": 0}, "points_per_batch"),
        ({"min_predicted_iou": 1.1}, "min_predicted_iou"),
        ({"min_stability": -0.1}, "min_stability"),
        ({"min_stability": float("nan")}, "min_stability"),
        ({"stability_offset": -1.0}, "stability_offset"),
        ({"nms_iou": 2.0}, "nms_iou"),
        ({"crop_layers": 5}, "crop_layers"),
        ({"crop_overlap": float("inf")}, "crop_overlap"),
        ({"min_region_px": -1}, "min_region_px"),
        ({"points_per_side": 3, "crop_layers": 2, "crop_points_downscale": 2}, "No point"),
    ],
)
def test_options_out_of_range_are_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named) as raised:
        AutomaticOptions(**changes)
    assert raised.value.remedy


@dataclass(frozen=True, eq=False)
class Known(Segmenter):
    """A model whose answers are given: the n-th point gets the n-th three masks, whatever the picture."""

    answers: torch.Tensor
    """N 3 h w."""
    predicted: torch.Tensor
    """N 3."""
    squeezes: bool = False

    @property
    def pads(self) -> bool:  # type: ignore[override]
        return not self.squeezes

    @property
    def side(self) -> int:
        return 4 * self.low_res_side

    @property
    def low_res_side(self) -> int:
        return self.answers.shape[-1]

    def encode(self, rgb: NDArray[np.uint8]) -> tuple[tuple[torch.Tensor, ...], Geometry]:
        height, width = rgb.shape[:2]
        longer = self.side if self.squeezes else max(height, width)
        scaled = [max(1, round(self.side * side / longer)) for side in (height, width)]
        resized = (self.side, self.side) if self.squeezes else (scaled[0], scaled[1])
        return (), Geometry((height, width), resized, self.side)

    def predict(
        self, tensors: Any, points: Any, labels: Any, boxes: Any, logits: Any, multimask: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        assert points.shape == (len(self.answers), 1, 2)
        assert labels.shape == (len(self.answers), 1)
        assert labels.all()
        assert multimask
        return self.answers, self.predicted


def known(answers: torch.Tensor, predicted: torch.Tensor, squeezes: bool = False) -> Known:
    return Known(
        spec=SPEC,
        module=torch.nn.Identity(),
        answers=answers,
        predicted=predicted,
        squeezes=squeezes,
        **LOADED,
    )


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 150),
    width=st.integers(1, 150),
    squeezes=st.booleans(),
    seed=st.integers(0, 10**6),
    shift=st.sampled_from([0.0, -0.5, -1.5, -3.0]),
)
def test_each_mask_is_the_upscaled_one(
    height: int, width: int, squeezes: bool, seed: int, shift: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(4, 3, 12, 12, generator=generator)
    answers = torch.nn.functional.avg_pool2d(noise, 3, 1, 1) * 3 + shift
    predicted = torch.rand(4, 3, generator=generator)
    model = known(answers, predicted, squeezes)
    image = from_rgb(np.zeros((height, width, 3), np.uint8), "black")
    found = generate(model, image, ALL)
    geometry = model.encode(image.rgb)[1]
    full = upscale(answers, geometry, model.pads).flatten(0, 1)
    wanted = {
        float(iou): logits
        for iou, logits in zip(predicted.flatten(), full, strict=True)
        if (logits > 0).any()
    }
    assert [mask.predicted_iou for mask in found] == sorted(wanted, reverse=True)
    for mask in found:
        logits = wanted[mask.predicted_iou]
        unsure = (logits.abs() < 1e-5).numpy()  # rounding may put these on either side
        assert (np.equal(mask.mask, logits.numpy() > 0) | unsure).all()
        assert mask.area == mask.mask.sum()
        assert mask.stability == pytest.approx(float(stability_score(logits, 0.0)), abs=0.01)
        box = amg.batched_mask_to_box(torch.from_numpy(mask.mask)).tolist()
        assert list(mask.box) == box


def rectangles(*places: tuple[int, int, int, int]) -> torch.Tensor:
    """Return logits 32 32 each: 6 inside x0 y0 x1 y1, -6 outside."""
    masks = torch.full((len(places), 32, 32), -6.0)
    for mask, (x0, y0, x1, y1) in zip(masks, places, strict=True):
        mask[y0:y1, x0:x1] = 6.0
    return masks


def test_doubles_and_unstable_masks_are_dropped() -> None:
    left, right, whole = (2, 2, 12, 12), (18, 4, 30, 28), (0, 0, 32, 32)
    near_left = (2, 2, 12, 13)
    answers = torch.stack(
        [
            rectangles(left, near_left, whole),
            rectangles(right, left, whole),
            rectangles(right, right, right) / 12,  # logits of 0.5 are not stable under a shift of 1
            rectangles(left, left, left),
        ]
    )
    predicted = torch.tensor([[0.95, 0.97, 0.5], [0.9, 0.92, 0.88], [0.99] * 3, [0.2] * 3])
    image = from_rgb(np.zeros((128, 128, 3), np.uint8), "black")
    options = AutomaticOptions(points_per_side=2, min_predicted_iou=0.88, min_stability=0.8)
    found = generate(known(answers, predicted), image, options)
    assert [mask.box for mask in found] == [(8, 8, 47, 51), (72, 16, 119, 111)]
    assert [mask.predicted_iou for mask in found] == pytest.approx([0.97, 0.9])
    assert [mask.area for mask in found] == pytest.approx([40 * 44, 48 * 96], abs=16)  # corners are round
    assert [mask.point for mask in found] == [(32.0, 32.0), (96.0, 32.0)]
    assert {mask.crop for mask in found} == {(0, 0, 128, 128)}


def test_an_answer_that_is_not_finite_is_an_error() -> None:
    answers = torch.zeros(4, 3, 8, 8)
    image = from_rgb(np.zeros((9, 9, 3), np.uint8), "black")
    with pytest.raises(InputError, match="not finite"):
        generate(known(answers, torch.full((4, 3), float("nan"))), image, ALL)
    with pytest.raises(InputError, match="not finite"):
        generate(known(answers + float("inf"), torch.ones(4, 3)), image, ALL)


def packed(mask: NDArray[np.bool_]) -> AutomaticMask:
    """Return a mask, not empty, as `generate` would."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    window = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    inside = mask[window[1] : window[3], window[0] : window[2]]
    height, width = mask.shape
    return AutomaticMask(
        np.packbits(inside), window, (height, width), int(mask.sum()), 0.9, 0.9, (0, 0), (0, 0, width, height)
    )


some_masks = st.lists(arrays(bool, (7, 9)).filter(np.any), min_size=1, max_size=6)


@given(some_masks)
def test_the_label_map_shows_small_masks_in_front(masks: list[NDArray[np.bool_]]) -> None:
    labels, coverage = label_map([packed(mask) for mask in masks])
    assert labels.dtype == np.int32
    assert coverage == pytest.approx(np.any(masks, axis=0).mean())
    for row, column in np.ndindex(labels.shape):
        holding = [n for n, mask in enumerate(masks, start=1) if mask[row, column]]
        # of masks of one size, the later one is in front
        wanted = min(holding, key=lambda n: (masks[n - 1].sum(), -n), default=0)
        assert labels[row, column] == wanted


def test_the_largest_masks() -> None:
    masks = [packed(np.tri(8, k=k, dtype=bool)) for k in (-3, 2, 0, 1)]
    assert [mask.area for mask in largest(masks, 2)] == [masks[1].area, masks[3].area]
    assert largest(masks, 9)[-1] is masks[0]
    assert largest(masks, 0) == ()


def test_a_label_map_needs_masks_of_one_picture() -> None:
    one, other = packed(np.ones((3, 4), bool)), packed(np.ones((4, 3), bool))
    for masks in ([], [one, other]):
        with pytest.raises(InputError, match="one picture"):
            label_map(masks)
