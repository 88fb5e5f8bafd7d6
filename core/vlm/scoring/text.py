"""Scores of text that was read: character and word error rate by jiwer, ANLS over rapidfuzz.

CER and WER are edits over the reference's length (S. V. Rice, The OCR evaluation of 1996; jiwer 4); a long
answer can have more errors than the reference has characters, so they have no upper end. ANLS: 1 minus the
edit distance over the longer length, 0 from a distance of `TAU` on (Biten et al., ICCV 2019, eq. 1).
"""

from collections.abc import Callable, Sequence

from core.vlm.scoring.reading import plain_answer, tidy, words_of
from core.vlm.scoring.values import Scored, Value

TAU = 0.5
NORMALISED = "lower case, without punctuation"


def normalised(text: str) -> str:
    """Return a text's words in lower case without punctuation; where it has no words, without spaces."""
    words = words_of(text)
    return " ".join(words) if words else "".join(tidy(text).casefold().split())


def cer(answer: str, reference: str) -> float:
    """Return the character error rate; 0 for two empty texts, else an empty reference counts as one."""
    import jiwer

    if not reference.strip():
        return float(len(answer.strip()))
    return float(jiwer.cer(reference, answer))


def wer(answer: str, reference: str) -> float:
    """Return the word error rate, as `cer`. Words end at any white space; scripts without have one a line."""
    import jiwer

    if not reference.strip():
        return float(len(answer.split()))
    return float(jiwer.wer(" ".join(reference.split()), " ".join(answer.split())))


def anls(answer: str, references: Sequence[str]) -> float:
    """Return the normalised Levenshtein similarity to the nearest reference, 0-1, letters' case ignored."""
    from rapidfuzz.distance import Levenshtein

    said = " ".join(answer.casefold().split())
    distances = (
        float(Levenshtein.normalized_distance(said, " ".join(reference.casefold().split())))
        for reference in references
    )
    nearest = min(distances)
    return 1.0 - nearest if nearest < TAU else 0.0


def score_text(answer: str, references: Sequence[str]) -> Scored:
    """Score text that was read; the nearest of several references counts, for each value by itself.

    References are read as answers are: a right one is right, whatever it is wrapped in.

    Args:
        answer: What the model said, as it is.
        references: At least one.
    """
    raw, inner = tidy(answer).strip(), plain_answer(answer)
    clean = normalised(inner)
    true, unwrapped = [tidy(text).strip() for text in references], [plain_answer(text) for text in references]
    cleaned = [normalised(reference) for reference in unwrapped]
    values = (
        _rate("cer", "Character error rate", cer, raw, true, "as written"),
        _rate("cer_normalised", "Character error rate, normalised", cer, clean, cleaned, NORMALISED),
        _rate("wer", "Word error rate", wer, raw, true, "as written"),
        _rate("wer_normalised", "Word error rate, normalised", wer, clean, cleaned, NORMALISED),
        Value("anls", "ANLS", anls(inner, unwrapped), note=f"0 from {TAU:.0%} wrong on"),
    )
    return Scored("cer_normalised", values, right=values[1].value == 0)


def _rate(
    name: str,
    title: str,
    rate: Callable[[str, str], float],
    answer: str,
    references: Sequence[str],
    note: str,
) -> Value:
    best = min(rate(answer, reference) for reference in references)
    return Value(name, title, best, "0 and up", higher_is_better=False, note=note)
