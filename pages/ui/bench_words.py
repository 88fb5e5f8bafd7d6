"""What stands in the results of a benchmark, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.charts.bench_latency import Percentile
from core.vlm.safe import plain as readable
from pages.ui.text import MISSING, milliseconds

NOISES = {
    "calm": ":green-badge[:material/check: calm]",
    "noisy": ":orange-badge[:material/graphic_eq: noisy]",
    "very noisy": ":red-badge[:material/graphic_eq: very noisy]",
}
OPTION_WORDS = {
    "precision": "{}",
    "compiled": "compiled",
    "size": "{} px",
    "threads": "{} threads",
    "batches": "batches {}",
    "seconds": "{} s",
}
MEASURES = {
    "top1": "top-1 accuracy",
    "top5": "top-5 accuracy",
    "recall1": "retrieval, recall at 1",
    "miou_click": "mIoU, one click",
    "miou_box": "mIoU, a box",
    "caption_chrf": "caption, chrF",
    "objects_f1": "objects, F1",
}


def options_words(options: Mapping[str, Any], among: Sequence[Mapping[str, Any]]) -> str:
    """Return what tells a set of options from the others: `bf16, 2 threads`; empty where nothing does."""
    differing = [name for name in OPTION_WORDS if any(one.get(name) != options.get(name) for one in among)]
    words = [_option(name, options.get(name)) for name in differing]
    return ", ".join(word for word in words if word)


def _option(name: str, value: Any) -> str:
    if name == "compiled":
        return "compiled" if value else "not compiled"
    if value is None:
        return {"size": "own size", "threads": "all threads"}.get(name, "")
    text = (
        " ".join(map(str, value))
        if isinstance(value, list | tuple)
        else f"{value:g}"
        if name == "seconds"
        else str(value)
    )
    return OPTION_WORDS[name].format(text)


def percentile_words(found: Percentile | None) -> str:
    """Return a percentile, and how many samples it lacks."""
    if found is None:
        return MISSING
    value = milliseconds(found.found.value)
    return value if not found.missing else f"{value} ({found.missing:,} more needed)"


def interval_words(found: Percentile | None) -> str:
    """Return the ends of an interval; an open end is `?`, and nothing is known where both are open."""
    if found is None or (found.found.low, found.found.high) == (None, None):
        return MISSING
    low, high = ("?" if end is None else milliseconds(end) for end in (found.found.low, found.found.high))
    return f"{low} to {high}"


def answer_words(raw: Mapping[str, Any]) -> str:
    """Return what a model made of a picture, as `answers.json` has it; a stranger's text letter by letter."""
    kind = raw.get("kind")
    if kind == "classes":
        pairs = zip(raw.get("names", ()), raw.get("scores", ()), strict=False)
        return ", ".join(f"{readable(str(name))} {float(score):.0%}" for name, score in list(pairs)[:3])
    if kind == "features":
        rows, columns = raw.get("grid", (0, 0))
        return f"{rows} x {columns} patches of {raw.get('dim')} numbers"
    if kind == "mask":
        count = raw.get("count")
        share = f"{float(raw.get('share', 0.0)):.0%} of the picture around its middle"
        return share if count is None else f"{count} masks; {share}"
    return " ".join(readable(str(raw.get("text", ""))).split())


def measure_words(name: str) -> str:
    """Return what people call a measure of accuracy."""
    return MEASURES.get(name, name)
