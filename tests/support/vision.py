"""Small vision transformers with random weights and sharp attention, wrapped as the app wraps loaded ones."""

import timm
import torch
from torch import nn

from core.preprocess import InputConfig
from core.registry import ModelSpec
from core.vision_model import VisionModel

SMALL = {"embed_dim": 96, "depth": 4, "num_heads": 3}
QUERY_AND_KEY = ("qkv.weight", "q_proj.weight", "k_proj.weight", "query.weight", "key.weight", "q.weight")


def vision_model(
    module: nn.Module,
    *,
    depth: int,
    heads: int,
    prefix_tokens: int = 1,
    has_cls: bool = True,
    patch: int = 16,
    labels: tuple[str, ...] = (),
) -> VisionModel:
    """Return a network in evaluation mode on the CPU, with the facts that its source would give."""
    return VisionModel(
        spec=ModelSpec("random/test", "test", "timm", ("attention",), "test"),
        module=module.eval().requires_grad_(False),
        device="cpu",
        dtype="float32",
        input=InputConfig((4 * patch, 4 * patch), (patch, patch), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        labels=labels,
        prefix_tokens=prefix_tokens,
        has_cls=has_cls,
        depth=depth,
        heads=heads,
        load_ms=0.0,
        memory_mb=0.0,
    )


def timm_model(name: str, **arguments: object) -> VisionModel:
    """Return a timm architecture, made small, that takes pictures of any size."""
    torch.manual_seed(0)
    module = timm.create_model(name, dynamic_img_size=True, **SMALL | arguments)
    return vision_model(
        sharpened(module),
        depth=len(module.blocks),
        heads=int(SMALL["num_heads"]),
        prefix_tokens=module.num_prefix_tokens,
        has_cls=getattr(module, "cls_token", None) is not None,
        patch=module.patch_embed.patch_size[0],
    )


def sharpened(module: nn.Module) -> nn.Module:
    """Make attention far from uniform, as training does; at initialisation any tool's maps look right."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith(QUERY_AND_KEY):
                parameter.normal_(std=2 * parameter.shape[-1] ** -0.5)
            elif name.endswith(("gamma", "gamma_1", "gamma_2", "lambda1")):  # layer scale starts at almost 0
                parameter.fill_(1.0)
    return module
