"""The five tasks: what is asked, and what is true of a scene. `core.vlm.scoring` has their scores."""

from dataclasses import dataclass

from core.errors import InputError
from core.scenes import Scene


@dataclass(frozen=True, slots=True)
class Task:
    """One kind of question."""

    name: str
    title: str
    prompt: str
    """What is asked where nobody says otherwise; empty where it has to be typed."""
    scored: bool = True
    """Whether answers can be compared with references."""


ONE_WORD = " Answer with one word."
"""What follows every question about a scene."""
NO_WORD = "none"
"""The right answer of the OCR task where nothing is written."""

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("caption", "Caption", "Describe the picture in one sentence."),
        Task("question", "Question", ""),
        Task("ocr", "Read text", 'What word is written? Answer with the word only, or "none".'),
        Task("objects", "List objects", "List the objects you see, separated by commas."),
        Task("free", "Free prompt", "", scored=False),
    )
}
"""All tasks by name, in the order they are offered."""


def task_named(name: str) -> Task:
    """Return a task.

    Raises:
        InputError: There is none of that name.
    """
    if name not in TASKS:
        raise InputError(f"There is no task {name!r}.", f"Choose one of {', '.join(TASKS)}.")
    return TASKS[name]


def truth_of(scene: Scene, task: str) -> list[tuple[str, tuple[str, ...]]]:
    """Return the prompts that can be put about a scene, each with its references.

    Returns:
        One pair for `caption`, `ocr` and `objects`; one for each question the scene knows the answer of, the
        one about the written word left to `ocr`; none for `free`. The references of `objects` are the names
        of the shapes, each once; of the others, the one right answer.

    Raises:
        InputError: There is no such task.
    """
    prompt = task_named(task).prompt
    if task == "caption":
        return [(prompt, (scene.caption,))]
    if task == "ocr":
        return [(prompt, (scene.text or NO_WORD,))]
    if task == "objects":
        return [(prompt, tuple(dict.fromkeys(item.shape for item in scene.objects)))]
    if task == "question":
        return [(qa.question + ONE_WORD, (qa.answer,)) for qa in scene.qa if qa.kind != "text"]
    return []
