"""What a captioner's scores are: 1 for the truth, and worked out by hand for what is wrong."""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from sacrebleu.metrics.chrf import CHRF

from core.captioner.evaluate import KINDS, OPTIONS, TEST_SEEDS, Ask, Measure, measure
from core.captioner.evaluate import test_scenes as scenes  # under its own name it would be taken for a test
from core.scenes import QA, Scene, generate_scene
from core.vlm.tasks import ONE_WORD, TASKS

N = 12


@cache
def drawn() -> tuple[Scene, ...]:
    return tuple(scenes(N))


def asked(scene: Scene) -> list[QA]:
    return [qa for qa in scene.qa if qa.kind != "text"]


def saying(
    objects: Callable[[Scene], str],
    word: Callable[[Scene], str],
    caption: Callable[[Scene], str],
    reply: Callable[[QA], str],
) -> Ask:
    """Return somebody who answers from the truth of the scene, which is found again by its pixels."""
    known = {scene.rgb.tobytes(): scene for scene in drawn()}

    def ask(rgb: NDArray[np.uint8], prompts: list[str]) -> list[str]:
        scene = known[rgb.tobytes()]
        answers = {
            TASKS["objects"].prompt: objects(scene),
            TASKS["ocr"].prompt: word(scene),
            TASKS["caption"].prompt: caption(scene),
        }
        answers |= {qa.question + ONE_WORD: reply(qa) for qa in asked(scene)}
        return [answers[prompt] for prompt in prompts]

    return ask


def truthful() -> Ask:
    return saying(
        lambda scene: ", ".join(item.shape for item in scene.objects),
        lambda scene: scene.text,
        lambda scene: scene.caption,
        lambda qa: qa.answer,
    )


def by_name(found: Iterable[Measure]) -> dict[str, Measure]:
    return {one.name: one for one in found}


def test_the_truth_is_worth_1_everywhere() -> None:
    found = measure(truthful(), drawn())
    assert found[0].name == "objects"
    assert {one.name: one.value for one in found} == {
        name: pytest.approx(1.0) for name in ("objects", "ocr", "caption", "count and colour", *KINDS)
    }


def test_how_many_answers_are_behind_each_score() -> None:
    found = by_name(measure(truthful(), drawn()))
    kinds = Counter(qa.kind for scene in drawn() for qa in asked(scene))
    assert {kind: found[kind].n for kind in KINDS} == {kind: kinds[kind] for kind in KINDS}
    assert found["count and colour"].n == kinds["count"] + kinds["colour"]
    assert {found[task].n for task in ("objects", "ocr", "caption")} == {N}


@pytest.mark.parametrize("answer", ["", "   ", "?!", "<pad>"])
def test_saying_nothing_is_worth_nothing(answer: str) -> None:
    found = measure(lambda rgb, prompts: [answer] * len(prompts), drawn()[:4])
    assert {one.value for one in found if one.name != "caption"} == {0.0}
    assert by_name(found)["caption"].value < 0.02


def test_lists_of_objects_by_hand() -> None:
    """`star, circle` always: precision and recall over the names of shapes, each counted once."""
    ask = saying(lambda _: "a red star, circle", lambda s: s.text, lambda s: s.caption, lambda qa: qa.answer)
    expected = []
    for scene in drawn():
        true = {item.shape for item in scene.objects}
        right = len(true & {"star", "circle"})
        expected.append(2 * right / (2 + len(true)))  # 2PR / (P + R)
    assert 0 < np.mean(expected) < 1
    found = by_name(measure(ask, drawn()))
    assert found["objects"].value == pytest.approx(np.mean(expected))
    assert found["ocr"].value == found["relation"].value == 1.0


def edits(said: str, true: str) -> int:
    """Return the Levenshtein distance."""
    row = list(range(len(true) + 1))
    for i, a in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(true, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def test_words_by_hand() -> None:
    ask = saying(lambda _: "star", lambda _: "MILK", lambda s: s.caption, lambda qa: qa.answer)
    expected = [1 - edits("MILK", scene.text) / len(scene.text) for scene in drawn()]
    found = by_name(measure(ask, drawn()))
    assert found["ocr"].value == pytest.approx(max(0.0, float(np.mean(expected))))


def test_a_letter_that_is_missing_costs_its_share() -> None:
    ask = saying(lambda _: "star", lambda s: s.text[:-1], lambda s: s.caption, lambda qa: qa.answer)
    expected = np.mean([1 - 1 / len(scene.text) for scene in drawn()])
    assert by_name(measure(ask, drawn()))["ocr"].value == pytest.approx(expected)


def test_a_long_wrong_word_is_worth_0_and_not_less() -> None:
    ask = saying(lambda _: "star", lambda _: "Z" * 500, lambda s: s.caption, lambda qa: qa.answer)
    assert by_name(measure(ask, drawn()))["ocr"].value == 0.0


def test_captions_by_hand() -> None:
    ask = saying(lambda _: "star", lambda s: s.text, lambda _: "A large red star.", lambda qa: qa.answer)
    expected = [CHRF().sentence_score("A large red star.", [scene.caption]).score / 100 for scene in drawn()]
    assert by_name(measure(ask, drawn()))["caption"].value == pytest.approx(np.mean(expected), abs=1e-6)


@pytest.mark.parametrize("constant", ["2", "two", "Red.", "star", "yes"])
def test_questions_by_hand(constant: str) -> None:
    """The same word for every question: right where it is the answer, whatever its case and spelling."""
    ask = saying(lambda _: "star", lambda s: s.text, lambda s: s.caption, lambda _: constant)
    same = {"2": {"2", "two"}, "two": {"2", "two"}}.get(constant, {constant.lower().rstrip(".")})
    right: dict[str, list[float]] = {}
    for scene in drawn():
        for qa in asked(scene):
            right.setdefault(qa.kind, []).append(float(qa.answer.lower() in same))
    found = by_name(measure(ask, drawn()))
    for kind, values in right.items():
        assert found[kind].value == pytest.approx(np.mean(values)), kind
    assert found["count and colour"].value == pytest.approx(np.mean(right["count"] + right["colour"]))


def test_an_answer_with_more_around_it_is_not_exact() -> None:
    ask = saying(
        lambda _: "star", lambda s: s.text, lambda s: s.caption, lambda qa: f"I see {qa.answer} here"
    )
    assert by_name(measure(ask, drawn()[:4]))["count and colour"].value == 0.0


def test_nothing_asked_is_nothing_measured() -> None:
    assert measure(lambda rgb, prompts: [], ()) == ()


def test_answers_must_be_as_many_as_prompts() -> None:
    with pytest.raises(ValueError):
        measure(lambda rgb, prompts: [""] * (len(prompts) - 1), drawn()[:1])


def test_the_scenes_are_those_it_says() -> None:
    first = list(scenes(3))
    assert [scene.seed for scene in first] == [TEST_SEEDS, TEST_SEEDS + 1, TEST_SEEDS + 2]
    assert all(4 <= len(scene.text) <= 6 and 1 <= len(scene.objects) <= 4 for scene in first)
    again = generate_scene(TEST_SEEDS + 2, OPTIONS)
    assert np.array_equal(first[2].rgb, again.rgb)
    (other,) = scenes(1, first_seed=5)
    assert other.seed == 5
