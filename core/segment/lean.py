"""The picture encoder of segment-anything with the same result in far less memory.

Its attention holds the weights of all heads at once, several times over: at 1024 pixels the logits of 12
heads of 4096 x 4096 values take 0.8 GB, and as much again with each term of relative positions and after the
softmax. Each row of weights is independent of the others, so a slice of them at a time suffices, and one that
stays in the processor's cache is faster, too.

Source of the calculation: segment_anything.modeling.image_encoder.Attention and `add_decomposed_rel_pos`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from segment_anything.modeling.image_encoder import Attention, get_rel_pos

if TYPE_CHECKING:
    from segment_anything.modeling import Sam
    from torch import Tensor

SLICE_VALUES = 2**20
"""At most so many attention weights are held at a time, 4 bytes each; but never less than one row of queries
of one head."""


class LeanAttention(Attention):  # type: ignore[misc]  # the package has no types
    """Multi-head attention over a grid of tokens, the weights of a slice of heads and queries at a time."""

    def forward(self, x: "Tensor") -> "Tensor":
        """Return B H W D for tokens B H W D, as `Attention.forward`."""
        batch, height, width, dim = x.shape
        qkv = self.qkv(x).view(batch, height * width, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).flatten(1, 2)  # each B*heads H*W C
        queries = q.view(len(q), height, width, -1)
        down = across = None
        if self.use_rel_pos:
            down = get_rel_pos(height, height, self.rel_pos_h)  # H H C: query, key
            across = get_rel_pos(width, width, self.rel_pos_w)  # W W C
        attended = torch.empty_like(queries)
        for heads, rows in _slices(len(q), height, width):
            part = queries[heads, rows]
            logits = (part * self.scale).flatten(1, 2) @ k[heads].transpose(-2, -1)
            if down is not None and across is not None:
                _add_positions(logits, part, down[rows], across)
            attended[heads, rows] = (logits.softmax(dim=-1) @ v[heads]).view_as(part)
        joined = attended.view(batch, self.num_heads, height, width, -1).permute(0, 2, 3, 1, 4)
        projected: Tensor = self.proj(joined.reshape(batch, height, width, dim))
        return projected


def _slices(heads: int, height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Yield slices of the heads (of all pictures) and of the queries' rows that together are everything."""
    of_row = width * height * width
    rows_at_once = min(height, max(1, SLICE_VALUES // of_row))
    heads_at_once = max(1, SLICE_VALUES // (rows_at_once * of_row))
    for head in range(0, heads, heads_at_once):
        for row in range(0, height, rows_at_once):
            yield slice(head, head + heads_at_once), slice(row, row + rows_at_once)


def _add_positions(logits: "Tensor", queries: "Tensor", down: "Tensor", across: "Tensor") -> None:
    """Add the terms of relative positions to logits N h*W H*W, in place.

    Args:
        queries: N h W C.
        down: h H C, the embeddings of the distances from each row of queries to each row of keys.
        across: W W C, the same for columns.
    """
    count, rows, width, _ = queries.shape
    grid = logits.view(count, rows, width, down.shape[1], width)
    grid += torch.einsum("nhwc,hkc->nhwk", queries, down)[..., :, None]
    grid += torch.einsum("nhwc,wkc->nhwk", queries, across)[..., None, :]


def lean(sam: "Sam") -> None:
    """Make the model's picture encoder use `LeanAttention` from now on; weights and their names stay.

    Called once, before anybody else has the model: afterwards no call changes anything on it.
    """
    for module in sam.image_encoder.modules():
        if type(module) is Attention:
            module.__class__ = LeanAttention
