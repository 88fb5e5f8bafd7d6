"""transformers' plain vision transformers, from the hub or a folder."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.preprocess import InputConfig
from core.registry import ModelSpec
from core.sources.network import Network, Tokens

INTERPOLATION = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers for resampling, as transformers writes them."""
ANY_SIZE_TYPES = ("dinov2", "dinov2_with_registers", "dinov3_vit")
"""Model types that take any whole number of patches without being told to."""
PREFIX_TOKENS = {"vit": 1, "vit_msn": 1, "deit": 2} | dict.fromkeys(ANY_SIZE_TYPES, 1)
"""Model types whose tokens are one grid of patches, and how many tokens stand before registers."""
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def from_transformers(name: str, spec: ModelSpec, local: bool) -> Network:
    """A vision transformer of transformers; with its classifier only where its weights have one."""
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForImageClassification

    # for weights without a safetensors copy, transformers would ask the hub to make one, in a thread
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    source = {"local_files_only": local} | ({} if Path(name).is_dir() else {"revision": spec.revision})
    config = AutoConfig.from_pretrained(name, trust_remote_code=False, **source)
    if config.model_type not in PREFIX_TOKENS:
        raise InputError(
            f"{spec.id} is a {config.model_type}, not a plain vision transformer.",
            f"Choose a model of type {', '.join(PREFIX_TOKENS)}.",
        )
    processor = _image_processor(name, source)  # before the weights, which end a fetch
    classifies = any("ForImageClassification" in cls for cls in config.architectures or ())
    auto = AutoModelForImageClassification if classifies else AutoModel
    module, loading = auto.from_pretrained(
        name, dtype=torch.float32, attn_implementation="sdpa", output_loading_info=True, **source
    )
    _check_complete(spec, loading)
    if getattr(module, "pooler", None) is not None:
        module.pooler = None  # nothing here reads it, and often it is random
    return Network(
        module,
        _input(config, processor),
        tuple(str(config.id2label[i]) for i in range(config.num_labels)) if classifies else (),
        Tokens(
            PREFIX_TOKENS[config.model_type] + int(getattr(config, "num_register_tokens", 0)),
            True,
            int(config.num_hidden_layers),
            int(config.num_attention_heads),
        ),
    )


def _check_complete(spec: ModelSpec, loading: Mapping[str, Any]) -> None:
    """Refuse a network of which a part was left random. The pooler is dropped anyway."""
    missing = sorted(key for key in loading["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise InputError(
            f"The weights of {spec.id} lack {len(missing)} tensors ({', '.join(missing[:3])}).",
            "Fetch or export the whole model again.",
        )


def _image_processor(name: str, source: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return how the model wants its pictures; nothing where its files do not say."""
    from transformers import AutoImageProcessor

    if not any(_has(name, file, source) for file in ("preprocessor_config.json", "processor_config.json")):
        return {}
    return dict(AutoImageProcessor.from_pretrained(name, backend="pil", **source).to_dict())


def _has(name: str, file: str, source: Mapping[str, Any]) -> bool:
    """Say whether a model has a file. A hub that fails to answer is an error here, not a no."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    if Path(name).is_dir():
        return (Path(name) / file).exists()
    try:
        return bool(hf_hub_download(name, file, **source))
    except EntryNotFoundError as error:
        if isinstance(error, LocalEntryNotFoundError) and not source["local_files_only"]:
            raise
        return False


def _input(config: Any, processor: Mapping[str, Any]) -> InputConfig:
    patch, any_size = int(config.patch_size), config.model_type in ANY_SIZE_TYPES
    edge, crop = _edge(processor.get("size")), _edge(processor.get("crop_size"))
    cropped = bool(processor.get("do_center_crop")) and crop is not None and edge is not None
    side = (crop if cropped else edge) if any_size else None
    side = int(side or config.image_size) // patch * patch
    mean, std = IMAGENET if any_size else HALF
    return InputConfig(
        size=(side, side),
        patch=(patch, patch),
        mean=tuple(processor.get("image_mean") or mean),
        std=tuple(processor.get("image_std") or std),
        interpolation=INTERPOLATION.get(int(processor.get("resample", 3)), "bicubic"),
        crop_fraction=min(1.0, (crop or 1) / (edge or 1)) if cropped else 1.0,
        crop_mode="squash" if not cropped and "height" in (processor.get("size") or {}) else "center",
        any_size=any_size,
    )


def _edge(size: Any) -> int | None:
    values = dict(size or {})
    return int(values.get("shortest_edge") or values.get("height") or 0) or None
