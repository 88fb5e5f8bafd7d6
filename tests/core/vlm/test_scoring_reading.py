"""What models say, read: every form an answer comes in, and everything that is no answer at all."""

import time
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.vlm.judge import read_ruling
from core.vlm.scoring import score
from core.vlm.scoring.reading import LIMIT, MAX_ITEMS, listed, plain_answer, spoken, words_of
from core.vlm.scoring.words import noun_phrase, nouns_in, singular
from core.vlm.tasks import TASKS

ANYTHING = st.text(max_size=60) | st.text("[]{}\"'`:,\\ \n-*1.()ab\u202e\ud800", max_size=60)
STAR_CIRCLE = ("star", "circle")


class Row(NamedTuple):
    """One answer and what is to be read in it."""

    name: str
    text: str
    read: object


LISTS = [
    Row("commas", "star, circle", STAR_CIRCLE),
    Row("semicolons", "star; circle;", STAR_CIRCLE),
    Row("lines", "star\ncircle\n", STAR_CIRCLE),
    Row("windows lines", "star\r\ncircle\r\n", STAR_CIRCLE),
    Row("and", "star and circle", STAR_CIRCLE),
    Row("comma and", "A star, a circle, and a ring.", ("A star", "a circle", "a ring")),
    Row("other ands", "Stern und Kreis et anneau y gota", ("Stern", "Kreis", "anneau", "gota")),
    Row("bullets", "- star\n- circle", STAR_CIRCLE),
    Row("stars as bullets", "* star\n* circle", STAR_CIRCLE),
    Row("dots as bullets", "• star\n• circle", STAR_CIRCLE),
    Row("indented bullets", "  - star\n\t- circle", STAR_CIRCLE),
    Row("bullets after a heading", "## Objects\n\n* **star** (red)\n* **circle** – blue", STAR_CIRCLE),
    Row("bullets that explain", "- star: red, at the left\n- circle: blue", STAR_CIRCLE),
    Row("numbers", "1. star\n2. circle", STAR_CIRCLE),
    Row("numbers in brackets", "1) star\n2) circle", STAR_CIRCLE),
    Row("numbers on one line", "1. star 2. circle", STAR_CIRCLE),
    Row("numbers and commas", "1. star, 2. circle", STAR_CIRCLE),
    Row("letters", "(a) star\n(b) circle", STAR_CIRCLE),
    Row("asides", "star (red, big), circle (blue)", STAR_CIRCLE),
    Row("an aside never closed", "star, circle (blue, at the", ("star", "circle", "at the")),
    Row("explained one a line", "star: red\ncircle: blue", STAR_CIRCLE),
    Row("dashes", "star - red, circle - blue", STAR_CIRCLE),
    Row("an opening with a colon", "Sure! Here are the objects I see: star, circle.", STAR_CIRCLE),
    Row("an opening, then explanations", "The objects:\nstar: red\ncircle: blue", STAR_CIRCLE),
    Row("I see", "I can see a star and a circle.", ("a star", "a circle")),
    Row("there are", "There are three stars.", ("three stars",)),
    Row("there are three", "There are three.", ("three",)),
    Row("two sentences", "The picture shows a star. There is a circle.", ("a star", "a circle")),
    Row("each once", "star, star, circle", STAR_CIRCLE),
    Row("bold", "**star**, __circle__", STAR_CIRCLE),
    Row("table", "| star | circle |", STAR_CIRCLE),
    Row("HTML", "<b>star</b>", ("b>star</b",)),
    Row("JSON", '["star", "circle"]', STAR_CIRCLE),
    Row("JSON in a fence", '```json\n["star", "circle"]\n```', STAR_CIRCLE),
    Row("a fence with nothing said", "```\nstar\ncircle\n```", STAR_CIRCLE),
    Row("a fence never closed", '```json\n["star", "circle"]', STAR_CIRCLE),
    Row("prose, then a fence", 'Of course:\n```json\n["star", "circle"]\n```\nAsk on!', STAR_CIRCLE),
    Row("prose around JSON", 'I think ["star", "circle"] is all.', STAR_CIRCLE),
    Row("objects of JSON", '{"objects": [{"name": "star"}, {"name": "circle"}]}', STAR_CIRCLE),
    Row("labels and boxes", '[{"box_2d": [1, 2, 3, 4], "label": "star"}]', ("star",)),
    Row("colours apart", '[{"color": "red", "shape": "star"}]', ("red star",)),
    Row("counts", '{"star": 2, "circle": 1, "ring": 0}', STAR_CIRCLE),
    Row("duplicate keys: the last", '[{"name": "ring", "name": "star"}, "circle"]', STAR_CIRCLE),
    Row("escapes", '["\\u2605 star", "circle\\n"]', ("★ star", "circle")),
    Row("escaped controls", '["\\u0000st\\u202ear", "\\ud800circle"]', STAR_CIRCLE),
    Row("cut-off JSON", '["star", "circle", "ri', STAR_CIRCLE),
    Row("cut-off objects", '{"objects": [{"name": "star"}, {"name": "circle"}, {"na', STAR_CIRCLE),
    Row("cut off at a key", '[{"name": "star"}, {"name', ("star",)),
    Row("cut off after an escape", '["\\ubcc4", "\\uc6d0", "\\', ("별", "원")),
    Row("single quotes", "['star', 'circle']", STAR_CIRCLE),
    Row("a number in brackets", "Here are [2] objects: star, circle", STAR_CIRCLE),
    Row("empty JSON", "[]", ()),
    Row("JSON null", "null", ()),
    Row("Korean", "별, 원", ("별", "원")),
    Row("Arabic", "نجمة، دائرة", ("نجمة", "دائرة")),
    Row("Chinese", "星形、圆形。", ("星形", "圆形")),
    Row("Japanese", "星、「円」", ("星", "円")),
    Row("full width", "ｓｔａｒ，　ｃｉｒｃｌｅ", STAR_CIRCLE),
    Row("right to left marks", "\u200fstar\u200e, \u202ecircle\u202c", STAR_CIRCLE),
    Row("control characters", "st\x00ar,\x1b circle\x07", STAR_CIRCLE),
    Row("a lone surrogate", "st\ud800ar, circle", STAR_CIRCLE),
    Row("empty", "", ()),
    Row("spaces", " \n\t ", ()),
    Row("only punctuation", "...!?,;:", ()),
    Row("only brackets", "[[[{{{", ()),
    Row("nested 10,000 deep", "[" * 10_000, ()),
    Row("nested objects, 2,000 deep", '{"a":' * 2_000, ()),
    Row("nothing", "None.", ()),
    Row("no objects", "There are no objects.", ()),
    Row("nothing in a sentence", "No objects are visible.", ()),
    Row("seen nothing", "I don't see any objects.", ()),
    Row("nothing else", "star, circle, and nothing else", STAR_CIRCLE),
    Row("a sign that says no", "no entry sign", ("no entry sign",)),
    Row("a quote alone", '"', ()),
]


@pytest.mark.parametrize("row", LISTS, ids=lambda row: row.name)
def test_what_is_read_as_a_list(row: Row) -> None:
    assert listed(row.text) == row.read


ANSWERS = [
    Row("as it is", "red", "red"),
    Row("spaces", "  red \n", "red"),
    Row("quotes", '"red"', "red"),
    Row("other quotes", "„red“", "red"),
    Row("bold", "**red**", "red"),
    Row("code", "`red`", "red"),
    Row("a fence", "```\nred\n```", "red"),
    Row("a fence with a language", "```text\nred\n```", "red"),
    Row("a fence never closed", "```\nred", "red"),
    Row("JSON", '{"answer": "red"}', "red"),
    Row("JSON in a fence", '```json\n{"answer": "red"}\n```', "red"),
    Row("JSON with more", '{"why": "it is", "answer": "red"}', "red"),
    Row("JSON with another name", '{"colour": "red"}', "red"),
    Row("a list of one", '["red"]', "red"),
    Row("a list of one object", '[{"text": "red"}]', "red"),
    Row("a number", '{"answer": 3}', "3"),
    Row("a truth", '{"answer": true}', "yes"),
    Row("no single value", '{"a": 1, "b": 2}', '{"a": 1, "b": 2}'),
    Row("a list of two", '["a", "b"]', '["a", "b"]'),
    Row("null", '{"answer": null}', '{"answer": null}'),
    Row("duplicate keys: the last", '{"answer": "blue", "answer": "red"}', "red"),
    Row("escaped controls", '{"answer": "r\\u0000e\\u202ed\\ud800"}', "red"),
    Row("a number too long to read", '{"answer": ' + "9" * 5_000 + "}", '{"answer": ' + "9" * 5_000 + "}"),
    Row("cut-off JSON", '{"answer": "re', '{"answer": "re'),
    Row("nested 10,000 deep", "[" * 10_000, "[" * 10_000),
    Row("prose stays", "The answer is red.", "The answer is red."),
    Row("prose around JSON stays", 'So: {"answer": "red"}', 'So: {"answer": "red"}'),
    Row("control characters", "r\x00e\x1bd\x07", "red"),
    Row("Korean in two forms", "\u1107\u1167\u11af", "별"),
    Row("Arabic", "«نجمة»", "نجمة"),
    Row("Chinese", "“红色”", "红色"),
    Row("empty", "", ""),
    Row("only quotes", '""', ""),
    Row("only a fence", "```", ""),
]


@pytest.mark.parametrize("row", ANSWERS, ids=lambda row: row.name)
def test_what_is_read_as_an_answer(row: Row) -> None:
    assert plain_answer(row.text) == row.read


RULINGS = [
    Row("A", '{"better": "A"}', "A"),
    Row("B, with a reason", '{"reason": "it is red", "better": "B"}', "B"),
    Row("tie", ' {"better": "tie"}\n', "tie"),
    Row("a fence", '```json\n{"better": "A"}\n```', "A"),
    Row("a bare fence", '```\n{"better": "A"}\n```', "A"),
    Row("a letter", "A", None),
    Row("prose around it", 'I prefer {"better": "A"}', None),
    Row("two of them", '{"better": "A"}{"better": "B"}', None),
    Row("a field twice", '{"better": "A", "better": "B"}', None),
    Row("a nested field twice", '{"better": "A", "x": {"y": 1, "y": 2}}', None),
    Row("lower case", '{"better": "a"}', None),
    Row("another word", '{"better": "first"}', None),
    Row("both", '{"better": ["A", "B"]}', None),
    Row("an object", '{"better": {"A": 1}}', None),
    Row("null", '{"better": null}', None),
    Row("nothing of it", '{"worse": "A"}', None),
    Row("a list", '[{"better": "A"}]', None),
    Row("cut off", '{"better": "A', None),
    Row("nested 10,000 deep", '{"better":' * 10_000, None),
    Row("nested less deep", '{"better":' * 1_900, None),
    Row("a number too long to read", '{"better": "A", "n": ' + "9" * 5_000 + "}", None),
    Row("too long", '{"better": "A"}' + " " * 20_000, None),
    Row("empty", "", None),
    Row("Korean", "A가 더 낫습니다", None),
]


@pytest.mark.parametrize("row", RULINGS, ids=lambda row: row.name)
def test_what_is_read_as_a_ruling(row: Row) -> None:
    assert read_ruling(row.text) == row.read


PHRASES = [
    Row("article", "A star", ("star",)),
    Row("capitals", "THE STAR!", ("star",)),
    Row("a number as a word", "three stars", ("star",)),
    Row("a number as digits", "3 stars", ("star",)),
    Row("times", "3x stars", ("star",)),
    Row("plural and synonym", "Two gray bikes in a row", ("grey", "bicycle")),
    Row("where it is", "star next to a circle", ("star",)),
    Row("what it is of", "cup of tea", ("cup",)),
    Row("shape", "star shape", ("star",)),
    Row("a shape that is a synonym", "heart shape", ("heart",)),
    Row("only a shape", "shape", ("shape",)),
    Row("two words", "traffic signals", ("traffic", "light")),
    Row("only little words", "the three", ()),
    Row("only a place", "in", ("in",)),
    Row("only punctuation", "—!?", ()),
    Row("emoji", "⭐", ()),
    Row("Korean", "빨간 별", ("빨간", "별")),
    Row("Arabic", "نجمة حمراء", ("نجمة", "حمراء")),
    Row("Chinese", "红色星形", ("红色星形",)),
    Row("a long story", "one two " + "very " * 50 + "red star", ("very",) * 4 + ("red", "star")),
    Row("empty", "", ()),
]


@pytest.mark.parametrize("row", PHRASES, ids=lambda row: row.name)
def test_what_is_read_as_a_thing(row: Row) -> None:
    assert noun_phrase(row.text) == row.read


@pytest.mark.parametrize(
    ("plural", "one"),
    [
        ("stars", "star"),
        ("boxes", "box"),
        ("crosses", "cross"),
        ("brushes", "brush"),
        ("benches", "bench"),
        ("berries", "berry"),
        ("tomatoes", "tomato"),
        ("shoes", "shoe"),
        ("buses", "bus"),
        ("vases", "vase"),
        ("houses", "house"),
        ("ellipses", "ellipse"),
        ("lenses", "lens"),
        ("canvases", "canvas"),
        ("people", "person"),
        ("knives", "knife"),
        ("glass", "glass"),
        ("sheep", "sheep"),
        ("별", "별"),
    ],
)
def test_plurals(plural: str, one: str) -> None:
    assert singular(plural) == one
    assert singular(one) == one


def test_nouns_of_a_sentence_come_once_and_in_order() -> None:
    said = "Two red discs near a lightning bolt; a disk, some gray bikes and the traffic lights."
    assert nouns_in(said) == (("circle",), ("bolt",), ("bicycle",), ("traffic", "light"))
    assert nouns_in("") == nouns_in("nothing I know of") == ()


@given(ANYTHING)
@settings(max_examples=50, deadline=None)
def test_no_text_stops_a_reader(text: str) -> None:
    assert all(item == item.strip() and item for item in listed(text))
    assert len(listed(text)) <= MAX_ITEMS
    for read in (*listed(text), plain_answer(text), *words_of(text), *noun_phrase(text)):
        assert "\u202e" not in read
        read.encode()
    read_ruling(text)
    nouns_in(text)


HOSTILE = [
    Row("a megabyte of one word", "x" * 1_000_000, None),
    Row("a megabyte of words", "star, " * 170_000, None),
    Row("a megabyte of quotes", '"' * 1_000_000, None),
    Row("brackets", "[" * 10_000, None),
    Row("escaped quotes in JSON never closed", '["' + '\\"' * 5_000, None),
    Row("a backslash at the end", '["' + '\\"' * 4_000 + "\\", None),
    Row("spaces between words", "a" + " " * 9_990 + "b", None),
    Row("spaces after a bullet", "- a" + " " * 9_990 + "b", None),
    Row("spaces after a quote", '["a"' + " " * 9_990, None),
    Row("lines", "\n" * 10_000, None),
    Row("bullets", "- " * 5_000, None),
    Row("numbers", "1. " * 3_300, None),
    Row("colons", ": " * 5_000, None),
    Row("dashes", " -" * 5_000, None),
    Row("ands", "and " * 2_500, None),
    Row("openings", "the image shows " * 600, None),
    Row("backticks", "`" * 10_000, None),
    Row("fences", "```\n" * 2_500, None),
    Row("open brackets", "(" * 10_000, None),
    Row("apostrophes", "a'" * 5_000, None),
    Row("marks to be put in order", "\u0300\u0316" * 5_000, None),
    Row("letters that grow", "ﷺ" * 10_000, None),
]


@pytest.mark.parametrize("row", HOSTILE, ids=lambda row: row.name)
def test_any_answer_is_scored_in_bounded_time(row: Row) -> None:
    score("objects", "star", ["star"])  # imports are not what is timed
    started = time.process_time()
    listed(row.text)
    plain_answer(row.text)
    for task in ("ocr", "question", "objects"):
        score(task, row.text, ["a red star"])
    assert time.process_time() - started < 3


def test_a_long_answer_is_never_right_and_says_so() -> None:
    for task in ("question", "ocr", "objects"):
        scored = score(task, "star" + " " * LIMIT + "x", ["star"])
        assert scored is not None
        assert scored.right is False
        assert "first 10,000" in scored.note


@given(ANYTHING, st.lists(ANYTHING, max_size=6))
@settings(max_examples=100, deadline=None)
def test_no_text_stops_a_score_and_each_keeps_its_range(answer: str, references: list[str]) -> None:
    for task in TASKS:
        scored = score(task, answer, references)
        if scored is None:
            assert task == "free" or not any(reference.strip() for reference in references)
            continue
        for value in scored.values:
            assert 0 <= value.value <= (1 if value.unit == "0-1" else float("inf"))


@given(st.lists(ANYTHING, min_size=1, max_size=3))
@settings(max_examples=150, deadline=None)
def test_a_reference_said_word_for_word_is_right(references: list[str]) -> None:
    said = references[-1]
    for task in ("question", "ocr"):
        scored = score(task, said, references)
        if scored is not None and said.strip():
            assert scored.right
            assert scored.main_value.value == (0 if task == "ocr" else 1)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a star", "a star"),
        ("<think>a circle? no</think>\n\na star", "a star"),
        ("  <Thinking>a circle?</thinking>a star", "a star"),
        ("a circle? no, wait</think>\na star", "a star"),
        ("<think>a circle, and", ""),
        ("<think>one</think>two</think>three", "two</think>three"),
        ("a star <think>or not</think> b", "b"),
        ("I think it is a star", "I think it is a star"),
    ],
)
def test_what_is_thought_is_not_said(text: str, left: str) -> None:
    assert spoken(text) == left


def test_only_what_is_said_is_scored() -> None:
    thought = "<think>" + "circle, square, " * 2_000 + "</think>"
    assert score("objects", f"{thought}star", ["star"]) == score("objects", "star", ["star"])
