"""Vision-language models of transformers that are asked through their chat template."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.errors import InputError
from core.images import ImageInput
from core.memory import memory_checked
from core.vlm.base import TextSink
from core.vlm.local_model import Finish, Generated, LocalModel

if TYPE_CHECKING:
    from torch import Tensor

UNFINISHED = "\ufffd"
"""What a tokenizer shows of a character whose last bytes have not come yet."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TransformersVlm(LocalModel):
    """A network that `AutoModelForImageTextToText` built, with its own processor."""

    module: Any
    processor: Any

    def generate(
        self,
        image: ImageInput,
        prompt: str,
        *,
        max_tokens: int,
        temperature: float | None,
        on_text: TextSink,
        cancelled: Callable[[], bool],
    ) -> Generated:
        """Answer a prompt about a picture; see `LocalModel.generate`."""
        import torch

        with torch.inference_mode(), memory_checked(self.device, self.spec.id):
            inputs = self.inputs(image, prompt)
            asked = int(inputs["input_ids"].shape[1])
            pieces = _Pieces(self.processor.tokenizer, on_text)
            output = self.module.generate(
                **inputs,
                generation_config=self.choosing(max_tokens, temperature),
                streamer=pieces,
                stopping_criteria=[_stop_when(cancelled)],
            )
        written = output[0, asked:].tolist()
        return Generated(
            text=pieces.text,
            finish=self._finish(written, max_tokens, cancelled),
            input_tokens=asked,
            image_tokens=self._image_tokens(inputs["input_ids"]),
            output_tokens=len(written),
        )

    def inputs(self, image: ImageInput, prompt: str) -> Any:
        """Return one question as the network takes it; words of the prompt that control it are mere text."""
        try:
            try:
                inputs = self._encoded(image, prompt, True)
            except (NotImplementedError, ValueError):  # some processors cannot take such words as text
                inputs = self._encoded(image, self._without_marks(prompt), False)
        except (ValueError, TypeError, IndexError, KeyError) as error:  # each processor has its own way
            reason = " ".join(str(error).split())[:160]
            raise InputError(
                f"{self.spec.id} cannot take this picture and prompt: {reason.rstrip('.')}.",
                "Try another picture, or a plainer prompt.",
            ) from error
        return inputs.to(self.device, self.module.dtype)

    def _encoded(self, image: ImageInput, prompt: str, marks_are_text: bool) -> Any:
        from PIL import Image

        content = [{"type": "image", "image": Image.fromarray(image.rgb)}, {"type": "text", "text": prompt}]
        return self.processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            sanitize_control_tokens=marks_are_text,
        )

    def _without_marks(self, prompt: str) -> str:
        """Return a prompt with a space for each word that would control the network, such as an image's."""
        tokens = self.processor.tokenizer.added_tokens_decoder.values()
        marks = [token.content for token in tokens if token.special and token.content]
        longest_first = "|".join(re.escape(mark) for mark in sorted(marks, key=len, reverse=True))
        return re.sub(longest_first, " ", prompt) if marks else prompt

    def choosing(self, max_tokens: int, temperature: float | None) -> Any:
        """Return the model's own generation settings with ours in them; its own stay as they are."""
        from copy import deepcopy

        config = deepcopy(self.module.generation_config)
        config.max_length, config.max_new_tokens, config.num_beams = None, max_tokens, 1
        if temperature is not None:
            config.do_sample = temperature > 0
            config.temperature = temperature or None
        if not config.do_sample:
            config.temperature = config.top_p = config.top_k = None
        return config

    def _finish(self, written: list[int], max_tokens: int, cancelled: Callable[[], bool]) -> Finish:
        ends = self.module.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        if written and written[-1] in ends:
            return "stop"
        return "length" if len(written) >= max_tokens and not cancelled() else "cancelled"

    def _image_tokens(self, tokens: "Tensor") -> int | None:
        """Return how many of the tokens stand for the picture; networks that look across have one or none."""
        marker = getattr(self.module.config, "image_token_id", None)
        count = 0 if marker is None else int((tokens == marker).sum())
        return count if count > 1 else None


class _Pieces:
    """A streamer that gives text away as soon as it cannot change any more."""

    def __init__(self, tokenizer: Any, on_text: TextSink) -> None:
        self.text = ""
        self._tokenizer, self._on_text = tokenizer, on_text
        self._tokens: list[int] = []
        self._is_prompt = True  # what is put first

    def put(self, tokens: "Tensor") -> None:
        """Take the prompt's tokens (1 N) once, then each new one (1)."""
        if self._is_prompt:
            self._is_prompt = False
            return
        self._tokens += tokens.flatten().tolist()
        text = self._decoded()
        if not text.endswith(UNFINISHED):
            self._give(text)

    def end(self) -> None:
        """Give away what is left."""
        self._give(self._decoded())

    def _decoded(self) -> str:
        text: str = self._tokenizer.decode(
            self._tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def _give(self, text: str) -> None:
        new = text[len(self.text) :]
        if new:
            self.text += new
            self._on_text(new)


def _stop_when(cancelled: Callable[[], bool]) -> Any:
    import torch
    from transformers import StoppingCriteria

    class Cancelled(StoppingCriteria):  # type: ignore[misc]
        def __call__(self, input_ids: "Tensor", scores: object, **more: object) -> "Tensor":
            return torch.full((len(input_ids),), cancelled(), device=input_ids.device)

    return Cancelled()
