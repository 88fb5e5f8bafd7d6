"""Promptable segmenters: a picture encoded, and one click into its middle answered."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from core.bench.answers import Outline
from core.bench.options import Options
from core.bench.subjects import Subject, compiled, refuse_size
from core.errors import InputError
from core.images import ImageInput
from core.segment.masks import Geometry, upscale
from core.segment.original import OriginalSam
from core.segment.prompts import Point, Prompts
from core.segment.segmenter import ImageEmbedding, Segmenter, prompt_tensors
from core.segment.transformers_sam import TransformersSam

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, eq=False, slots=True)
class Clicked:
    """Low-resolution answers of one picture."""

    low: "Tensor"
    """1 M h w: logits."""
    predicted_iou: "Tensor"
    """1 M."""
    geometry: Geometry


class MaskSubject(Subject):
    """A segmenter; the precision is that of its picture encoder, the heavy part. The decoder keeps fp32."""

    kind = "mask"

    def __init__(self, model: Segmenter, options: Options) -> None:
        super().__init__(model, options)
        if not isinstance(model, OriginalSam | TransformersSam):
            raise InputError(f"{model.spec.id} cannot be measured in stages.", "Choose another model.")
        refuse_size(options, model.spec, model.side)
        self.model = model
        self._encoder.to(self.dtype)
        self._features = compiled(model.features, options)

    @property
    def _encoder(self) -> "nn.Module":
        original = isinstance(self.model, OriginalSam)
        encoder: nn.Module = self.model.module.image_encoder if original else self.model.module.vision_encoder
        return encoder

    @property
    def network(self) -> "nn.Module":
        """Encoder and decoder."""
        module: nn.Module = self.model.module
        return module

    @property
    def input_size(self) -> tuple[int, int]:
        """The model's square."""
        return self.model.side, self.model.side

    def preprocess(self, images: Sequence[ImageInput]) -> tuple["Tensor", tuple[Geometry, ...]]:
        """Return pixels B 3 S S, and how each picture lies in the square."""
        import torch

        prepared = [self.model.prepare(image.rgb) for image in images]
        pixels = torch.cat([one for one, _ in prepared]).to(self.dtype)
        return pixels, tuple(geometry for _, geometry in prepared)

    def run(self, inputs: tuple["Tensor", tuple[Geometry, ...]]) -> tuple[Clicked, ...]:
        """Encode all pictures at once, and answer the click in each."""
        import torch

        with torch.inference_mode():
            tensors = [level.float() for level in self._features(inputs[0])]
            return tuple(
                self._click(tuple(level[i : i + 1] for level in tensors), geometry)
                for i, geometry in enumerate(inputs[1])
            )

    def _click(self, tensors: tuple["Tensor", ...], geometry: Geometry) -> Clicked:
        height, width = geometry.original
        middle = Prompts(points=(Point(width / 2, height / 2),))
        low, iou = self.model.predict(tensors, *prompt_tensors(self.model, geometry, middle), True)
        return Clicked(low, iou, geometry)

    def postprocess(self, raw: tuple[Clicked, ...]) -> tuple[Outline, ...]:
        """Return the mask of highest predicted IoU of each picture, at its size."""
        return tuple(self._outline(clicked) for clicked in raw)

    def _outline(self, clicked: Clicked) -> Outline:
        if not (clicked.low.isfinite().all() and clicked.predicted_iou.isfinite().all()):
            raise InputError(
                f"The output of {self.spec.id} is not finite.",
                "Its weights are damaged; fetch them again."
                if self.precision == "fp32"
                else f"Its numbers are too large for {self.precision}; choose fp32.",
            )
        best = int(clicked.predicted_iou[0].argmax())
        logits = upscale(clicked.low[:, best : best + 1], clicked.geometry, self.model.pads)[0, 0]
        mask = (logits > self.model.threshold).cpu().numpy()
        return Outline(mask, float(clicked.predicted_iou[0, best]))

    def embedding(self, image: ImageInput) -> ImageEmbedding:
        """Return a picture as the encoder sees it, for other prompts than the click in its middle."""
        import torch

        pixels, geometries = self.preprocess((image,))
        with torch.inference_mode():
            tensors = tuple(level.float() for level in self._features(pixels))
        return ImageEmbedding(tensors, geometries[0], image.sha256, self.spec.id, self.spec.revision)

    def answer(self, image: ImageInput) -> Outline:
        """Return the mask in the middle, and how many masks the whole picture has at a coarse look."""
        from core.segment.automatic import generate
        from core.segment.automatic_values import LENIENT

        outline = self.postprocess(self.run(self.preprocess((image,))))[0]
        options = replace(LENIENT, points_per_side=8)
        masks = generate(self.model, image, options, embedding=self.embedding(image))
        return replace(outline, count=len(masks))
