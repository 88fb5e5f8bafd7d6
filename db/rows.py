"""From a new run to rows: everything is checked here, before anything is written."""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from db.errors import InvalidRunError
from db.records import NewArtifact, NewEnvironment, NewInput, NewMetric, NewPicture, NewRun

Row = dict[str, Any]

UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
MAX_INTEGER = 2**63 - 1


def clean_text(text: str) -> str:
    """Return `text` with U+FFFD in place of what no database takes: NUL and lone surrogates."""
    return UNSTORABLE.sub("\ufffd", text)


def clean_row(**row: Any) -> Row:
    """Return a row whose texts every database takes."""
    return {name: clean_text(value) if isinstance(value, str) else value for name, value in row.items()}


def clean_json(value: Any, where: str = "parameters") -> Any:
    """Return `value` as JSON gives it back (tuples become lists).

    Raises:
        InvalidRunError: Something in it is no JSON value, or a number is not finite.
    """
    if isinstance(value, str):
        return clean_text(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return finite(value, where)
    if isinstance(value, Mapping):
        return {_key(key, where): clean_json(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean_json(item, f"{where}[{i}]") for i, item in enumerate(value)]
    raise InvalidRunError(
        f"{where} is of type {type(value).__name__}, which JSON does not have.", "Convert it first."
    )


def _key(key: Any, where: str) -> str:
    if not isinstance(key, str):
        raise InvalidRunError(f"A key in {where} is {key!r}, not a string.", "Name it by a string.")
    return clean_text(key)


def finite(value: float, where: str) -> float:
    """Return `value`.

    Raises:
        InvalidRunError: It is NaN or infinite.
    """
    if not math.isfinite(value):
        raise InvalidRunError(
            f"{where} is {value}, not a finite number.", "Leave out what could not be measured."
        )
    return float(value)


def sha256(data: bytes) -> str:
    """Return the hex digest of `data`."""
    return hashlib.sha256(data).hexdigest()


def environment_row(environment: NewEnvironment) -> Row:
    """Return the row, with the digest that makes equal environments one."""
    row = clean_row(
        device=environment.device,
        device_name=environment.device_name,
        dtype=environment.dtype,
        threads=environment.threads,
        versions=clean_json(environment.versions, "environment.versions"),
        git_revision=environment.git_revision,
    )
    return row | {"digest": sha256(json.dumps(row, sort_keys=True).encode())}


def run_row(run: NewRun, status: str) -> Row:
    """Return the row but for its id, its time and its environment's id."""
    return clean_row(
        kind=run.kind,
        model_id=run.model_id,
        model_revision=run.model_revision,
        owner=run.owner,
        shared=False,
        note=run.note,
        parameters=clean_json(run.parameters),
        view={},
    ) | outcome_row(status, run.duration_ms, run.error_class, run.error_message)


def outcome_row(status: str, duration_ms: float | None, error_class: str, error_message: str) -> Row:
    """Return the columns that say how a run ended."""
    return clean_row(
        status=status,
        duration_ms=None if duration_ms is None else finite(duration_ms, "duration_ms"),
        error_class=error_class,
        error_message=error_message,
    )


def metric_rows(run_id: str, metrics: Sequence[NewMetric]) -> list[Row]:
    """Return one row a metric, numbered from 0."""
    return [
        clean_row(
            run_id=run_id,
            position=i,
            name=metric.name,
            value=finite(metric.value, f"metric {metric.name!r}"),
            unit=metric.unit,
            step=_step(metric),
        )
        for i, metric in enumerate(metrics)
    ]


def _step(metric: NewMetric) -> int | None:
    if metric.step is None:
        return None
    if not 0 <= metric.step <= MAX_INTEGER:
        raise InvalidRunError(f"metric {metric.name!r} has the step {metric.step}.", "Count steps from 0.")
    return int(metric.step)


def tag_rows(run_id: str, tags: Sequence[str]) -> list[Row]:
    """Return one row a different tag."""
    cleaned = (clean_text(tag).strip() for tag in tags)
    return [{"run_id": run_id, "tag": tag} for tag in dict.fromkeys(cleaned) if tag]


def input_rows(run_id: str, inputs: Sequence[NewInput]) -> list[Row]:
    """Return one row a picture that the run took, in order."""
    _distinct([item.role for item in inputs], "role")
    return [
        clean_row(
            run_id=run_id,
            position=i,
            role=item.role,
            image_sha256=item.image.sha256,
            name=item.image.name,
        )
        for i, item in enumerate(inputs)
    ]


def artifact_rows(run_id: str, artifacts: Sequence[NewArtifact]) -> list[Row]:
    """Return one row a file of the run; its bytes are named by their digest."""
    _distinct([artifact.name for artifact in artifacts], "artifact")
    return [
        clean_row(
            run_id=run_id, name=artifact.name, media_type=artifact.media_type, sha256=sha256(artifact.data)
        )
        for artifact in artifacts
    ]


def _distinct(names: Sequence[str], what: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise InvalidRunError(
                f"Two parts of the run share the {what} {name!r}.", "Give each its own name."
            )


def image_row(picture: NewPicture, *, keep: bool) -> Row:
    """Return the row of a picture that is not in the store yet.

    Raises:
        InvalidRunError: `picture.sha256` is not the digest of `picture.data`.
    """
    if sha256(picture.data) != picture.sha256:
        raise InvalidRunError(f"The digest of {picture.name!r} is not that of its bytes.", "Decode it again.")
    return clean_row(
        sha256=picture.sha256,
        format=picture.format,
        width=picture.width,
        height=picture.height,
        size=len(picture.data),
        kept_sha256=picture.sha256 if keep else None,
        thumbnail=picture.thumbnail,
    )


def bytes_row(sha256: str, data: bytes) -> Row:
    """Return the row of bytes that are not in the store yet."""
    return {"sha256": sha256, "size": len(data), "data": data}
