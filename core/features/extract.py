"""From pictures to features: prepared, run in batches, cut out of the tokens, kept as float16.

extract(model, images, options)           values, for everything that keeps or compares features
patch_features(model, pixels, options)    tensors, for code that has pixels already
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from core.errors import InputError
from core.explain.attention import check_layer
from core.features.facets import layer_tokens
from core.features.overlap import overlapped_frame, overlapped_grid, side_by_side
from core.features.values import FeatureOptions, ImageFeatures
from core.images import ImageInput
from core.memory import memory_checked
from core.preprocess import Frame, InputConfig, prepare, sized, whole_size
from core.recording import ms_since
from core.vision_model import VisionModel

BATCH = 16
"""Most pictures in one pass."""
BATCH_TOKENS = 32_768
"""Most patches in one pass, which bounds its memory; one picture may have them all."""
MAX_PATCHES = 16_384
"""Most patches of one picture: 128 x 128."""
DEFAULT = FeatureOptions()


@dataclass(frozen=True, slots=True)
class Extracted:
    """The features of one picture, and its share of the time that its batch took."""

    index: int
    """Which of the pictures."""
    features: ImageFeatures
    prepare_ms: float
    model_ms: float


def extract(
    model: VisionModel,
    images: Sequence[ImageInput],
    options: FeatureOptions = DEFAULT,
    batch_size: int = BATCH,
) -> tuple[ImageFeatures, ...]:
    """Return the features of each picture, in their order.

    All of a picture is seen. Pictures whose input has the same size run together, at most `batch_size` in one
    pass; on a CUDA device in half precision where that is safe (autocast), on a CPU in single.

    Raises:
        InputError: The model cannot give such features, or gives some that are not finite or beyond float16.
    """
    done = sorted(extract_each(model, images, options, batch_size), key=lambda one: one.index)
    return tuple(one.features for one in done)


def extract_each(
    model: VisionModel, images: Sequence[ImageInput], options: FeatureOptions, batch_size: int = BATCH
) -> Iterator[Extracted]:
    """Yield what `extract` returns as it comes, batch by batch, in any order; a batch is in memory at a time.

    Raises:
        InputError: As `extract`.
    """
    config = check_options(model, options)
    sizes: dict[tuple[int, int], list[int]] = {}
    for index, image in enumerate(images):
        sizes.setdefault(whole_size(image, config), []).append(index)
    for size in sizes:
        _grid(size, model, options)  # before anything runs
    for size, indices in sizes.items():
        rows, columns = _grid(size, model, options)
        together = max(1, min(batch_size, BATCH_TOKENS // (rows * columns)))
        for start in range(0, len(indices), together):
            yield from _batch(model, images, indices[start : start + together], config, options)


def _batch(
    model: VisionModel,
    images: Sequence[ImageInput],
    indices: Sequence[int],
    config: InputConfig,
    options: FeatureOptions,
) -> Iterator[Extracted]:
    started = time.perf_counter()
    prepared = [prepare(images[index], config, fit="whole") for index in indices]
    pixels = torch.cat([one for one, _ in prepared])  # B 3 H W
    prepare_ms, started = ms_since(started) / len(indices), time.perf_counter()
    patches, cls = _halves(model, pixels, options)
    model_ms = ms_since(started) / len(indices)
    for i, index in enumerate(indices):
        features = ImageFeatures(
            patches=patches[i].numpy().copy(),  # a view would keep the whole batch in memory
            cls=None if cls is None else cls[i].numpy().copy(),
            frame=_frame(prepared[i][1], model, options, (pixels.shape[2], pixels.shape[3])),
            sha256=images[index].sha256,
            model_id=model.spec.id,
            revision=model.spec.revision,
            options=options,
        )
        yield Extracted(index, features, prepare_ms, model_ms)


def _halves(model: VisionModel, pixels: Tensor, options: FeatureOptions) -> tuple[Tensor, Tensor | None]:
    """Return patches B rows columns D and CLS B D as float16 on the CPU.

    Raises:
        InputError: One is not finite, or too large for float16.
    """
    with torch.inference_mode(), memory_checked(model.device, model.spec.id):
        tokens, grid = _tokens(model, pixels, options)  # B N D
        halves = tokens.half()
        if not halves.isfinite().all():
            raise _useless(model, tokens)
        halves = halves.cpu()
    return _patches(model, halves, grid), halves[:, 0] if model.has_cls else None


def _patches(model: VisionModel, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    return tokens[:, model.prefix_tokens :].reshape(len(tokens), *grid, -1)  # B rows columns D


def _useless(model: VisionModel, tokens: Tensor) -> InputError:
    if tokens.isfinite().all():
        limit = torch.finfo(torch.float16).max
        return InputError(
            f"The features of {model.spec.id} reach {tokens.abs().max():.3g}, over float16's {limit:.0f}.",
            "Choose another layer or facet.",
        )
    return InputError(
        f"The features of {model.spec.id} are not finite.", "Its weights are damaged; fetch them again."
    )


# On tensors


def patch_features(model: VisionModel, pixels: Tensor, options: FeatureOptions = DEFAULT) -> Tensor:
    """Return the features of the patches, B rows columns D float32, on the model's device.

    Args:
        pixels: B 3 H W, normalised as the model takes them. `options.size` has no say here.

    Raises:
        InputError: The model cannot give such features.
    """
    tokens, grid = _checked_tokens(model, pixels, options)
    return _patches(model, tokens, grid)


def cls_features(model: VisionModel, pixels: Tensor, options: FeatureOptions = DEFAULT) -> Tensor:
    """Return the features of the CLS token, B D float32; otherwise as `patch_features`.

    Raises:
        InputError: The model has no CLS token, or cannot give such features.
    """
    if not model.has_cls:
        raise InputError(f"{model.spec.id} has no CLS token.", "Use the mean of its patches.")
    return _checked_tokens(model, pixels, options)[0][:, 0]


def global_features(model: VisionModel, pixels: Tensor, options: FeatureOptions = DEFAULT) -> Tensor:
    """Return the mean of the patches, B D float32; otherwise as `patch_features`."""
    return patch_features(model, pixels, options).mean(dim=(1, 2))


def _checked_tokens(
    model: VisionModel, pixels: Tensor, options: FeatureOptions
) -> tuple[Tensor, tuple[int, int]]:
    check_options(model, options)
    with torch.inference_mode():
        return _tokens(model, pixels, options)


def _tokens(model: VisionModel, pixels: Tensor, options: FeatureOptions) -> tuple[Tensor, tuple[int, int]]:
    """Return all tokens B N D, float32, the prefix tokens first, and the patches' rows and columns."""
    height, width = pixels.shape[2:]
    grid, patch = _grid((height, width), model, options), model.input.patch
    pixels = pixels.to(model.device)
    if (stride := _overlap(model, options)) is not None:
        pixels = side_by_side(pixels, patch, stride)
    with _half_precision(model.device):
        tokens = layer_tokens(model, pixels, options.layer % model.depth, options.facet)
    expected = model.prefix_tokens + grid[0] * grid[1]
    if tokens.shape[1] != expected:
        raise InputError(
            f"{model.spec.id} has {tokens.shape[1]} tokens instead of {expected}: not one for each patch.",
            "Choose a plain vision transformer.",
        )
    return tokens.float(), grid


def _half_precision(device: str) -> AbstractContextManager[object]:
    """Return what makes matrix products run in half precision on a CUDA device."""
    if not device.startswith("cuda"):
        return nullcontext()
    return torch.autocast("cuda", torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16)


# What a model can do


def check_options(model: VisionModel, options: FeatureOptions) -> InputConfig:
    """Return what the model takes with these options.

    Raises:
        InputError: There is no such layer, the patches would have gaps, or the model takes one size only.
    """
    check_layer(options.layer, model.depth)
    config, name, shorter = model.input, model.spec.id, min(model.input.patch)
    if options.stride is not None and options.stride > shorter:
        raise InputError(
            f"The stride is {options.stride}, more than the {shorter} pixels of a patch of {name}.",
            f"Give 1 to {shorter} pixels.",
        )
    if _overlap(model, options) is not None and not config.any_size:
        width, height = reversed(config.size)
        raise InputError(
            f"{name} takes pictures of {width} x {height} pixels only, so its patches cannot overlap.",
            "Leave the stride out, or choose another model.",
        )
    return sized(config, options.size, name)


def _overlap(model: VisionModel, options: FeatureOptions) -> int | None:
    """Return the stride of patches that overlap, None where they lie side by side."""
    return None if model.input.patch == (options.stride, options.stride) else options.stride


def _grid(size: tuple[int, int], model: VisionModel, options: FeatureOptions) -> tuple[int, int]:
    """Return rows and columns of patches of an input of (height, width)."""
    patch, stride = model.input.patch, _overlap(model, options)
    if stride is not None:
        rows, columns = overlapped_grid(size, patch, stride)
    elif any(side % of for side, of in zip(size, patch, strict=True)):
        raise InputError(
            f"{size[1]} x {size[0]} pixels are not a whole number of patches of {patch[1]} x {patch[0]}.",
            f"Give multiples of {patch[1]} and {patch[0]}.",
        )
    else:
        rows, columns = size[0] // patch[0], size[1] // patch[1]
    if rows * columns > MAX_PATCHES:
        raise InputError(
            f"The picture would be {rows} x {columns} patches, more than {MAX_PATCHES} in all.",
            "Give a larger stride or a smaller size.",
        )
    return rows, columns


def _frame(frame: Frame, model: VisionModel, options: FeatureOptions, size: tuple[int, int]) -> Frame:
    stride = _overlap(model, options)
    return frame if stride is None else overlapped_frame(frame, size, model.input.patch, stride)
