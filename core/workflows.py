"""The use cases: a picture and a model in, a result out, and one run in the store.

A run begins when its model is there. One that fails from then on, with the picture or inside the model, is
stored as a failure, with its class and message, and the error goes on.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from core.errors import InputError
from core.explain.attention import Attention, check_layer, extract_attention, synchronise
from core.explain.maps import Fusion, Head, Query, check_head, check_query
from core.images import ImageInput
from core.loaders import ModelPool
from core.preprocess import Fit, Frame, prepare
from core.recording import ms_since, new_draft, recorded_failure
from core.registry import ModelSpec
from core.runs import Artifact, Metric, RunDraft, RunSink
from core.vision_model import ImageModel, VisionModel

if TYPE_CHECKING:
    from torch import Tensor

ATTEND_TOP = 5
"""How many classes are named beside an attention map."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One class and how likely the model holds it."""

    label: str
    score: float
    """Softmax over all classes, 0-1."""


@dataclass(frozen=True, slots=True)
class ClassifyResult:
    """The most likely classes of one picture, the likeliest first."""

    predictions: tuple[Prediction, ...]
    prepare_ms: float
    model_ms: float
    run_id: str | None
    """None where the run was not stored."""


@dataclass(frozen=True, eq=False)
class AttendResult:
    """The attention of one picture, and what the model said it is."""

    attention: Attention
    frame: Frame
    predictions: tuple[Prediction, ...]
    """Empty for a model without a classifier."""
    device: str
    device_reason: str
    load_ms: float
    """How long this run waited for the model; about 0 where it was loaded already."""
    prepare_ms: float
    model_ms: float
    run_id: str | None
    """None where the run was not stored."""


def classify(
    images: Sequence[ImageInput],
    spec: ModelSpec,
    *,
    pool: ModelPool,
    sink: RunSink | None,
    owner: str,
    top: int = 5,
) -> tuple[ClassifyResult, ...]:
    """Return the `top` likeliest classes of each picture, by the model's own evaluation transform.

    Each picture is one run.

    Raises:
        InputError: The model has no classifier, or `top` is below 1.
    """
    if top < 1:
        raise InputError(f"top is {top}.", "Ask for at least 1 class.")
    started = time.perf_counter()
    with pool.classifier(spec) as model:
        load_ms = ms_since(started)
        results = []
        for image in images:
            results.append(_classify_one(image, model, load_ms, sink=sink, owner=owner, top=top))
            load_ms = 0.0  # only the first picture waited
    return tuple(results)


def _classify_one(
    image: ImageInput, model: ImageModel, load_ms: float, *, sink: RunSink | None, owner: str, top: int
) -> ClassifyResult:
    import torch

    draft = new_draft("classification", image, model, owner, {"top": top, "fit": "crop"})
    with recorded_failure(sink, draft):
        started = time.perf_counter()
        pixels, _ = prepare(image, model.input, fit="crop")
        prepare_ms, started = ms_since(started), time.perf_counter()
        with torch.inference_mode():
            logits = model.forward(pixels.to(model.device))
            synchronise(model.device)
        model_ms = ms_since(started)
        predictions = predictions_of(logits.cpu(), model.labels, top)
    result = ClassifyResult(predictions, prepare_ms, model_ms, None)
    return replace(result, run_id=sink.record(_done(draft, result, load_ms))) if sink else result


def attend(
    image: ImageInput,
    spec: ModelSpec,
    *,
    pool: ModelPool,
    sink: RunSink | None,
    owner: str,
    fit: Fit = "whole",
    layer: int = -1,
    head: Head = "mean",
    query: Query | None = None,
    rollout: Fusion | None = None,
    keep_mb: float = 0.0,
) -> AttendResult:
    """Run a model on a picture and return its attention and its five likeliest classes: one run.

    Args:
        layer: The layer to read, from 0; a negative one counts from the end.
        head: What will be looked at. Checked before the model runs and kept with the run, like `query`.
        query: None where it is chosen later.
        rollout: Also trace attention through all layers, with heads merged like this, where not every layer
            is kept (`core.explain.maps.rollout_row` traces through kept ones).
        keep_mb: Keep every layer when all together take at most this many MB (10^6 bytes); else only `layer`.

    Raises:
        InputError: There is no such layer, head or query, or the model's attention cannot be read.
    """
    started = time.perf_counter()
    with pool.use(spec) as model:
        load_ms = ms_since(started)
        layer = check_layer(layer, model.depth)
        check_head(head, model.heads)
        parameters = {"fit": fit, "layer": layer, "head": head, "query": query, "rollout": rollout}
        draft = new_draft("attention", image, model, owner, parameters)
        with recorded_failure(sink, draft):
            started = time.perf_counter()
            pixels, frame = prepare(image, model.input, fit=fit)
            prepare_ms = ms_since(started)
            if query is not None:
                check_query(query, model.has_cls, frame.grid)
            layers = range(model.depth) if _all_layers_mb(model, frame) <= keep_mb else (layer,)
            tracing = rollout if len(layers) < model.depth else None
            attention, output, model_ms = extract_attention(model, pixels, frame.grid, layers, tracing)
            predictions = predictions_of(output, model.labels, ATTEND_TOP)
    result = AttendResult(
        attention, frame, predictions, model.device, pool.choice.reason, load_ms, prepare_ms, model_ms, None
    )
    return replace(result, run_id=sink.record(_attention_run(draft, result))) if sink else result


def _all_layers_mb(model: VisionModel, frame: Frame) -> float:
    tokens = model.prefix_tokens + frame.grid[0] * frame.grid[1]
    return model.depth * model.heads * tokens**2 * 4 / 1e6


def _attention_run(draft: RunDraft, result: AttendResult) -> RunDraft:
    checks = asdict(result.attention.checks)
    metrics = [Metric(name, value) for name, value in checks.items()]
    return _done(draft, result, result.load_ms, metrics)


def predictions_of(output: "Tensor", labels: Sequence[str], top: int) -> tuple[Prediction, ...]:
    """Return the `top` likeliest classes of a model's output 1 C; none where there are no labels.

    Raises:
        InputError: The output is no answer: not all of it is finite.
    """
    if not output.isfinite().all():
        raise InputError("The model's output is not finite.", "Its weights are damaged; fetch them again.")
    if not labels:
        return ()
    scores, indices = output[0].float().softmax(dim=-1).topk(min(top, len(labels)))
    return tuple(
        Prediction(labels[index], score)
        for score, index in zip(scores.tolist(), indices.tolist(), strict=True)
    )


def _done(
    draft: RunDraft, result: ClassifyResult | AttendResult, load_ms: float, metrics: Sequence[Metric] = ()
) -> RunDraft:
    """Return the finished run. Its duration is the work on the picture; loading is a metric of its own."""
    times = {"load_ms": load_ms, "prepare_ms": result.prepare_ms, "model_ms": result.model_ms}
    measured = [*(Metric(name, value, "ms") for name, value in times.items()), *metrics]
    artifacts = []
    if result.predictions:
        measured.append(Metric("top1_score", result.predictions[0].score))
        answer = json.dumps([asdict(found) for found in result.predictions], ensure_ascii=False)
        artifacts.append(Artifact("predictions.json", "application/json", answer.encode()))
    return replace(
        draft, duration_ms=result.prepare_ms + result.model_ms, metrics=measured, artifacts=artifacts
    )
