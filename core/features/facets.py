"""Reading one layer of a vision transformer, whichever library it comes from; nothing on it is changed.

What leaves a layer, after the last norm, is what the same model with fewer layers returns. So the blocks
behind the layer are left out of a shallow copy, which shares every weight, and that runs as the model does.
What a layer's attention projects is seen by a `TorchFunctionMode` of the own thread, by the weight it is
multiplied with. No hooks: those on a shared module would fire for everybody.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from core.errors import InputError
from core.features.values import Facet
from core.vision_model import VisionModel

BLOCKS = ("blocks", "layer", "layers")
"""What timm, transformers and this repository call their list of blocks."""
FUSED = "qkv"
"""The one projection to queries, keys and values, in this order, of timm and this repository."""
PROJECTIONS: dict[Facet, str] = {"query": "q_proj", "key": "k_proj", "value": "v_proj"}
"""What timm and transformers call separate projections."""


def layer_tokens(model: VisionModel, pixels: Tensor, layer: int, facet: Facet) -> Tensor:
    """Return what `facet` is of each token in a layer from 0: B N D, the prefix tokens first.

    Args:
        pixels: B 3 H W on the model's device, normalised, a whole number of patches.

    Raises:
        InputError: The network is built in another way than those known here.
    """
    backbone = _backbone(model.module)
    path, blocks = _blocks(backbone, model)
    part = backbone if layer == model.depth - 1 else _replaced(backbone, path, blocks[: layer + 1])
    if facet == "token":
        return _last_hidden_state(part, pixels)
    weight, share = _projection(blocks[layer], facet, model)
    with _Projected(weight) as seen:
        _last_hidden_state(part, pixels)
    if seen.output is None:
        raise _unknown(model, f"its layer {layer} does not use its own {facet} projection")
    facets: Sequence[Tensor] = [seen.output] if share is None else seen.output.chunk(3, dim=-1)
    return facets[share or 0]  # B N D


def _backbone(module: Any) -> nn.Module:
    """Return the network without its classifier, where that is a part of its own, as in transformers."""
    wraps = "ForImageClassification" in type(module).__name__
    backbone: nn.Module = module.base_model if wraps else module
    return backbone


def _last_hidden_state(backbone: Any, pixels: Tensor) -> Tensor:
    """Return what leaves the last norm, B N D."""
    ours = hasattr(backbone, "forward_features")  # and timm's
    tokens: Tensor = backbone.forward_features(pixels) if ours else backbone(pixels).last_hidden_state
    return tokens


def _blocks(backbone: nn.Module, model: VisionModel) -> tuple[str, Any]:
    """Return the dotted name of the list of blocks, and the list."""
    for path, child in backbone.named_modules():
        is_list = isinstance(child, nn.ModuleList | nn.Sequential) and len(child) == model.depth
        if is_list and path.rpartition(".")[2] in BLOCKS:
            return path, child
    raise _unknown(model, "its blocks are not in one list")


def _replaced(module: nn.Module, path: str, child: nn.Module) -> nn.Module:
    """Return a shallow copy of a module, with the same weights, in which `path` is another child."""
    name, _, rest = path.partition(".")
    shallow = copy.copy(module)
    shallow._modules = dict(module._modules)
    shallow._modules[name] = _replaced(module.get_submodule(name), rest, child) if rest else child
    return shallow


def _projection(block: nn.Module, facet: Facet, model: VisionModel) -> tuple[Tensor, int | None]:
    """Return the weight that makes the facet; and which third of its result is meant, None for all."""
    for path, child in block.named_modules():
        name = path.rpartition(".")[2]
        if isinstance(child, nn.Linear) and name == FUSED:
            return child.weight, list(PROJECTIONS).index(facet)
        if isinstance(child, nn.Linear) and name == PROJECTIONS[facet]:
            return child.weight, None
    raise _unknown(model, f"its layers have no {facet} projection")


def _unknown(model: VisionModel, reason: str) -> InputError:
    return InputError(
        f"The features of {model.spec.id} cannot be read: {reason}.", "Choose a plain vision transformer."
    )


class _Projected(TorchFunctionMode):
    """Keeps the product with one weight that its thread computes while it is entered."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight
        self.output: Tensor | None = None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        output = func(*args, **named)
        if func is F.linear and (args[1] if len(args) > 1 else named["weight"]) is self.weight:
            self.output = output  # a bias that is added in place later is in it
        return output
