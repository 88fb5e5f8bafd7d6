"""Captions: chrF, ROUGE-L and CIDEr-D against straightforward implementations, and the objects mentioned."""

import math
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InputError
from core.vlm.scoring import ObjectMatch, Scored, score
from core.vlm.scoring.captions import chrf, mentioned, rouge_l
from core.vlm.scoring.corpus import cider_d

WORDS = ["a", "red", "blue", "star", "circle", "lies", "on", "plain", "ground", "near"]
CAPTION = st.lists(st.sampled_from(WORDS), min_size=1, max_size=10).map(" ".join)
REFERENCES = st.lists(CAPTION, min_size=1, max_size=3)


def plain_chrf(said: str, true: str) -> float:
    """chrF2 with runs of one to six characters, white space left out (Popović, 2015)."""
    precisions, recalls = [], []
    one, two = "".join(said.split()), "".join(true.split())
    for n in range(1, 7):
        a, b = (Counter(text[at : at + n] for at in range(len(text) - n + 1)) for text in (one, two))
        if a and b:
            shared = (a & b).total()
            precisions.append(shared / a.total())
            recalls.append(shared / b.total())
    if not precisions:
        return 0.0
    p, r = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
    return 5 * p * r / (4 * p + r) if p + r else 0.0


def plain_cider_d(captions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """Vedantam et al., section 3 and the -D of section 6, one n after the other."""

    def grams(text: str, n: int) -> Counter[str]:
        words = text.split()
        return Counter(" ".join(words[at : at + n]) for at in range(len(words) - n + 1))

    def weights(text: str, n: int) -> dict[str, float]:
        pictures = len(references)
        found = {}
        for gram, count in grams(text, n).items():
            holding = sum(any(gram in grams(true, n) for true in of_one) for of_one in references)
            found[gram] = count * math.log(pictures / max(1, holding))
        return found

    def one(said: str, true: str) -> float:
        total = 0.0
        for n in range(1, 5):
            g, r = weights(said, n), weights(true, n)
            norms = math.sqrt(sum(w * w for w in g.values())) * math.sqrt(sum(w * w for w in r.values()))
            product = sum(min(g[gram], r[gram]) * r[gram] for gram in g if gram in r)
            total += product / norms if norms else 0.0
        apart = max(len(said.split()) - 1, 0) - max(len(true.split()) - 1, 0)
        return 10 * total / 4 * math.exp(-(apart**2) / (2 * 6**2))

    return [
        sum(one(said, true) for true in of_one) / len(of_one)
        for said, of_one in zip(captions, references, strict=True)
    ]


@given(CAPTION, REFERENCES)
@settings(max_examples=40, deadline=None)
def test_chrf_is_its_formula(caption: str, references: list[str]) -> None:
    best = max(plain_chrf(caption, reference) for reference in references)
    assert chrf(caption, references) == pytest.approx(best)


@given(st.lists(st.tuples(CAPTION, REFERENCES), min_size=2, max_size=5))
@settings(max_examples=40, deadline=None)
def test_cider_is_its_formula(pictures: list[tuple[str, list[str]]]) -> None:
    captions, references = [said for said, _ in pictures], [true for _, true in pictures]
    found = cider_d(captions, references)
    assert found == pytest.approx(plain_cider_d(captions, references))
    assert all(0 <= value <= 10 + 1e-9 for value in found)


def test_cider_by_hand() -> None:
    perfect = cider_d(
        ["red star one two", "blue ring three four"], [["red star one two"], ["blue ring three four"]]
    )
    assert perfect == pytest.approx([10, 10])
    assert cider_d(["red star one two", "nothing"], [["red star one two"], ["blue ring"]])[1] == 0
    # One of two words shared, no pair: cosine 1/2 of four kinds of run, and as long.
    assert cider_d(["red ring", "x"], [["red star"], ["y"]])[0] == pytest.approx(10 * (1 / 2) / 4)
    # A word that every picture has tells nothing.
    assert cider_d(["a", "a"], [["a"], ["a"]]) == [0, 0]
    # Said twice as long, by three pairs of words.
    twice = cider_d(["b c d b c d", "x"], [["b c d"], ["y"]])[0]
    assert twice == pytest.approx(plain_cider_d(["b c d b c d", "x"], [["b c d"], ["y"]])[0])
    assert twice < cider_d(["b c d", "x"], [["b c d"], ["y"]])[0]


def test_cider_reads_what_wraps_a_caption() -> None:
    true = [["A red star."], ["A blue ring."]]
    wrapped = ['```json\n{"caption": "A red star."}\n```', '"a blue ring"']
    assert cider_d(wrapped, true) == pytest.approx(cider_d(["a red star", "a blue ring"], true))
    assert cider_d(["", "[" * 10_000], true) == [0, 0]


@pytest.mark.parametrize(
    ("captions", "references", "message"),
    [
        ([], [], "2 pictures or more"),
        (["a"], [["a"]], "2 pictures or more"),
        (["a", "b"], [["a"], []], "2 pictures or more"),
        (["a", "b"], [["a"]], "2 captions and 1 lists"),
    ],
)
def test_cider_needs_a_set(captions: list[str], references: list[list[str]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        cider_d(captions, references)


def test_rouge_l_is_that_of_rouge_score() -> None:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=False)

    @given(CAPTION | st.text("abc 1.,-", max_size=20), REFERENCES)
    @settings(max_examples=40, deadline=None)
    def check(caption: str, references: list[str]) -> None:
        best = max(scorer.score(true, caption)["rougeL"].fmeasure for true in references)
        assert rouge_l(caption, references) == pytest.approx(best)

    check()


@pytest.mark.parametrize(
    ("caption", "references", "value"),
    [
        ("a red star", ["a red star"], 1),
        ("A red star!", ["a red star"], 1),
        ("star red", ["red star"], 1 / 2),
        ("a star on the ground", ["a red star"], 2 * 2 / (5 + 3)),
        ("dog", ["a red star", "dog"], 1),
        ("", ["a red star"], 0),
        ("!", ["?"], 0),
        ("빨간 별", ["빨간 별 하나"], 2 * 2 / 5),
    ],
)
def test_rouge_l_by_hand(caption: str, references: list[str], value: float) -> None:
    assert rouge_l(caption, references) == pytest.approx(value)


def test_objects_mentioned() -> None:
    match = mentioned("Two dogs on a couch, beside a car.", ["A dog lies on the sofa.", "A person sits."])
    assert match == ObjectMatch(("dog", "sofa"), (), ("car",))


def scored_caption(answer: str, *references: str) -> Scored:
    scored = score("caption", answer, references)
    assert scored is not None and scored.main == "chrf" and scored.right is None
    return scored


def test_object_recall_only_where_objects_are_known() -> None:
    true = "A red star and a blue circle."
    assert scored_caption("A star.", true).value("object_recall") == 1 / 2
    assert scored_caption("A star.", "Something nice.").value("object_recall") is None


@given(CAPTION)
@settings(max_examples=40, deadline=None)
def test_the_reference_itself_is_perfect_however_wrapped(true: str) -> None:
    for answer in (true, f'"{true}"', f"```\n{true}\n```", f'{{"caption": "{true}"}}'):
        scored = scored_caption(answer, "something else", true)
        assert scored.value("chrf") == scored.value("rouge_l") == pytest.approx(1)
        assert scored.objects is not None and not scored.objects.missed and not scored.objects.hallucinated


@pytest.mark.parametrize("true", ['"Stop" he said', "½ … ＡＢ", '{"a": "b", "c": 1}', "별이 하나"])
def test_a_reference_of_any_form_is_perfect(true: str) -> None:
    assert scored_caption(true, true).value("chrf") == pytest.approx(1)
