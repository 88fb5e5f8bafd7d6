"""A captioner of this repository: weights with a card that says what to build, and which words it has."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.captioner.generate import answer, look
from core.captioner.network import VISUAL_TOKENS, Captioner
from core.captioner.vocabulary import Tokenizer
from core.checkpoints import load_into, read_card, read_weights
from core.errors import InputError
from core.images import ImageInput
from core.memory import memory_checked
from core.registry import ModelSpec
from core.vlm.base import TextSink
from core.vlm.local_model import Generated, LocalModel


@dataclass(frozen=True, eq=False, kw_only=True)
class CaptionerModel(LocalModel):
    """The small vision-language model; it always says the likeliest word, whatever the temperature."""

    module: Captioner
    tokenizer: Tokenizer

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
        with memory_checked(self.device, self.spec.id):
            visual = look(self.module, image.rgb)
            said = answer(self.module, self.tokenizer, visual, prompt, max_tokens, on_text, cancelled)
        return Generated(
            text=said.text,
            finish="stop" if said.ended else "cancelled" if cancelled() else "length",
            input_tokens=VISUAL_TOKENS + len(self.tokenizer.prompt(prompt)),
            image_tokens=VISUAL_TOKENS,
            output_tokens=said.tokens + said.ended,
        )


def from_card(spec: ModelSpec, device: str, elapsed_ms: Callable[[], float]) -> CaptionerModel:
    """Load a captioner onto `device`; its card holds the words in the order of the logits."""
    path = Path(spec.weights)
    card = read_card(path)
    try:
        tokenizer = Tokenizer(card.labels)
        module = Captioner(**card.architecture.arguments)
        if len(card.labels) != module.words.num_embeddings:
            raise ValueError(f"{len(card.labels)} words for {module.words.num_embeddings} logits")
    except (TypeError, ValueError, AttributeError, ZeroDivisionError, RuntimeError) as error:
        raise InputError(
            f"The card of {path.name} describes no captioner: {str(error).rstrip('.')}.",
            "Restore the card that came with it.",
        ) from error
    load_into(module, read_weights(path, card.sha256))
    module = module.eval().requires_grad_(False).to(device)
    return CaptionerModel(
        spec=spec,
        device=device,
        dtype="float32",
        load_ms=elapsed_ms(),
        memory_mb=sum(tensor.numel() * tensor.element_size() for tensor in module.parameters()) / 1e6,
        module=module,
        tokenizer=tokenizer,
    )
