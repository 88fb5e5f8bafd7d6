"""Lists of objects: precision, recall and F1 by hand, synonyms and plurals, and what is missed or made up."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.vlm.scoring import ObjectMatch, Scored, score
from core.vlm.scoring.objects import match_objects

NOUNS = ["star", "circle", "ring", "dog", "car", "traffic light", "heart"]
COLOURS = ["", "red ", "blue ", "big red "]
NAMES = st.builds("{}{}".format, st.sampled_from(COLOURS), st.sampled_from(NOUNS))


def scored_list(answer: str, *references: str) -> Scored:
    scored = score("objects", answer, references)
    assert scored is not None
    return scored


@pytest.mark.parametrize(
    ("answer", "references", "precision", "recall"),
    [
        ("star, circle", ["star", "circle"], 1, 1),
        ("circle, star", ["star", "circle"], 1, 1),
        ("star", ["star", "circle"], 1, 1 / 2),
        ("star, circle, dog", ["star", "circle"], 2 / 3, 1),
        ("dog, cat", ["star"], 0, 0),
        ("dog, star", ["star", "circle", "ring", "heart"], 1 / 2, 1 / 4),
        ("", ["star"], 0, 0),
        ("none", ["star"], 0, 0),
        ("none", ["none"], 1, 1),
        ("dog", ["none"], 0, 1),
        ("star, star, stars", ["star"], 1, 1),
        ("a red star", ["star"], 1, 1),
        ("star", ["red star"], 1, 1),
        ("blue star", ["red star"], 0, 0),
        ("star", ["red star", "blue star"], 1, 1 / 2),
        ("red stars and blue stars", ["red star", "blue star"], 1, 1),
        ("별, 원", ["star", "circle"], 0, 0),
        ("별, 원", ["별", "원"], 1, 1),
        ('["star", "circ', ["star", "circle"], 1, 1 / 2),
        ("star", ["star, circle"], 1, 1 / 2),
        ("!!!", ["star"], 0, 0),
    ],
)
def test_values_by_hand(answer: str, references: list[str], precision: float, recall: float) -> None:
    scored = scored_list(answer, *references)
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0
    found = [scored.value(name) for name in ("precision", "recall", "f1")]
    assert found == pytest.approx([precision, recall, f1])
    assert scored.main == "f1"
    assert scored.right is (f1 == 1)


@pytest.mark.parametrize(
    ("said", "true"),
    [
        ("bikes", "bicycle"),
        ("a couch", "sofa"),
        ("TVs", "television"),
        ("people", "person"),
        ("lightning bolt", "bolt"),
        ("lightning", "bolt"),
        ("teardrop", "drop"),
        ("disks", "circle"),
        ("half moon", "crescent"),
        ("plus sign", "cross"),
        ("letter L", "ell"),
        ("mobile phones", "cell phone"),
        ("gray cats", "grey cat"),
        ("two knives", "knife"),
        ("arrow shape", "arrow"),
    ],
)
def test_synonyms_and_plurals_are_the_same_thing(said: str, true: str) -> None:
    assert scored_list(said, true).right
    assert scored_list(true, said).right


def test_what_was_named_missed_and_made_up() -> None:
    match = scored_list("Bikes, a big dog and two purple Elephants", "bicycle", "sofa", "dogs").objects
    assert match == ObjectMatch(("bicycle", "dogs"), ("sofa",), ("two purple Elephants",))


def test_one_bare_noun_stands_for_one_thing() -> None:
    assert match_objects(["star"], ["red star", "blue star"]).missed == ("blue star",)
    assert match_objects(["star", "red star"], ["big red star", "blue star"]).missed == ()


@given(st.lists(NAMES, max_size=8), st.lists(NAMES, max_size=8), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_no_order_matters(said: list[str], true: list[str], seed: int) -> None:
    one = match_objects(said, true)
    shuffled = [random.Random(seed).sample(names, len(names)) for names in (said, true)]
    two = match_objects(shuffled[0], true)
    assert (set(two.matched), set(two.hallucinated)) == (set(one.matched), set(one.hallucinated))
    three = match_objects(*shuffled)
    assert len(three.matched) == len(one.matched)


@given(st.lists(NAMES, max_size=8), st.lists(NAMES, min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_each_true_name_is_named_or_missed_and_nothing_else_is(said: list[str], true: list[str]) -> None:
    match = match_objects(said, true)
    assert sorted(match.matched + match.missed) == sorted(set(true))
    assert set(match.hallucinated) <= set(said)
    assert not set(match.hallucinated) & set(true)
    scored = scored_list(", ".join(said) or "none", *true)
    recall, precision = scored.value("recall"), scored.value("precision")
    assert recall == pytest.approx(len(match.matched) / len(set(true)))
    assert precision == pytest.approx(1 - len(match.hallucinated) / len(set(said)) if said else 0)


@given(st.lists(NAMES, min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_the_truth_itself_is_right_in_every_form(true: list[str]) -> None:
    quoted = ", ".join(f'"{name}"' for name in true)
    forms = [
        ", ".join(true),
        "\n".join(f"- {name}" for name in true),
        "\n".join(f"{number}. **{name}**" for number, name in enumerate(true, 1)),
        f"```json\n[{quoted}]\n```",
        "I see " + " and ".join(f"a {name}" for name in true) + ".",
    ]
    for form in forms:
        assert scored_list(form, *true).right


@given(st.lists(NAMES, min_size=1, max_size=6, unique=True))
@settings(max_examples=50, deadline=None)
def test_one_thing_more_or_less_is_worse(true: list[str]) -> None:
    assert (scored_list(", ".join([*true, "elephant"]), *true).value("precision") or 0) < 1
    assert (scored_list(", ".join(true), *true, "elephant").value("recall") or 0) < 1
