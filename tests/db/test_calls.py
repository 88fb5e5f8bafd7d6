"""The ledger of a data-set run: claimed once, done with its run or not at all, resumed after a crash."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext

import pytest

from core.runs import Metric
from db import RunFilter, Store
from db.errors import InvalidRunError, RunNotFoundError, StoreError
from db.models import Call
from tests.support.runs import CAT, draft, rows_of, text_file
from tests.support.writers import plan_claim_and_wait


@dataclass(frozen=True)
class Question:
    """A call as the store sees it."""

    model_id: str
    task: str
    item: str


CALLS = [Question(model, "ocr", f"scene-{i}") for i in range(3) for model in ("gemini/a", "openai/b")]


@pytest.fixture
def bench(store: Store) -> Iterator[Store]:
    """A store that is sound in the end."""
    yield store
    assert store.check() == ()


def planned(store: Store, owner: str = "ada") -> str:
    """Start a data-set run of six calls and return its id."""
    set_id = store.start(draft(kind="vlm-set", owner=owner, duration_ms=None))
    store.plan_calls(set_id, CALLS)
    return set_id


def answer(cost: float = 0.5, **more: object) -> object:
    """Return the run of one call."""
    metrics = [Metric("cost_usd", cost), Metric("score_cer", 0.25), Metric("loss", 9.0, step=1)]
    return draft(kind="vlm", metrics=metrics, **more)  # type: ignore[arg-type]


def positions(store: Store, set_id: str) -> list[int]:
    return [call.position for call in store.open_calls(set_id)]


# Claims


def test_calls_are_claimed_in_order_and_once(bench: Store) -> None:
    set_id = planned(bench)
    (first,) = bench.claim_calls(set_id)
    assert (first.position, first.model_id, first.task, first.item) == (0, "gemini/a", "ocr", "scene-0")
    assert [call.position for call in bench.claim_calls(set_id, 2, models=("openai/b",))] == [1, 3]
    assert [call.position for call in bench.claim_calls(set_id, 99)] == [2, 4, 5]
    assert bench.claim_calls(set_id, 99) == ()
    assert positions(bench, set_id) == [0, 1, 2, 3, 4, 5]


def test_claims_of_many_at_once_share_no_call(url: str) -> None:
    with Store.open(url) as one, Store.open(url) as two, ThreadPoolExecutor(6) as threads:
        set_id = one.start(draft(kind="vlm-set", duration_ms=None))
        one.plan_calls(set_id, [Question("m", "ocr", str(i)) for i in range(60)])

        def claim_all(i: int) -> list[int]:
            mine: list[int] = []
            while claimed := (one, two)[i % 2].claim_calls(set_id, 1 + i % 3):
                mine.extend(call.position for call in claimed)
            return mine

        taken = [position for some in threads.map(claim_all, range(6)) for position in some]
    assert sorted(taken) == list(range(60))


def test_a_set_is_planned_once_and_has_a_run(bench: Store) -> None:
    set_id = planned(bench)
    with pytest.raises(InvalidRunError, match="planned already"):
        bench.plan_calls(set_id, CALLS)
    with pytest.raises(RunNotFoundError):
        bench.plan_calls("0" * 26, CALLS)
    assert rows_of(bench, Call) == 6


# Done


def test_a_call_is_done_with_its_run(bench: Store) -> None:
    set_id = planned(bench)
    bench.claim_calls(set_id)
    run_id = bench.finish_call(set_id, 0, answer(pictures={"picture": CAT}, artifacts=[text_file("a", "b")]))  # type: ignore[arg-type]
    assert bench.run(run_id, "ada").metric("cost_usd") == 0.5
    assert bench.artifact(run_id, "a", "ada") == b"b"
    assert positions(bench, set_id) == [1, 2, 3, 4, 5]
    (result,) = bench.set_results(set_id, "ada", metrics=["score_cer", "loss", "missing"])
    assert (result.position, result.model_id, result.item) == (0, "gemini/a", "scene-0")
    assert (result.run_id, result.status, result.error_class) == (run_id, "ok", "")
    assert result.metrics == {"score_cer": 0.25}


def test_a_done_call_takes_no_second_run(bench: Store) -> None:
    set_id = planned(bench)
    bench.claim_calls(set_id)
    first = bench.finish_call(set_id, 0, answer())  # type: ignore[arg-type]
    for position, error in ((0, InvalidRunError), (6, RunNotFoundError)):
        with pytest.raises(error):
            bench.finish_call(set_id, position, answer(pictures={"picture": CAT}))  # type: ignore[arg-type]
    assert {run.id for run in bench.runs(RunFilter())} == {set_id, first}
    assert bench.seen_pictures(None) == frozenset()


def test_a_run_that_cannot_be_stored_leaves_the_call_claimed(bench: Store) -> None:
    set_id = planned(bench)
    bench.claim_calls(set_id)
    for wrong in (answer(cost=float("nan")), answer(status="running"), answer(owner="")):
        with pytest.raises(StoreError):
            bench.finish_call(set_id, 0, wrong)  # type: ignore[arg-type]
    assert 0 in positions(bench, set_id)
    assert bench.release_claims(set_id) == 1
    assert bench.count(RunFilter()) == 1


def test_an_answer_that_comes_after_its_claim_was_released_is_kept(bench: Store) -> None:
    """It was paid for."""
    set_id = planned(bench)
    bench.claim_calls(set_id)
    bench.release_claims(set_id)
    bench.finish_call(set_id, 0, answer())  # type: ignore[arg-type]
    assert [call.position for call in bench.claim_calls(set_id)] == [1]


# After a crash


def test_a_killed_process_leaves_what_is_done_and_the_next_one_goes_on(
    url: str, processes: ForkServerContext
) -> None:
    ours, theirs = processes.Pipe()
    process = processes.Process(target=plan_claim_and_wait, args=(url, theirs))
    process.start()
    set_id, done = ours.recv()
    with Store.open(url) as store:
        with pytest.raises(InvalidRunError, match="still going"):
            store.reopen(set_id, "ada")
        process.kill()
        process.join()
        store.reopen(set_id, "ada")  # finds out by itself that nobody works on it
        assert store.release_claims(set_id) == 2
        left = store.claim_calls(set_id, 99)
        assert [call.position for call in left] == [2, 3, 4, 5]
        for call in left:
            store.finish_call(set_id, call.position, answer())  # type: ignore[arg-type]
        store.finish(set_id, status="ok", duration_ms=1.0, metrics=[Metric("calls", 6)])
        results = store.set_results(set_id, "ada")
        assert [result.position for result in results] == [0, 1, 2, 3, 4, 5]
        assert [result.run_id for result in results[:2]] == done
        assert store.run(set_id, "ada").status == "ok"
        assert store.check() == ()


def test_what_is_reopened_runs_here_and_its_end_is_told_once(bench: Store) -> None:
    set_id = planned(bench)
    bench.finish(
        set_id,
        status="cancelled",
        duration_ms=5.0,
        metrics=[Metric("calls", 2)],
        artifacts=[text_file("results.csv", "half")],
        error_class="Paused",
    )
    bench.reopen(set_id, "ada")
    run = bench.run(set_id, "ada")
    assert (run.status, run.duration_ms, run.error_class, run.metrics, run.artifacts) == (
        *("running", None, "", ()),
        (),
    )
    with pytest.raises(InvalidRunError, match="still going"):
        bench.reopen(set_id, "ada")
    assert bench.interrupt_stale() == 0  # this process works on it
    bench.finish(set_id, status="ok", duration_ms=9.0, metrics=[Metric("calls", 6)])
    assert bench.run(set_id, "ada").metric("calls") == 6


def test_only_an_own_data_set_run_is_reopened(bench: Store) -> None:
    set_id, plain = planned(bench), bench.record(draft())
    bench.finish(set_id, status="cancelled", duration_ms=None)
    bench.annotate(set_id, "ada", shared=True)
    with pytest.raises(RunNotFoundError):
        bench.reopen(set_id, "bob")
    with pytest.raises(InvalidRunError, match="no calls"):
        bench.reopen(plain, "ada")
    assert bench.run(plain, "ada").metric("latency_ms") == 12.5


# Results


def test_counts_and_sums_are_those_of_the_runs(bench: Store) -> None:
    set_id, other = planned(bench), planned(bench)
    for store_id in (set_id, other):
        bench.claim_calls(store_id, 4)
    failed = answer(0.25, status="failed", error_class="timeout")
    for position, run in ((0, answer(0.5)), (1, failed), (2, answer(1.0))):
        bench.finish_call(set_id, position, run)  # type: ignore[arg-type]
    bench.finish_call(other, 0, answer(64.0))  # type: ignore[arg-type]
    counts = bench.call_counts(set_id, "ada")
    assert [(c.model_id, c.task, c.state, c.status, c.error_class, c.count) for c in counts] == [
        ("gemini/a", "ocr", "done", "ok", "", 2),
        ("gemini/a", "ocr", "open", "", "", 1),
        ("openai/b", "ocr", "claimed", "", "", 1),
        ("openai/b", "ocr", "done", "failed", "timeout", 1),
        ("openai/b", "ocr", "open", "", "", 1),
    ]
    assert bench.call_total(set_id, "cost_usd") == 1.75
    assert bench.call_total(set_id, "missing") == 0.0


def test_results_come_by_pages(bench: Store) -> None:
    set_id = planned(bench)
    for position in (5, 0, 3, 1):
        bench.finish_call(set_id, position, answer(position))  # type: ignore[arg-type]
    seen: list[tuple[int, float]] = []
    while page := bench.set_results(
        set_id, "ada", metrics=["cost_usd"], limit=3, after=seen[-1][0] if seen else -1
    ):
        assert len(page) <= 3
        seen.extend((result.position, result.metrics["cost_usd"]) for result in page)
    assert seen == [(0, 0.0), (1, 1.0), (3, 3.0), (5, 5.0)]


def test_a_stranger_sees_no_results(bench: Store) -> None:
    set_id = planned(bench)
    run_id = bench.finish_call(set_id, 0, answer())  # type: ignore[arg-type]
    with pytest.raises(RunNotFoundError):
        bench.set_results(set_id, "bob")
    with pytest.raises(RunNotFoundError):
        bench.call_counts(set_id, "bob")
    bench.annotate(set_id, "ada", shared=True)
    assert bench.set_results(set_id, "bob") == ()  # the answers are not shared
    bench.annotate(run_id, "ada", shared=True)
    assert [result.run_id for result in bench.set_results(set_id, "bob")] == [run_id]


def test_calls_go_with_their_set_and_stay_without_their_answers(bench: Store) -> None:
    set_id = planned(bench)
    run_id = bench.finish_call(set_id, 0, answer())  # type: ignore[arg-type]
    bench.delete([run_id], "ada")
    assert Counter(count.state for count in bench.call_counts(set_id, "ada")) == {"done": 1, "open": 2}
    assert positions(bench, set_id) == [1, 2, 3, 4, 5]  # paid for once, never again
    kept = bench.finish_call(set_id, 1, answer())  # type: ignore[arg-type]
    bench.delete([set_id], "ada")
    assert rows_of(bench, Call) == 0
    assert bench.run(kept, "ada").status == "ok"
