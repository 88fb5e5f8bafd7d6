"""What runs have in common by which they are counted together."""

import json
from collections.abc import Mapping
from typing import Any

from db.rows import Row, sha256

FIELDS = (
    "owner",
    "kind",
    "model_id",
    "model_revision",
    "environment_id",
    "device",
    "status",
    "outcome",
    "loopback",
    "deleted",
)


def outcome_of(status: str, error_class: str) -> str:
    """Return what became of a run: the class of its failure, or its status where that has none."""
    return error_class if status in ("failed", "cancelled") and error_class else status


def is_loopback(parameters: Mapping[str, Any]) -> bool:
    """Say whether a loopback test server answered a run."""
    return parameters.get("loopback") is True


def series_row(run: Mapping[str, Any], device: str, *, loopback: bool) -> Row:
    """Return the row of a run's series, but for its id.

    Args:
        run: The columns of the run, with `environment_id`; one with a time in `deleted` is in the bin.
    """
    row = {
        name: run[name]
        for name in ("owner", "kind", "model_id", "model_revision", "environment_id", "status")
    }
    row |= {
        "device": device,
        "outcome": outcome_of(run["status"], run["error_class"]),
        "loopback": loopback,
        "deleted": run.get("deleted") is not None,
    }
    return row | {"digest": sha256(json.dumps([row[name] for name in FIELDS]).encode())}
