"""Building a model from each source. `build_model` is the one way in; `core.loaders.ModelPool` calls it.

Weights are float32 and are read without running anything that is in the file. A model is refused when a part
of it would be left at random values, unless random weights were asked for.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from core.checkpoints import load_into, read_card, read_weights
from core.errors import InputError
from core.hub import cached_file, cached_weights, fetching, local_errors, require_hub
from core.preprocess import InputConfig
from core.registry import ModelSpec
from core.vision_model import VisionModel

if TYPE_CHECKING:
    from torch import nn

INTERPOLATION = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers for resampling, as transformers writes them."""
ANY_SIZE_TYPES = ("dinov2", "dinov2_with_registers", "dinov3_vit")
"""Model types of transformers that take any whole number of patches without being told to."""
ANY_SIZE_MODULES = ("vision_transformer", "deit", "eva")
"""Modules of timm whose networks take any whole number of patches when told to."""
PREFIX_TOKENS = {"vit": 1, "vit_msn": 1, "deit": 2} | dict.fromkeys(ANY_SIZE_TYPES, 1)
"""Model types of transformers whose tokens are one grid of patches, and how many stand before registers."""
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class _Network(NamedTuple):
    """What a source gives: a network and the facts that only it knows."""

    module: "nn.Module"
    input: InputConfig
    labels: tuple[str, ...]
    prefix_tokens: int
    has_cls: bool
    depth: int
    heads: int


def build_model(spec: ModelSpec, device: str, elapsed_ms: Callable[[], float]) -> VisionModel:
    """Load the model that `spec` names onto `device`, ready for inference.

    Args:
        elapsed_ms: Tells how long loading took, when it is done.

    Raises:
        InputError: There is no such model, or its weights do not fit or cannot be trusted.
        OfflineError: It would have to be downloaded and there is no network.
    """
    network = _builder(spec)(spec)
    module = network.module.eval().requires_grad_(False).to(device)
    tensors = (*module.parameters(), *module.buffers())
    return VisionModel(
        spec=_with_commit(spec),
        module=module,
        device=device,
        dtype="float32",
        memory_mb=sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 1e6,
        load_ms=elapsed_ms(),
        **{name: value for name, value in network._asdict().items() if name != "module"},
    )


def _with_commit(spec: ModelSpec) -> ModelSpec:
    """Return a hub model's facts with the commit that its revision (a branch, say) stood for."""
    cached = cached_weights(spec.weights, spec.revision) if spec.source == "huggingface" else None
    return replace(spec, revision=cached.parent.name[:12]) if cached else spec


def _builder(spec: ModelSpec) -> Callable[[ModelSpec], _Network]:
    if spec.source == "shipped":
        return _from_card
    if spec.source == "huggingface":
        return _from_hub
    if spec.is_random:
        return _random
    if spec.source == "timm":
        return _from_timm
    return _from_folder if Path(spec.weights).is_dir() else _from_file


def _from_card(spec: ModelSpec) -> _Network:
    """A checkpoint of this repository: the card says what to build."""
    from core.nn import VisionTransformer

    path = Path(spec.weights)
    card = read_card(path)
    if card.architecture.class_name != "VisionTransformer":
        raise InputError(
            f"{path.name} holds a {card.architecture.class_name}.", "Choose a vision transformer."
        )
    try:
        module = VisionTransformer(**card.architecture.arguments)
        size = (card.input.height, card.input.width)
        # training squeezed whole pictures into this size (core/training/scene_pool.py)
        config = InputConfig(size, module.patch_size, card.input.mean, card.input.std, crop_mode="squash")
    except (TypeError, ValueError) as error:
        raise InputError(
            f"The card of {path.name} describes no network: {error}.", "Restore the card that came with it."
        ) from error
    load_into(module, read_weights(path, card.sha256))
    return _Network(
        module,
        config,
        card.labels,
        module.prefix_tokens,
        module.prefix_tokens > 0,
        module.depth,
        module.heads,
    )


def _from_timm(spec: ModelSpec) -> _Network:
    """Published weights through timm: from the hub's cache without asking the hub, else downloaded."""
    import timm
    import torch

    published = timm.get_pretrained_cfg(spec.weights)
    if not published.has_weights:
        raise InputError(
            f"timm publishes no weights for {spec.weights}.",
            f"Choose another model, or random/{spec.weights}.",
        )
    with fetching(spec.id, published.hf_hub_id or spec.weights) as cached:
        # The cached file holds timm's own names, also where the first release (custom_load) did not.
        overlay = {"file": str(cached), "custom_load": False} if cached else None
        arguments = _timm_arguments(spec.weights)
        if cached is None:  # an outline tells, before a long download, whether its layers can be read
            with torch.device("meta"):
                _timm_network(timm.create_model(spec.weights, **arguments), spec)
        module = timm.create_model(spec.weights, pretrained=True, pretrained_cfg_overlay=overlay, **arguments)
    return _timm_network(module, spec)


def _random(spec: ModelSpec) -> _Network:
    import timm

    from core.seeded import Seeded

    with Seeded(0):
        module = timm.create_model(spec.weights, pretrained=False, **_timm_arguments(spec.weights))
    return _timm_network(module, spec)


def _timm_arguments(name: str) -> dict[str, Any]:
    """Return what makes a vision transformer of timm take pictures of any size."""
    from timm.models import is_model_in_modules

    flexible = is_model_in_modules(name.partition(".")[0], ANY_SIZE_MODULES)
    return {"dynamic_img_size": True} if flexible else {}


def _timm_network(module: "nn.Module", spec: ModelSpec) -> _Network:
    from timm.data import resolve_model_data_config

    blocks, embed = getattr(module, "blocks", None), getattr(module, "patch_embed", None)
    attention = getattr(blocks[0], "attn", None) if blocks is not None and len(blocks) else None
    if embed is None or not hasattr(module, "num_prefix_tokens") or not hasattr(attention, "num_heads"):
        raise InputError(
            f"{spec.id} is not a plain vision transformer: its tokens are not one grid of patches.",
            "Choose a vit_…, deit… or dino… model.",
        )
    data = resolve_model_data_config(module)
    config = InputConfig(
        size=tuple(data["input_size"][1:]),
        patch=tuple(embed.patch_size),
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
        interpolation=data["interpolation"],
        crop_fraction=data["crop_pct"],
        crop_mode="squash" if data["crop_mode"] == "squash" else "center",
        any_size=bool(getattr(module, "dynamic_img_size", False)),
    )
    return _Network(
        module,
        config,
        _timm_labels(module, spec),
        int(module.num_prefix_tokens),  # type: ignore[arg-type]
        getattr(module, "cls_token", None) is not None,
        len(blocks),  # type: ignore[arg-type]
        int(attention.num_heads),  # type: ignore[union-attr]
    )


def _timm_labels(module: "nn.Module", spec: ModelSpec) -> tuple[str, ...]:
    from timm.data import ImageNetInfo, infer_imagenet_subset

    n = int(getattr(module, "num_classes", 0) or 0)
    facts = getattr(module, "pretrained_cfg", None) or {}
    named, told = facts.get("label_names") or (), facts.get("label_descriptions") or {}
    if n and len(named) == n:
        names = (
            named.get(str(i), named.get(i)) if isinstance(named, Mapping) else named[i] for i in range(n)
        )
        return tuple(str(told.get(name, name)) for name in names)
    if n and (subset := infer_imagenet_subset(module)):
        info = ImageNetInfo(subset)
        return tuple(info.index_to_description(i) for i in range(n))
    # timm's own list has networks whose last layer is an embedding, not a classifier
    return tuple(f"class {i}" for i in range(n)) if spec.source != "timm" else ()


def _from_file(spec: ModelSpec) -> _Network:
    """A weights file: its card says what to build, else its name, as `ARCHITECTURE[.tag].safetensors`."""
    import timm

    path = Path(spec.weights)
    if path.with_suffix(".json").exists():
        return _from_card(spec)
    name = path.name.removesuffix(path.suffix)
    if not timm.is_model(name.partition(".")[0]):
        raise InputError(
            f"{path.name} does not say which network it belongs to.",
            "Name it after its timm architecture, such as vit_tiny_patch16_224.safetensors, or put its card "
            "beside it.",
        )
    weights = read_weights(path)
    classes = weights["head.weight"].shape[0] if "head.weight" in weights else 0
    overlay = {"file": str(path), "num_classes": classes, "custom_load": False}
    with local_errors(path.name):
        module = timm.create_model(
            name if timm.is_model_pretrained(name) else name.partition(".")[0],
            pretrained=True,
            pretrained_cfg_overlay=overlay,
            num_classes=classes,
            **_timm_arguments(name),
        )
    return _timm_network(module, spec)


def _from_folder(spec: ModelSpec) -> _Network:
    """A model folder: timm's (`save_for_hf`) or transformers' (`save_pretrained`)."""
    import timm

    config = _folder_config(Path(spec.weights))
    with local_errors(spec.title):
        if "architecture" not in config:
            return _transformers(spec.weights, spec, local=True)
        module = timm.create_model(
            f"local-dir:{spec.weights}", pretrained=True, **_timm_arguments(str(config["architecture"]))
        )
    return _timm_network(module, spec)


def _folder_config(folder: Path) -> Mapping[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"The folder {folder.name} has no config.json that can be read.",
            "Give a folder that timm or transformers saved a model in.",
        ) from error
    if not isinstance(config, dict):
        raise InputError(f"The config.json in {folder.name} is no JSON object.", "Save the model again.")
    return config


def _from_hub(spec: ModelSpec) -> _Network:
    """A model of the hub: timm's or transformers', as its config.json says."""
    import timm
    from huggingface_hub import hf_hub_download

    with fetching(spec.id, spec.weights, spec.revision) as cached:
        here = cached_file(spec.weights, "config.json", spec.revision)
        if here is None:  # timm fetches the weights of its own names without it
            require_hub(spec.id)
        config = here or Path(hf_hub_download(spec.weights, "config.json", revision=spec.revision))
        architecture = _folder_config(config.parent).get("architecture")
        if architecture is None:
            return _transformers(spec.weights, spec, local=cached is not None)
        if cached:
            return _from_folder(replace(spec, weights=str(cached.parent)))
        module = timm.create_model(
            f"hf-hub:{spec.weights}@{spec.revision}", pretrained=True, **_timm_arguments(str(architecture))
        )
    return _timm_network(module, spec)


def _transformers(name: str, spec: ModelSpec, local: bool) -> _Network:
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
    return _Network(
        module,
        _transformers_input(config, processor),
        tuple(str(config.id2label[i]) for i in range(config.num_labels)) if classifies else (),
        PREFIX_TOKENS[config.model_type] + int(getattr(config, "num_register_tokens", 0)),
        True,
        int(config.num_hidden_layers),
        int(config.num_attention_heads),
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


def _transformers_input(config: Any, processor: Mapping[str, Any]) -> InputConfig:
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
