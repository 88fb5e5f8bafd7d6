"""CIDEr-D over a set of captions (Vedantam et al., CVPR 2015), as pycocoevalcap computes it.

Own code: the usual package is unkept and brings a Java tokenizer. Words are split by `words_of` instead of
that tokenizer, so numbers differ a little from published ones where captions hold hyphens and the like.
"""

import math
from collections import Counter
from collections.abc import Sequence

from core.errors import InputError
from core.vlm.scoring.reading import plain_answer, words_of

LONGEST = 4
"""Words of an n-gram."""
SIGMA = 6.0
"""Of the penalty for another length, in words."""
FEWEST = 2
"""Pictures: over a single one every n-gram is in every picture, and all scores are 0."""

Gram = tuple[str, ...]


def cider_d(captions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """Return CIDEr-D of each caption, 0-10; the mean is the score of the set.

    How rare an n-gram is, is counted over the references of this set: scores of different sets, or of
    different parts of one, cannot be compared.

    Args:
        captions: One for each picture.
        references: Those of each picture, at least one.

    Raises:
        InputError: There are fewer than `FEWEST` pictures, or one has no reference.
    """
    if len(captions) != len(references):
        raise InputError(
            f"{len(captions)} captions and {len(references)} lists of references do not belong together.",
            "Give one list of references for each caption.",
        )
    if len(captions) < FEWEST or not all(references):
        raise InputError(
            f"CIDEr needs {FEWEST} pictures or more, each with a reference.", "Score single captions by chrF."
        )
    true = [[_grams(plain_answer(reference)) for reference in of_one] for of_one in references]
    found_in = Counter(gram for of_one in true for gram in {gram for grams in of_one for gram in grams})
    rarity = {gram: math.log(len(true) / pictures) for gram, pictures in found_in.items()}
    unseen = math.log(len(true))
    return [
        sum(_likeness(_grams(plain_answer(caption)), grams, rarity, unseen) for grams in of_one) / len(of_one)
        for caption, of_one in zip(captions, true, strict=True)
    ]


def _grams(text: str) -> Counter[Gram]:
    """Return how often each run of one to `LONGEST` words occurs."""
    words = words_of(text)
    return Counter(
        tuple(words[at : at + n]) for n in range(1, LONGEST + 1) for at in range(len(words) - n + 1)
    )


def _likeness(said: Counter[Gram], true: Counter[Gram], rarity: dict[Gram, float], unseen: float) -> float:
    """Return ten times the mean over n of the clipped cosine, less for another length."""
    products, said_norms, true_norms = ([0.0] * LONGEST for _ in range(3))
    for gram, count in said.items():
        weight = rarity.get(gram, unseen)
        said_norms[len(gram) - 1] += (count * weight) ** 2
        products[len(gram) - 1] += min(count, true[gram]) * true[gram] * weight**2
    for gram, count in true.items():
        true_norms[len(gram) - 1] += (count * rarity[gram]) ** 2
    cosines = [
        product / math.sqrt(one * two) if one * two else 0.0
        for product, one, two in zip(products, said_norms, true_norms, strict=True)
    ]
    # The length is counted in pairs of words, as pycocoevalcap does.
    lengths = [sum(count for gram, count in grams.items() if len(gram) == 2) for grams in (said, true)]
    penalty = math.exp(-((lengths[0] - lengths[1]) ** 2) / (2 * SIGMA**2))
    return 10 * penalty * sum(cosines) / LONGEST
