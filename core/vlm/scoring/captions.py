"""Scores of one caption: chrF by sacrebleu, ROUGE-L over rapidfuzz, and which objects it mentions.

CIDEr is not among them: over a single picture it is 0 even for a perfect caption (`core.vlm.scoring.corpus`).
"""

from collections.abc import Sequence

from core.vlm.scoring.reading import plain_answer, words_of
from core.vlm.scoring.values import ObjectMatch, Scored, Value
from core.vlm.scoring.words import nouns_in


def chrf(caption: str, references: Sequence[str]) -> float:
    """Return chrF2 (Popović, WMT 2015), 0-1, against the best of the references."""
    from sacrebleu.metrics.chrf import CHRF

    return float(CHRF().sentence_score(caption, list(references)).score) / 100


def rouge_l(caption: str, references: Sequence[str]) -> float:
    """Return the F1 of the longest common subsequence of words (Lin, 2004), best of the references.

    The same numbers as rouge-score's without stemming, which takes seconds to import and knows English only.
    """
    from rapidfuzz.distance import LCSseq

    said = words_of(caption)
    best = 0.0
    for reference in references:
        true = words_of(reference)
        if said and true:
            best = max(best, 2 * LCSseq.similarity(said, true) / (len(said) + len(true)))
    return best


def mentioned(caption: str, references: Sequence[str]) -> ObjectMatch:
    """Return which of the objects that the references mention a caption mentions too.

    Only nouns of the table of synonyms are known, as in CHAIR (Rohrbach et al., EMNLP 2018); what no
    reference mentions counts as made up, although it may be there.
    """
    true = dict.fromkeys(noun for reference in references for noun in nouns_in(reference))
    said = nouns_in(caption)
    return ObjectMatch(
        tuple(" ".join(noun) for noun in true if noun in said),
        tuple(" ".join(noun) for noun in true if noun not in said),
        tuple(" ".join(noun) for noun in said if noun not in true),
    )


def score_caption(answer: str, references: Sequence[str]) -> Scored:
    """Score a caption against its references, at least one."""
    caption, references = plain_answer(answer), [plain_answer(reference) for reference in references]
    match = mentioned(caption, references)
    values = [
        Value("chrf", "chrF", chrf(caption, references), note="shared runs of characters"),
        Value("rouge_l", "ROUGE-L", rouge_l(caption, references), note="longest common run of words"),
    ]
    if true := len(match.matched) + len(match.missed):
        recall = len(match.matched) / true
        values.append(
            Value("object_recall", "Object recall", recall, note=f"of {true} mentioned in the truth")
        )
    return Scored("chrf", tuple(values), objects=match)
