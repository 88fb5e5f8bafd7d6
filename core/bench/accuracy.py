"""How often a model is right, where the truth is known: one measure a kind of model, with its interval.

A picture that cannot be read, or on which the model raises, is counted as failed and told; the others are
measured. Where a set says nothing that this kind of model could be measured by, there is a note and no score.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.bench.scorers import WHAT, Score, Scorer, scorer_of
from core.bench.truths import Truths
from core.errors import InputError, VisionBenchError
from core.runs import Metric

if TYPE_CHECKING:
    from core.bench.subjects import Subject

KEPT_FAILURES = 20
"""Failed pictures that are told one by one; all are counted."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A picture that was not measured."""

    item_id: str
    error_class: str
    message: str


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How often a model was right on a set of pictures."""

    data: str
    """What the set is called."""
    digest: str
    """What tells it from another of the same name."""
    pictures: int
    """Looked at, failed ones too."""
    scores: tuple[Score, ...]
    failed: int
    failures: tuple[Failure, ...]
    """The first `KEPT_FAILURES` of them."""
    note: str = ""
    """What was left out, or why there is no score."""

    def metrics(self) -> list[Metric]:
        """Return the numbers of a run: each score, its ends `_low` and `_high`, and its `_n`."""
        found = [Metric("accuracy_pictures", self.pictures), Metric("accuracy_failed", self.failed)]
        for score in self.scores:
            interval = score.interval
            values = {"": interval.value, "_low": interval.low, "_high": interval.high, "_n": interval.n}
            values["_chance"] = score.chance
            found += [Metric(score.name + end, value) for end, value in values.items() if value is not None]
        return found

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "data": self.data,
            "digest": self.digest,
            "pictures": self.pictures,
            "failed": self.failed,
            "failures": [[one.item_id, one.error_class, one.message] for one in self.failures],
            "note": self.note,
            "scores": [
                {
                    "name": score.name,
                    "value": score.interval.value,
                    "low": score.interval.low,
                    "high": score.interval.high,
                    "n": score.interval.n,
                    "chance": score.chance,
                    "what": WHAT[score.name],
                }
                for score in self.scores
            ],
        }


class AccuracyRun:
    """An accuracy in the making, picture by picture, so that it can be paused between any two.

    Args:
        subject: The model; for text its `prompt` changes while this runs.
    """

    def __init__(self, subject: "Subject", truths: Truths) -> None:
        self.truths, self._at = truths, 0
        self._failures: list[Failure] = []
        self._failed = 0
        self._scorer: Scorer | None = None
        self._why = ""
        try:
            self._scorer = scorer_of(subject, truths)
        except InputError as error:
            self._why = str(error)

    @property
    def done(self) -> int:
        """How many pictures were looked at."""
        return self._at

    @property
    def left(self) -> int:
        """How many pictures are to come; 0 where none would say anything."""
        return 0 if self._scorer is None else len(self.truths) - self._at

    def step(self) -> None:
        """Look at the next picture; does nothing after the last."""
        if self._scorer is None or not self.left:
            return
        item_id = self.truths.ids[self._at]
        self._at += 1
        try:
            self._scorer.add(self.truths.at(self._at - 1))
        except Exception as error:  # whatever a model raises on a picture is that picture's
            self._failed += 1
            if len(self._failures) < KEPT_FAILURES:
                message = error.message if isinstance(error, VisionBenchError) else str(error)
                self._failures.append(Failure(item_id, type(error).__name__, message[:500]))

    def result(self) -> Accuracy:
        """Return what was measured until now."""
        scores = self._scorer.scores() if self._scorer is not None else ()
        note = self._scorer.note if self._scorer is not None else self._why
        if self._at and not scores and not note:
            note = "No picture could be measured."
        return Accuracy(
            self.truths.name,
            self.truths.digest,
            self._at,
            scores,
            self._failed,
            tuple(self._failures),
            note,
        )


def measure_accuracy(
    subject: "Subject", truths: Truths, progress: Callable[[float], None] | None = None
) -> Accuracy:
    """Look at every picture of a set; `progress` (0-1) may raise to end everything."""
    run = AccuracyRun(subject, truths)
    while run.left:
        run.step()
        if progress is not None:
            progress(run.done / len(truths))
    return run.result()
