"""Word-level difference: both texts can be read off the pieces, and no more words could be shared."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.vlm.difference import MOST_WORDS, difference

TEXTS = st.text("ab \n\t\u3000é,", max_size=30) | st.text(max_size=30)


def texts_of(first: str, second: str) -> tuple[str, str]:
    pieces = difference(first, second)
    one = "".join(piece.text for piece in pieces if piece.kind != "second")
    two = "".join(piece.text for piece in pieces if piece.kind != "first")
    return one, two


def most_shared(one: list[str], two: list[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(two) + 1)
    for a in one:
        before, row = row, [0]
        for j, b in enumerate(two):
            row.append(before[j] + 1 if a == b else max(before[j + 1], row[-1]))
    return row[-1]


@pytest.mark.parametrize(
    ("first", "second", "pieces"),
    [
        ("", "", []),
        ("a b", "a b", [("a b", "same")]),
        ("a b", "", [("a b", "first")]),
        ("", "a b", [("a b", "second")]),
        ("a", "b", [("a", "first"), ("b", "second")]),
        (
            "a red star",
            "a blue star",
            [("a ", "same"), ("red ", "first"), ("blue ", "second"), ("star", "same")],
        ),
        ("star", "star, red", [("star", "first"), ("star, red", "second")]),
        ("a  b\n", "a b", [("a  b\n", "same")]),
        ("a", "a b", [("a", "same"), (" b", "second")]),
        (" a", "a", [(" ", "first"), ("a", "same")]),
        ("Star", "star", [("Star", "first"), ("star", "second")]),
        ("<b>x</b>", "x", [("<b>x</b>", "first"), ("x", "second")]),
        ("별 하나", "별 둘", [("별 ", "same"), ("하나", "first"), ("둘", "second")]),
    ],
)
def test_pieces_by_hand(first: str, second: str, pieces: list[tuple[str, str]]) -> None:
    assert list(difference(first, second)) == pieces


@given(TEXTS, TEXTS)
@settings(max_examples=150, deadline=None)
def test_both_texts_can_be_read_off_the_pieces(first: str, second: str) -> None:
    one, two = texts_of(first, second)
    assert one == first
    assert two.split() == second.split()


@given(TEXTS, TEXTS)
@settings(max_examples=150, deadline=None)
def test_no_more_words_could_be_shared(first: str, second: str) -> None:
    shared = sum(len(piece.text.split()) for piece in difference(first, second) if piece.kind == "same")
    assert shared == most_shared(first.split(), second.split())


@given(TEXTS, TEXTS)
@settings(max_examples=150, deadline=None)
def test_pieces_are_never_empty_and_neighbours_differ(first: str, second: str) -> None:
    pieces = difference(first, second)
    assert all(piece.text for piece in pieces)
    assert all(one.kind != two.kind for one, two in pairwise(pieces))


@given(TEXTS)
@settings(max_examples=50, deadline=None)
def test_a_text_is_the_same_as_itself(text: str) -> None:
    assert {piece.kind for piece in difference(text, text)} <= {"same"}


def test_long_texts_lose_nothing_past_the_limit() -> None:
    first = " ".join(f"word{number}" for number in range(MOST_WORDS + 500))
    second = first.replace("word7 ", "other ") + " end"
    one, two = texts_of(first, second)
    assert one == first
    assert two.split() == second.split()
    last = difference(first, second)[-1]
    assert last.kind == "second" and last.text.endswith("end")


def test_a_megabyte_without_a_space_is_one_word() -> None:
    text = "x" * 1_000_000
    assert difference(text, text + "y") == ((text, "first"), (text + "y", "second"))
