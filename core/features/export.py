"""Features and similarities as files: NPZ; matches as CSV and JSON, the whole matrix as NPY."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from core.explain.maps import npy_bytes
from core.features.matching import Match
from core.features.similarity import UnitGrid, similarity_matrix
from core.features.values import ImageFeatures

COLUMNS = (
    *("rank", "first_row", "first_column", "first_x", "first_y"),
    *("second_row", "second_column", "second_x", "second_y"),
    *("score", "mutual", "margin", "cycle_error_patches", "cycle_error_px"),
    *("others_percentile", "unrelated_percentile"),
)
"""Of the CSV file. Rows and columns of patches count from 0; x and y are their centres in pixels."""


def matches_csv(matches: Sequence[Match]) -> str:
    """Return matches as CSV, one a line, with a header (`COLUMNS`); what is not known is empty."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for rank, match in enumerate(matches, start=1):
        places = (*match.first, *match.first_xy, *match.second, *match.second_xy)
        marks = (getattr(match, name) for name in COLUMNS[9:])
        writer.writerow([rank, *places, *(int(m) if isinstance(m, bool) else m for m in marks)])
    return buffer.getvalue()


def matches_json(facts: dict[str, Any], matches: Sequence[Match]) -> bytes:
    """Return matches as JSON, with what else there is to know (`facts`, JSON values) beside them."""
    content = facts | {"matches": [match.as_json() for match in matches]}
    return (json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()


def matrix_npy(first: UnitGrid, second: UnitGrid) -> bytes:
    """Return `similarity_matrix`, N M float32, as the bytes of a NPY file: 4 N M and a short header."""
    return npy_bytes(similarity_matrix(first, second))


def features_npz(features: Sequence[ImageFeatures], names: Sequence[str]) -> bytes:
    """Return the features of pictures, by one model and options, as the bytes of a NPZ file.

    For picture i from 0: `patches_i` rows columns D and `cls_i` D (where there is one), float16; `box_i`, the
    part of the picture that the patches tile (x0 y0 x1 y1 in pixels). For all: `names`, `sha256`, `model`,
    `revision`, and `options` as JSON.
    """
    arrays: dict[str, Any] = {
        "names": np.array(names, dtype=str),
        "sha256": np.array([one.sha256 for one in features], dtype=str),
        "model": np.array(features[0].model_id),
        "revision": np.array(features[0].revision),
        "options": np.array(json.dumps(features[0].options.as_json())),
    }
    for i, one in enumerate(features):
        arrays |= {f"patches_{i}": one.patches, f"box_{i}": np.array(one.frame.box)}
        if one.cls is not None:
            arrays[f"cls_{i}"] = one.cls
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
