"""From attention weights to maps over the picture. Plain arrays in, plain arrays out."""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.preprocess import Frame

if TYPE_CHECKING:
    from core.explain.attention import Attention

Fusion = Literal["mean", "max", "min"]
"""How the heads of a layer become one map."""
Head = int | Fusion
Query = Literal["cls"] | tuple[int, int]
"""Whose attention: the CLS token's, or that of the patch in (row, column), counted from 0."""

_FUSE: dict[str, Callable[..., Any]] = {"mean": np.mean, "max": np.max, "min": np.min}


def query_index(attention: "Attention", query: Query) -> int:
    """Return the token that `query` means.

    Raises:
        InputError: The model has no CLS token, or there is no such patch.
    """
    if query == "cls":
        if not attention.has_cls:
            raise InputError("This model has no CLS token.", "Choose a patch as the query.")
        return 0
    row, column = query
    Frame((0, 0, 1, 1), attention.grid).check_patch(row, column)
    return attention.prefix_tokens + row * attention.grid[1] + column


def attention_row(attention: "Attention", layer: int, head: Head, query: Query) -> NDArray[np.float32]:
    """Return what the query takes from each token, N, as it is in the model (heads merged where asked).

    Raises:
        InputError: There is no such head, or no such query.
        KeyError: The layer was not kept.
    """
    rows = attention.weights[layer][:, query_index(attention, query)]  # H N
    if isinstance(head, str):
        merged: NDArray[np.float32] = _FUSE[head](rows, axis=0)
        return merged
    if not 0 <= head < attention.heads:
        raise InputError(
            f"There is no head {head}.", f"Heads go from 0 to {attention.heads - 1}; or mean, max, min."
        )
    row: NDArray[np.float32] = rows[head]
    return row


def rollout_start(tokens: int) -> NDArray[np.float32]:
    """Return rollout before the first layer: each token is itself (N N)."""
    return np.eye(tokens, dtype=np.float32)


def rollout_step(
    before: NDArray[np.float32], weights: NDArray[np.float32], fusion: Fusion
) -> NDArray[np.float32]:
    """Return rollout after one more layer with weights H N N (Abnar and Zuidema 2020, section 3).

    Heads are merged, the residual connection is an added identity, and each row is made to sum to 1 again.
    """
    merged = _FUSE[fusion](weights, axis=0) + np.eye(len(before), dtype=np.float32)  # N N
    merged /= merged.sum(axis=-1, keepdims=True)
    out: NDArray[np.float32] = merged @ before
    return out


def rollout_row(attention: "Attention", fusion: Fusion, query: Query) -> NDArray[np.float32]:
    """Return what rollout through all layers traces back from the query to each token, N; it sums to 1."""
    index = query_index(attention, query)
    if attention.rollout is not None and attention.rollout_fusion == fusion:
        row: NDArray[np.float32] = attention.rollout[index]
        return row
    row = np.eye(attention.prefix_tokens + attention.grid[0] * attention.grid[1], dtype=np.float32)[index]
    for layer in reversed(range(attention.depth)):  # one row through the layers, last to first
        merged = _FUSE[fusion](attention.weights[layer], axis=0)  # N N
        row = row @ ((merged + np.eye(len(merged), dtype=np.float32)) / (merged.sum(-1, keepdims=True) + 1))
    return row


def patch_map(attention: "Attention", row: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the patches' part of a row of N tokens as a map, rows by columns, values unchanged."""
    return row[attention.prefix_tokens :].reshape(attention.grid)


def mass_mask(values: NDArray[np.float32], mass: float) -> NDArray[np.bool_]:
    """Return the smallest set of patches that holds the share `mass` (0-1) of a map's sum.

    The threshold of DINO's attention masks (Caron et al. 2021, section 4.2.2). Equal values go in together
    as far as the order of the patches has it.
    """
    order = np.argsort(-values, axis=None, kind="stable")
    held = np.cumsum(values.ravel()[order], dtype=np.float64)
    needed = int(np.searchsorted(held, mass * held[-1] * (1 - 1e-9))) + 1
    mask = np.zeros(values.size, dtype=bool)
    mask[order[:needed]] = True
    return mask.reshape(values.shape)


def to_picture(
    values: NDArray[np.float32], frame: Frame, width: int, height: int, *, smooth: bool
) -> NDArray[np.float32]:
    """Return a map as height by width pixels of the picture; NaN where the model did not look.

    Args:
        smooth: Interpolate between the centres of the patches; otherwise each patch is one flat cell.
    """
    x0, y0, x1, y1 = frame.box
    rows, columns = values.shape
    y = ((np.arange(height) + 0.5) - y0) / (y1 - y0) * rows  # in patches, 0 at the frame's edge
    x = ((np.arange(width) + 0.5) - x0) / (x1 - x0) * columns
    inside = ((y >= 0) & (y < rows))[:, None] & ((x >= 0) & (x < columns))[None]
    if smooth:
        out = _bilinear(values, y - 0.5, x - 0.5)
    else:
        out = values[np.clip(y.astype(int), 0, rows - 1)][:, np.clip(x.astype(int), 0, columns - 1)]
    return np.where(inside, out, np.float32(np.nan))


def _bilinear(
    values: NDArray[np.float32], y: NDArray[np.float64], x: NDArray[np.float64]
) -> NDArray[np.float32]:
    rows = np.clip(y, 0, values.shape[0] - 1)
    columns = np.clip(x, 0, values.shape[1] - 1)
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    bottom = np.minimum(top + 1, values.shape[0] - 1)
    right = np.minimum(left + 1, values.shape[1] - 1)
    down, across = (rows - top)[:, None], (columns - left)[None]
    upper = values[top][:, left] * (1 - across) + values[top][:, right] * across
    lower = values[bottom][:, left] * (1 - across) + values[bottom][:, right] * across
    mixed: NDArray[np.float32] = (upper * (1 - down) + lower * down).astype(np.float32)
    return mixed


def npy_bytes(values: NDArray[np.float32]) -> bytes:
    """Return an array as the bytes of a NPY file."""
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()
