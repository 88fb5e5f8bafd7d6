"""Tasks over scenes: the truth itself has a perfect score, and something else has not."""

import pytest

from core.errors import InputError
from core.scenes import CLASSES, COLOURS, Scene, SceneOptions, generate_scene
from core.vlm.scoring import MAIN_SCORES, Scored, score
from core.vlm.tasks import NO_WORD, ONE_WORD, TASKS, task_named, truth_of

SCENES = [
    generate_scene(seed, SceneOptions(width=64, height=64, text_probability=0.5))
    for seed in range(700_000, 700_060)
]


def scored_of(task: str, answer: str, references: tuple[str, ...]) -> Scored:
    scored = score(task, answer, references)
    assert scored is not None
    return scored


@pytest.mark.parametrize("task", MAIN_SCORES)
def test_the_truth_is_perfect(task: str) -> None:
    for scene in SCENES:
        for _, references in truth_of(scene, task):
            scored = scored_of(task, ", ".join(references), references)
            assert scored.main == MAIN_SCORES[task]
            for value in scored.values:
                assert value.value == pytest.approx(1 if value.higher_is_better else 0)
            assert scored.right is (None if task == "caption" else True)
            assert scored.objects is None or not (scored.objects.missed or scored.objects.hallucinated)


@pytest.mark.parametrize("task", ["question", "ocr", "objects"])
def test_the_truth_of_another_scene_is_not_right(task: str) -> None:
    for scene in SCENES:
        for prompt, references in truth_of(scene, task):
            for asked, others in truth_of(SCENES[0], task):
                if asked == prompt and set(others) != set(references):
                    assert scored_of(task, ", ".join(others), references).right is False


@pytest.mark.parametrize("task", MAIN_SCORES)
def test_what_is_asked_of_a_scene(task: str) -> None:
    for scene in SCENES:
        truths = truth_of(scene, task)
        assert truths and all(prompt and references for prompt, references in truths)
        assert len(truths) == len({prompt for prompt, _ in truths})
        if task == "question":
            assert all(prompt.endswith(ONE_WORD) for prompt, _ in truths)
        else:
            assert [prompt for prompt, _ in truths] == [TASKS[task].prompt]


def test_the_truth_is_that_of_the_picture() -> None:
    assert {bool(scene.text) for scene in SCENES} == {True, False}
    for scene in SCENES:
        assert truth_of(scene, "ocr")[0][1] == (scene.text or NO_WORD,)
        shapes = truth_of(scene, "objects")[0][1]
        assert set(shapes) == {item.shape for item in scene.objects} and len(shapes) == len(set(shapes))
        assert len(truth_of(scene, "question")) == sum(qa.kind != "text" for qa in scene.qa)


@pytest.mark.parametrize("shape", CLASSES)
@pytest.mark.parametrize("form", ["{}", "a {}", "two {}s", "a striped {colour} {}", "{} shape"])
def test_each_shape_is_known_in_every_form(shape: str, form: str) -> None:
    plural = shape.replace("cross", "crosse") if form.startswith("two") else shape
    for colour in COLOURS:
        assert scored_of("objects", form.format(plural, colour=colour), (shape,)).right


def count_of(scene: Scene) -> tuple[str, tuple[str, ...]]:
    qa = next(qa for qa in scene.qa if qa.kind == "count")
    return qa.question, (qa.answer,)


def test_a_count_may_be_a_word() -> None:
    words = {"1": "One", "2": "two.", "3": "Three", "4": "FOUR"}
    for scene in SCENES:
        _, references = count_of(scene)
        assert scored_of("question", words.get(references[0], references[0]), references).right


def test_free_prompts_have_no_truth_and_strange_tasks_do_not_exist() -> None:
    assert truth_of(SCENES[0], "free") == []
    assert score("free", "anything", ["something"]) is None
    assert [task for task in TASKS.values() if not task.scored] == [TASKS["free"]]
    for call in (lambda: truth_of(SCENES[0], "colours"), lambda: task_named("")):
        with pytest.raises(InputError, match="There is no task"):
            call()
