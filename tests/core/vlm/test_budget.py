"""The budget under many threads and in every order: never exceeded, and never stuck."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.vlm.base import Outcome
from core.vlm.setrun.budget import Budget, Room
from core.vlm.setrun.charging import charge

USD = st.floats(0, 2)


@given(
    limit=st.floats(0, 5),
    spent=USD,
    steps=st.lists(st.tuples(USD, st.floats(0, 1), st.booleans()), max_size=60),
)
def test_charged_and_held_never_exceed_the_limit(
    limit: float, spent: float, steps: list[tuple[float, float, bool]]
) -> None:
    """Calls begin and end in any order; each costs a share of the most that was held for it."""
    budget, under_way = Budget(limit, None, spent_usd=spent), []
    for most, share, end_one in steps:
        room = budget.reserve(most)
        if room is Room.YES:
            under_way.append((most, most * share))
        elif room is Room.LATER:
            assert under_way
        else:
            assert budget.spending.usd + most > limit - 1e-8
        if under_way and end_one:
            budget.settle(*under_way.pop(0))
        now = budget.spending
        assert now.usd + now.held_usd <= max(limit, spent) + 1e-8
    for held in under_way:
        budget.settle(*held)
    assert budget.spending.held_usd == 0


@given(st.integers(0, 20), st.integers(0, 5), st.lists(st.booleans(), max_size=60))
def test_calls_are_counted_exactly(limit: int, made: int, returned: list[bool]) -> None:
    budget, calls = Budget(None, limit, made=made), made
    for give_back in returned:
        room = budget.reserve(None)
        assert room is (Room.YES if calls < limit else Room.NO_CALLS)
        calls += room is Room.YES
        if room is Room.YES and give_back:
            budget.give_back(None)
            calls -= 1
    assert budget.spending.calls == calls


def test_many_threads_at_once_never_pass_the_limit() -> None:
    budget, over, made = Budget(1.0, 500), [], []
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait()
        for _ in range(400):
            if budget.reserve(0.01) is Room.YES:
                now = budget.spending
                if now.usd + now.held_usd > 1.0 + 1e-9:
                    over.append(now)
                budget.settle(0.01, 0.004)
                made.append(number)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert over == []
    assert len(made) == 248  # 248 x 0.004 = 0.992: one more might pass 1.0; 247 leave room for another
    assert budget.spending.usd == pytest.approx(0.992)


def test_what_waits_and_what_is_over() -> None:
    budget = Budget(1.0, None)
    assert budget.reserve(0.8) is Room.YES
    assert budget.reserve(0.5) is Room.LATER
    assert budget.reserve(1.1) is Room.NO_MONEY
    budget.settle(0.8, 0.6)
    assert budget.reserve(0.5) is Room.NO_MONEY
    assert budget.reserve(0.0) is Room.YES
    assert budget.reserve(None) is Room.YES
    budget.settle(None, None)
    assert budget.spending.unpriced == 1


@pytest.mark.parametrize(
    ("attempts", "cost", "charged"),
    [
        (["ok"], 0.1, 0.1),
        (["rate_limited", "server_error", "ok"], 0.1, 0.1),
        (["timeout", "ok"], 0.1, 1.1),
        (["timeout", "network", "malformed"], None, 3.0),
        (["auth"], None, 0.0),
        (["ok"], None, 1.0),
        ([], None, 0.0),
    ],
)
def test_an_attempt_that_may_have_been_paid_unseen_is_charged_at_its_most(
    attempts: list[str], cost: float | None, charged: float
) -> None:
    parameters = {
        "attempts": [{"outcome": str(Outcome(name))} for name in attempts],
        "cost": None if cost is None else {"usd": cost},
    }
    assert charge(parameters, 1.0) == pytest.approx(charged)
    unseen = charged - (cost or 0)
    assert charge(parameters, None) == (None if unseen else pytest.approx(charged))
