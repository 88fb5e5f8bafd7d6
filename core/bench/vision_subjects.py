"""Networks that take pixels: classes by the evaluation transform, or features of the whole picture."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Generic, TypeVar

from core.bench.answers import TOP, Classes, Features
from core.bench.options import Options
from core.bench.subjects import Subject, compiled
from core.errors import InputError
from core.images import ImageInput
from core.preprocess import Fit, InputConfig, prepare, sized
from core.vision_model import ImageModel, VisionModel

if TYPE_CHECKING:
    from torch import Tensor, nn

Model = TypeVar("Model", bound=ImageModel)


class _VisionSubject(Subject, Generic[Model]):
    """What the two have in common: pixels in."""

    fit: Fit
    model: Model

    def __init__(self, model: Model, options: Options) -> None:
        super().__init__(model, options)
        config = sized(model.input, options.size, model.spec.id)
        self.model = replace(model, input=config, module=model.module.to(self.dtype))

    @property
    def config(self) -> InputConfig:
        """What the model takes."""
        return self.model.input

    @property
    def network(self) -> "nn.Module":
        """The network."""
        return self.model.module

    def preprocess(self, images: Sequence[ImageInput]) -> "Tensor":
        """Return pixels B 3 H W.

        Raises:
            InputError: The pictures have different shapes, and the model sees them whole.
        """
        import torch

        pixels = [prepare(image, self.config, fit=self.fit)[0] for image in images]
        if len({one.shape for one in pixels}) > 1:
            raise InputError("Pictures of different shapes cannot be one batch.", "Take them one by one.")
        return torch.cat(pixels).to(self.device, self.dtype)


class ClassSubject(_VisionSubject[ImageModel]):
    """A classifier."""

    kind = "classes"
    fit = "crop"

    def __init__(self, model: ImageModel, options: Options) -> None:
        super().__init__(model, options)
        self._forward = compiled(self.model.forward, options)

    @property
    def labels(self) -> tuple[str, ...]:
        """What it can say."""
        return self.model.labels

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.config.size

    def run(self, inputs: "Tensor") -> "Tensor":
        """Return logits B C."""
        import torch

        with torch.inference_mode():
            logits: Tensor = self._forward(inputs)
        return logits

    def postprocess(self, raw: "Tensor") -> tuple[Classes, ...]:
        """Return the likeliest classes of each picture."""
        logits = raw.cpu().float()
        _check_finite(logits, self)
        scores, places = logits.softmax(dim=-1).topk(min(TOP, len(self.labels)))
        return tuple(
            Classes(tuple(self.labels[place] for place in row), tuple(values))
            for row, values in zip(places.tolist(), scores.tolist(), strict=True)
        )


class FeatureSubject(_VisionSubject[VisionModel]):
    """A vision transformer without a classifier: what leaves its last layer."""

    kind = "features"
    fit = "whole"

    def __init__(self, model: VisionModel, options: Options) -> None:
        super().__init__(model, options)
        from core.features.facets import layer_tokens

        last = self.model.depth - 1
        self._forward = compiled(lambda pixels: layer_tokens(self.model, pixels, last, "token"), options)

    @property
    def input_size(self) -> tuple[int, int] | None:
        """Height and width in pixels where all pictures are made the same."""
        return None if self.config.any_size else self.config.size

    def run(self, inputs: "Tensor") -> tuple["Tensor", tuple[int, int]]:
        """Return tokens B N D, and rows and columns of patches."""
        import torch

        height, width = inputs.shape[2:]
        grid = height // self.config.patch[0], width // self.config.patch[1]
        with torch.inference_mode():
            return self._forward(inputs), grid

    def postprocess(self, raw: tuple["Tensor", tuple[int, int]]) -> tuple[Features, ...]:
        """Return the features of each picture."""
        tokens, grid = raw[0].cpu().float(), raw[1]
        _check_finite(tokens, self)
        patches = tokens[:, self.model.prefix_tokens :]
        vectors = tokens[:, 0] if self.model.has_cls else patches.mean(dim=1)  # B D
        return tuple(Features(grid, vector.numpy().copy()) for vector in vectors)


def _check_finite(output: "Tensor", subject: Subject) -> None:
    if not output.isfinite().all():
        raise InputError(
            f"The output of {subject.spec.id} is not finite.",
            "Its weights are damaged; fetch them again."
            if subject.precision == "fp32"
            else f"Its numbers are too large for {subject.precision}; choose fp32.",
        )
