"""Promptable segmenters: a checkpoint of this repository, a published `.pth` file, or transformers."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from core.checkpoints import load_into, read_card, read_weights
from core.errors import InputError
from core.registry import ModelSpec

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

    from core.segment.segmenter import Segmenter

LEAN_FROM_PX = 512
"""Models that take smaller pictures need little memory, and stay segment-anything's own to the letter."""


def build_segmenter(spec: ModelSpec, device: str, elapsed_ms: Callable[[], float]) -> "Segmenter":
    """Load the segmenter that `spec` names onto `device`, ready for inference; errors as `build_model`."""
    from core.segment.lean import lean
    from core.segment.original import OriginalSam
    from core.segment.transformers_sam import build_transformers_segmenter

    if spec.source == "huggingface" or Path(spec.weights).is_dir():
        is_local = spec.source != "huggingface"
        return build_transformers_segmenter(spec, device, elapsed_ms, source=spec.weights, local=is_local)
    sam = _from_card(Path(spec.weights)) if _has_card(spec) else _published(Path(spec.weights))
    if sam.image_encoder.img_size >= LEAN_FROM_PX:
        lean(sam)
    module = sam.eval().requires_grad_(False).to(device)
    tensors = (*module.parameters(), *module.buffers())
    return OriginalSam(
        spec=spec,
        module=module,
        device=device,
        dtype="float32",
        load_ms=elapsed_ms(),
        memory_mb=sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 1e6,
    )


def _has_card(spec: ModelSpec) -> bool:
    return spec.source == "shipped" or Path(spec.weights).with_suffix(".json").exists()


def _published(path: Path) -> "Sam":
    from core.segment.weights import build_published_sam

    return build_published_sam(path)


def _from_card(path: Path) -> "Sam":
    from core.segment.small_sam import build_small_sam

    card = read_card(path)
    if card.architecture.class_name != "Sam":
        raise InputError(
            f"{path.name} holds a {card.architecture.class_name}.", "Choose a Segment Anything model."
        )
    try:
        sam = build_small_sam(**card.architecture.arguments)
    except (TypeError, ValueError, ZeroDivisionError, RuntimeError, AssertionError) as error:
        raise InputError(
            f"The card of {path.name} describes no network: {str(error).rstrip('.')}.",
            "Restore the card that came with it.",
        ) from error
    load_into(sam, read_weights(path, card.sha256))
    return sam
