"""Scores of short answers: exact match, token F1, and the accuracy of the VQA evaluation.

Normalising follows that evaluation (VQAEval of Antol et al., ICCV 2015): lower case, numbers as digits,
no articles, its rules of punctuation. Apostrophes go instead of being put right by its table of contractions,
and `gray` is `grey`. Token F1 is that of SQuAD (Rajpurkar et al., 2016).
"""

import re
from collections import Counter
from collections.abc import Sequence

from core.vlm.scoring.reading import plain_answer, tidy
from core.vlm.scoring.values import Scored, Value
from core.vlm.scoring.words import spelled

FEWEST_HUMANS = 4
"""With fewer references nobody can reach full accuracy: it takes three others who said the same."""
_NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
_DIGITS = {"none": "0"} | {word: str(number) for number, word in enumerate(_NUMBERS)}
_ARTICLES = frozenset({"a", "an", "the"})
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!:*“”„«»。，？！'
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"\.(?!\d)")


def normal_answer(text: str) -> str:
    """Return an answer as it is compared: `The two, red.` gives `2 red`.

    Where nothing would be left (the letter A, a plus sign), what would go stays.
    """
    whole = " ".join(tidy(text).casefold().split())
    said = " ".join(_DIGITS.get(word, spelled(word)) for word in _without_punctuation(whole).split())
    return " ".join(word for word in said.split() if word not in _ARTICLES) or said or whole


def _without_punctuation(text: str) -> str:
    joined = bool(_COMMA_IN_NUMBER.search(text))
    bare = text
    for mark in _PUNCTUATION:
        stands_apart = f"{mark} " in text or f" {mark}" in text
        bare = bare.replace(mark, "" if stands_apart or joined else " ")
    return _FULL_STOP.sub("", re.sub(r"['’‘]", "", bare))


def exact(answer: str, references: Sequence[str]) -> bool:
    """Return whether an answer is one of the references, once all are normalised."""
    return normal_answer(answer) in {normal_answer(reference) for reference in references}


def token_f1(answer: str, reference: str) -> float:
    """Return the harmonic mean of precision and recall over words, 0-1; 1 where neither has any."""
    said, true = normal_answer(answer).split(), normal_answer(reference).split()
    if not said or not true:
        return float(said == true)
    common = sum((Counter(said) & Counter(true)).values())
    return 2 * common / (len(said) + len(true))


def vqa_accuracy(answer: str, humans: Sequence[str]) -> float:
    """Return the mean over the humans, each left out once, of min(others who said the same / 3, 1).

    Args:
        answer: What the model said.
        humans: One answer of each, repetitions included.
    """
    said = normal_answer(answer)
    agreeing = sum(normal_answer(human) == said for human in humans)
    others = len(humans) - agreeing
    return (agreeing * min(agreeing - 1, 3) + others * min(agreeing, 3)) / (3 * len(humans))


def score_answer(answer: str, references: Sequence[str]) -> Scored:
    """Score a short answer against its references, at least one.

    From `FEWEST_HUMANS` references on they are taken for one person's answer each, and the accuracy of the
    VQA evaluation leads; with fewer, exact match does.
    """
    inner, references = plain_answer(answer), [plain_answer(reference) for reference in references]
    is_exact = exact(inner, references)
    f1 = max(token_f1(inner, reference) for reference in references)
    values = (
        Value("exact", "Exact match", float(is_exact), note="one of the references, normalised"),
        Value("token_f1", "Token F1", f1, note="words shared with the nearest reference"),
    )
    if len(references) < FEWEST_HUMANS:
        return Scored("exact", values, right=is_exact)
    accuracy = vqa_accuracy(inner, references)
    note = f"{len(references)} references, each left out once"
    return Scored("vqa", (*values, Value("vqa", "VQA accuracy", accuracy, note=note)), right=accuracy >= 0.5)
