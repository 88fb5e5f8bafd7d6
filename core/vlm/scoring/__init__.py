"""Answers against truth. The functions are pure; the metrics are those of kept libraries.

values.py     what a score consists of
reading.py    readers of what models say: any text, no exception
words.py      spelling, plurals, synonyms (synonyms.toml)
text.py       CER, WER, ANLS            answers.py    exact match, token F1, VQA accuracy
objects.py    precision, recall, F1     captions.py   chrF, ROUGE-L, object recall
corpus.py     CIDEr-D over a set of pictures
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from core.vlm.scoring.answers import score_answer
from core.vlm.scoring.captions import score_caption
from core.vlm.scoring.objects import score_objects
from core.vlm.scoring.reading import LIMIT, spoken
from core.vlm.scoring.text import score_text
from core.vlm.scoring.values import ObjectMatch, Scored, Value
from core.vlm.tasks import task_named

__all__ = ["MAIN_SCORES", "ObjectMatch", "Scored", "Value", "score"]

MAIN_SCORES = {"caption": "chrf", "question": "exact", "ocr": "cer_normalised", "objects": "f1"}
"""Task to the value that leads; questions with four references and more are led by `vqa`."""

_SCORERS: dict[str, Callable[[str, Sequence[str]], Scored]] = {
    "caption": score_caption,
    "question": score_answer,
    "ocr": score_text,
    "objects": score_objects,
}


def score(task: str, answer: str, references: Sequence[str]) -> Scored | None:
    """Score an answer.

    Args:
        task: One of `core.vlm.tasks.TASKS`.
        answer: What the model said, as it is, its thinking included; only an answer whose outcome is `OK`
            should be scored.
        references: What is true. Of several the best counts, but for `objects`, where they are all the
            objects there are.

    Returns:
        None where nothing is known to be true, and for free prompts.

    Raises:
        InputError: There is no such task.
    """
    kept = [reference[:LIMIT] for reference in references if reference.strip()]
    if not task_named(task).scored or not kept:
        return None
    answer = spoken(answer)
    scored = _SCORERS[task](answer, kept)
    if len(answer) <= LIMIT:
        return scored
    note = f"Only the first {LIMIT:,} of {len(answer):,} characters were scored; so it is not right."
    return replace(scored, right=None if scored.right is None else False, note=note)
