"""Which of two models is faster or better, how sure that is, or that it cannot be told.

All comparisons of a group hold together with 95 %: with several, each interval is wider (Bonferroni). Times
are compared only between runs of one kind and task on the same hardware; scores only on questions that both
answered.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from core.enough import ENOUGH
from core.intervals import normal_quantile
from core.report.facts import Benchmark, Pair, Timing
from core.report.intervals import (
    FAMILIES,
    MOST_ARMS,
    Estimate,
    mean_of,
    miss,
    percentile_of,
    ratio_of,
)
from core.report.words import many, ms, name
from core.vlm.numbers import about, points
from core.vlm.pairs import FEWEST
from core.vlm.setrun.results import MAIN

LOCAL = ("cpu", "cuda", "mps")
MEASURING = ("benchmark", "sweep", "training", "vlm-set")
"""Kinds of run whose duration says how much there was to do, not how fast a model is."""
MOST_GROUPS = 10
"""Most groups of runs of which times are compared: those with the most runs."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A comparison of two models."""

    group: str
    """What both did, and where."""
    sentence: str
    is_told: bool


def hardware(timing: Timing | Benchmark) -> str:
    """Return what times must share to be compared; services are compared as they are reached from here."""
    device = timing.device.partition(":")[0]
    if device not in LOCAL:
        return "remote services"
    threads = f", {many(timing.threads, 'thread')}" if device == "cpu" else ""
    return f"{name(timing.device_name)}{threads}"


def arm(timing: Timing | Benchmark) -> str:
    """Return what is compared: a model, in the precision that it ran in."""
    return f"{name(timing.model_id)} [{timing.dtype}]" if timing.dtype else name(timing.model_id)


def work(kind: str, task: str) -> str:
    """Return what runs did."""
    return f"{kind}, {task}" if task else kind


def speed_verdicts(timings: Iterable[Timing]) -> list[Verdict]:
    """Compare the medians of each group; of more than `MOST_ARMS` models those with the most runs."""
    groups: dict[tuple[str, str, str], list[Timing]] = defaultdict(list)
    for timing in timings:
        if timing.kind not in MEASURING:
            groups[timing.kind, timing.task, hardware(timing)].append(timing)
    compared = {key: arms for key, members in groups.items() if len(arms := _one_each(members)) > 1}
    largest = sorted(compared, key=lambda key: -sum(timing.n for timing in compared[key]))
    found = []
    for kind, task, where in largest[:MOST_GROUPS]:
        arms = compared[kind, task, where]
        title = f"{work(name(kind), name(task) if task else '')} on {where}"
        found += [_faster(title, pair, _family(len(arms))) for pair in combinations(arms, 2)]
    return found


def _one_each(members: Sequence[Timing]) -> list[Timing]:
    """Return the largest group of each model and precision: other services' device names may differ."""
    arms: dict[tuple[str, str], Timing] = {}
    for timing in members:
        kept = arms.setdefault((timing.model_id, timing.dtype), timing)
        if timing.n > kept.n:
            arms[timing.model_id, timing.dtype] = timing
    return sorted(arms.values(), key=lambda timing: -timing.n)[:MOST_ARMS]


def _family(arms: int) -> int:
    wanted = arms * (arms - 1) // 2
    return next((size for size in FAMILIES if size >= wanted), FAMILIES[-1])


def _faster(title: str, pair: tuple[Timing, Timing], family: int) -> Verdict:
    first, second = ((arm(timing), percentile_of(timing.at, timing.n, 50, family)) for timing in pair)
    return compared_speed(title, first, second)


def compared_speed(title: str, one: tuple[str, Estimate], other: tuple[str, Estimate]) -> Verdict:
    """Compare two medians, each with its name, and say which is lower or that it cannot be told."""
    (quick, first), (slow, second) = sorted((one, other), key=lambda named: named[1].value)
    numbers = f"n = {first.n:,} and {second.n:,}"
    few = min(first.n, second.n)
    if few < ENOUGH[50]:
        needed = f"at least {many(ENOUGH[50] - few, 'more run')} of the one with fewer"
        return Verdict(title, f"{quick} or {slow}: too few to tell, {needed} ({numbers}).", False)
    ratio = ratio_of(first, second)
    medians = f"medians {ms(first.value)} and {ms(second.value)}; {numbers}"
    if ratio is not None and ratio.low is not None and ratio.high is not None and ratio.high < 1:
        least, middle, most = (100 * (1 - value) for value in (ratio.high, ratio.value, ratio.low))
        by = f"by {points(middle)} %, between {points(least)} and {points(most)} %"
        return Verdict(title, f"{quick} is faster than {slow} {by} ({medians}).", True)
    more = ""
    if ratio is not None and ratio.high is not None and ratio.value < 1:
        wanted = few * ((math.log(ratio.high) - math.log(ratio.value)) / -math.log(ratio.value)) ** 2
        more = f", about {about(max(1, wanted - few))} more runs of each would" if wanted < 1e6 else ""
    return Verdict(title, f"{quick} or {slow}: too few to tell{more} ({medians}).", False)


def score_verdicts(pairs: Iterable[Pair]) -> list[Verdict]:
    """Compare the scores of each task on the questions that both models answered."""
    tasks: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        tasks[pair.task].append(pair)
    return [_better(task, pair, max(1, len(members))) for task, members in tasks.items() for pair in members]


def _better(task: str, pair: Pair, family: int) -> Verdict:
    main = MAIN[task]
    mean = pair.total / pair.n
    spread = max(pair.squares - pair.n * mean * mean, 0.0) / max(pair.n - 1, 1)
    compared = mean_of(mean, spread, pair.n, family)
    first, second = name(pair.first), name(pair.second)
    title = f"Task {name(task)}, by {main.metric.removeprefix('score_')}"
    numbers = f"n = {many(pair.n, 'question')} that both answered"
    sure = _sign_p(pair.first_higher, pair.second_higher) < miss(family)
    open_ = compared.low is None or compared.high is None or compared.low <= 0 <= compared.high
    if pair.n < FEWEST or open_ or not sure:
        more = _more(pair.n, mean, spread, family)
        return Verdict(title, f"{first} or {second}: too few to tell{more} ({numbers}).", False)
    better, worse = (first, second) if (mean > 0) == main.higher_is_better else (second, first)
    least, most = sorted((abs(100 * (compared.low or 0)), abs(100 * (compared.high or 0))))
    by = f"by {points(abs(100 * mean))} points, between {points(least)} and {points(most)}"
    return Verdict(title, f"{better} is better than {worse} {by} ({numbers}).", True)


def _sign_p(higher: int, lower: int) -> float:
    """Return how often a coin is as one-sided: McNemar's exact test where scores are right and wrong."""
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(higher, lower), higher + lower, 0.5))) if higher + lower else 1.0


def _more(n: int, mean: float, variance: float, family: int) -> str:
    if n < FEWEST:
        return f", at least {FEWEST - n} more questions are needed"
    wanted = variance * (normal_quantile(miss(family)) / mean) ** 2 if mean else math.inf
    if not n < wanted < 1e6:
        return ""
    return f", about {about(wanted - n)} more questions would"


def methods() -> str:
    """Return what the reader must know of the comparisons."""
    return (
        "Faster by 12 % means 12 % less time at the median. Times are compared within one kind of run and "
        "task and on the same hardware, whatever pictures each model was given; services are compared as "
        "they were reached from here. Scores are compared only on questions of data-set runs that both "
        "models answered. "
        "The intervals of all comparisons of a group hold together with 95 %, where nothing else is said. "
        f"A median needs {ENOUGH[50]} runs."
    )
