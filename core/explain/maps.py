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

_FUSE: dict[Head, Callable[..., Any]] = {"mean": np.mean, "max": np.max, "min": np.min}


def check_query(query: Query, has_cls: bool, grid: tuple[int, int]) -> None:
    """Raise an InputError unless a model with a CLS token or not, and this grid of patches, has the query."""
    if query != "cls":
        Frame((0, 0, grid[1], grid[0]), grid).check_patch(*query)
    elif not has_cls:
        raise InputError("This model has no CLS token.", "Choose a patch as the query.")


def check_head(head: Head, heads: int) -> None:
    """Raise an InputError unless `head` is one of so many heads, or a way to merge them."""
    if head not in _FUSE and not (isinstance(head, int) and 0 <= head < heads):
        raise InputError(f"There is no head {head}.", f"Heads go from 0 to {heads - 1}; or mean, max, min.")


def query_index(attention: "Attention", query: Query) -> int:
    """Return the token that `query` means.

    Raises:
        InputError: The model has no CLS token, or there is no such patch.
    """
    check_query(query, attention.has_cls, attention.grid)
    if query == "cls":
        return 0
    row, column = query
    return attention.prefix_tokens + row * attention.grid[1] + column


def attention_row(attention: "Attention", layer: int, head: Head, query: Query) -> NDArray[np.float32]:
    """Return what the query takes from each token, N, as it is in the model (heads merged where asked).

    Raises:
        InputError: There is no such head, or no such query.
        KeyError: The layer was not kept.
    """
    check_head(head, attention.heads)
    rows = attention.weights[layer][:, query_index(attention, query)]  # H N
    row: NDArray[np.float32] = _FUSE[head](rows, axis=0) if isinstance(head, str) else rows[head]
    return row


def rollout_row(attention: "Attention", fusion: Fusion, query: Query) -> NDArray[np.float32]:
    """Return what rollout through all layers traces back from the query to each token, N; it sums to 1.

    Heads are merged by `fusion`, the residual connection is an added identity, and the rows are made to sum
    to 1 again (Abnar and Zuidema 2020, section 3).

    Raises:
        InputError: There is no such query.
        KeyError: There is neither this rollout nor every layer to make it from.
    """
    index = query_index(attention, query)
    if attention.rollout is not None and attention.rollout_fusion == fusion:
        traced: NDArray[np.float32] = attention.rollout[index]
        return traced
    row = np.zeros(attention.tokens, dtype=np.float32)
    row[index] = 1
    for layer in reversed(range(attention.depth)):  # one row through the layers, last to first
        merged = _FUSE[fusion](attention.weights[layer], axis=0)  # N N
        share = row / (merged.sum(axis=-1) + 1)  # N: the row, spread over rows that sum to 1
        row = share @ merged + share
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
        smooth: Interpolate linearly between the centres of the patches; otherwise a patch is one flat cell.
    """
    x0, y0, x1, y1 = frame.box
    across = _spread(values.T, width, x0, x1, smooth)  # width rows
    return _spread(np.ascontiguousarray(across.T), height, y0, y1, smooth)  # height width


def _spread(
    values: NDArray[np.float32], pixels: int, start: float, end: float, smooth: bool
) -> NDArray[np.float32]:
    """Return the rows of `values`, which lie evenly from `start` to `end`, at so many pixels from 0."""
    n, at = len(values), (np.arange(pixels) + 0.5 - start) / (end - start)  # at: 0-1 where there are rows
    place = np.clip(at * n - 0.5, 0, n - 1) if smooth else np.clip(at * n, 0, n - 1).astype(int)
    before = np.floor(place).astype(int)
    share = (place - before).astype(np.float32)[:, None]
    out: NDArray[np.float32] = values[before]
    if smooth:
        step = values[np.minimum(before + 1, n - 1)]  # in place: a picture may have 40 megapixels
        step -= out
        step *= share
        out += step
    out[(at < 0) | (at >= 1)] = np.nan
    return out


def npy_bytes(values: NDArray[Any]) -> bytes:
    """Return an array as the bytes of a NPY file."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(values), allow_pickle=False)
    return buffer.getvalue()
