"""Short answers: exact match, SQuAD's token F1 and VQA's accuracy, against values worked out by hand."""

from collections import Counter
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InputError
from core.vlm.scoring import Scored, score
from core.vlm.scoring.answers import exact, normal_answer, token_f1, vqa_accuracy

WORD = st.text("bcdxyz", min_size=1, max_size=4)
PHRASE = st.lists(WORD, min_size=1, max_size=5).map(" ".join)


class Row(NamedTuple):
    """One answer and its normal form."""

    name: str
    answer: str
    normal: str


NORMAL = [
    Row("as it is", "red", "red"),
    Row("capitals and a full stop", "The two, red.", "2 red"),
    Row("a number as a word", "three", "3"),
    Row("a number in a sentence", "There are three", "there are 3"),
    Row("none is zero", "None", "0"),
    Row("eleven stays", "eleven", "eleven"),
    Row("articles", "a red star and the circle", "red star and circle"),
    Row("spelling", "Gray", "grey"),
    Row("thousands", "10,000", "10000"),
    Row("a fraction", "2.5", "2.5"),
    Row("a full stop behind a number", "3.", "3"),
    Row("apostrophes", "it's the dogs’", "its dogs"),
    Row("a hyphen inside", "t-shirt", "t shirt"),
    Row("a dash between", "red - blue", "red blue"),
    Row("brackets", "(red)", "red"),
    Row("many spaces", " red \t\n blue ", "red blue"),
    Row("control characters", "r\x00e\u202ed", "red"),
    Row("full width", "Ｒｅｄ！", "red"),
    Row("Korean", "빨간색。", "빨간색"),
    Row("Arabic digits stay", "٣", "٣"),
    Row("Chinese", "红色！", "红色"),
    Row("the letter A", "A", "a"),
    Row("the letter A with a full stop", '"A."', "a"),
    Row("a sign", "+", "+"),
    Row("only punctuation", "?!", "?!"),
    Row("empty", "  ", ""),
]


@pytest.mark.parametrize("row", NORMAL, ids=lambda row: row.name)
def test_how_an_answer_is_compared(row: Row) -> None:
    assert normal_answer(row.answer) == row.normal
    assert exact(row.answer, [row.normal]) or not row.normal


@pytest.mark.parametrize(("one", "two"), [("+", "-"), ("A", "the"), ("A", "..."), ("?", ""), ("", "an")])
def test_what_is_nothing_but_marks_is_not_all_the_same(one: str, two: str) -> None:
    assert not exact(one, [two])
    assert not exact(two, [one])


@pytest.mark.parametrize(
    ("answer", "reference", "f1"),
    [
        ("red star", "red star", 1),
        ("the red star", "A red star.", 1),
        ("star red", "red star", 1),
        ("red", "red star", 2 / 3),
        ("a big red star over there", "red star", 2 * 2 / (5 + 2)),
        ("red red red", "red", 2 / 4),
        ("there are three", "3", 2 / 4),
        ("blue", "red", 0),
        ("", "red", 0),
        ("", "", 1),
    ],
)
def test_token_f1_by_hand(answer: str, reference: str, f1: float) -> None:
    assert token_f1(answer, reference) == pytest.approx(f1)


@given(PHRASE, PHRASE)
@settings(max_examples=50, deadline=None)
def test_token_f1_is_the_harmonic_mean(one: str, two: str) -> None:
    shared = sum((Counter(one.split()) & Counter(two.split())).values())
    precision, recall = shared / len(one.split()), shared / len(two.split())
    harmonic = 2 * precision * recall / (precision + recall) if shared else 0.0
    assert token_f1(one, two) == pytest.approx(harmonic)
    assert token_f1(one, two) == pytest.approx(token_f1(two, one))


@pytest.mark.parametrize(
    ("agreeing", "accuracy"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (9, 1), (10, 1)]
)
def test_vqa_accuracy_of_ten_humans_by_hand(agreeing: int, accuracy: float) -> None:
    """One agrees: nine times 1/3 and once 0. Two: eight times 2/3, twice 1/3. Three: seven times 1, ..."""
    humans = ["red"] * agreeing + [f"other {number}" for number in range(10 - agreeing)]
    assert vqa_accuracy("Red.", humans) == pytest.approx(accuracy)


@given(st.lists(st.sampled_from(["red", "blue", "3"]), min_size=2, max_size=10))
@settings(max_examples=50, deadline=None)
def test_vqa_accuracy_is_that_of_the_evaluation(humans: list[str]) -> None:
    """The loop of VQAEval: each human's others, those of them who agree, a third each."""
    accuracies = []
    for number in range(len(humans)):
        others = humans[:number] + humans[number + 1 :]
        accuracies.append(min(1.0, len([other for other in others if other == "red"]) / 3))
    assert vqa_accuracy("red", humans) == pytest.approx(sum(accuracies) / len(accuracies))
    assert vqa_accuracy("red", sorted(humans)) == vqa_accuracy("red", humans)


def scored_answer(answer: str, *references: str) -> Scored:
    scored = score("question", answer, references)
    assert scored is not None
    return scored


def test_few_references_are_led_by_exact_match_and_many_by_vqa() -> None:
    few = scored_answer("red", "blue", "red", "green")
    assert (few.main, few.main_value.value, few.right, few.value("vqa")) == ("exact", 1, True, None)
    many = scored_answer("red", "blue", "red", "green", "black")
    assert (many.main, many.right) == ("vqa", False)
    assert many.main_value.value == pytest.approx(3 / 4 / 3)
    assert many.value("exact") == 1
    assert scored_answer("red", *["red"] * 4).main_value.value == 1


@pytest.mark.parametrize(
    ("answer", "reference", "is_right"),
    [
        ("3", "3", True),
        ("Three.", "3", True),
        ('{"answer": 3}', "three", True),
        ('{"answer": true}', "yes", True),
        ("**Red**", "red", True),
        ("```\nred\n```", "red", True),
        ("there are three", "3", False),
        ("It is red.", "red", False),
        ("빨간색", "red", False),
        ("none", "0", True),
        ("-", "+", False),
        ('{"a": 1, "b": 2}', '{"a": 1, "b": 2}', True),
        ('{"answer": "x", "b": 2}', '{"answer": "x", "b": 2}', True),
        ("", "red", False),
    ],
)
def test_which_answers_are_right(answer: str, reference: str, is_right: bool) -> None:
    assert scored_answer(answer, reference).right is is_right


def test_nothing_known_and_free_prompts_have_no_score() -> None:
    assert score("question", "red", []) is None
    assert score("question", "red", [" ", "\n"]) is None
    assert score("free", "red", ["red"]) is None
    with pytest.raises(InputError, match="no task 'colours'"):
        score("colours", "red", ["red"])
