"""What a person does with runs, and what is counted then: tags, notes, the bin, comparison; hostile words."""

import threading
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from core.runs import Artifact, Metric
from db import RunFilter, Store
from db.errors import InvalidRunError, RunDeletedError, RunNotFoundError
from db.history_records import BIN_KEEPS, MOST_COMPARED
from db.models import Cell, MetricCell, TagCell, TagMetricCell
from db.sketch import bin_of, packed
from db.words import MOST_ENDINGS
from tests.support.runs import CAT, GPU, draft, text_file

ADA = RunFilter(owner="ada")
HOSTILE = (
    "'; DROP TABLE run; --",
    '" OR "1"="1',
    "<script>alert(1)</script>",
    "NEAR(a b) AND NOT (c*",
    "%_\\*^:-+",
    "\x00\ud800 null",
    "=1+1",
    "\u202egnp.exe",
    "a" * 5000,
)


def cells_of(store: Store) -> dict[str, Any]:
    """Return all that is counted, by what a series stands for; without what is counted as nothing."""
    with store._database.read() as connection:
        found = {}
        for table in (Cell, MetricCell, TagCell, TagMetricCell):
            rows = connection.execute(select(table.__table__)).mappings().all()
            found[table.__tablename__] = sorted(
                tuple(round(v, 9) if isinstance(v, float) else v for v in row.values()) for row in rows
            )
        return found


def counted_anew(store: Store) -> dict[str, Any]:
    """Return what should be counted, from the runs themselves."""
    with store._database.read() as connection:
        runs = connection.execute(
            text("SELECT id, series_id, time, status, duration_ms FROM run ORDER BY id")
        ).all()
        metrics = connection.execute(
            text("SELECT run_id, name, value, unit FROM metric WHERE step IS NULL")
        ).all()
        tags: dict[str, list[str]] = defaultdict(list)
        for run_id, tag in connection.execute(text("SELECT run_id, tag FROM run_tag")):
            tags[run_id].append(tag)
    place = {run.id: (run.series_id, run.time // 86_400_000) for run in runs}
    inside: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    for run in runs:
        for key in (place[run.id], *((tag, *place[run.id]) for tag in tags[run.id])):
            inside[key].append(run)
    sums: dict[tuple[Any, ...], list[Any]] = {}
    running = {run.id for run in runs if run.status == "running"}
    for metric in metrics:
        for prefix in ((), *((tag,) for tag in tags[metric.run_id])):
            if metric.run_id not in running:
                row = sums.setdefault((*prefix, metric.name, *place[metric.run_id]), [0, 0.0, 0.0, ""])
                row[:] = [row[0] + 1, row[1] + metric.value, row[2] + metric.value**2, metric.unit]
    counted = {key: counts_of(some) for key, some in inside.items()}
    summed = {key: (row[0], round(row[1], 9), round(row[2], 9), row[3]) for key, row in sums.items()}
    return {
        "cell": sorted((*key, *row) for key, row in counted.items() if len(key) == 2),
        "metric_cell": sorted((*key, *row) for key, row in summed.items() if len(key) == 3),
        "tag_cell": sorted((*key, *row) for key, row in counted.items() if len(key) == 3),
        "tag_metric_cell": sorted((*key, *row) for key, row in summed.items() if len(key) == 4),
    }


def counts_of(runs: list[Any]) -> tuple[int, bytes, bytes]:
    """Return what a cell says of its runs."""
    bins = Counter(
        bin_of(run.duration_ms) for run in runs if run.status == "ok" and run.duration_ms is not None
    )
    quarters = Counter(run.time % 86_400_000 // 900_000 for run in runs)
    return len(runs), packed(sorted(bins.items())), packed(sorted(quarters.items()))


def test_what_is_counted_is_what_is_there_whatever_was_done(store: Store) -> None:
    ids = [
        store.record(
            draft(duration_ms=float(i + 1), tags=["a", f"t{i % 2}"], status="failed" if i == 3 else "ok")
        )
        for i in range(6)
    ]
    going = store.start(draft(kind="training", metrics=[]))
    store.log(going, [Metric("loss", 0.5, step=1)])
    assert cells_of(store) == counted_anew(store)
    store.finish(going, status="ok", duration_ms=7.0, metrics=[Metric("test_top1", 0.75)])
    assert cells_of(store) == counted_anew(store)
    store.annotate(ids[0], "ada", tags=["b"], note="new")
    assert store.tag(ids[:3], "ada", add=["b", "c", " c "], remove=["a"]) == 3
    assert cells_of(store) == counted_anew(store)
    assert store.trash(ids[1:4], "ada") == 3
    assert store.restore(ids[1:2], "ada") == 1
    assert cells_of(store) == counted_anew(store)
    assert store.delete(ids[4:], "ada") == 2
    assert cells_of(store) == counted_anew(store)
    assert store.purge(datetime.now(UTC) + timedelta(seconds=1)) == 2
    assert cells_of(store) == counted_anew(store)
    assert store.run(ids[0], "ada").tags == ("b", "c")
    assert store.check() == ()


def test_extreme_numbers_are_counted_without_an_overflow(store: Store) -> None:
    extreme = [Metric("big", 1.7e308), Metric("low", -1.7e308), Metric("tiny", 5e-324)]
    for _ in range(3):
        store.record(draft(metrics=extreme, duration_ms=1.7e308))
        store.record(draft(metrics=extreme, duration_ms=0.0))
    names = {found.name: found.count for found in store.metric_names(ADA)}
    assert names == {"big": 6, "low": 6, "tiny": 6}
    assert store.trade_off(ADA, "tiny")[0].quality_n == 6
    assert store.spread(ADA).models[0].max_ms == 1.7e308


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused_and_counted_nowhere(store: Store, value: float) -> None:
    with pytest.raises(InvalidRunError, match="finite"):
        store.record(draft(metrics=[Metric("score", value)]))
    with pytest.raises(InvalidRunError, match="finite"):
        store.record(draft(duration_ms=value))
    assert store.facets(RunFilter()).total == 0
    assert cells_of(store) == counted_anew(store)


# The bin


def test_a_run_in_the_bin_is_nowhere_else(store: Store) -> None:
    gone, kept = (
        store.record(draft(tags=["x"], note=f"words {i}", pictures={"picture": CAT})) for i in range(2)
    )
    store.annotate(gone, "ada", shared=True)
    assert store.trash([gone, "no such run"], "ada") == 1
    assert store.trash([gone], "ada") == 0
    for where in (ADA, RunFilter(), RunFilter(text="words"), RunFilter(tags=("x",))):
        assert [run.id for run in store.runs(where)] == [kept]
        assert (store.count(where), store.facets(where).total) == (1, 1)
        assert [run.id for run in store.export(where)] == [kept]
    (binned,) = store.runs(RunFilter(owner="ada", deleted=True))
    assert binned.id == gone
    assert binned.deleted is not None
    with pytest.raises(RunDeletedError, match="was deleted on") as told:
        store.run(gone, "ada")
    assert told.value.kept_until - told.value.deleted == BIN_KEEPS
    with pytest.raises(RunNotFoundError) as strangers:
        store.run(gone, "bob")
    assert not isinstance(strangers.value, RunDeletedError)
    with pytest.raises(RunNotFoundError):
        store.picture_data(gone, "picture", "ada")
    assert store.restore([gone], "bob") == 0
    assert store.restore([gone], "ada") == 1
    assert store.run(gone, "ada").tags == ("x",)
    assert store.count(ADA) == 2


def test_a_strangers_and_a_running_run_stay(store: Store) -> None:
    theirs, going = store.record(draft(owner="bob")), store.start(draft())
    assert store.trash([theirs, going], "ada") == 0
    assert store.tag([theirs], "ada", add=["mine"]) == 0
    assert store.run(theirs, "bob").tags == ()


def test_opening_a_store_empties_the_bin_of_what_is_old(store: Store, url: str) -> None:
    old, new = store.record(draft()), store.record(draft())
    store.trash([old, new], None)
    with store._database.write() as connection:
        then = "UPDATE run SET deleted = deleted - :ms WHERE id = :id"
        ms = BIN_KEEPS // timedelta(milliseconds=1) + 1000
        connection.execute(text(then), {"ms": ms, "id": old})
    with Store.open(url) as again:
        assert [run.id for run in again.runs(RunFilter(deleted=True))] == [new]
        with pytest.raises(RunNotFoundError):
            again.run(old, None)
        assert again.check() == ()


# Words


@pytest.mark.parametrize(
    ("said", "query", "found"),
    [
        ("A red Bicycle, parked.", "bicycle", True),
        ("A red Bicycle, parked.", "BICY park", True),
        ("A red Bicycle, parked.", "cycle", False),
        ("A red bicycle", "red blue", False),
        ("Crème brûlée", "creme BRULEE", True),
        ("ＦＵＬＬ ｗｉｄｔｈ", "full width", True),
        ("고양이가 창가에 앉아 있다", "고양이", True),
        ("고양이가 창가에 앉아 있다", "창", True),
        ("고양이가 창가에 앉아 있다", "강아지", False),
        ("一只猫坐在窗边", "猫", True),
        ("一只猫坐在窗边", "窗边", True),
        ("一只猫坐在窗边", "边窗", False),
        ("แมวนั่งอยู่ริมหน้าต่าง", "แมว", True),
        ("Кошка у окна", "кошка", True),
        ("قطة بجانب النافذة", "قطة", True),
        ("run 42 of 7", "42", True),
        ("a.b_c", "b", True),
        ("anything", "   ", True),
        ("anything", "...", False),
    ],
)
def test_runs_are_found_by_their_words(store: Store, said: str, query: str, found: bool) -> None:
    by_answer = store.record(draft(parameters={}, artifacts=[text_file("answer.txt", said)]))
    by_prompt = store.record(draft(parameters={"prompt": said}))
    by_note = store.record(draft(parameters={}, note=said))
    store.record(
        draft(parameters={"other": said}, artifacts=[Artifact("a.bin", "application/x", said.encode())])
    )
    expected = {by_answer, by_prompt, by_note} if found else set()
    assert {run.id for run in store.runs(RunFilter(owner="ada", text=query))} >= expected
    assert store.count(RunFilter(owner="ada", text=query)) in (len(expected), 4)
    assert store.count(RunFilter(owner="bob", text="bicycle")) == 0


def test_a_beginning_means_a_few_words_or_many(store: Store) -> None:
    ids = [store.record(draft(note=f"walrus{i} tusk", parameters={})) for i in range(MOST_ENDINGS + 5)]
    assert store.count(RunFilter(text="walr tus")) == len(ids)
    assert [run.id for run in store.runs(RunFilter(text="WALRUS1 tusk"))] == [*ids[19:9:-1], ids[1]]
    assert store.count(RunFilter(text="walrus1x")) == 0


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_is_text(store: Store, hostile: str) -> None:
    run_id = store.record(draft(note=hostile, tags=[hostile], parameters={"prompt": hostile}))
    other = store.record(draft(note="harmless"))
    for where in (
        RunFilter(text=hostile),
        RunFilter(tags=(hostile,)),
        RunFilter(models=(hostile,), outcomes=(hostile,)),
    ):
        assert {run.id for run in store.runs(where)} <= {run_id}
        assert store.facets(where).total <= 1
        store.latency_chart(where, "day")
        store.trade_off(where, hostile, hostile)
        store.calendar(where, UTC)
    assert store.tag([other], None, add=[hostile], remove=[hostile + "x"]) == 1
    assert store.count(RunFilter()) == 2


def test_a_changed_note_is_found_and_the_old_one_is_not(store: Store) -> None:
    run_id = store.record(draft(note="walrus", parameters={"prompt": "seal"}))
    store.annotate(run_id, "ada", note="otter")
    assert [store.count(RunFilter(text=word)) for word in ("walrus", "otter", "seal")] == [0, 1, 1]
    store.delete([run_id], None)
    again = store.record(draft(note="otter"))  # on SQLite it has the number of the deleted one
    assert [run.id for run in store.runs(RunFilter(text="otter"))] == [again]


def test_a_common_word_finds_the_newest(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("db.filters.MOST_FOUND", 3)
    monkeypatch.setattr("db.queries.MOST_FOUND", 3)
    ids = [store.record(draft(note="same", kind="vlm" if i % 2 else "attention")) for i in range(8)]
    where = RunFilter(text="same", kinds=("vlm",))
    assert [run.id for run in store.runs(where)] == ids[7:2:-2]
    assert [run.id for run in store.export(where)] == ids[7:2:-2]
    assert store.facets(where).capped
    assert not store.facets(RunFilter(text="same", since=datetime.now(UTC))).capped


# Comparison


def test_runs_are_compared_fact_by_fact(store: Store) -> None:
    first = store.record(draft(parameters={"layer": 3, "prompt": "x" * 900 + "a", "list": [1]}))
    second = store.record(
        draft(
            parameters={"layer": 4, "prompt": "x" * 900 + "b"},
            environment=GPU,
            metrics=[Metric("latency_ms", 9, "ms")],
        )
    )
    theirs = store.record(draft(owner="bob"))
    found = store.compare([second, theirs, first, "none", second], "ada")
    assert (found.runs, found.missing) == ((second, first), (theirs, "none"))
    rows = {(row.section, row.name): row for row in found.rows}
    assert rows["parameter", "layer"].values == (4, 3)
    assert rows["parameter", "list"].values == (None, "[1]")
    assert rows["metric", "latency_ms (ms)"].values == (9.0, 12.5)
    assert rows["environment", "device"].values == ("cuda:0", "cpu")
    assert rows["parameter", "prompt"].differs
    assert not rows["version", "torch"].differs
    with pytest.raises(InvalidRunError, match="too many"):
        store.compare([f"{i}" for i in range(MOST_COMPARED + 1)], None)


def test_two_writers_and_a_reader(url: str) -> None:
    wrong: list[str] = []
    done = threading.Event()

    def write(owner: str) -> None:
        with Store.open(url) as mine:
            for i in range(40):
                run_id = mine.record(draft(owner=owner, tags=["t"], duration_ms=float(i)))
                if i % 4 == 0:
                    mine.trash([run_id], owner)

    def read() -> None:
        with Store.open(url) as mine:
            while not done.is_set():
                facets = mine.facets(RunFilter())
                if facets.tags.get("t", 0) != facets.total:
                    wrong.append(f"{facets.tags} of {facets.total}")

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(name,)) for name in ("ada", "bob")]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert wrong == []
    with Store.open(url) as store:
        assert store.count(RunFilter()) == 60
        assert cells_of(store) == counted_anew(store)
