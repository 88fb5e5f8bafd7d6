"""Captioners and vision-language models: one caption of a picture, the likeliest word each time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from core.bench.answers import Said
from core.bench.options import Options
from core.bench.subjects import Subject, refuse_size
from core.errors import InputError
from core.images import ImageInput
from core.vlm.tasks import TASKS

if TYPE_CHECKING:
    from torch import Tensor, nn

    from core.captioner.generate import Answered
    from core.sources.captioner import CaptionerModel
    from core.vlm.transformers_model import TransformersVlm

MAX_TOKENS = 64
"""Most tokens of a caption."""
PROMPT = TASKS["caption"].prompt


class _TextSubject(Subject):
    """What the two have in common: one picture at a time, as it is."""

    kind = "text"
    takes_batches = False
    prompt: str = PROMPT
    """What is asked; `core.bench.accuracy` asks other things, too."""

    def __init__(self, model: Any, options: Options) -> None:
        super().__init__(model, options)
        if options.compiled:
            raise InputError(
                f"{model.spec.id} writes texts of any length, for which torch.compile would start anew.",
                "Leave torch.compile off for it.",
            )
        model.module.to(self.dtype)
        self.module: nn.Module = model.module

    @property
    def network(self) -> "nn.Module":
        """The network."""
        return self.module

    def _only(self, images: Sequence[ImageInput]) -> ImageInput:
        if len(images) != 1:
            raise InputError(f"{self.spec.id} takes one picture at a time.", "Leave larger batches out.")
        return images[0]


class CaptionerSubject(_TextSubject):
    """A captioner of this repository."""

    def __init__(self, model: "CaptionerModel", options: Options) -> None:
        super().__init__(model, options)
        refuse_size(options, model.spec, model.module.image_size)
        self.model = model

    @property
    def input_size(self) -> tuple[int, int]:
        """The square that pictures are squeezed into."""
        return self.model.module.image_size, self.model.module.image_size

    def preprocess(self, images: Sequence[ImageInput]) -> "Tensor":
        """Return pixels 1 3 S S."""
        import torch

        from core.captioner.generate import normalised
        from core.captioner.picture import squeezed

        rgb = squeezed(self._only(images).rgb, self.model.module.image_size)
        return normalised(rgb[None], torch.device(self.device)).to(self.dtype)

    def run(self, inputs: "Tensor") -> "Answered":
        """Look, and write the answer."""
        import torch

        from core.captioner.generate import answer

        with torch.inference_mode():
            visual = self.model.module.encoder(inputs).visual
        return answer(self.model.module, self.model.tokenizer, visual, self.prompt, MAX_TOKENS)

    def postprocess(self, raw: "Answered") -> tuple[Said, ...]:
        """Return what was written."""
        return (Said(raw.text, raw.tokens),)


class VlmSubject(_TextSubject):
    """A vision-language model of transformers."""

    def __init__(self, model: "TransformersVlm", options: Options) -> None:
        super().__init__(model, options)
        refuse_size(options, model.spec, None)
        self.model = model

    @property
    def input_size(self) -> None:
        """Each processor has its own ways."""
        return

    def preprocess(self, images: Sequence[ImageInput]) -> Any:
        """Return the question as the network takes it."""
        return self.model.inputs(self._only(images), self.prompt)

    def run(self, inputs: Any) -> "Tensor":
        """Return the tokens that are written."""
        import torch

        asked = inputs["input_ids"].shape[1]
        with torch.inference_mode():
            output = self.model.module.generate(
                **inputs, generation_config=self.model.choosing(MAX_TOKENS, 0.0)
            )
        written: Tensor = output[0, asked:]
        return written

    def postprocess(self, raw: "Tensor") -> tuple[Said, ...]:
        """Return what was written."""
        tokens = raw.tolist()
        text = self.model.processor.tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return (Said(text, len(tokens)),)
