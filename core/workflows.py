"""The use cases: a picture and a model in, a result out, and one run in the store.

A run that fails inside the model is stored as a failure, with its class and message, and the error goes on.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from core.environment import describe_environment
from core.errors import InputError, VisionBenchError
from core.explain.attention import Attention, check_layer, extract_attention, synchronise
from core.explain.maps import Fusion
from core.images import ImageInput
from core.loaders import ModelPool
from core.preprocess import Fit, Frame, prepare
from core.registry import ModelSpec
from core.runs import Metric, RunDraft, RunInput, RunSink
from core.vision_model import VisionModel

if TYPE_CHECKING:
    from torch import Tensor


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
    model_ms: float
    run_id: str | None


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
    """Time spent loading the model for this run; 0 where it was loaded already."""
    prepare_ms: float
    model_ms: float
    run_id: str | None


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
    with pool.use(spec) as model:
        if not model.labels:
            raise InputError(
                f"{spec.id} has no classifier.", "Choose a model whose tasks include classification."
            )
        return tuple(_classify_one(image, model, sink=sink, owner=owner, top=top) for image in images)


def _classify_one(
    image: ImageInput, model: VisionModel, *, sink: RunSink | None, owner: str, top: int
) -> ClassifyResult:
    import torch

    draft = _draft("classification", image, model.spec, model.device, owner, {"top": top, "fit": "crop"})
    with _recorded_failure(sink, draft):
        started = time.perf_counter()
        pixels, _ = prepare(image, model.input, fit="crop")
        prepared = time.perf_counter()
        with torch.inference_mode():
            logits = model.forward(pixels.to(model.device))
            synchronise(model.device)
        model_ms = (time.perf_counter() - prepared) * 1000
        predictions = predictions_of(logits.cpu(), model, top)
    prepare_ms = (prepared - started) * 1000
    metrics = [
        Metric("prepare_ms", prepare_ms, "ms"),
        Metric("model_ms", model_ms, "ms"),
        Metric("top1_score", predictions[0].score),
    ]
    parameters = dict(draft.parameters) | {"top1": predictions[0].label}
    done = replace(draft, duration_ms=prepare_ms + model_ms, metrics=metrics, parameters=parameters)
    return ClassifyResult(predictions, model_ms, sink.record(done) if sink else None)


def attend(
    image: ImageInput,
    spec: ModelSpec,
    *,
    pool: ModelPool,
    sink: RunSink | None,
    owner: str,
    fit: Fit = "whole",
    layer: int = -1,
    rollout: Fusion | None = None,
    keep_mb: float = 0.0,
    view: Mapping[str, Any] | None = None,
) -> AttendResult:
    """Run a model on a picture and return its attention and its five likeliest classes: one run.

    Args:
        layer: The layer to read, from 0; a negative one counts from the end.
        rollout: Also trace attention through all layers, with heads merged like this.
        keep_mb: Keep every layer when all together take at most this many MB (10^6 bytes); else only `layer`.
        view: What else re-creates what is shown (head, query …); stored with the run's parameters.

    Raises:
        InputError: There is no such layer, or the model's attention cannot be read.
    """
    started = time.perf_counter()
    with pool.use(spec) as model:
        load_ms = (time.perf_counter() - started) * 1000
        parameters = {"fit": fit, "layer": check_layer(layer, model.depth)} | dict(view or {})
        draft = _draft("attention", image, spec, model.device, owner, parameters)
        with _recorded_failure(sink, draft):
            prepared = time.perf_counter()
            pixels, frame = prepare(image, model.input, fit=fit)
            prepare_ms = (time.perf_counter() - prepared) * 1000
            layers = _layers_to_keep(model, frame, check_layer(layer, model.depth), keep_mb)
            tracing = rollout if len(layers) < model.depth else None
            attention, output, model_ms = extract_attention(model, pixels, frame.grid, layers, tracing)
            predictions = predictions_of(output, model, 5) if model.labels else ()
    result = AttendResult(
        attention, frame, predictions, model.device, pool.choice.reason, load_ms, prepare_ms, model_ms, None
    )
    if sink is None:
        return result
    done = replace(draft, duration_ms=prepare_ms + model_ms, metrics=_attention_metrics(result))
    return replace(result, run_id=sink.record(done))


def _layers_to_keep(model: VisionModel, frame: Frame, layer: int, keep_mb: float) -> Sequence[int]:
    tokens = model.prefix_tokens + frame.grid[0] * frame.grid[1]
    all_mb = model.depth * model.heads * tokens**2 * 4 / 1e6
    return range(model.depth) if all_mb <= keep_mb else (layer,)


def _attention_metrics(result: AttendResult) -> list[Metric]:
    checks = result.attention.checks
    metrics = [
        Metric("load_ms", result.load_ms, "ms"),
        Metric("prepare_ms", result.prepare_ms, "ms"),
        Metric("model_ms", result.model_ms, "ms"),
        Metric("row_sum_error", checks.row_sum_error),
        Metric("output_error", checks.output_error),
    ]
    if result.predictions:
        metrics.append(Metric("top1_score", result.predictions[0].score))
    return metrics


def predictions_of(logits: "Tensor", model: VisionModel, top: int) -> tuple[Prediction, ...]:
    """Return the `top` likeliest classes of logits 1 C."""
    scores, indices = logits.float().softmax(dim=-1)[0].topk(min(top, logits.shape[-1]))
    pairs = zip(scores.tolist(), indices.tolist(), strict=True)
    return tuple(Prediction(model.labels[index], score) for score, index in pairs)


def _draft(
    kind: str, image: ImageInput, spec: ModelSpec, device: str, owner: str, parameters: Mapping[str, Any]
) -> RunDraft:
    return RunDraft(
        kind=kind,
        model_id=spec.id,
        model_revision=spec.revision,
        environment=describe_environment(device, "float32"),
        owner=owner,
        parameters=parameters,
        inputs=(RunInput("picture", image),),
    )


@contextmanager
def _recorded_failure(sink: RunSink | None, draft: RunDraft) -> Iterator[None]:
    """Keep what goes wrong inside as a failed run."""
    started = time.perf_counter()
    try:
        yield
    except Exception as error:
        if sink is not None:
            message = error.message if isinstance(error, VisionBenchError) else str(error)
            sink.record(
                replace(
                    draft,
                    status="failed",
                    duration_ms=(time.perf_counter() - started) * 1000,
                    error_class=type(error).__name__,
                    error_message=message,
                )
            )
        raise
