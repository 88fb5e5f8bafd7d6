"""The contract of a loaded segmenter: `embed` and `decode`, both functions of their arguments alone.

Nothing is kept on the model between calls (unlike segment-anything's `SamPredictor`), so one model serves
everybody at once.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.images import ImageInput
from core.memory import memory_checked
from core.registry import ModelSpec
from core.segment.masks import Geometry, Masks, stability_score, upscale
from core.segment.prompts import Prompts

if TYPE_CHECKING:
    from torch import Tensor, nn

SURE = 8.0
"""Logit of a pixel that is surely inside: about what models answer in the middle of an object."""


@dataclass(frozen=True, eq=False)
class Segmenter(ABC):
    """Weights on a device, ready to run. It is shared by everybody: nothing on it is ever changed."""

    spec: ModelSpec
    module: "nn.Module"
    device: str
    dtype: str
    load_ms: float
    memory_mb: float
    """Size of the weights, in MB (10^6 bytes)."""

    threshold: ClassVar[float] = 0.0
    """Logits above it are inside."""
    pads: ClassVar[bool] = True
    """Whether pictures keep their proportions in the model's square; see `core.segment.masks.upscale`."""

    @property
    @abstractmethod
    def side(self) -> int:
        """Side of the square picture that the model takes, in pixels."""

    @property
    @abstractmethod
    def low_res_side(self) -> int:
        """Side of the low-resolution logits."""

    @abstractmethod
    def encode(self, rgb: NDArray[np.uint8]) -> tuple[tuple["Tensor", ...], Geometry]:
        """Return the features of a picture (H W 3), the heavy part, and how it lies in the model's square."""

    @abstractmethod
    def predict(
        self,
        tensors: tuple["Tensor", ...],
        points: "Tensor | None",
        labels: "Tensor | None",
        boxes: "Tensor | None",
        logits: "Tensor | None",
        multimask: bool,
    ) -> tuple["Tensor", "Tensor"]:
        """Return low-resolution logits N M h w and predicted IoUs N M, float32, for N independent prompts.

        Args:
            tensors: What `encode` gave.
            points: N K 2, float32, in the model's square.
            labels: N K, int64: 1 include, 0 exclude.
            boxes: N 4, float32, in the model's square.
            logits: N 1 h w, float32.
            multimask: Three masks each instead of one.
        """


@dataclass(frozen=True, eq=False)
class ImageEmbedding:
    """A picture as one model sees it: all that `decode` needs of both."""

    tensors: tuple["Tensor", ...]
    geometry: Geometry
    sha256: str
    """Digest of the picture."""
    model_id: str
    revision: str


def embed(model: Segmenter, image: ImageInput) -> ImageEmbedding:
    """Run the picture encoder: seconds on a CPU for the published models, once for each picture.

    Raises:
        SetupError: The memory does not suffice.
    """
    import torch

    with torch.inference_mode(), memory_checked(model.device, model.spec.id):
        tensors, geometry = model.encode(image.rgb)
    return ImageEmbedding(tensors, geometry, image.sha256, model.spec.id, model.spec.revision)


def decode(model: Segmenter, embedding: ImageEmbedding, prompts: Prompts, multimask: bool = True) -> Masks:
    """Return the masks that answer `prompts`: milliseconds.

    Args:
        embedding: Of this model.
        multimask: Three masks instead of one.

    Raises:
        InputError: The prompts cannot be asked of this picture, or the answer is not finite.
        ValueError: The embedding is another model's.
    """
    import torch

    if (embedding.model_id, embedding.revision) != (model.spec.id, model.spec.revision):
        raise ValueError(f"the embedding is of {embedding.model_id}, not of {model.spec.id}")
    height, width = embedding.geometry.original
    prompts.checked(width, height)
    with torch.inference_mode():
        low, predicted_iou = model.predict(
            embedding.tensors, *prompt_tensors(model, embedding.geometry, prompts), multimask
        )
        if not (low.isfinite().all() and predicted_iou.isfinite().all()):
            raise InputError(
                "The model's output is not finite.", "Its weights are damaged; fetch them again."
            )
        stability = [
            float(
                stability_score(upscale(low[:, m : m + 1], embedding.geometry, model.pads), model.threshold)
            )
            for m in range(low.shape[1])
        ]
    return Masks(
        low[0].cpu().numpy(),
        predicted_iou[0].cpu().numpy(),
        np.array(stability, dtype=np.float32),
        embedding.geometry,
        model.threshold,
        model.pads,
    )


def prompt_tensors(
    model: Segmenter, geometry: Geometry, prompts: Prompts
) -> tuple["Tensor | None", "Tensor | None", "Tensor | None", "Tensor | None"]:
    """Return one object's prompts as `Segmenter.predict` takes them, on the model's device.

    Raises:
        InputError: The mask to start from has another size than the model's.
    """
    import torch

    points = labels = boxes = logits = None
    if prompts.points:
        xy = geometry.to_model(np.array([(p.x, p.y) for p in prompts.points], dtype=np.float64))
        points = torch.as_tensor(xy, dtype=torch.float32, device=model.device)[None]  # 1 K 2
        labels = torch.tensor([[int(p.include) for p in prompts.points]], device=model.device)  # 1 K
    if prompts.box is not None:
        corners = geometry.to_model(np.array(prompts.box, dtype=np.float64).reshape(2, 2))
        boxes = torch.as_tensor(corners.reshape(1, 4), dtype=torch.float32, device=model.device)
    if prompts.logits is None and prompts.mask is not None:
        logits = mask_logits(prompts.mask, geometry, model.low_res_side).to(model.device)
    if prompts.logits is not None:
        check_logits(model, prompts)
        logits = torch.as_tensor(prompts.logits, dtype=torch.float32, device=model.device)[None, None]
    return points, labels, boxes, logits


def check_logits(model: Segmenter, prompts: Prompts) -> None:
    """Make sure that logits to start from, where there are any, are of the model's size.

    Raises:
        InputError: They have another one.
    """
    side = model.low_res_side
    if prompts.logits is not None and prompts.logits.shape != (side, side):
        found = " x ".join(str(n) for n in prompts.logits.shape)
        raise InputError(
            f"The mask to start from has {found} values; {model.spec.id} takes {side} x {side}.",
            "Give the low-resolution logits of the same model.",
        )


def mask_logits(mask: NDArray[np.bool_], geometry: Geometry, side: int) -> "Tensor":
    """Return a mask of the picture (H W) as low-resolution logits 1 1 side side: from -`SURE` to `SURE`."""
    import torch
    from torch.nn import functional as F

    share = torch.from_numpy(mask.astype(np.float32))[None, None]
    resized = F.interpolate(share, geometry.resized, mode="area")
    padded = F.pad(resized, (0, geometry.side - resized.shape[3], 0, geometry.side - resized.shape[2]))
    return (F.interpolate(padded, (side, side), mode="area") * 2 - 1) * SURE
