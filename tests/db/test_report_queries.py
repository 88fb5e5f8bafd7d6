"""What a report is made from, against plain Python over the same runs, on both databases."""

import math
import random
import statistics
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

import pytest
from ulid import ULID

from core.runs import Artifact, Metric, RunDraft
from core.vlm.setrun.plan import Call
from db import RunFilter, Store
from db.writing import find_or_insert_environment, insert_run, run_rows
from tests.support.runs import CAT, CPU, GPU, draft, text_file

START = datetime(2026, 3, 28, 21, 30, tzinfo=UTC)
ADA = RunFilter(owner="ada")
Timed = list[tuple[datetime, RunDraft]]


@pytest.fixture
def timed(store: Store) -> Timed:
    random_ = random.Random(11)
    runs = []
    for i in range(120):
        status = random_.choice(["ok", "ok", "ok", "failed", "cancelled"])
        runs.append(
            (
                START + timedelta(minutes=random_.randrange(60 * 24 * 6), milliseconds=i),
                draft(
                    kind=random_.choice(["attention", "classification"]),
                    model_id=random_.choice(["vit_tiny", "vit_base"]),
                    owner=random_.choice(["ada", "ada", "bob"]),
                    environment=random_.choice([CPU, GPU]),
                    status=status,
                    duration_ms=random_.choice([None, *(random_.randrange(1, 30) for _ in range(9))]),
                    metrics=[Metric("share", random_.choice([0.0, 0.5, 1.0])), Metric("loss", 1.0, step=3)],
                    error_class="" if status == "ok" else random_.choice(["InputError", "timeout"]),
                    error_message="" if status == "ok" else f"message {i}",
                ),
            )
        )
    with store._database.write() as connection:
        for time, run in runs:
            rows = run_rows(ULID.from_datetime(time), run, run.status)
            insert_run(connection, rows, find_or_insert_environment(connection, rows.environment))
    return [(time, run) for time, run in runs if run.owner == "ada"]


def test_totals_and_groups(store: Store, timed: Timed) -> None:
    with store.report(ADA) as reader:
        totals, groups = reader.totals(), reader.groups()
    statuses = Counter(run.status for _, run in timed)
    assert (totals.runs, totals.ok, totals.failed) == (len(timed), statuses["ok"], statuses["failed"])
    times = [time for time, _ in timed]
    assert (totals.first, totals.last) == (min(times), max(times))
    counts = Counter((run.kind, run.model_id) for _, run in timed)
    assert {(group.kind, group.model_id): group.runs for group in groups} == counts
    assert totals.groups == len(counts)
    assert [group.runs for group in groups] == sorted(counts.values(), reverse=True)


@pytest.mark.parametrize(
    "where",
    [
        RunFilter(owner="ada", tags=("good ones", "b")),
        RunFilter(owner="ada", text="zebra"),
        RunFilter(owner="ada", text="zebra", tags=("b",)),
        RunFilter(owner="ada", statuses=("failed",), outcomes=("timeout",)),
        RunFilter(owner="ada", min_ms=5.0, max_ms=50.0, devices=("cpu",), measured_only=True),
    ],
    ids=["tags", "text", "both", "outcome", "duration"],
)
def test_a_report_is_of_the_runs_that_the_history_lists(store: Store, where: RunFilter) -> None:
    for i, tags in enumerate((["good ones"], ["b"], [], ["b", "c"])):
        for prompt, ms in (("Where is the zebra?", 10.0), ("A horse.", 90.0)):
            given = {"prompt": prompt, "task": "free"}
            store.record(draft(kind="vlm", tags=tags, parameters=given, duration_ms=ms + i))
    store.record(draft(status="failed", error_class="timeout"))
    store.record(draft(owner="bob", tags=["b"], note="zebra"))
    listed = store.runs(where, limit=100)
    with store.report(where) as reader:
        totals, groups, costs, examples = reader.totals(), reader.groups(), reader.costs(), reader.examples()
        spans = reader.spans([run.time for run in listed[:1]] + [listed[0].time + timedelta(days=1)])
    assert 0 < totals.runs == len(listed) == sum(group.runs for group in groups)
    assert {example.run_id for example in examples} <= {run.id for run in listed}
    assert sum(span.ok + span.other for span in spans) >= 1 and len(costs) <= len(groups)


def test_ranks_of_times_by_what_is_comparable(store: Store, timed: Timed) -> None:
    expected: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for _, run in timed:
        if run.status == "ok" and run.duration_ms is not None:
            expected[run.kind, run.model_id, run.environment.device_name].append(run.duration_ms)
    with store.report(ADA) as reader:
        found = reader.timings(lambda n: {1, (n + 1) // 2, n})
    assert len(found) == len(expected)
    for timing in found:
        values = sorted(expected[timing.kind, timing.model_id, timing.device_name])
        n = len(values)
        assert timing.n == n
        assert (
            timing.at.items() >= {1: values[0], (n + 1) // 2: values[(n + 1) // 2 - 1], n: values[-1]}.items()
        )


def test_metrics_of_whole_successful_runs(store: Store, timed: Timed) -> None:
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _, run in timed:
        if run.status == "ok":
            values[run.kind, run.model_id].append(run.metrics[0].value)
    with store.report(ADA) as reader:
        found = {(metric.kind, metric.model_id): metric for metric in reader.metrics()}
        timings = reader.timings(lambda n: {n}, "share")
    assert {metric.name for metric in found.values()} == {"share"}  # a step of a curve is none
    assert sum(timing.n for timing in timings) == sum(map(len, values.values()))
    for key, some in values.items():
        metric = found[key]
        assert (metric.n, metric.ones, metric.zeros) == (len(some), some.count(1.0), some.count(0.0))
        assert math.isclose(metric.mean, statistics.mean(some))
        assert math.isclose(metric.variance, statistics.variance(some), rel_tol=1e-9)


def test_failures_have_their_last_message(store: Store, timed: Timed) -> None:
    last: dict[tuple[str, str, str, str], tuple[datetime, str]] = {}
    for time, run in sorted(timed, key=lambda pair: pair[0]):
        if run.status != "ok":
            last[run.kind, run.model_id, run.status, run.error_class] = (time, run.error_message)
    with store.report(ADA) as reader:
        found = reader.failures()
    keyed = {(f.kind, f.model_id, f.status, f.error_class): (f.last, f.message) for f in found}
    assert {key: message for key, (_, message) in keyed.items()} == {k: m for k, (_, m) in last.items()}


def test_spans_and_trends(store: Store, timed: Timed) -> None:
    bounds = [START + timedelta(days=i) for i in range(4)]
    inside = [(time, run) for time, run in timed if bounds[0] <= time < bounds[-1]]
    counts = Counter(((time - START) // timedelta(days=1), run.kind) for time, run in inside)
    place = ("attention", "vit_tiny", "Test CPU", "float32")
    values: dict[int, list[float]] = defaultdict(list)
    for time, run in inside:
        is_it = (run.kind, run.model_id, run.environment.device_name, run.environment.dtype) == place
        if is_it and run.status == "ok" and run.duration_ms is not None:
            values[(time - START) // timedelta(days=1)].append(run.duration_ms)
    with store.report(ADA) as reader:
        spans, trends = reader.spans(bounds), reader.trends(bounds, [place])
        assert reader.trends(bounds, []) == ()
    assert {(span.span, span.kind): span.ok + span.other for span in spans} == counts
    medians = {span: statistics.median(some) for span, some in values.items()}
    assert {trend.span: trend.median_ms for trend in trends} == medians


def asked(model: str, item: str, score: float | None, **more: object) -> RunDraft:
    """Return a question of a data-set run."""
    numbers = [] if score is None else [Metric("score_exact", score), Metric("cost_usd", 0.25, "USD")]
    parameters = {"task": "question", "prompt": f"{item}?", "item": {"set": "s", "id": item}}
    return draft(
        kind="vlm",
        model_id=model,
        metrics=numbers,
        status="failed" if score is None else "ok",
        parameters=parameters | more,
        artifacts=[] if score is None else [text_file("answer.txt", f"answer of {model} — 둘")],
        pictures={"picture": CAT},
    )


def test_pairs_costs_and_examples_of_questions(store: Store) -> None:
    first, second = (1.0, 0.0, 1.0, None), (0.0, 0.0, 1.0, 1.0)
    set_id = store.start(draft(kind="vlm-set", model_id="two", duration_ms=None))
    calls = [(model, f"q{i}") for i in range(4) for model in ("a/one", "b/two")]
    store.plan_calls(set_id, [Call(model, "question", item) for model, item in calls])
    store.claim_calls(set_id, limit=8)
    for position, (model, item) in enumerate(calls):
        scores = first if model == "a/one" else second
        store.finish_call(set_id, position, asked(model, item, scores[int(item[1:])]))
    with store.report(ADA) as reader:
        (pair,) = reader.pairs({"question": "score_exact"})
        costs = {cost.model_id: cost for cost in reader.costs()}
        examples, newest = reader.examples(2), reader.newest()
        assert reader.pairs({"caption": "score_chrf"}) == ()
    sign = 1 if pair.first == "a/one" else -1
    assert (pair.n, sign * pair.total, pair.squares) == (3, 1.0, 1.0)
    assert {pair.first_higher, pair.second_higher} == {0, 1}
    assert (costs["a/one"].runs, costs["a/one"].known, costs["a/one"].usd) == (4, 3, 0.75)
    assert len(examples) == 4
    texts = {one.answer.decode() for one in examples if one.answer is not None}
    assert texts == {"answer of a/one — 둘", "answer of b/two — 둘"}
    assert all(one.picture == "cat.png" and one.thumbnail for one in examples)
    assert {run.model_id for run in newest} == {"a/one", "b/two"}


def test_answers_of_a_test_server_are_counted(store: Store) -> None:
    store.record(asked("openai/x", "q0", 1.0, loopback=True))
    store.record(asked("openai/x", "q1", 1.0))
    with store.report(ADA) as reader:
        assert reader.totals().loopback == 1


def test_a_store_without_runs(store: Store) -> None:
    with store.report(ADA) as reader:
        totals = reader.totals()
        lists = (reader.groups(), reader.timings(lambda n: {n}), reader.metrics(), reader.failures())
        more = (reader.costs(), reader.revisions(), reader.examples(), reader.newest())
        assert reader.environments() == ((), 0)
    assert (totals.runs, totals.first, totals.groups) == (0, None, 0)
    assert lists == ((),) * 4
    assert more == ((),) * 4


def test_environments_and_revisions(store: Store) -> None:
    for environment, n in ((CPU, 3), (GPU, 1)):
        for _ in range(n):
            store.record(draft(environment=environment))
    with store.report(ADA) as reader:
        (most, least), total = reader.environments()
        (revision,) = reader.revisions()
    assert (most.device, most.runs, least.device, least.runs, total) == ("cpu", 3, "cuda:0", 1, 2)
    assert most.versions == CPU.versions
    assert (revision.revision, revision.runs) == ("r1", 4)


def test_a_long_answer_is_cut_in_the_database(store: Store) -> None:
    run = draft(kind="vlm", artifacts=[Artifact("answer.txt", "text/plain", b"a" * 100_000)])
    store.record(run)
    with store.report(ADA) as reader:
        (example,) = reader.examples()
    assert example.answer == b"a" * 8_000
