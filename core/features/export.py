"""Similarities as files: matches as CSV and JSON, the whole matrix as NPY."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from core.explain.maps import npy_bytes
from core.features.matching import Match
from core.features.similarity import UnitGrid, similarity_matrix

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
