"""Reading the attention of a vision transformer during one ordinary forward pass.

Every network here (our own, timm's, transformers') computes attention by one function of PyTorch,
`scaled_dot_product_attention`. A `TorchFunctionMode` sees the calls of its own thread, with queries and keys
as they are used (after rotary positions and norms). It works the weights out from them and hands the
network's own result on. So nothing is changed on the shared network, no lock is needed, the output is
that of a plain pass to the last bit, and the weights are proven against it: times the values they must give
the result that the network used.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

from core.errors import InputError
from core.explain.maps import Fusion
from core.vision_model import VisionModel

ROW_SUM_TOLERANCE = 1e-5
OUTPUT_TOLERANCE = 1e-4
"""Largest difference of the recomputed output, relative to the largest value of the network's own."""

_MERGE: dict[Fusion, Callable[[Tensor], Tensor]] = {
    "mean": lambda weights: weights.mean(dim=0),
    "max": lambda weights: weights.amax(dim=0),
    "min": lambda weights: weights.amin(dim=0),
}


@dataclass(frozen=True, slots=True)
class AttentionChecks:
    """How far the weights can be trusted: the largest errors over all layers that were read."""

    row_sum_error: float
    """Largest distance of a row's sum from 1."""
    output_error: float
    """Largest difference between weights times values and the network's own result, relative to the largest
    value of that result."""

    @property
    def passed(self) -> bool:
        """Whether both errors are within rounding."""
        return self.row_sum_error <= ROW_SUM_TOLERANCE and self.output_error <= OUTPUT_TOLERANCE


@dataclass(frozen=True, eq=False)
class Attention:
    """What was read in one pass over one picture.

    Raises:
        ValueError: The weights or the rollout have not the shape that the rest says.
    """

    weights: Mapping[int, NDArray[np.float32]]
    """Layer (from 0) to its weights H N N, 0-1: head, query token, key token. Each row sums to 1."""
    depth: int
    heads: int
    prefix_tokens: int
    """How many of the N tokens stand in front of the patches."""
    has_cls: bool
    """Whether the first token is CLS."""
    grid: tuple[int, int]
    """Rows and columns of patches; N = prefix_tokens + rows * columns, row by row."""
    checks: AttentionChecks
    rollout: NDArray[np.float32] | None
    """Rollout N N through all layers, where it was asked for."""
    rollout_fusion: Fusion | None

    def __post_init__(self) -> None:
        expected = (self.heads, self.tokens, self.tokens)
        shapes = {values.shape for values in self.weights.values()}
        if self.rollout is not None:
            shapes.add((self.heads, *self.rollout.shape))
        if shapes - {expected}:
            raise ValueError(f"attention of shape {shapes}, expected {expected}")

    @property
    def tokens(self) -> int:
        """N: patches and what stands in front of them."""
        return self.prefix_tokens + self.grid[0] * self.grid[1]

    @property
    def keeps_all_layers(self) -> bool:
        """Whether the weights of every layer are here."""
        return len(self.weights) == self.depth


def check_layer(layer: int, depth: int) -> int:
    """Return a layer counted from 0; a negative one counts from the end.

    Raises:
        InputError: There is no such layer.
    """
    if not -depth <= layer < depth:
        raise InputError(f"There is no layer {layer}.", f"Layers go from 0 to {depth - 1}; -1 is the last.")
    return layer % depth


def extract_attention(
    model: VisionModel,
    pixels: Tensor,
    grid: tuple[int, int],
    layers: Sequence[int],
    rollout: Fusion | None = None,
) -> tuple[Attention, Tensor, float]:
    """Run `model` once and read the attention of some layers.

    Only the layers asked for are kept in memory, and each is read and checked, every row of it, as it passes.
    Rollout reads all layers and keeps one matrix (Abnar and Zuidema 2020, section 3).

    Args:
        pixels: 1 3 H W float32, as `core.preprocess.prepare` returns them.
        grid: Rows and columns of patches in `pixels`.
        layers: Which to keep, from 0; a negative one counts from the end.
        rollout: How heads are merged for rollout; None for no rollout.

    Returns:
        The attention, the model's output (1 C, on the CPU), and the time of the pass in milliseconds.

    Raises:
        InputError: There is no such layer, or the network's attention cannot be read: not exactly one call a
            layer over all tokens.
    """
    wanted = frozenset(check_layer(layer, model.depth) for layer in layers)
    reader = _Reader(model.prefix_tokens + grid[0] * grid[1], wanted, rollout)
    with torch.inference_mode():
        pixels = pixels.to(model.device)
        synchronise(model.device)
        started = time.perf_counter()
        with reader:
            output = model.forward(pixels)
        synchronise(model.device)
        model_ms = (time.perf_counter() - started) * 1000
    if reader.layer != model.depth:
        raise InputError(
            f"The attention of {model.spec.id} cannot be read: {reader.layer} calls of PyTorch's attention "
            f"function go over all {reader.tokens} tokens, for {model.depth} layers.",
            "Choose a plain vision transformer.",
        )
    attention = Attention(
        weights=reader.weights,
        depth=model.depth,
        heads=model.heads,
        prefix_tokens=model.prefix_tokens,
        has_cls=model.has_cls,
        grid=grid,
        checks=_worst(reader.checks),
        rollout=None if reader.rollout is None else reader.rollout.cpu().numpy(),
        rollout_fusion=rollout,
    )
    return attention, output.cpu(), model_ms


def synchronise(device: str) -> None:
    """Wait until the device has done all that was asked of it, so that a clock tells the truth."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    elif device.startswith("mps"):
        torch.mps.synchronize()


class _Reader(TorchFunctionMode):
    """Sees each call of the attention function made by its thread while it is entered."""

    def __init__(self, tokens: int, wanted: frozenset[int], rollout: Fusion | None) -> None:
        super().__init__()
        self.tokens, self.wanted, self.fusion = tokens, wanted, rollout
        self.layer = 0
        self.weights: dict[int, NDArray[np.float32]] = {}
        self.rollout: Tensor | None = None
        self.checks: list[AttentionChecks] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        own = func(*args, **(kwargs or {}))
        if func is F.scaled_dot_product_attention:
            self._see(own, *args, **(kwargs or {}))
        return own

    def _see(self, own: Tensor, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> None:
        if query.shape[0] != 1 or {query.shape[-2], key.shape[-2]} != {self.tokens}:
            return  # not a layer over the picture: a pooling head, a window
        layer, self.layer = self.layer, self.layer + 1
        if layer not in self.wanted and not self.fusion:
            return
        weights = attention_weights(query, key, *args, **kwargs)  # 1 H N N
        self.checks.append(check_attention(weights, value, own))
        if layer in self.wanted:
            self.weights[layer] = weights[0].cpu().numpy()  # H N N
        if self.fusion:
            self._trace(_MERGE[self.fusion](weights[0]))

    def _trace(self, merged: Tensor) -> None:
        """Take rollout through one more layer, whose merged weights are N N: mix, residual, renormalise."""
        step = merged + torch.eye(len(merged), device=merged.device)  # the residual connection
        step /= step.sum(dim=-1, keepdim=True)
        self.rollout = step if self.rollout is None else step @ self.rollout  # N N


def attention_weights(
    query: Tensor,
    key: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Return softmax(query keyᵀ · scale + mask) in float32, with the arguments of PyTorch's function.

    Args:
        query: B H N D.
        key: B H M D, or fewer heads with `enable_gqa`.
        attn_mask: Boolean (True may be attended to) or a number added to the scores.

    Returns:
        B H N M, each row summing to 1; all 0 where the mask allows nothing, as in PyTorch's function.

    Raises:
        InputError: The network drops attention at random, so there is no one set of weights.
    """
    if dropout_p:
        raise InputError("The network drops attention at random.", "Put it into evaluation mode.")
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], dim=-3)
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (query.float() * factor) @ key.float().transpose(-2, -1)  # B H N M
    if is_causal:
        allowed = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores.masked_fill_(~allowed, -math.inf)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores.masked_fill_(~attn_mask, -math.inf)
    elif attn_mask is not None:
        scores += attn_mask
    nothing_allowed = scores.amax(dim=-1, keepdim=True) == -math.inf if attn_mask is not None else None
    # In place: fresh memory for every layer would cost as much as the exponentials.
    weights = torch.softmax(scores, dim=-1, out=scores)
    return weights if nothing_allowed is None else weights.masked_fill_(nothing_allowed, 0.0)


def check_attention(weights: Tensor, value: Tensor, own: Tensor) -> AttentionChecks:
    """Hold weights B H N M against the values B H M D, or of fewer heads, and the network's own B H N D."""
    if value.shape[-3] != weights.shape[-3]:
        value = value.repeat_interleave(weights.shape[-3] // value.shape[-3], dim=-3)
    difference = _largest((weights @ value.float()).sub_(own))  # of B H N D
    rows = _largest(weights.sum(dim=-1).sub_(1))  # of B H N
    return AttentionChecks(row_sum_error=rows, output_error=difference / max(_largest(own), 1e-12))


def _worst(checks: Sequence[AttentionChecks]) -> AttentionChecks:
    """Return the largest errors; NaN, which fails, where there is one."""
    return AttentionChecks(
        row_sum_error=float(np.max([check.row_sum_error for check in checks], initial=0.0)),
        output_error=float(np.max([check.output_error for check in checks], initial=0.0)),
    )


def _largest(values: Tensor) -> float:
    """Return the largest magnitude; NaN where there is one."""
    low, high = values.aminmax()
    return max(-float(low), float(high))
