"""Everything that was measured of one model, and the run that it becomes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from core.bench.accuracy import Accuracy, Failure
from core.bench.answers import Answer
from core.bench.machine import MachineState
from core.bench.measuring import Facts, Peaks
from core.bench.options import Options
from core.bench.statistics import Noise, Summary, bootstrap_mean, summarise
from core.bench.timing import Sample, WarmUp
from core.images import ImageInput
from core.runs import Artifact, Metric, RunDraft, RunInput

KIND = "benchmark"
SAMPLES, ANSWERS, ACCURACY = "samples.json", "answers.json", "accuracy.json"
"""Names of a run's artifacts."""
MAX_INPUTS = 16
"""Pictures that are kept with a run; of more, the parameters have the names."""
MAX_MESSAGE = 500


@dataclass(slots=True)
class Result:
    """What was measured of one model until now; it grows while the measurement goes on."""

    model_id: str
    options: Options
    facts: Facts
    before: MachineState
    warm: WarmUp | None = None
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    """Picture to the times of its calls."""
    batches: dict[int, list[float]] = field(default_factory=dict)
    """Pictures in one pass to the ms of each pass."""
    peaks: Peaks | None = None
    macs: int | None = None
    answers: dict[str, Answer] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    """Pictures on which the model raised; they are not timed any more."""
    accuracy: Accuracy | None = None
    after: MachineState | None = None
    seconds: float = 0.0
    """How long all of it took, loading included."""
    notes: list[str] = field(default_factory=list)
    """What could not be measured, and why."""

    @property
    def all_samples(self) -> list[Sample]:
        """The times of all pictures."""
        return [sample for samples in self.samples.values() for sample in samples]

    @property
    def summary(self) -> Summary | None:
        """Of the whole calls, in ms; None before the first."""
        totals = [sample.total_ms for sample in self.all_samples]
        return summarise(totals) if totals else None

    def failed(self, picture: str) -> bool:
        """Say whether the model raised on a picture."""
        return any(one.item_id == picture for one in self.failures)


def throughput(size: int, passes_ms: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Return pictures a second and the ends of its interval of 95 %, from the mean of the passes."""
    mean = bootstrap_mean(passes_ms)
    per_second = size * 1000
    return (
        per_second / mean.value,
        None if mean.high is None else per_second / mean.high,
        None if mean.low is None else per_second / mean.low,
    )


def metrics(result: Result) -> list[Metric]:
    """Return the numbers of a run; one that was not measured, or is not finite, is left out."""
    facts = result.facts
    found: dict[tuple[str, str], float | None] = {("load_ms", "ms"): facts.load_ms}
    if result.warm is not None:
        found |= {
            ("first_ms", "ms"): result.warm.first_ms,
            ("warm_up_calls", ""): len(result.warm.times_ms),
        }
    found[("measuring_s", "s")] = result.seconds
    found |= _times(result)
    found |= _throughputs(result)
    found |= {
        ("base_memory_mb", "MB"): facts.base_memory_mb,
        ("peak_memory_mb", "MB"): result.peaks.process_mb if result.peaks else None,
        ("gpu_peak_memory_mb", "MB"): result.peaks.gpu_mb if result.peaks else None,
        ("parameters", ""): facts.parameters,
        ("macs", ""): result.macs,
        ("failed_pictures", ""): len(result.failures),
    }
    named = [Metric(name, float(value), unit) for (name, unit), value in found.items() if value is not None]
    return named + (result.accuracy.metrics() if result.accuracy else [])


def _times(result: Result) -> dict[tuple[str, str], float | None]:
    summary, samples = result.summary, result.all_samples
    if summary is None:
        return {}
    found: dict[tuple[str, str], float | None] = {("samples", ""): summary.n, ("mean_ms", "ms"): summary.mean}
    for name, quantile in (("p50_ms", summary.p50), ("p90_ms", summary.p90), ("p99_ms", summary.p99)):
        found |= {
            (name, "ms"): quantile.value,
            (f"{name}_low", "ms"): quantile.low,
            (f"{name}_high", "ms"): quantile.high,
        }
    for stage in ("preprocess_ms", "model_ms", "postprocess_ms"):
        found[stage, "ms"] = median(getattr(sample, stage) for sample in samples)
    found["iqr_share", ""] = summary.iqr_share
    return found


def _throughputs(result: Result) -> dict[tuple[str, str], float | None]:
    passes = {1: [sample.total_ms for sample in result.all_samples], **result.batches}
    found: dict[tuple[str, str], float | None] = {}
    for size, times in sorted(passes.items()):
        if times:
            ends = zip(("", "_low", "_high"), throughput(size, times), strict=True)
            found |= {(f"images_per_s_batch_{size}{end}", "1/s"): value for end, value in ends}
    return found


def draft_of(
    result: Result,
    images: Mapping[str, ImageInput],
    *,
    owner: str,
    parameters: Mapping[str, Any],
    tags: Sequence[str] = (),
) -> RunDraft:
    """Return the run of a model that was measured; failed where no picture could be.

    Its duration is the median of a whole call, so that it stands beside the model's other runs.

    Args:
        images: The pictures by name.
        parameters: More of them, such as the benchmark that it belongs to.
    """
    first = result.failures[0] if result.failures and not result.samples else None
    return RunDraft(
        kind=KIND,
        model_id=result.model_id,
        model_revision=result.facts.revision,
        environment=result.facts.environment,
        owner=owner,
        status="failed" if first else "ok",
        duration_ms=None if result.summary is None else result.summary.p50.value,
        parameters={**_parameters(result, images), **parameters},
        inputs=[RunInput(_role(at), image) for at, image in enumerate(list(images.values())[:MAX_INPUTS])],
        metrics=metrics(result),
        artifacts=_artifacts(result),
        tags=tags,
        error_class=first.error_class if first else "",
        error_message=first.message if first else "",
    )


def _role(at: int) -> str:
    """Return the part a picture plays; no two of a run may play the same."""
    return "picture" if at == 0 else f"picture {at + 1}"


def _parameters(result: Result, images: Mapping[str, ImageInput]) -> dict[str, Any]:
    summary, warm = result.summary, result.warm
    return {
        "pictures": list(images),
        "options": result.options.to_json(),
        "what": result.facts.kind,
        "input_size": list(result.facts.input_size) if result.facts.input_size else None,
        "noise": str(summary.noise if summary else Noise.CALM),
        "warm": warm.stable if warm else False,
        "machine": {
            "before": result.before.to_json(),
            "after": result.after.to_json() if result.after else None,
        },
        "failures": [[one.item_id, one.error_class, one.message] for one in result.failures],
        "notes": list(result.notes),
    }


def _artifacts(result: Result) -> list[Artifact]:
    samples = {
        "unit": "ms",
        "columns": ["preprocess", "model", "postprocess"],
        "pictures": {
            name: [[round(ms, 4) for ms in (s.preprocess_ms, s.model_ms, s.postprocess_ms)] for s in samples]
            for name, samples in result.samples.items()
        },
        "batches": {str(size): [round(ms, 4) for ms in times] for size, times in result.batches.items()},
        "warm_up": [round(ms, 4) for ms in result.warm.times_ms] if result.warm else [],
    }
    found = [_json(SAMPLES, samples)]
    if result.answers:
        found.append(_json(ANSWERS, {name: answer.to_json() for name, answer in result.answers.items()}))
    if result.accuracy is not None:
        found.append(_json(ACCURACY, result.accuracy.to_json()))
    return found


def _json(name: str, value: Any) -> Artifact:
    return Artifact(name, "application/json", json.dumps(value, ensure_ascii=False).encode())
