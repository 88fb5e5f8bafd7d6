"""Models of transformers: SAM and SlimSAM, SAM-HQ, SAM 2 and 2.1, EdgeTAM, and the tracker of SAM 3.

Published checkpoints of SAM 2.1, EdgeTAM and SAM 3 are of the whole video model, and their config.json says
so (`sam2_video` ...). The network for single pictures is a part of it; transformers' own table for mask
generation says which class that is, and the class leaves out the memory of earlier frames.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.hub import fetching, local_errors
from core.registry import ModelSpec
from core.segment.masks import Geometry
from core.segment.segmenter import Segmenter

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class TransformersSam(Segmenter):
    """A `SamModel`: SAM itself, or SlimSAM, which has fewer channels."""

    module: Any
    processor: Any
    """transformers' image processor, made for this model."""

    @property
    def side(self) -> int:
        """Side of the square picture that the model takes, in pixels."""
        return int(self.module.prompt_encoder.input_image_size)

    @property
    def low_res_side(self) -> int:
        """Side of the low-resolution logits: four for each place of the embedding."""
        return 4 * int(self.module.prompt_encoder.image_embedding_size[0])

    def encode(self, rgb: NDArray[np.uint8]) -> tuple[tuple["Tensor", ...], Geometry]:
        """Return the features and where the picture lies; the pixels are the processor's own."""
        pixels, geometry = self.prepare(rgb)
        return self.features(pixels), geometry

    def prepare(self, rgb: NDArray[np.uint8]) -> tuple["Tensor", Geometry]:
        """Return what the encoder takes of a picture, 1 3 S S on the device, and how it lies there."""
        own = rgb.copy()  # torch takes no read-only array
        inputs = self.processor(images=own, input_data_format="channels_last", return_tensors="pt")
        pixels = inputs["pixel_values"].to(self.device)
        return pixels, Geometry((rgb.shape[0], rgb.shape[1]), self.resized(inputs), self.side)

    def features(self, pixels: "Tensor") -> tuple["Tensor", ...]:
        """Return what the decoder needs of a picture (1 3 S S): here its embedding, 1 C G G."""
        return (self.module.get_image_embeddings(pixels),)

    def resized(self, inputs: Mapping[str, Any]) -> tuple[int, int]:
        """Return the height and width, in pixels, that the processor resized the picture to."""
        height, width = inputs["reshaped_input_sizes"][0]
        return int(height), int(width)

    def embedding_arguments(self, tensors: tuple["Tensor", ...]) -> dict[str, Any]:
        """Return what `features` gave as keyword arguments of the network."""
        return {"image_embeddings": tensors[0]}

    def predict(
        self,
        tensors: tuple["Tensor", ...],
        points: "Tensor | None",
        labels: "Tensor | None",
        boxes: "Tensor | None",
        logits: "Tensor | None",
        multimask: bool,
    ) -> tuple["Tensor", "Tensor"]:
        """Return logits N M h w and predicted IoUs N M by the network's own call.

        N prompts are N objects of one picture there; but a mask to start from belongs to a picture, so with
        those they are N times the same picture with one object each.
        """
        axis = 0 if logits is None else 1
        if logits is not None:
            tensors = tuple(tensor.expand(len(logits), *tensor.shape[1:]) for tensor in tensors)
        output = self.module(
            **self.embedding_arguments(tensors),
            input_points=None if points is None else points.unsqueeze(axis),
            input_labels=None if labels is None else labels.unsqueeze(axis),
            input_boxes=None if boxes is None else boxes.unsqueeze(axis),
            input_masks=logits,
            multimask_output=multimask,
        )
        return output.pred_masks.flatten(0, 1).float(), output.iou_scores.flatten(0, 1).float()


@dataclass(frozen=True, eq=False)
class TransformersSamHQ(TransformersSam):
    """A `SamHQModel`: SAM whose decoder also sees features from inside the picture encoder."""

    def features(self, pixels: "Tensor") -> tuple["Tensor", ...]:
        """Return the embedding 1 C G G, and the first global layer's features 1 G G D, if there is one.

        The decoder reads no other layer's.
        """
        embedding, intermediate = self.module.get_image_embeddings(pixels)
        return (embedding, *intermediate[:1])

    def embedding_arguments(self, tensors: tuple["Tensor", ...]) -> dict[str, Any]:
        """Return what `features` gave as keyword arguments of the network."""
        return {"image_embeddings": tensors[0], "intermediate_embeddings": list(tensors[1:])}


@dataclass(frozen=True, eq=False)
class TransformersSam2(TransformersSam):
    """A `Sam2Model`, `EdgeTamModel` or `Sam3TrackerModel`: the picture is squeezed into the square."""

    pads: ClassVar[bool] = False

    @property
    def low_res_side(self) -> int:
        """Side of the low-resolution logits."""
        return int(self.module.prompt_encoder.mask_input_size[0])

    def features(self, pixels: "Tensor") -> tuple["Tensor", ...]:
        """Return three levels, 1 C G G each, the finest first."""
        return tuple(self.module.get_image_embeddings(pixels))

    def resized(self, inputs: Mapping[str, Any]) -> tuple[int, int]:
        """Return the whole square."""
        return self.side, self.side

    def embedding_arguments(self, tensors: tuple["Tensor", ...]) -> dict[str, Any]:
        """Return what `features` gave as keyword arguments of the network."""
        return {"image_embeddings": list(tensors)}


CLASSES: Mapping[str, type[TransformersSam]] = {
    "sam": TransformersSam,
    "sam_hq": TransformersSamHQ,
    "sam2": TransformersSam2,
    "sam2_video": TransformersSam2,
    "edgetam": TransformersSam2,
    "edgetam_video": TransformersSam2,
    "sam3_tracker": TransformersSam2,
    "sam3_video": TransformersSam2,
}
MODEL_TYPES: frozenset[str] = frozenset(CLASSES)
"""Values of `model_type` in a config.json that can be loaded here."""


def build_transformers_segmenter(
    spec: ModelSpec, device: str, elapsed_ms: Callable[[], float], *, source: str, local: bool
) -> Segmenter:
    """Load a segmenter of transformers onto `device`, ready for inference, in float32.

    Args:
        elapsed_ms: Milliseconds since loading began.
        source: Path of a folder, or the name of a repository on the hub.
        local: It is a folder.

    Raises:
        InputError: It is no promptable segmenter, or its weights do not fit or cannot be trusted.
        OfflineError: It would have to be downloaded and there is no network.
        SetupError: It arrived broken, or the hub wants something first.
    """
    if local:
        with local_errors(spec.title):
            return _build(spec, device, elapsed_ms, source, {"local_files_only": True})
    with fetching(spec.id, source, spec.revision) as cached:
        options = {"local_files_only": cached is not None, "revision": spec.revision}
        return _build(spec, device, elapsed_ms, source, options)


def _build(
    spec: ModelSpec, device: str, elapsed_ms: Callable[[], float], source: str, options: Mapping[str, Any]
) -> Segmenter:
    import torch
    from transformers import AutoConfig, AutoImageProcessor, AutoModelForMaskGeneration

    # for weights without a safetensors copy, transformers would ask the hub to make one, in a thread
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    config = AutoConfig.from_pretrained(source, trust_remote_code=False, **options)
    _check_type(spec, config.model_type)
    processor = AutoImageProcessor.from_pretrained(source, **options)  # before the weights: those end a fetch
    module, loading = AutoModelForMaskGeneration.from_pretrained(
        source, config=config, dtype=torch.float32, output_loading_info=True, **options
    )
    _check_complete(spec, loading)
    module = module.eval().requires_grad_(False).to(device)
    tensors = (*module.parameters(), *module.buffers())
    segmenter = CLASSES[config.model_type](
        spec=spec,
        module=module,
        device=device,
        dtype="float32",
        load_ms=elapsed_ms(),
        memory_mb=sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 1e6,
        processor=processor,
    )
    _check_size(segmenter)
    return segmenter


def _check_type(spec: ModelSpec, model_type: str) -> None:
    """Refuse other networks; among them `sam3`, the half of SAM 3 that takes words and knows no points."""
    if model_type not in MODEL_TYPES:
        raise InputError(
            f"{spec.id} is a {model_type}, not a network that segments by points and boxes.",
            f"Choose a model of type {', '.join(CLASSES)}.",
        )


def _check_complete(spec: ModelSpec, loading: Mapping[str, Any]) -> None:
    """Refuse a network of which a part was left random."""
    if missing := sorted(loading["missing_keys"]):
        raise InputError(
            f"The weights of {spec.id} lack {len(missing)} tensors ({', '.join(missing[:3])}).",
            "Fetch or export the whole model again.",
        )


def _check_size(segmenter: TransformersSam) -> None:
    """Refuse a processor that prepares pictures for another network."""
    size = segmenter.processor.pad_size if segmenter.pads else segmenter.processor.size
    found = (size["height"], size["width"])
    if found != (segmenter.side, segmenter.side):
        raise InputError(
            f"{segmenter.spec.id} prepares pictures of {found[0]} x {found[1]}, and its network takes "
            f"{segmenter.side} x {segmenter.side}.",
            "Save model and processor together again.",
        )
