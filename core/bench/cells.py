"""One model on one picture, measured from loading to the answer in whatever process this is called.

A sweep (`core.bench.sweep`) hands cells to processes here or on other machines; `measure_item` is what it
calls there. A process that measured other models before has memory of theirs; the peak counts from the
beginning of the cell.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from core.bench.accuracy import Failure
from core.bench.machine import machine_state
from core.bench.measuring import Measuring
from core.bench.options import Options
from core.bench.pictures import load_picture
from core.bench.results import MAX_MESSAGE, Result, draft_of
from core.bench.timing import WARM_UP_S
from core.errors import InputError, VisionBenchError
from core.images import ImageInput
from core.registry import resolve
from core.runs import LOCAL_OWNER, RunDraft

LATENCY_SHARE = 0.6
"""Of the seconds, for single calls where batches are timed too."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One measurement."""

    model_id: str
    picture: str
    """As `core.bench.pictures` names them."""
    options: Options = field(default_factory=Options)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"model_id": self.model_id, "picture": self.picture, "options": self.options.to_json()}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """Return the cell that `to_json` wrote.

        Raises:
            InputError: It is none.
        """
        try:
            return cls(str(raw["model_id"]), str(raw["picture"]), Options.from_json(raw["options"]))
        except (KeyError, TypeError) as error:
            raise InputError("This is no measurement.", "Name a model, a picture and options.") from error


def measure_item(model_id: str, item: str, data: bytes = b"") -> RunDraft:
    """Measure a cell of a sweep: `item` is JSON of an object with `picture` and `options`.

    Args:
        data: The file of the picture where its name is a digest; `name` of `item` says what it is called.
    """
    raw = json.loads(item)
    given = {hashlib.sha256(data).hexdigest(): data} if data else None
    return measure_cell(
        Cell.from_json({"model_id": model_id, **raw}), given=given, title=str(raw.get("name", ""))
    )


def measure_cell(
    cell: Cell,
    *,
    given: Mapping[str, bytes] | None = None,
    title: str = "",
    owner: str = LOCAL_OWNER,
    device: str = "auto",
) -> RunDraft:
    """Load a model, time it on a picture for as many seconds as the options say, and return the run.

    A picture on which the model raises gives a failed run.

    Args:
        given: Digest to the bytes of pictures that are no samples.
        title: What the picture is called where it is none.

    Raises:
        InputError: There is no such model or picture, or the options do not suit the model.
        VisionBenchError: The model cannot be loaded, or the memory does not suffice.
    """
    started = time.perf_counter()
    image, spec, before = load_picture(cell.picture, given, title), resolve(cell.model_id), machine_state()
    measuring = Measuring(spec, cell.options, device)
    try:
        result = Result(spec.id, cell.options, measuring.facts, before)
        _measure(measuring, result, cell.picture, image)
    finally:
        measuring.close()
    result.after, result.seconds = machine_state(), time.perf_counter() - started
    return draft_of(result, {cell.picture: image}, owner=owner, parameters={"cell": cell.to_json()})


def _measure(measuring: Measuring, result: Result, picture: str, image: ImageInput) -> None:
    more = [size for size in result.options.batches if size > 1]
    seconds = result.options.seconds
    share = LATENCY_SHARE if more and measuring.facts.takes_batches else 1.0
    try:
        result.warm = measuring.warm_up(image, warm_up_s(seconds))
        result.samples[picture] = measuring.samples(image, seconds * share)
        for size in more:
            time_batch(measuring, result, image, size, seconds * (1 - share) / len(more))
        result.peaks = measuring.peaks()
        finish(measuring, result, {picture: image})
    except VisionBenchError:
        raise
    except Exception as error:  # whatever a model raises on a picture is that picture's
        result.failures.append(failure(picture, error))


def warm_up_s(seconds: float) -> float:
    """Return how long a warm-up may take before so many seconds of timing."""
    return min(WARM_UP_S, max(1.0, 2 * seconds))


def time_batch(
    measuring: Measuring, result: Result, image: ImageInput, size: int, seconds: float
) -> list[float]:
    """Add passes over `size` pictures at once to a result, or the note why there are none; return them."""
    try:
        times = measuring.batch_ms(image, size, seconds)
    except VisionBenchError as error:
        note = f"Batches of {size} were not measured. {error.message}"
        result.notes += [note] if note not in result.notes else []
        return []
    result.batches.setdefault(size, []).extend(times)
    return times


def finish(measuring: Measuring, result: Result, images: Mapping[str, ImageInput]) -> None:
    """Add to a result what is not timed: MACs, and the answers."""
    result.macs, notes = count(measuring, next(iter(images.values())))
    result.notes += notes
    for name, image in images.items():
        result.answers[name] = measuring.answer(image)


def count(measuring: Measuring, image: ImageInput) -> tuple[int | None, list[str]]:
    """Return the MACs of a picture, or the note why they are not known."""
    try:
        return measuring.macs(image), []
    except Exception as error:  # a network that cannot be looked into can still be timed
        return None, [f"MACs could not be counted ({type(error).__name__})."]


def failure(picture: str, error: BaseException) -> Failure:
    """Return a picture's failure."""
    message = error.message if isinstance(error, VisionBenchError) else " ".join(str(error).split())
    return Failure(picture, type(error).__name__, message[:MAX_MESSAGE])
