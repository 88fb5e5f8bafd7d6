"""Text that was read: error rates against jiwer and a table of edits, ANLS against its formula."""

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.vlm.scoring import MAIN_SCORES, Scored, score
from core.vlm.scoring.text import anls, cer, normalised, wer

WORDS = st.lists(st.text("abAB,.é별", min_size=1, max_size=6), max_size=6).map(" ".join)


def edits(one: str | list[str], two: str | list[str]) -> int:
    """Levenshtein's distance, row by row."""
    row = list(range(len(two) + 1))
    for i, a in enumerate(one, 1):
        before, row = row, [i]
        for j, b in enumerate(two, 1):
            row.append(min(row[-1] + 1, before[j] + 1, before[j - 1] + (a != b)))
    return row[-1]


def scored_text(answer: str, *references: str) -> Scored:
    scored = score("ocr", answer, references)
    assert scored is not None and scored.main == MAIN_SCORES["ocr"]
    return scored


@pytest.mark.parametrize(
    ("answer", "reference", "values"),
    [
        ("STOP", "STOP", (0, 0, 0, 0)),
        ("stop.", "STOP", (5 / 4, 0, 1, 0)),
        ("Hello, world.", "hello world", (3 / 11, 0, 1, 0)),
        ("SHOP", "STOP", (1 / 4, 1 / 4, 1, 1)),
        ("STOP STOP", "STOP", (5 / 4, 5 / 4, 1, 1)),
        ("a b", "a b c d", (4 / 7, 4 / 7, 1 / 2, 1 / 2)),
        ("", "STOP", (1, 1, 1, 1)),
        ("The word that is written on it is: STOP", "STOP", (35 / 4, 34 / 4, 8, 8)),
        ("한국어 별", "한국어 원", (1 / 5, 1 / 5, 1 / 2, 1 / 2)),
        ("?", "!", (1, 1, 1, 1)),
        ("HELLO\nWORLD", "HELLO WORLD", (1 / 11, 0, 0, 0)),
    ],
)
def test_error_rates_by_hand(answer: str, reference: str, values: tuple[float, ...]) -> None:
    scored = scored_text(answer, reference)
    found = [scored.value(name) for name in ("cer", "cer_normalised", "wer", "wer_normalised")]
    assert found == pytest.approx(list(values))


@given(WORDS, WORDS.filter(str.strip))
@settings(max_examples=50, deadline=None)
def test_error_rates_are_those_of_jiwer_and_of_counted_edits(answer: str, reference: str) -> None:
    assert cer(answer, reference) == jiwer.cer(reference, answer)
    assert wer(answer, reference) == jiwer.wer(reference, answer)
    assert cer(answer, reference) == pytest.approx(edits(answer, reference) / len(reference))
    assert wer(answer, reference) == pytest.approx(
        edits(answer.split(), reference.split()) / len(reference.split())
    )


@given(WORDS, WORDS.filter(str.strip))
@settings(max_examples=50, deadline=None)
def test_normalised_rates_are_those_of_normalised_texts(answer: str, reference: str) -> None:
    scored = scored_text(answer, reference)
    one, two = normalised(answer), normalised(reference)
    if two and answer.strip('` "*'):
        assert scored.value("cer_normalised") == pytest.approx(edits(one, two) / len(two))
        assert scored.value("wer_normalised") == pytest.approx(
            edits(one.split(), two.split()) / len(two.split())
        )


def test_an_empty_reference_counts_each_character_or_word() -> None:
    assert (cer("", " "), cer("abc", ""), wer("", ""), wer("a b", " ")) == (0, 3, 0, 2)


@pytest.mark.parametrize(
    ("answer", "references", "value"),
    [
        ("STOP", ["STOP"], 1.0),
        ("stop", ["STOP"], 1.0),
        ("SHOP", ["STOP"], 0.75),
        ("  to   day", ["to day"], 1.0),
        ("ab", ["abcd"], 0.0),
        ("abc", ["abcde"], 0.6),
        ("STOP", ["GO", "STEP", "TOP"], 0.75),
        ("", ["STOP"], 0.0),
        ("word: STOP", ["STOP"], 0.0),
    ],
)
def test_anls_by_hand(answer: str, references: list[str], value: float) -> None:
    assert anls(answer, references) == pytest.approx(value)


@given(WORDS, st.lists(WORDS.filter(str.strip), min_size=1, max_size=4))
@settings(max_examples=50, deadline=None)
def test_anls_is_its_formula(answer: str, references: list[str]) -> None:
    said = " ".join(answer.lower().split())
    best = 0.0
    for true in (" ".join(reference.lower().split()) for reference in references):
        distance = edits(said, true) / max(len(said), len(true))
        best = max(best, 1 - distance if distance < 0.5 else 0.0)
    assert anls(answer, references) == pytest.approx(best)


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("½ … ＡＢ №", "½ … ＡＢ №"),
        ("\u1107\u1167\u11af", "별"),
        ('{"name": "x"}', '{"name": "x"}'),
        ('```json\n{"name": "x"}\n```', '{"name": "x"}'),
        ('"STOP"', '"STOP"'),
        ("STOP", "\u200bSTOP\ufeff"),
        ("???", "???"),
        ("مرحبا", "مرحبا"),
        ("你好", "你好"),
    ],
)
def test_what_is_written_read_exactly_has_no_error(answer: str, reference: str) -> None:
    scored = scored_text(answer, reference)
    assert scored.right
    assert scored.value("anls") == 1
    assert scored.value("cer_normalised") == scored.value("wer_normalised") == 0
    if answer == reference:
        assert scored.value("cer") == scored.value("wer") == 0


def test_the_nearest_reference_counts() -> None:
    scored = scored_text("SHOP", "GO", "STOP", "SHOP!")
    assert (scored.value("cer"), scored.value("cer_normalised"), scored.right) == (0.2, 0, True)


def test_what_wraps_an_answer_counts_only_as_written() -> None:
    scored = scored_text('```\n"STOP"\n```', "STOP")
    assert scored.right
    assert (scored.value("cer") or 0) > 1


@pytest.mark.parametrize(("answer", "is_right"), [("none", True), ("None.", True), ("STAR", False)])
def test_a_picture_without_a_word(answer: str, is_right: bool) -> None:
    assert scored_text(answer, "none").right is is_right


def test_a_lower_rate_is_better() -> None:
    better = {value.name: value.higher_is_better for value in scored_text("a", "b").values}
    assert better == {
        "cer": False,
        "cer_normalised": False,
        "wer": False,
        "wer_normalised": False,
        "anls": True,
    }
