"""The use cases of promptable segmentation: one answer, everything at once, an evaluation; a run of each."""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.explain.attention import synchronise
from core.explain.maps import npy_bytes
from core.images import ImageInput, encode_png
from core.loaders import ModelPool
from core.recording import ms_since, new_draft, recorded_failure
from core.registry import ModelSpec
from core.runs import Artifact, Metric, RunSink
from core.segment.kinds import ANSWER, EVALUATION, EVERYTHING
from core.segment.masks import Masks
from core.segment.prompts import Prompts
from core.segment.segmenter import check_logits, decode

if TYPE_CHECKING:
    from core.segment.automatic_values import AutomaticMask, AutomaticOptions
    from core.segment.cache import EmbeddingCache
    from core.segment.evaluate import TruthPicture
    from core.segment.scores import Evaluation

START = "start.npy"
"""Artifact: the low-resolution logits, or the mask (bool, H W), that a run started from."""


@dataclass(frozen=True, slots=True)
class Times:
    """Parts of the time of one action, in milliseconds."""

    load_ms: float
    """How long it waited for the model; about 0 where that was loaded already."""
    embed_ms: float
    embedded: str
    """Where the picture's embedding came from: `encoded`, or found in `memory` or the `store`."""
    decode_ms: float


@dataclass(frozen=True, eq=False)
class SegmentResult:
    """The masks that answer one object's prompts."""

    masks: Masks
    times: Times
    device: str
    device_reason: str
    run_id: str | None
    """None where the run was not stored."""


def segment(
    image: ImageInput,
    spec: ModelSpec,
    prompts: Prompts,
    *,
    pool: ModelPool,
    cache: "EmbeddingCache",
    sink: RunSink | None,
    owner: str,
    multimask: bool = True,
) -> SegmentResult:
    """Answer prompts on a picture: one run. The picture is encoded only where no embedding of it is kept.

    Raises:
        InputError: The prompts cannot be asked of this picture; nothing is stored then.
    """
    prompts.checked(image.width, image.height)
    started = time.perf_counter()
    with pool.segmenter(spec) as model:
        load_ms = ms_since(started)
        check_logits(model, prompts)
        parameters = {"prompts": prompts.to_json(), "multimask": multimask}
        draft = new_draft(ANSWER, image, model, owner, parameters)
        with recorded_failure(sink, draft):
            found = cache.get(model, image)
            started = time.perf_counter()
            masks = decode(model, found.embedding, prompts, multimask)
            synchronise(model.device)
            times = Times(load_ms, found.ms, found.source, ms_since(started))
    result = SegmentResult(masks, times, model.device, pool.choice.reason, None)
    if sink is None:
        return result
    done = replace(
        draft,
        duration_ms=times.embed_ms + times.decode_ms,
        parameters=draft.parameters | {"embedded": times.embedded},  # type: ignore[operator]
        metrics=[*_time_metrics(times), *_mask_metrics(masks)],
        artifacts=_artifacts(masks, prompts),
    )
    return replace(result, run_id=sink.record(done))


def _time_metrics(times: Times) -> list[Metric]:
    return [
        Metric(name, value, "ms")
        for name, value in (
            ("load_ms", times.load_ms),
            ("embed_ms", times.embed_ms),
            ("decode_ms", times.decode_ms),
        )
    ]


def _mask_metrics(masks: Masks) -> list[Metric]:
    best = masks.best
    return [
        Metric("predicted_iou", float(masks.predicted_iou[best])),
        Metric("stability", float(masks.stability[best])),
    ]


def _artifacts(masks: Masks, prompts: Prompts) -> list[Artifact]:
    png = encode_png(masks.mask(masks.best).astype(np.uint8) * 255)
    found = [Artifact("mask.png", "image/png", png)]
    start = prompts.mask if prompts.logits is None else prompts.logits
    if start is not None:
        found.append(Artifact(START, "application/octet-stream", npy_bytes(start)))
    return found


@dataclass(frozen=True, eq=False)
class EverythingResult:
    """All masks of a picture."""

    masks: "tuple[AutomaticMask, ...]"
    labels: NDArray[np.int32]
    """H W: n where the n-th mask is, the smaller of two in front; 0 where none is."""
    coverage: float
    """Share (0-1) of the picture's pixels in any mask."""
    times: Times
    """`decode_ms` is all that follows the encoding."""
    device: str
    device_reason: str
    run_id: str | None


def segment_everything(
    image: ImageInput,
    spec: ModelSpec,
    options: "AutomaticOptions",
    *,
    pool: ModelPool,
    cache: "EmbeddingCache",
    sink: RunSink | None,
    owner: str,
    progress: Callable[[float], None] | None = None,
) -> EverythingResult:
    """Find every mask of a picture: one run, stored when it is whole.

    `progress` (0-1) may raise to cancel; then nothing is stored.
    """
    from core.segment.automatic import generate
    from core.segment.label_map import label_map

    started = time.perf_counter()
    with pool.segmenter(spec) as model:
        load_ms = ms_since(started)
        draft = new_draft(EVERYTHING, image, model, owner, {"options": asdict(options)})
        with recorded_failure(sink, draft):
            found = cache.get(model, image)
            started = time.perf_counter()
            masks = generate(model, image, options, embedding=found.embedding, progress=progress)
            times = Times(load_ms, found.ms, found.source, ms_since(started))
    nothing = np.zeros((image.height, image.width), np.int32), 0.0
    labels, coverage = label_map(masks) if masks else nothing
    result = EverythingResult(masks, labels, coverage, times, model.device, pool.choice.reason, None)
    if sink is None:
        return result
    done = replace(
        draft,
        duration_ms=times.embed_ms + times.decode_ms,
        metrics=[*_time_metrics(times), Metric("masks", len(masks)), Metric("coverage", coverage)],
        artifacts=_everything_artifacts(image, result),
    )
    return replace(result, run_id=sink.record(done))


def _everything_artifacts(image: ImageInput, result: EverythingResult) -> list[Artifact]:
    """Return the label map, and the masks as COCO: the largest ones, where a file cannot hold them all."""
    from core.segment.export import SegmentedObject, coco_json, labels_png, most_masks
    from core.segment.label_map import largest

    if not result.masks:
        return []
    kept = {id(mask) for mask in largest(result.masks, most_masks((image.height, image.width)))}
    objects = [
        SegmentedObject(f"mask {number}", mask.mask, mask.predicted_iou)
        for number, mask in enumerate(result.masks, start=1)
        if id(mask) in kept
    ]
    coco = coco_json(image.name, image.width, image.height, objects)
    return [
        Artifact("masks.json", "application/json", coco),
        Artifact("labels.png", "image/png", labels_png(result.labels)),
    ]


def evaluate_segmenter(
    spec: ModelSpec,
    pictures: "Iterable[TruthPicture]",
    *,
    source: dict[str, Any],
    pool: ModelPool,
    sink: RunSink | None,
    owner: str,
    clicks: int,
    seed: int,
    progress: Callable[[float], None] | None = None,
) -> "tuple[Evaluation, str | None]":
    """Click objects of known masks as a person would, and measure: one run, stored when it is whole.

    Args:
        pictures: With their truth.
        source: What the pictures are, for the run's parameters.
        progress: Given 0-1; may raise to cancel; then nothing is stored.
    """
    from core.segment.evaluate import evaluate

    started = time.perf_counter()
    with pool.segmenter(spec) as model:
        load_ms = ms_since(started)
        parameters = {**source, "clicks": clicks, "seed": seed}
        draft = new_draft(EVALUATION, None, model, owner, parameters)
        with recorded_failure(sink, draft):
            started = time.perf_counter()
            found = evaluate(model, pictures, clicks=clicks, seed=seed, progress=progress)
            duration_ms = ms_since(started)
    if sink is None:
        return found, None
    metrics = [
        Metric("load_ms", load_ms, "ms"),
        *(Metric(name, value) for name, value in found.metrics().items()),
    ]
    report = Artifact("evaluation.json", "application/json", json.dumps(found.to_json()).encode())
    done = replace(draft, duration_ms=duration_ms, metrics=metrics, artifacts=[report])
    return found, sink.record(done)
