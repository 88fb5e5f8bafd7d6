"""What one run says: times, memory, accuracies and costs, of which nothing is believed that is no number.

Runs come from older versions of the app and from people, so whatever is not as it should be is passed over.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any, Protocol

from core.bench.options import Options
from core.errors import InputError
from core.recommend.entries import Axis

BENCHMARK, QUESTION, QUESTIONS = "benchmark", "vlm", "vlm-set"
SIMILARITY, SEGMENTATION, FEATURES = "similarity", "segmentation", "features"
PAGES = ("attention", "classification", FEATURES, SEGMENTATION, SIMILARITY, QUESTION)
"""Kinds of run of pages that say about how long a model takes for a picture."""
LEAST, MOST = 1e-9, 1e12
"""Between which a number can be meant."""
PRECISIONS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
HERE = "here"
PER_SECOND = "images_per_s_batch_"
SCENES = "scenes:"
MAX_NAME = 60
"""Characters of a data set's name."""

MEASURES: Mapping[str, tuple[str, str]] = {
    "top1": ("classification", "top-1"),
    "top5": ("classification", "top-5"),
    "recall1": ("features", "recall@1"),
    "miou_click": ("promptable-segmentation", "mean IoU, 1 click"),
    "miou_box": ("promptable-segmentation", "mean IoU, box"),
    "caption_chrf": ("captioning", "chrF"),
    "objects_f1": ("captioning", "F1 of objects"),
}
"""What a benchmark measures of known truth, to its task and its name."""
SCORES: Mapping[str, tuple[str, str, str, bool]] = {
    "caption": ("score_chrf", "captioning", "chrF", True),
    "question": ("score_exact", "vqa", "exact answers", True),
    "ocr": ("score_cer_normalised", "ocr", "character errors", False),
    "objects": ("score_f1", "captioning", "F1 of objects", True),
}
"""What an answer to a question is judged by: the task to its metric, catalogue's task, name and direction."""
DOES = {
    "classes": ("classification",),
    "features": ("features",),
    "mask": ("promptable-segmentation",),
    "text": ("captioning", "vqa"),
}
"""What a benchmark took a model for, to the catalogue's tasks."""


class EvidenceRun(Protocol):
    """A successful run; `db.evidence_records.EvidenceRun` has this shape."""

    @property
    def run_id(self) -> str: ...
    @property
    def time(self) -> datetime: ...
    @property
    def kind(self) -> str: ...
    @property
    def model_id(self) -> str: ...
    @property
    def model_revision(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def device_name(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def threads(self) -> int: ...
    @property
    def duration_ms(self) -> float | None: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...
    @property
    def metrics(self) -> Mapping[str, float]: ...
    @property
    def accuracy(self) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Condition:
    """Under which a time was measured; times of one condition are compared and counted together."""

    device: str
    """`cpu`, `cuda` …, or a provider."""
    device_name: str
    input_size: int | None
    """Shorter side of what the model takes in pixels; None where it is unknown, or depends on the picture."""
    batch: int
    precision: str
    threads: int
    compiled: bool

    def __str__(self) -> str:
        size = f"{self.input_size} px" if self.input_size else ""
        threads = f"{self.threads} threads" if self.device == "cpu" else ""
        compiled = "torch.compile" if self.compiled else ""
        return ", ".join(filter(None, (self.precision, f"batch {self.batch}", size, threads, compiled)))


@dataclass(frozen=True, slots=True)
class Reading:
    """One number of one run."""

    value: float
    low: float | None
    high: float | None
    n: int | None
    """Samples behind it."""
    run: EvidenceRun
    is_noisy: bool = False
    """Whether its samples differed so much that calmer runs are better."""
    network: float | None = None
    """Of a time, the part that the network alone took."""


@dataclass(frozen=True, slots=True)
class Scored:
    """How well a model did on pictures of known truth."""

    axis: Axis
    reading: Reading
    is_usual: bool
    """Whether the model ran as it is meant to: at its own size, in full precision."""
    about: str


def speed_key(model_id: str) -> str:
    """Return what models have in common that take the same time: the architecture, whatever the weights."""
    source, _, name = model_id.partition("/")
    if source == "random" and name.startswith("shipped/"):
        return name
    if source in ("timm", "random") and name:
        return f"timm:{name.removeprefix('timm/').partition('.')[0]}"
    return model_id


def is_random(model_id: str) -> bool:
    """Say whether a model's weights are random: it takes the same time, and knows nothing."""
    return model_id.startswith("random/")


def options_of(runs: Iterable[EvidenceRun]) -> dict[str, Options | None]:
    """Return how models were measured, by run; None where that is not said, or makes no sense."""
    known: dict[str, Options | None] = {}
    found = {}
    for run in runs:
        raw = run.parameters.get("options")
        text = repr(raw)  # few runs differ in them
        if text not in known:
            known[text] = _options(raw)
        found[run.run_id] = known[text]
    return found


def _options(raw: object) -> Options | None:
    try:
        return Options.from_json(raw) if isinstance(raw, Mapping) else None
    except (InputError, TypeError):
        return None


def times(run: EvidenceRun, options: Options | None) -> Iterator[tuple[Condition, Reading]]:
    """Yield the times of a run, in ms for a whole batch."""
    if run.kind == BENCHMARK:
        if options is not None:
            yield from _measured(run, options)
    elif run.kind in PAGES:
        took = _number(_took(run))
        if took is not None:
            precision = PRECISIONS.get(run.dtype, run.dtype)
            where = Condition(run.device, run.device_name, None, 1, precision, run.threads, False)
            yield where, Reading(took, None, None, 1, run)


def _took(run: EvidenceRun) -> float | None:
    """Return how long a page's run took for a picture; None where part of it was found in a cache."""
    if run.kind == SEGMENTATION:
        return run.duration_ms if run.parameters.get("embedded") == "encoded" else None
    if run.kind in (SIMILARITY, FEATURES):
        found = run.parameters.get("features")
        sources = found if isinstance(found, list) else [found]
        model_ms = _number(run.metrics.get("model_ms"))
        whole = model_ms is not None and all(one == "computed" for one in sources)
        return model_ms / len(sources) if whole and model_ms is not None and sources else None
    return run.duration_ms


def _measured(run: EvidenceRun, options: Options) -> Iterator[tuple[Condition, Reading]]:
    noisy = run.parameters.get("noise") == "very noisy"

    def where(batch: int) -> Condition:
        size = _side(run.parameters.get("input_size"))
        place = run.device, run.device_name, size, batch
        return Condition(*place, options.precision, run.threads, bool(options.compiled))

    one = _bounded(run, "p50_ms")
    if one is not None:
        network = _number(run.metrics.get("model_ms"))
        samples = _count(run.metrics.get("samples"))
        yield where(1), Reading(*one, samples, run, noisy, network)
    for batch in options.batches:
        many = _bounded(run, f"{PER_SECOND}{batch}") if batch > 1 else None
        if many is not None:
            value, low, high = (None if one is None else 1000 * batch / one for one in many)
            assert value is not None
            yield where(batch), Reading(value, high, low, None, run, noisy)


def memory(run: EvidenceRun, options: Options | None) -> Reading | None:
    """Return what a model takes in MB beyond Python and its libraries, one picture at a time."""
    if run.kind != BENCHMARK or options is None or max(options.batches) > 1:
        return None
    if run.device.startswith("cuda"):
        taken = _number(run.metrics.get("gpu_peak_memory_mb"))
    else:
        peak, base = (_number(run.metrics.get(name)) for name in ("peak_memory_mb", "base_memory_mb"))
        taken = None if peak is None or base is None else _number(peak - base)
    return None if taken is None else Reading(taken, None, None, 1, run)


def cost(run: EvidenceRun) -> float | None:
    """Return what an answer cost in US dollars; None where that is not known, or nothing was asked."""
    return _number(run.metrics.get("cost_usd"), zero=True) if run.kind == QUESTION else None


def score(run: EvidenceRun) -> tuple[str, float] | None:
    """Return the task of a question and what its answer is judged by; None where it was not judged."""
    task = run.parameters.get("task") if run.kind == QUESTION else None
    if not isinstance(task, str) or task not in SCORES:
        return None
    found = _number(run.metrics.get(SCORES[task][0]), zero=True)
    return None if found is None else (task, found)


def tasks(run: EvidenceRun) -> tuple[str, ...]:
    """Return the catalogue's tasks that a run shows a model to be for."""
    if run.kind == BENCHMARK:
        what = run.parameters.get("what")
        return DOES.get(what, ()) if isinstance(what, str) else ()
    if run.kind != QUESTION:
        return ()
    task = run.parameters.get("task")
    return (SCORES[task][1],) if isinstance(task, str) and task in SCORES else DOES["text"]


def accuracies(run: EvidenceRun, options: Options | None) -> Iterator[Scored]:
    """Yield how often a model was right in a benchmark, each measure on its axis."""
    if run.kind != BENCHMARK or options is None or is_random(run.model_id):
        return
    data = _data(run)
    if data is None:
        return
    usual = options.size is None and options.precision == "fp32"
    about = "" if usual else f"{options.precision}{f', {options.size} px' if options.size else ''}"
    for name, (task, title) in MEASURES.items():
        share, n = _bounded(run, name, zero=True), _count(run.metrics.get(f"{name}_n"))
        if share is not None and n is not None and share[0] <= 1:
            value, low, high = (None if one is None else 100 * min(one, 1.0) for one in share)
            assert value is not None
            axis = axis_of(data, name.replace("_", "-"), task, title)
            yield Scored(axis, Reading(value, low, high, n, run), usual, about)


def axis_of(data: tuple[str, str], name: str, task: str, title: str, *, higher: bool = True) -> Axis:
    """Return the axis of a measure on a data set, given the set's id and its name."""
    key, called = data
    protocol = f"Measured on this machine's own runs, on {called}."
    return Axis(f"{HERE}:{key}-{name}", (task,), called, title, protocol, HERE, higher_is_better=higher)


def _data(run: EvidenceRun) -> tuple[str, str] | None:
    """Return what tells the set of an accuracy from others, and what it is called."""
    try:
        raw = json.loads(run.accuracy or b"null")
    except (ValueError, RecursionError):
        raw = None
    if isinstance(raw, Mapping):
        return data_set(raw.get("data"), raw.get("digest"))
    plan = run.parameters.get("plan")
    truths = plan.get("truths") if isinstance(plan, Mapping) else None
    return data_set(PurePosixPath(truths).name if isinstance(truths, str) else None, truths)


def data_set(name: object, digest: object) -> tuple[str, str] | None:
    """Return the id of a data set and its name; scenes are all alike, however many they are."""
    if not isinstance(name, str) or not isinstance(digest, str) or not name.strip() or not digest:
        return None
    if digest.startswith(SCENES):
        return "scenes", "fresh scenes"
    return sha256(digest.encode(errors="replace")).hexdigest()[:12], name.strip()[:MAX_NAME]


def _bounded(
    run: EvidenceRun, name: str, *, zero: bool = False
) -> tuple[float, float | None, float | None] | None:
    """Return a metric with the ends of its interval; an end that does not bound it is none."""
    value, low, high = (_number(run.metrics.get(name + end), zero) for end in ("", "_low", "_high"))
    if value is None:
        return None
    return (
        value,
        low if low is not None and low <= value else None,
        high if high is not None and high >= value else None,
    )


def _number(value: object, zero: bool = False) -> float | None:
    """Return a number that can be meant: finite, above 0 or, where that is allowed, 0; otherwise None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if LEAST <= value <= MOST or (zero and value == 0) else None


def _count(value: object) -> int | None:
    found = _number(value)
    return int(found) if found is not None and 1 <= found < 1e12 else None


def _side(size: object) -> int | None:
    if not isinstance(size, Sequence) or isinstance(size, str) or len(size) != 2:
        return None
    sides = [_count(side) for side in size]
    return None if None in sides else min(side for side in sides if side is not None)
