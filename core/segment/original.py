"""Models of the segment-anything package: the published ViT-B, -L and -H, and the small one trained here."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.segment.masks import Geometry
from core.segment.segmenter import Segmenter

if TYPE_CHECKING:
    from segment_anything.modeling import Sam
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class OriginalSam(Segmenter):
    """A `segment_anything.modeling.Sam`."""

    module: "Sam"

    @property
    def side(self) -> int:
        """Side of the square picture that the model takes, in pixels."""
        return int(self.module.image_encoder.img_size)

    @property
    def low_res_side(self) -> int:
        """Side of the low-resolution logits: four for each patch."""
        return 4 * int(self.module.prompt_encoder.image_embedding_size[0])

    def encode(self, rgb: NDArray[np.uint8]) -> tuple[tuple["Tensor", ...], Geometry]:
        """Return the features 1 C G G; as `SamPredictor.set_image`, but a thin picture keeps one pixel."""
        pixels, geometry = self.prepare(rgb)
        return self.features(pixels), geometry

    def prepare(self, rgb: NDArray[np.uint8]) -> tuple["Tensor", Geometry]:
        """Return what the encoder takes of a picture, 1 3 S S on the device, and how it lies there."""
        import torch
        from segment_anything.utils.transforms import ResizeLongestSide

        shape = ResizeLongestSide.get_preprocess_shape(rgb.shape[0], rgb.shape[1], self.side)
        height, width = (max(1, length) for length in shape)
        resized = np.array(Image.fromarray(rgb).resize((width, height), Image.Resampling.BILINEAR))
        pixels = torch.as_tensor(resized, device=self.device).permute(2, 0, 1)[None].contiguous()
        geometry = Geometry((rgb.shape[0], rgb.shape[1]), (height, width), self.side)
        return self.module.preprocess(pixels), geometry

    def features(self, pixels: "Tensor") -> tuple["Tensor", ...]:
        """Return the embedding of pictures B 3 S S: B C G G."""
        return (self.module.image_encoder(pixels),)

    def predict(
        self,
        tensors: tuple["Tensor", ...],
        points: "Tensor | None",
        labels: "Tensor | None",
        boxes: "Tensor | None",
        logits: "Tensor | None",
        multimask: bool,
    ) -> tuple["Tensor", "Tensor"]:
        """Return logits N M h w and predicted IoUs N M; as `SamPredictor.predict_torch`."""
        prompted = None if points is None else (points, labels)
        sparse, dense = self.module.prompt_encoder(points=prompted, boxes=boxes, masks=logits)
        low, predicted_iou = self.module.mask_decoder(
            image_embeddings=tensors[0],
            image_pe=self.module.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
        )
        return low, predicted_iou
