"""What each kind of model is measured by.

classes     top-1 and top-5, Wilson's interval
features    recall@1: is the most similar other picture of the same class? bootstrap over pictures
mask        mean IoU of the objects by one click, and by their box; bootstrap over pictures
text        chrF of the caption, F1 of the list of objects; bootstrap over pictures
"""

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.bench.labelled import Matched, match
from core.bench.statistics import Interval, bootstrap_mean, wilson
from core.bench.truths import TASKS, Truth, Truths
from core.errors import InputError
from core.images import ImageInput
from core.vlm.datasets.values import Item, Items

if TYPE_CHECKING:
    from core.bench.mask_subject import MaskSubject
    from core.bench.subjects import Subject
    from core.bench.text_subjects import CaptionerSubject, VlmSubject
    from core.bench.vision_subjects import ClassSubject, FeatureSubject

BLOCK = 1_024
"""Pictures that are compared with all others at once."""
MAIN_TEXT = {"caption": ("caption_chrf", "chrf"), "objects": ("objects_f1", "f1")}
"""Task to the name of its score here, and in `core.vlm.scoring`."""
WHAT = {
    "top1": "share of pictures whose class is the likeliest one",
    "top5": "share of pictures whose class is among the five likeliest",
    "recall1": "share of pictures whose most similar other picture (cosine) is of the same class",
    "miou_click": "IoU of an object by one random click in it, mean over a picture's objects, then pictures",
    "miou_box": "IoU of an object by its box, mean over a picture's objects, then pictures",
    "caption_chrf": "chrF of the caption, mean over pictures",
    "objects_f1": "F1 of the objects that are listed, mean over pictures",
}
"""Score to how it is made."""


@dataclass(frozen=True, slots=True)
class Score:
    """One measure, 0-1, higher is better, with its interval of 95 %."""

    name: str
    """One of `WHAT`."""
    interval: Interval
    chance: float | None = None
    """What guessing would give; None where that is not known."""


class Scorer(ABC):
    """Takes what a model answers about one picture after the other."""

    def __init__(self) -> None:
        self.note = ""

    @abstractmethod
    def add(self, truth: Truth) -> None:
        """Ask the model about a picture and compare; may raise, and nothing is counted then."""

    @abstractmethod
    def scores(self) -> tuple[Score, ...]:
        """Return the measures of what was added."""


def scorer_of(subject: "Subject", truths: Truths) -> Scorer:
    """Return what measures this kind of model on a set.

    Raises:
        InputError: The set says nothing that this kind could be measured by; the message says why.
    """
    makers: Mapping[str, Callable[[Any, Truths], Scorer]] = {
        "classes": ClassScorer,
        "features": FeatureScorer,
        "mask": MaskScorer,
        "text": TextScorer,
    }
    return makers[subject.kind](subject, truths)


class ClassScorer(Scorer):
    """Top-1 and top-5. Pictures of classes that the model does not know are left out, and told."""

    def __init__(self, subject: "ClassSubject", truths: Truths) -> None:
        super().__init__()
        self._subject = subject
        self._matched, self._known = _known_classes(truths, subject.labels)
        self._left_out: Counter[str] = Counter()
        self._top1, self._top5, self._n = 0, 0, 0

    def add(self, truth: Truth) -> None:
        """Ask for the likeliest classes."""
        label = truth.label()
        if label not in self._known:
            self._left_out[label] += 1
            return
        names = _answer(self._subject, truth.load()).names
        self._n += 1
        self._top1 += names[0] in self._known[label]
        self._top5 += not self._known[label].isdisjoint(names)

    def scores(self) -> tuple[Score, ...]:
        """Return both, with Wilson's interval."""
        self.note = Matched((), tuple(sorted(self._left_out)), self._left_out.total()).note
        if not self._n:
            return ()
        chance = 1 / len(self._subject.labels)
        return (
            Score("top1", wilson(self._top1, self._n), chance),
            Score("top5", wilson(self._top5, self._n), min(1.0, 5 * chance)),
        )


def _known_classes(truths: Truths, labels: Sequence[str]) -> tuple[Matched, dict[str, frozenset[str]]]:
    """Return the classes of a set that a model knows, each with the model's names of it."""
    classes = truths.classes()
    one_each = Items(
        truths.name, truths.digest, classes, lambda at: Item(classes[at], _no_picture, {"": (classes[at],)})
    )
    matched = match(one_each, labels)
    if truths.closed and matched.unknown:
        raise InputError(
            f"The model does not know {len(matched.unknown)} of the {len(classes)} classes of {truths.name}, "
            f"{matched.unknown[0]!r} among them.",
            "Give a labelled set of its own classes, or choose a model that was trained on scenes.",
        )
    names = {
        target.item_id: frozenset(labels[index] for index in target.classes) for target in matched.targets
    }
    return matched, names


def _no_picture() -> ImageInput:
    raise InputError("A class has no picture.")


def _answer(subject: Any, image: ImageInput) -> Any:
    """Return the answer of the three stages; `Subject.answer` may look further than needed here."""
    return subject.postprocess(subject.run(subject.preprocess((image,))))[0]


class FeatureScorer(Scorer):
    """Recall@1 among all pictures of the set. A class of one picture cannot be found, and does not count."""

    def __init__(self, subject: "FeatureSubject", truths: Truths) -> None:
        super().__init__()
        truths.classes()  # a set without classes is refused before anything runs
        self._subject = subject
        self._vectors: list[NDArray[np.float32]] = []
        self._labels: list[str] = []

    def add(self, truth: Truth) -> None:
        """Keep the features of a picture."""
        label = truth.label()
        vector = _answer(self._subject, truth.load()).vector
        length = float(np.linalg.norm(vector))
        if length == 0.0:
            raise InputError("The features are all zero.")
        self._vectors.append(vector / length)
        self._labels.append(label)

    def scores(self) -> tuple[Score, ...]:
        """Return the share that found their class first."""
        if not self._labels:
            return ()
        counts = Counter(self._labels)
        alone = sum(count == 1 for count in counts.values())
        if alone:
            self.note = f"{alone} {'class has' if alone == 1 else 'classes have'} one picture alone."
        counted = np.array([counts[label] > 1 for label in self._labels], dtype=bool)
        if not counted.any():
            self.note = "No class has two pictures, so none can be found by another."
            return ()
        hits = _nearest_alike(np.stack(self._vectors), self._labels)[counted]
        others = len(self._labels) - 1
        chance = float(np.mean([(counts[label] - 1) / others for label in self._labels if counts[label] > 1]))
        return (Score("recall1", bootstrap_mean(hits.tolist()), chance),)


def _nearest_alike(vectors: NDArray[np.float32], labels: Sequence[str]) -> NDArray[np.float64]:
    """Return for unit vectors N D whether each one's nearest other is of its label: N, 0 or 1."""
    _, classes = np.unique(np.array(labels, dtype=object).astype(str), return_inverse=True)
    hits = np.empty(len(vectors))
    for start in range(0, len(vectors), BLOCK):
        rows = slice(start, min(start + BLOCK, len(vectors)))
        alike = vectors[rows] @ vectors.T
        alike[np.arange(len(alike)), np.arange(rows.start, rows.stop)] = -np.inf  # itself
        hits[rows] = classes[alike.argmax(axis=1)] == classes[rows]
    return hits


class MaskScorer(Scorer):
    """Mean IoU of objects by one click, and by their box."""

    def __init__(self, subject: "MaskSubject", truths: Truths) -> None:
        super().__init__()
        if not truths.at(0).masks:
            raise InputError(
                f"{truths.name} has no masks, so a segmenter cannot be measured on it.", "Choose scenes."
            )
        self._subject = subject
        self._clicked: list[float] = []
        self._boxed: list[float] = []

    def add(self, truth: Truth) -> None:
        """Click, and box, every object. The clicks are the same for all models."""
        from core.segment.evaluate import evaluate_object

        image = truth.load()
        embedding = self._subject.embedding(image)
        rng = np.random.default_rng([int(image.sha256[:8], 16)])
        found = [evaluate_object(self._subject.model, embedding, mask, 1, rng) for mask in truth.masks]
        self._clicked.append(float(np.mean([one.iou[0] for one in found])))
        self._boxed.append(float(np.mean([one.box_iou for one in found])))

    def scores(self) -> tuple[Score, ...]:
        """Return both, over pictures."""
        if not self._clicked:
            return ()
        return (
            Score("miou_click", bootstrap_mean(self._clicked)),
            Score("miou_box", bootstrap_mean(self._boxed)),
        )


class TextScorer(Scorer):
    """Captions and lists of objects, where the set says what is right."""

    def __init__(self, subject: "CaptionerSubject | VlmSubject", truths: Truths) -> None:
        super().__init__()
        if not any(truths.at(position).references for position in range(len(truths))):
            raise InputError(
                f"{truths.name} has no captions, so a model that writes cannot be measured on it.",
                "Choose scenes, or add a table with the columns image, task and reference.",
            )
        self._subject = subject
        self._values: dict[str, list[float]] = defaultdict(list)

    def add(self, truth: Truth) -> None:
        """Ask for everything that is known of a picture."""
        from core.vlm.scoring import score
        from core.vlm.tasks import TASKS as VLM_TASKS

        image, found = truth.load(), {}
        usual = self._subject.prompt
        try:
            for task, references in truth.references.items():
                self._subject.prompt = VLM_TASKS[task].prompt
                scored = score(task, _answer(self._subject, image).text, references)
                name, inside = MAIN_TEXT[task]
                if scored is not None and (value := scored.value(inside)) is not None:
                    found[name] = value
        finally:
            self._subject.prompt = usual
        for name, value in found.items():
            self._values[name].append(value)

    def scores(self) -> tuple[Score, ...]:
        """Return the mean of each task."""
        names = (MAIN_TEXT[task][0] for task in TASKS)
        return tuple(Score(name, bootstrap_mean(self._values[name])) for name in names if self._values[name])
