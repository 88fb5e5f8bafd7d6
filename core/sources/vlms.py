"""Vision-language models: a captioner of this repository, or transformers' by hub name or folder."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.checkpoints import read_card
from core.errors import InputError
from core.hub import fetching, local_errors
from core.registry import ModelSpec
from core.vlm.local_model import LocalModel

if TYPE_CHECKING:
    import torch


def build_vlm(spec: ModelSpec, device: str, elapsed_ms: Callable[[], float]) -> LocalModel:
    """Load the vision-language model that `spec` names onto `device`; errors as `build_model`."""
    path = Path(spec.weights)
    if spec.source == "huggingface":
        with fetching(spec.id, spec.weights, spec.revision) as cached:
            options = {"local_files_only": cached is not None, "revision": spec.revision}
            return _from_transformers(spec, device, elapsed_ms, options)
    if path.is_dir():
        with local_errors(spec.title):
            return _from_transformers(spec, device, elapsed_ms, {"local_files_only": True})
    if not path.with_suffix(".json").exists():
        raise InputError(
            f"{path.name} does not say which network it belongs to.",
            "Put its card beside it, or give the folder that transformers saved the model in.",
        )
    card = read_card(path)
    if card.architecture.class_name != "Captioner":
        raise InputError(
            f"{path.name} holds a {card.architecture.class_name}.", "Choose a vision-language model."
        )
    from core.sources.captioner import from_card

    return from_card(spec, device, elapsed_ms)


def _from_transformers(
    spec: ModelSpec, device: str, elapsed_ms: Callable[[], float], options: Mapping[str, Any]
) -> LocalModel:
    """Build by the configuration, without running code of the repository and from safetensors alone."""
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

    from core.sources import with_commit
    from core.vlm.transformers_model import TransformersVlm

    # for weights without a safetensors copy, transformers would ask the hub to make one, in a thread
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    config = AutoConfig.from_pretrained(spec.weights, trust_remote_code=False, **options)
    _check_type(spec, config.model_type)
    # before the weights: those end a fetch
    processor = AutoProcessor.from_pretrained(spec.weights, trust_remote_code=False, **options)
    _check_processor(spec, processor)
    module, loading = AutoModelForImageTextToText.from_pretrained(
        spec.weights,
        config=config,
        dtype=precision(device),
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
        **options,
    )
    _check_complete(spec, loading)
    module = module.eval().requires_grad_(False).to(device)
    tensors = (*module.parameters(), *module.buffers())
    return TransformersVlm(
        spec=with_commit(spec),
        device=device,
        dtype=str(module.dtype).removeprefix("torch."),
        load_ms=elapsed_ms(),
        memory_mb=sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 1e6,
        module=module,
        processor=processor,
    )


def precision(device: str) -> "torch.dtype":
    """Return what weights are kept and multiplied in: 16 bits wherever the device multiplies such numbers."""
    import torch

    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device == "mps":
        return torch.float16
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32


def _check_type(spec: ModelSpec, model_type: str) -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    if model_type not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        raise InputError(
            f"{spec.id} is a {model_type}, which does not answer prompts about pictures.",
            "Choose a vision-language model, such as hf/HuggingFaceTB/SmolVLM-256M-Instruct.",
        )


def _check_processor(spec: ModelSpec, processor: Any) -> None:
    """Refuse what was not made to be asked: plain captioning or reading networks, or half a folder."""
    if getattr(processor, "image_processor", None) is None or not getattr(processor, "chat_template", None):
        raise InputError(
            f"{spec.id} comes without a chat template, or without its picture processor.",
            "Choose a model that was tuned to answer, often called Instruct or Chat.",
        )


def _check_complete(spec: ModelSpec, loading: Mapping[str, Any]) -> None:
    """Refuse a network of which a part was left random."""
    if missing := sorted(loading["missing_keys"]):
        raise InputError(
            f"The weights of {spec.id} lack {len(missing)} tensors ({', '.join(missing[:3])}).",
            "Fetch or export the whole model again.",
        )
