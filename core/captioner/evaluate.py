"""How good a captioner is, on fresh scenes whose truth is exact."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.scenes import QA, Scene, SceneOptions, generate_scene
from core.vlm.scoring import score
from core.vlm.tasks import ONE_WORD, TASKS, truth_of

TEST_SEEDS = 9 * 10**12
"""First seed of the scenes that scores are measured on; nothing learns from those."""
OPTIONS = SceneOptions(text_probability=1.0)
"""Up to four objects, and one word of four to six letters."""
KINDS = ("count", "colour", "shape", "largest", "exists", "relation")
"""Kinds of questions, in the order they are told."""

Ask = Callable[[NDArray[np.uint8], list[str]], list[str]]
"""Answers prompts about a picture H W 3."""


class Measure(NamedTuple):
    """The mean of one score."""

    name: str
    value: float
    """0-1, higher is better."""
    n: int
    """Number of answers."""
    what: str
    """How one answer is scored."""


def test_scenes(count: int, first_seed: int = TEST_SEEDS) -> Iterator[Scene]:
    """Yield `count` scenes with a word, by default the first test scenes."""
    return (generate_scene(first_seed + number, OPTIONS) for number in range(count))


def measure(ask: Ask, scenes: Iterable[Scene]) -> tuple[Measure, ...]:
    """Put the four tasks about every scene and return the mean scores, object lists first.

    Questions about the written word are left to the OCR task, as in `core.vlm.tasks.truth_of`.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for scene in scenes:
        questions = [qa for qa in scene.qa if qa.kind != "text"]
        fixed = [TASKS[task].prompt for task in ("objects", "ocr", "caption")]
        said = ask(scene.rgb, [*fixed, *(qa.question + ONE_WORD for qa in questions)])
        _score_tasks(found, scene, *said[:3])
        for qa, answer in zip(questions, said[3:], strict=True):
            _score_question(found, qa, answer)
    return tuple(
        Measure(name, max(0.0, float(np.mean(found[name]))), len(found[name]), what)
        for name, what in _WHAT.items()
        if found[name]
    )


def _score_tasks(found: dict[str, list[float]], scene: Scene, objects: str, word: str, caption: str) -> None:
    said = (("objects", objects, "f1"), ("ocr", word, "cer"), ("caption", caption, "chrf"))
    for task, answer, value in said:
        ((_, references),) = truth_of(scene, task)
        scored = score(task, answer, references)
        number = scored.value(value) if scored else None
        assert number is not None  # scenes have a truth for every task
        found[task].append(1 - number if task == "ocr" else number)


def _score_question(found: dict[str, list[float]], qa: QA, answer: str) -> None:
    scored = score("question", answer, (qa.answer,))
    right = float(scored is not None and scored.value("exact") == 1.0)
    found[qa.kind].append(right)
    if qa.kind in ("count", "colour"):
        found["count and colour"].append(right)


_EXACT = "the answer is exactly the right word, whatever its case"
_WHAT = {
    "objects": "F1 of the shapes that are named against those in the scene, mean over scenes",
    "ocr": "1 - character error rate against the word, mean over scenes",
    "caption": "chrF against the scene's own caption, mean over scenes",
    "count and colour": _EXACT,
    **dict.fromkeys(KINDS, _EXACT),
}
"""Score to how it is made, in the order they are told."""
