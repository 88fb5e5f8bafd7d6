"""Everything in the picture at once: of the masks that answer a grid of points, the good ones, once each.

The masks are those of `segment_anything.SamAutomaticMaskGenerator`, found with less work: a mask of low
predicted IoU is never brought to the picture's size, and of the others only the part that can be inside is.
Empty masks, which the original keeps where no stability is asked for, are left out.

Source: Kirillov et al. 2023 ("Segment Anything"), appendix B; segment_anything.automatic_mask_generator.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.images import ImageInput
from core.memory import memory_checked
from core.segment.automatic_values import AutomaticMask, AutomaticOptions, Window
from core.segment.masks import Geometry
from core.segment.segmenter import ImageEmbedding, Segmenter, embed

if TYPE_CHECKING:
    from torch import Tensor

EDGE_PX = 20
"""A mask whose box comes so near to a crop's edge is taken to be cut off by it, as in the original."""
TILE = 64
"""How many pixels of a row are interpolated by one product of matrices."""


def generate(
    model: Segmenter,
    image: ImageInput,
    options: AutomaticOptions,
    *,
    embedding: ImageEmbedding | None = None,
    progress: Callable[[float], None] | None = None,
) -> tuple[AutomaticMask, ...]:
    """Return all masks of a picture that `options` let pass, the best first, as the original orders them.

    Args:
        embedding: Of this picture by this model, where there is one already.
        progress: Told the share of points done, 0-1, after each batch; may raise to end everything.

    Raises:
        InputError: The model's output is not finite.
        SetupError: The memory does not suffice.
        ValueError: The embedding is of another model or picture.
    """
    import torch

    embedding = embedding or embed(model, image)
    _check_embedding(model, image, embedding)
    crops = _crops(image.height, image.width, options)
    total = sum(options.points_at(crop.layer) ** 2 for crop in crops)
    found: list[AutomaticMask] = []
    done = 0
    for crop in crops:
        of_crop: list[AutomaticMask] = []
        with torch.inference_mode():
            view = _view(model, image, crop, embedding)
        for points in _batches(options, crop):
            with torch.inference_mode():
                of_crop += _answers(model, view, points, options)
            done += len(points)
            if progress is not None:
                progress(done / total)
        found += _without_doubles(of_crop, [mask.predicted_iou for mask in of_crop], options.nms_iou)
    if len(crops) > 1:
        found = _without_doubles(found, [1 / _area(mask.crop) for mask in found], options.crop_nms_iou)
    if options.min_region_px:
        found = _without_small_regions(found, options)
    return tuple(found)


def _check_embedding(model: Segmenter, image: ImageInput, embedding: ImageEmbedding) -> None:
    if (embedding.model_id, embedding.revision) != (model.spec.id, model.spec.revision):
        raise ValueError(f"the embedding is of {embedding.model_id}, not of {model.spec.id}")
    if embedding.sha256 != image.sha256:
        raise ValueError(f"the embedding is of another picture than {image.name}")


class _Crop(NamedTuple):
    """A part of the picture to look at."""

    window: Window
    layer: int


def _crops(height: int, width: int, options: AutomaticOptions) -> list[_Crop]:
    """Return the whole picture, then the parts of each layer; source: amg.generate_crop_boxes."""
    crops = [_Crop((0, 0, width, height), 0)]
    for layer in range(1, options.crop_layers + 1):
        count = 2**layer
        overlap = int(options.crop_overlap * min(height, width) * (2 / count))
        w, h = (math.ceil((overlap * (count - 1) + side) / count) for side in (width, height))
        for column, row in product(range(count), repeat=2):
            x0, y0 = (w - overlap) * column, (h - overlap) * row
            if x0 < width and y0 < height:  # a picture of few pixels has fewer parts
                crops.append(_Crop((x0, y0, min(x0 + w, width), min(y0 + h, height)), layer))
    return crops


def _batches(options: AutomaticOptions, crop: _Crop) -> Iterator[NDArray[np.float64]]:
    """Yield the points of the grid N 2, x y within the crop, row by row; source: amg.build_point_grid."""
    x0, y0, x1, y1 = crop.window
    count = options.points_at(crop.layer)
    places = np.linspace(1 / (2 * count), 1 - 1 / (2 * count), count)
    grid = np.stack(np.meshgrid(places, places), axis=-1).reshape(-1, 2) * (x1 - x0, y1 - y0)
    for first in range(0, len(grid), options.points_per_batch):
        yield grid[first : first + options.points_per_batch]


class _Stretch(NamedTuple):
    """Linear interpolation along one side, from low-resolution values to the picture's pixels."""

    weights: "Tensor"
    """n N, float32: the share of each value in each pixel, at most four of them above 0 for each."""
    first: NDArray[np.int64]
    """N: the first value that has a share in each pixel; never falls."""
    last: NDArray[np.int64]
    """N: the last one."""

    def reach(self, values: NDArray[np.bool_]) -> tuple[int, int]:
        """Return the pixels, from and up to, in which these values (n, at least one) can have a share."""
        chosen = np.flatnonzero(values)
        start = np.searchsorted(self.last, chosen[0], side="left")
        return int(start), int(np.searchsorted(self.first, chosen[-1], side="right"))

    def apply(self, low: "Tensor", start: int, stop: int) -> "Tensor":
        """Return the pixels from `start` up to `stop` of rows of values: K n to K pixels, or K 0."""
        import torch

        tiles = [low[:, :0]]
        for left in range(start, stop, TILE):  # the matrix is banded: a tile takes few of the values
            right = min(left + TILE, stop)
            taken = slice(int(self.first[left]), int(self.last[right - 1]) + 1)
            tiles.append(low[:, taken] @ self.weights[taken, left:right])
        return torch.cat(tiles, dim=1)


def _stretch(model: Segmenter, geometry: Geometry, axis: int) -> _Stretch:
    """Return what `core.segment.masks.upscale` does along one axis: 0 down, 1 across."""
    import torch
    from torch.nn import functional as F

    weights = torch.eye(model.low_res_side)[None]
    if model.pads:
        weights = F.interpolate(weights, geometry.side, mode="linear", align_corners=False)
        weights = weights[..., : geometry.resized[axis]]
    weights = F.interpolate(weights, geometry.original[axis], mode="linear", align_corners=False)[0]
    shared = weights.numpy() > 0
    first, last = shared.argmax(axis=0), len(shared) - 1 - shared[::-1].argmax(axis=0)
    return _Stretch(weights.to(model.device), first, last)


class _View(NamedTuple):
    """A crop as the model sees it."""

    tensors: tuple["Tensor", ...]
    geometry: Geometry
    down: _Stretch
    across: _Stretch
    crop: Window
    size: tuple[int, int]
    """Height and width of the whole picture."""


def _view(model: Segmenter, image: ImageInput, crop: _Crop, embedding: ImageEmbedding) -> _View:
    x0, y0, x1, y1 = crop.window
    tensors, geometry = embedding.tensors, embedding.geometry
    if crop.layer:
        with memory_checked(model.device, model.spec.id):
            tensors, geometry = model.encode(np.ascontiguousarray(image.rgb[y0:y1, x0:x1]))
    down, across = (_stretch(model, geometry, axis) for axis in (0, 1))
    return _View(tensors, geometry, down, across, crop.window, (image.height, image.width))


def _answers(
    model: Segmenter, view: _View, points: NDArray[np.float64], options: AutomaticOptions
) -> Iterator[AutomaticMask]:
    """Yield the good masks that answer points N 2 (x y within the crop), in their order."""
    low, predicted, asked = _likely(model, view, points, options.min_predicted_iou)
    maybe = low > model.threshold - options.stability_offset  # S h w
    rows, columns = maybe.any(dim=2).cpu().numpy(), maybe.any(dim=1).cpu().numpy()
    x0, y0 = view.crop[:2]
    for logits, down, across, iou, index in zip(low, rows, columns, predicted, asked, strict=True):
        if not down.any():
            continue
        spans = view.down.reach(down), view.across.reach(across)
        inside, stability = _full_size(view, logits, spans, model.threshold, options.stability_offset)
        if inside.any() and stability >= np.float32(options.min_stability):
            x, y = points[index]
            mask = AutomaticMask(
                **_packed(inside, x0 + spans[1][0], y0 + spans[0][0]),
                size=view.size,
                predicted_iou=iou,
                stability=float(stability),
                point=(float(x + x0), float(y + y0)),
                crop=view.crop,
            )
            if not _is_cut_off(mask):
                yield mask


def _likely(
    model: Segmenter, view: _View, points: NDArray[np.float64], least: float
) -> tuple["Tensor", list[float], list[int]]:
    """Return the answers of a predicted IoU above `least`, all if it is 0.

    Returns:
        Logits S h w, predicted IoUs S, and of which point each is.
    """
    import torch

    placed = torch.as_tensor(view.geometry.to_model(points), dtype=torch.float32, device=model.device)
    labels = torch.ones(len(points), 1, dtype=torch.int64, device=model.device)
    low, predicted = model.predict(view.tensors, placed[:, None], labels, None, None, True)
    kept = predicted > least if least > 0 else torch.ones_like(predicted, dtype=torch.bool)
    low = low[kept]
    if not (predicted.isfinite().all() and low.isfinite().all()):
        raise InputError("The model's output is not finite.", "Its weights are damaged; fetch them again.")
    return low, predicted[kept].tolist(), kept.nonzero()[:, 0].tolist()


def _full_size(
    view: _View,
    low: "Tensor",
    spans: tuple[tuple[int, int], tuple[int, int]],
    threshold: float,
    offset: float,
) -> tuple[NDArray[np.bool_], np.float32]:
    """Return what of a mask lies in the spans (rows, columns) of pixels, h w, and its stability.

    Outside the spans no pixel is above the lower of the two thresholds: a pixel is a mean of
    low-resolution logits, and where none of them is above it, the mean is not.
    """
    import torch

    rows = view.down.apply(low.T, *spans[0])  # w H
    logits = view.across.apply(rows.T, *spans[1])  # H W
    inner, outer = torch.stack(
        [torch.count_nonzero(logits > threshold + shift) for shift in (offset, -offset)]
    ).tolist()
    inside = (logits > threshold).cpu().numpy()
    return inside, np.float32(inner) / np.float32(max(outer, 1))  # as calculate_stability_score divides


def _packed(inside: NDArray[np.bool_], x0: int, y0: int) -> dict[str, Any]:
    """Return `bits`, `window` and `area` of a mask h w that has pixels and lies at x0 y0 of the picture."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    top, left, bottom, right = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
    return {
        "bits": np.packbits(inside[top:bottom, left:right]),
        "window": (int(x0 + left), int(y0 + top), int(x0 + right), int(y0 + bottom)),
        "area": int(np.count_nonzero(inside)),
    }


def _is_cut_off(mask: AutomaticMask) -> bool:
    """Whether its box comes near to an edge of the crop that is no edge of the picture.

    Source: amg.is_box_near_crop_edge.
    """
    height, width = mask.size
    box = np.array(mask.box)
    near_crop = np.abs(box - mask.crop) <= EDGE_PX
    near_picture = np.abs(box - (0, 0, width, height)) <= EDGE_PX
    return bool((near_crop & ~near_picture).any())


def _area(window: Window) -> int:
    x0, y0, x1, y1 = window
    return (x1 - x0) * (y1 - y0)


def _without_doubles(
    masks: Sequence[AutomaticMask], scores: Sequence[float], most_iou: float
) -> list[AutomaticMask]:
    """Return the masks from the highest score down, without those whose box overlaps a better one's more."""
    import torch
    from torchvision.ops import nms  # type: ignore[import-untyped]

    if not masks:
        return []
    boxes = torch.tensor([mask.box for mask in masks], dtype=torch.float32)
    kept = nms(boxes, torch.tensor(scores, dtype=torch.float32), most_iou)
    return [masks[index] for index in kept.tolist()]


def _without_small_regions(masks: Sequence[AutomaticMask], options: AutomaticOptions) -> list[AutomaticMask]:
    """Return masks without small holes and islands, and without doubles, of which unchanged ones stay.

    Source: SamAutomaticMaskGenerator.postprocess_small_regions.
    """
    cleaned, scores = [], []
    for mask in masks:
        pixels, filled = _region_removed(mask.mask, options.min_region_px, holes=True)
        pixels, dropped = _region_removed(pixels, options.min_region_px, holes=False)
        changed = filled or dropped
        cleaned.append(replace(mask, **_packed(pixels, 0, 0)) if changed else mask)
        scores.append(0.0 if changed else 1.0)
    return _without_doubles(cleaned, scores, max(options.nms_iou, options.crop_nms_iou))


def _region_removed(mask: NDArray[np.bool_], least_px: int, *, holes: bool) -> tuple[NDArray[np.bool_], bool]:
    """Return a mask (H W) without its holes, or islands, of fewer pixels, and whether there were any.

    Both are 8-connected, and what touches the border of the picture can be a hole, too, unlike for
    `core.segment.regions.clean`. The largest island always stays. Source: amg.remove_small_regions.
    """
    from skimage.measure import label

    regions = label(mask ^ holes, connectivity=2)
    sizes = np.bincount(regions.ravel())
    small = sizes < least_px
    small[0] = False  # what is no region
    if not small.any():
        return mask, False
    if not holes and small[1:].all():
        small[1 + sizes[1:].argmax()] = False
    return mask ^ small[regions], True
