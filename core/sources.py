"""Building a model from each source. `build_model` is the one way in; `core.loaders.ModelPool` calls it.

Weights are float32 and are read without running anything that is in the file. A model is refused when a part
of it would be left at random values, unless random weights were asked for.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from core.checkpoints import load_into, read_card, read_weights
from core.errors import InputError
from core.hub import hub_errors, reachable, require_hub
from core.preprocess import InputConfig
from core.registry import ModelSpec, cached_weights
from core.vision_model import VisionModel

if TYPE_CHECKING:
    from torch import nn

INTERPOLATION = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers for resampling, as transformers writes them."""
ANY_SIZE_TYPES = ("dinov2", "dinov2_with_registers", "dinov3_vit")
"""Model types of transformers that take any whole number of patches without being told to."""


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
    return VisionModel(
        spec=spec,
        module=module,
        device=device,
        dtype="float32",
        memory_mb=sum(p.numel() * p.element_size() for p in module.parameters()) / 1e6,
        load_ms=elapsed_ms(),
        **{name: value for name, value in network._asdict().items() if name != "module"},
    )


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
    except (TypeError, ValueError) as error:
        raise InputError(
            f"The card of {path.name} describes no network: {error}.", "Restore the card that came with it."
        ) from error
    load_into(module, read_weights(path, card.sha256))
    size = (card.input.height, card.input.width)
    return _Network(
        module,
        InputConfig(size, module.patch_size, card.input.mean, card.input.std),
        card.labels,
        module.prefix_tokens,
        module.prefix_tokens > 0,
        module.depth,
        module.heads,
    )


def _from_timm(spec: ModelSpec) -> _Network:
    """Published weights through timm: from the hub's cache without asking the hub, else downloaded."""
    import timm

    cached = cached_weights(spec)
    if cached is None:
        require_hub(spec.id)
    overlay = {"file": str(cached)} if cached else None
    with hub_errors(spec.id):
        module = timm.create_model(
            spec.weights, pretrained=True, pretrained_cfg_overlay=overlay, **_timm_arguments(spec.weights)
        )
    return _timm_network(module, spec)


def _random(spec: ModelSpec) -> _Network:
    import timm
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = timm.create_model(spec.weights, pretrained=False, **_timm_arguments(spec.weights))
    return _timm_network(module, spec)


def _timm_arguments(name: str) -> dict[str, Any]:
    """Return what makes a vision transformer of timm take pictures of any size."""
    import inspect

    import timm

    entry = inspect.getmodule(timm.model_entrypoint(name.partition(".")[0]))
    flexible = ("timm.models.vision_transformer", "timm.models.deit", "timm.models.eva")
    return {"dynamic_img_size": True} if entry is not None and entry.__name__ in flexible else {}


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
    named = (getattr(module, "pretrained_cfg", None) or {}).get("label_names")
    if named and len(named) == n:
        return tuple(str(label) for label in named)
    if n and (subset := infer_imagenet_subset(module)):
        info = ImageNetInfo(subset)
        return tuple(info.index_to_description(i) for i in range(n))
    return tuple(f"class {i}" for i in range(n)) if spec.source == "file" else ()


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
    overlay = {"file": str(path), "num_classes": classes}
    with hub_errors(path.name):
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
    if "architecture" not in config:
        return _transformers(spec.weights, spec, local=True)
    with hub_errors(spec.title):
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

    local = cached_weights(spec) is not None and not reachable()
    if not local:
        require_hub(spec.id)
    with hub_errors(spec.id):
        config = hf_hub_download(spec.weights, "config.json", revision=spec.revision, local_files_only=local)
    architecture = _folder_config(Path(config).parent).get("architecture")
    if architecture is None:
        return _transformers(spec.weights, spec, local)
    cached = cached_weights(spec)
    if local and cached is not None:
        return _from_folder(_as_folder(spec, cached.parent))
    with hub_errors(spec.id):
        module = timm.create_model(
            f"hf-hub:{spec.weights}@{spec.revision}", pretrained=True, **_timm_arguments(str(architecture))
        )
    return _timm_network(module, spec)


def _as_folder(spec: ModelSpec, folder: Path) -> ModelSpec:
    from dataclasses import replace

    return replace(spec, weights=str(folder))


def _transformers(name: str, spec: ModelSpec, local: bool) -> _Network:
    """A vision transformer of transformers; with its classifier only where its weights have one."""
    from transformers import AutoConfig, AutoModel, AutoModelForImageClassification

    source = {"local_files_only": local} | ({} if Path(name).is_dir() else {"revision": spec.revision})
    with hub_errors(spec.id):
        config = AutoConfig.from_pretrained(name, **source)
        classifies = any("ForImageClassification" in cls for cls in config.architectures or ())
        auto = AutoModelForImageClassification if classifies else AutoModel
        module, loading = auto.from_pretrained(name, output_loading_info=True, **source)
        config_input = _transformers_input(name, config, source)
    missing = [key for key in loading["missing_keys"] if not key.startswith("pooler.")]
    if missing or loading.get("mismatched_keys"):
        raise InputError(
            f"The weights of {spec.id} lack {len(missing)} tensors ({', '.join(sorted(missing)[:3])}).",
            "Fetch or export the whole model again.",
        )
    if not hasattr(config, "num_attention_heads") or not hasattr(config, "patch_size"):
        raise InputError(f"{spec.id} is not a plain vision transformer.", "Choose a ViT or DINO model.")
    labels = tuple(str(config.id2label[i]) for i in range(config.num_labels)) if classifies else ()
    return _Network(
        module,
        config_input,
        labels,
        1 + int(getattr(config, "num_register_tokens", 0)),
        True,
        int(config.num_hidden_layers),
        int(config.num_attention_heads),
    )


def _transformers_input(name: str, config: Any, source: Mapping[str, Any]) -> InputConfig:
    from transformers import AutoImageProcessor

    patch = int(config.patch_size)
    try:
        processor = AutoImageProcessor.from_pretrained(name, backend="pil", **source).to_dict()
    except OSError:  # a folder that holds only the network
        processor = {}
    edge, crop = _edge(processor.get("size")), _edge(processor.get("crop_size"))
    cropped = bool(processor.get("do_center_crop")) and crop is not None and edge is not None
    side = crop if cropped else edge
    side = int(side or config.image_size) // patch * patch
    return InputConfig(
        size=(side, side),
        patch=(patch, patch),
        mean=tuple(processor.get("image_mean") or (0.5, 0.5, 0.5)),
        std=tuple(processor.get("image_std") or (0.5, 0.5, 0.5)),
        interpolation=INTERPOLATION.get(int(processor.get("resample") or 3), "bicubic"),
        crop_fraction=min(1.0, (crop or 1) / (edge or 1)) if cropped else 1.0,
        any_size=config.model_type in ANY_SIZE_TYPES,
    )


def _edge(size: Any) -> int | None:
    if not size:
        return None
    values = dict(size)
    return int(values.get("shortest_edge") or values.get("height") or 0) or None
