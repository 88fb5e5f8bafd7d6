"""What an evaluation measures: one object's scores, and many of them in numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError

LEVELS = (0.85, 0.90)
"""IoU that a person is content with, as counted in the field (NoC@85, NoC@90)."""
RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class ObjectScore:
    """How well one object was found."""

    iou: tuple[float, ...]
    """0-1, after 1, 2 … K clicks."""
    predicted_iou: tuple[float, ...]
    """What the model thought of each of these answers, about 0-1."""
    box_iou: float
    """0-1, by the exact box alone."""
    box_predicted_iou: float
    decode_ms: float
    """Median time of one answer."""
    kind: str = ""
    picture: int = 0
    """Number of its picture in the evaluation, from 0."""

    def clicks_to(self, level: float) -> int | None:
        """Return how many clicks reached this IoU first; None if K did not."""
        return next((k for k, value in enumerate(self.iou, start=1) if value >= level), None)

    @property
    def answers(self) -> tuple[tuple[float, float], ...]:
        """Predicted and true IoU of each answer: those after clicks, then that for the box."""
        clicked = zip(self.predicted_iou, self.iou, strict=True)
        return (*clicked, (self.box_predicted_iou, self.box_iou))


class Summary(NamedTuple):
    """Many objects in numbers. IoUs are 0-1; tuples run over 1, 2 … K clicks, or over `LEVELS`."""

    objects: int
    pictures: int
    mean_iou: tuple[float, ...]
    median_iou: tuple[float, ...]
    box_mean_iou: float
    box_median_iou: float
    clicks_to: tuple[float, ...]
    """Mean number of clicks to each level; an object that K clicks did not bring there counts as K."""
    failed: tuple[float, ...]
    """Share (0-1) of the objects that K clicks did not bring to each level."""
    predicted_correlation: float | None
    """Pearson's, of predicted with true IoU over all answers; None below three, or if either is constant."""
    interval: tuple[float, float] | None
    """95 % bootstrap interval of the mean IoU after one click, over pictures; None for a single picture."""

    def row(self) -> dict[str, float]:
        """Return the numbers by name; one that is not defined is left out."""
        found: dict[str, float | None] = {"objects": self.objects, "pictures": self.pictures}
        for number, (mean, median) in enumerate(zip(self.mean_iou, self.median_iou, strict=True), start=1):
            found |= {f"iou_{number}_clicks": mean, f"iou_{number}_clicks_median": median}
        found |= {"iou_box": self.box_mean_iou, "iou_box_median": self.box_median_iou}
        for level, clicks, failed in zip(LEVELS, self.clicks_to, self.failed, strict=True):
            found |= {f"clicks_to_{level * 100:.0f}": clicks, f"failed_{level * 100:.0f}": failed}
        low, high = self.interval or (None, None)
        found |= {"iou_1_clicks_low": low, "iou_1_clicks_high": high}
        found["predicted_iou_correlation"] = self.predicted_correlation
        return {name: float(value) for name, value in found.items() if value is not None}


def summarise(scores: Sequence[ObjectScore], seed: int = 0) -> Summary:
    """Return the numbers of at least one object, all of the same number of clicks.

    `seed` is that of the bootstrap, whose unit is the picture: objects of one picture are alike.
    """
    values = np.array([score.iou for score in scores])  # objects clicks
    boxes = [score.box_iou for score in scores]
    reached = [[score.clicks_to(level) for score in scores] for level in LEVELS]
    most = values.shape[1]
    return Summary(
        objects=len(scores),
        pictures=len({score.picture for score in scores}),
        mean_iou=tuple(values.mean(axis=0).tolist()),
        median_iou=tuple(np.median(values, axis=0).tolist()),
        box_mean_iou=float(np.mean(boxes)),
        box_median_iou=float(np.median(boxes)),
        clicks_to=tuple(float(np.mean([most if k is None else k for k in row])) for row in reached),
        failed=tuple(row.count(None) / len(row) for row in reached),
        predicted_correlation=_correlation(np.array([pair for score in scores for pair in score.answers])),
        interval=_interval(scores, seed),
    )


def _correlation(pairs: NDArray[np.float64]) -> float | None:
    """Return Pearson's correlation of the two columns."""
    first, second = pairs.T
    if len(pairs) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def _interval(scores: Sequence[ObjectScore], seed: int) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean IoU after one click, pictures drawn with replacement."""
    from scipy.stats import bootstrap

    _, picture = np.unique([score.picture for score in scores], return_inverse=True)
    counts = np.bincount(picture)
    if len(counts) < 2:
        return None
    sums = np.bincount(picture, weights=[score.iou[0] for score in scores])
    found = bootstrap(
        (sums, counts),
        lambda total, count, axis: total.sum(axis=axis) / count.sum(axis=axis),
        paired=True,
        n_resamples=RESAMPLES,
        batch=100,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured, overall and by kind of picture."""

    clicks: int
    """Most clicks of an object, K."""
    seed: int
    scores: tuple[ObjectScore, ...]
    overall: Summary
    by_kind: dict[str, Summary]
    encode_ms: float
    """Median time of encoding a picture."""
    decode_ms: float
    """Median over the objects of the time of one answer."""

    @property
    def objects(self) -> int:
        """How many were clicked."""
        return len(self.scores)

    def metrics(self) -> dict[str, float]:
        """Return the overall numbers by name, and the times in milliseconds."""
        return self.overall.row() | {"encode_ms": self.encode_ms, "decode_ms": self.decode_ms}

    def rows(self) -> list[dict[str, float | str]]:
        """Return a table: one row over all pictures, and one for each kind where there are several."""
        kinds = self.by_kind if len(self.by_kind) > 1 else {}
        return [
            {"pictures of": kind, **found.row()} for kind, found in {"all": self.overall, **kinds}.items()
        ]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "clicks": self.clicks,
            "seed": self.seed,
            "levels": list(LEVELS),
            "encode_ms_p50": self.encode_ms,
            "decode_ms_p50": self.decode_ms,
            "overall": _plain(self.overall),
            "by_kind": {kind: _plain(summary) for kind, summary in self.by_kind.items()},
            "objects": [_lists(asdict(score)) for score in self.scores],
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Evaluation":
        """Return the evaluation that `to_json` wrote.

        Raises:
            InputError: It is none.
        """
        try:
            scores = [_score(row) for row in raw["objects"]]
            return summed_up(scores, raw["clicks"], raw["seed"], float(raw["encode_ms_p50"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError("This is no stored evaluation.", "Evaluate again.") from error


def _score(row: Mapping[str, Any]) -> ObjectScore:
    several = {name: tuple(row[name]) for name in ("iou", "predicted_iou")}
    return ObjectScore(**{**row, **several})


def _plain(summary: Summary) -> dict[str, Any]:
    return _lists(summary._asdict())


def _lists(values: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def summed_up(scores: Sequence[ObjectScore], clicks: int, seed: int, encode_ms: float) -> Evaluation:
    """Return what was measured on at least one object; see `summarise`."""
    by_kind = {
        kind: summarise([score for score in scores if score.kind == kind], seed)
        for kind in dict.fromkeys(score.kind for score in scores)
    }
    decode_ms = float(np.median([score.decode_ms for score in scores]))
    overall = summarise(scores, seed)
    return Evaluation(clicks, seed, tuple(scores), overall, by_kind, encode_ms, decode_ms)
