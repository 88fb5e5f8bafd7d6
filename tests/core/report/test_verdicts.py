"""What is told of two models, and what is not."""

import random

import pytest

from core.report.intervals import wanted_ranks
from core.report.verdicts import score_verdicts, speed_verdicts
from db.report_records import ReportPair, ReportTiming


def timing(model: str, values: list[float], **more: object) -> ReportTiming:
    """Return durations as the store hands them out."""
    ordered = sorted(values)
    at = {rank: ordered[rank - 1] for rank in wanted_ranks(len(values))}
    given = {"device": "cpu", "device_name": "CPU", "dtype": "float32", "threads": 2, "task": ""} | more
    return ReportTiming(kind="attention", model_id=model, n=len(values), at=at, **given)  # type: ignore[arg-type]


def around(middle: float, n: int, seed: int) -> list[float]:
    """Return times that scatter by a tenth."""
    random_ = random.Random(seed)
    return [middle * random_.lognormvariate(0, 0.1) for _ in range(n)]


def test_a_difference_is_told_with_its_evidence() -> None:
    (found,) = speed_verdicts([timing("slow", around(114, 120, 1)), timing("quick", around(100, 130, 2))])
    assert found.is_told
    assert found.group == "attention on CPU, 2 threads"
    assert found.sentence.startswith("quick [float32] is faster than slow [float32] by 1")
    assert "%, between" in found.sentence
    assert "n = 130 and 120" in found.sentence


def test_too_few_runs_tell_nothing() -> None:
    (found,) = speed_verdicts([timing("slow", around(900, 9, 1)), timing("quick", around(100, 40, 2))])
    assert not found.is_told
    assert "too few to tell, at least 2 more runs" in found.sentence


def test_no_difference_is_not_told() -> None:
    values = around(100, 200, 3)
    (found,) = speed_verdicts([timing("one", values), timing("same", values)])
    assert not found.is_told
    assert "too few to tell (medians" in found.sentence


def test_chance_alone_seldom_makes_a_verdict() -> None:
    """Of six models that are the same, at most about one report in twenty names any as faster."""
    told = 0
    for seed in range(100):
        models = [timing(f"m{i}", around(100, 40, 100 * seed + i)) for i in range(6)]
        told += any(verdict.is_told for verdict in speed_verdicts(models))
    assert told <= 10


def test_only_the_same_work_on_the_same_hardware_is_compared() -> None:
    quick, slow = around(10, 50, 1), around(100, 50, 2)
    other = [{"device_name": "GPU", "device": "cuda:0"}, {"task": "ocr"}, {"threads": 8}]
    for more in other:
        assert speed_verdicts([timing("quick", quick), timing("slow", slow, **more)]) == []
    services = [{"device": "openai", "device_name": "A"}, {"device": "gemini", "device_name": "B"}]
    pair = [timing("quick", quick, **services[0]), timing("slow", slow, **services[1])]
    assert [verdict.group for verdict in speed_verdicts(pair)] == ["attention on remote services"]


def test_precision_is_part_of_what_is_compared() -> None:
    half = timing("vit", around(50, 60, 1), dtype="float16")
    (found,) = speed_verdicts([half, timing("vit", around(100, 60, 2))])
    assert found.sentence.startswith("vit [float16] is faster than vit [float32] by 5")


@pytest.mark.parametrize(
    ("pair", "is_told", "words"),
    [
        (ReportPair("question", "a", "b", 100, 30.0, 40.0, 35, 5), True, "a is better than b by 30 points"),
        (ReportPair("question", "a", "b", 100, -30.0, 40.0, 5, 35), True, "b is better than a by 30 points"),
        (ReportPair("question", "a", "b", 100, 2.0, 20.0, 11, 9), False, "too few to tell, about 1,800"),
        (ReportPair("question", "a", "b", 100, 0.0, 0.0, 0, 0), False, "too few to tell (n = 100"),
        (ReportPair("question", "a", "b", 3, 3.0, 3.0, 3, 0), False, "at least 3 more questions"),
        (ReportPair("ocr", "a", "b", 100, 20.0, 8.0, 90, 10), True, "b is better than a by 20 points"),
    ],
    ids=["first", "second", "nearly", "same", "few", "an error rate"],
)
def test_scores_of_the_same_questions(pair: ReportPair, is_told: bool, words: str) -> None:
    (found,) = score_verdicts([pair])
    assert found.is_told == is_told
    assert words in found.sentence
