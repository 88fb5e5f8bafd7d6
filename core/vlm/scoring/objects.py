"""Scores of a list of objects: precision, recall and F1 over names, with synonyms and plurals."""

from collections.abc import Sequence

from core.vlm.scoring.reading import listed
from core.vlm.scoring.values import ObjectMatch, Scored, Value
from core.vlm.scoring.words import noun_phrase

Phrase = tuple[str, ...]


def says_more(item: Phrase, reference: Phrase) -> bool:
    """Return whether an item names the same thing and more of it: `red star` and `star`."""
    return len(item) > len(reference) and item[len(item) - len(reference) :] == reference


def match_objects(items: Sequence[str], references: Sequence[str]) -> ObjectMatch:
    """Compare names with the true ones.

    An item counts when it is a reference, says more than one (`red star` for `star`), or is the noun of one
    (`star` for `red star`); in that last way one item stands for one reference only.

    Args:
        items: As read from an answer.
        references: The true names; equal ones count once.
    """
    said = _phrases(items)
    true = _phrases(references)
    plainly = [t for t in true if any(s == t or says_more(s, t) for s in said)]
    free = [s for s in said if not any(s == t or says_more(s, t) for t in plainly)]
    for noun in sorted(free, key=len, reverse=True):  # the choosiest first, so that no order matters
        reference = next((t for t in true if t not in plainly and says_more(t, noun)), None)
        if reference is not None:
            plainly.append(reference)
    made_up = [s for s in said if not any(s == t or says_more(s, t) or says_more(t, s) for t in true)]
    return ObjectMatch(
        tuple(name for phrase, name in true.items() if phrase in plainly),
        tuple(name for phrase, name in true.items() if phrase not in plainly),
        tuple(said[phrase] for phrase in made_up),
    )


def _phrases(names: Sequence[str]) -> dict[Phrase, str]:
    """Return names by what they are compared by; the first of equal ones stays."""
    found: dict[Phrase, str] = {}
    for name in names:
        phrase = noun_phrase(name)
        if phrase:
            found.setdefault(phrase, name)
    return found


def score_objects(answer: str, references: Sequence[str]) -> Scored:
    """Score a list of objects against all the true ones; a reference may itself be a list."""
    items = listed(answer)
    true = [name for reference in references for name in listed(reference)]
    match = match_objects(items, true)
    said = len(_phrases(items))
    named = len(match.matched) + len(match.missed)
    precision = 1 - len(match.hallucinated) / said if said else float(not named)
    recall = len(match.matched) / named if named else 1.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    values = (
        Value("f1", "F1", f1, note="harmonic mean of precision and recall"),
        Value("precision", "Precision", precision, note="of the names given, how many are true"),
        Value("recall", "Recall", recall, note="of the true names, how many were given"),
    )
    return Scored("f1", values, right=f1 == 1, objects=match)
