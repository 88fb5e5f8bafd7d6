"""timm's networks: with their published weights, with none, or with those of a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.checkpoints import read_weights
from core.errors import InputError
from core.hub import fetching, local_errors
from core.preprocess import InputConfig
from core.registry import ModelSpec, no_classifier
from core.sources.network import Network, Tokens

if TYPE_CHECKING:
    from torch import Tensor, nn

ANY_SIZE_MODULES = ("vision_transformer", "deit", "eva")
"""Modules of timm whose networks take any whole number of patches when told to."""


def from_timm(spec: ModelSpec) -> Network:
    """Published weights through timm: from the hub's cache without asking the hub, else downloaded."""
    import timm
    from timm.data import infer_imagenet_subset

    published = timm.get_pretrained_cfg(spec.weights)
    if not published.has_weights:
        raise InputError(
            f"timm publishes no weights for {spec.weights}.",
            f"Choose another model, or random/{spec.weights}.",
        )
    if "attention" not in spec.tasks and not infer_imagenet_subset({"num_classes": published.num_classes}):
        raise no_classifier(spec.id)  # before a long download
    with fetching(spec.id, published.hf_hub_id or spec.weights) as cached:
        # The cached file holds timm's own names, also where the first release (custom_load) did not.
        overlay = {"file": str(cached), "custom_load": False} if cached else None
        module = timm.create_model(
            spec.weights, pretrained=True, pretrained_cfg_overlay=overlay, **_arguments(spec.weights)
        )
    return _network(module, spec)


def untrained(spec: ModelSpec) -> Network:
    """A timm architecture with its first weights, drawn from seed 0."""
    import timm

    from core.seeded import Seeded

    with Seeded(0):
        module = timm.create_model(spec.weights, pretrained=False, **_arguments(spec.weights))
    return _network(module, spec)


def from_timms_own(place: str, architecture: str, spec: ModelSpec) -> Network:
    """A model that timm saved: `place` is `hf-hub:ORG/NAME@REVISION` or `local-dir:FOLDER`."""
    import timm

    return _network(timm.create_model(place, pretrained=True, **_arguments(architecture)), spec)


def _arguments(name: str) -> dict[str, Any]:
    """Return what makes a vision transformer of timm take pictures of any size."""
    from timm.models import is_model_in_modules

    flexible = is_model_in_modules(name.partition(".")[0], ANY_SIZE_MODULES)
    return {"dynamic_img_size": True} if flexible else {}


def _network(module: "nn.Module", spec: ModelSpec) -> Network:
    tokens = _tokens(module) if "attention" in spec.tasks else None
    return Network(module, _input(module, tokens), _labels(module, spec), tokens)


def _tokens(module: Any) -> Tokens | None:
    """Return what can be looked into; None where that is not one grid of patches in plain layers."""
    blocks: Any = getattr(module, "blocks", None)
    attention: Any = getattr(blocks[0], "attn", None) if blocks is not None and len(blocks) else None
    has_patches = hasattr(getattr(module, "patch_embed", None), "patch_size")
    if not has_patches or not hasattr(module, "num_prefix_tokens") or not hasattr(attention, "num_heads"):
        return None
    has_cls = getattr(module, "cls_token", None) is not None
    return Tokens(int(module.num_prefix_tokens), has_cls, len(blocks), int(attention.num_heads))


def _input(module: Any, tokens: Tokens | None) -> InputConfig:
    from timm.data import resolve_model_data_config
    from timm.models import get_model_input_config

    data = resolve_model_data_config(module)
    is_fixed = get_model_input_config(module)["fixed_input_size"]
    return InputConfig(
        size=tuple(data["input_size"][1:]),
        patch=tuple(module.patch_embed.patch_size) if tokens else (1, 1),
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
        interpolation=data["interpolation"],
        crop_fraction=data["crop_pct"],
        crop_mode="squash" if data["crop_mode"] == "squash" else "center",
        any_size=bool(getattr(module, "dynamic_img_size", False) if tokens else not is_fixed),
    )


def _labels(module: "nn.Module", spec: ModelSpec) -> tuple[str, ...]:
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
    # timm's own list has networks whose last layer is an embedding, not a classifier; one that was never
    # trained is neither, and can be timed as a classifier
    timed = spec.is_random and "features" not in spec.tasks
    return tuple(f"class {i}" for i in range(n)) if timed or spec.source != "timm" else ()


def from_file(spec: ModelSpec) -> Network:
    """A weights file whose name says what to build: `ARCHITECTURE[.tag].safetensors`."""
    import timm

    path = Path(spec.weights)
    name = path.name.removesuffix(path.suffix)
    if not timm.is_model(name.partition(".")[0]):
        raise InputError(
            f"{path.name} does not say which network it belongs to.",
            "Name it after its timm architecture, such as vit_tiny_patch16_224.safetensors, or put its card "
            "beside it.",
        )
    classes = _classes(read_weights(path), name.partition(".")[0])
    overlay = {"file": str(path), "num_classes": classes, "custom_load": False}
    with local_errors(path.name):
        module = timm.create_model(
            name if timm.is_model_pretrained(name) else name.partition(".")[0],
            pretrained=True,
            pretrained_cfg_overlay=overlay,
            num_classes=classes,
            **_arguments(name),
        )
    return _network(module, spec)


def _classes(weights: "Mapping[str, Tensor]", architecture: str) -> int:
    """Return how many classes a file's weights tell apart; 0 where the classifier was taken off."""
    import timm

    published = timm.get_pretrained_cfg(architecture, allow_unregistered=True)
    named = (published.classifier if published else None) or "head"
    layer = named if isinstance(named, str) else named[0]  # distilled networks have two
    return weights[f"{layer}.weight"].shape[0] if f"{layer}.weight" in weights else 0
