"""Values that can be computed again: kept, found, marked as used, and dropped in order; on every backend."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, text, update

from core.derived import DerivedStore, derived_key
from db import RunFilter, Store
from db.errors import InvalidRunError, StoreReadOnlyError
from db.models import Derived
from tests.support.runs import CAT, draft

MB = 1_000_000


def key(name: str) -> str:
    return derived_key("test", name)


def kept(store: Store) -> dict[str, int]:
    """Return the sizes of all values by key, without marking any."""
    with store._database.read() as connection:
        return dict(connection.execute(select(Derived.key, Derived.size)).all())


def used(store: Store, name: str) -> datetime:
    with store._database.read() as connection:
        return connection.scalars(select(Derived.used).where(Derived.key == key(name))).one()


def an_hour_passes(store: Store, hours: int = 1) -> None:
    """Make every value one that was last used an hour earlier."""
    with store._database.write() as connection:
        connection.execute(text("UPDATE derived SET used = used - :by"), {"by": hours * 3_600_000})


# Keys


def test_a_key_is_the_digest_of_all_its_parts() -> None:
    one = (2).to_bytes(8, "little") + b"ab" + (1).to_bytes(8, "little") + b"c"
    assert derived_key("ab", "c") == hashlib.sha256(one).hexdigest()


@given(st.lists(st.text()), st.lists(st.text()))
def test_other_parts_give_another_key(some: list[str], others: list[str]) -> None:
    assert (derived_key(*some) == derived_key(*others)) == (some == others)


def test_no_division_of_a_text_gives_the_key_of_another() -> None:
    parts = [("abc",), ("ab", "c"), ("a", "bc"), ("a", "b", "c"), ("", "abc"), ("abc", ""), ("file \udcff",)]
    assert len({derived_key(*some) for some in parts}) == len(parts)


# Keeping and finding


def test_what_was_kept_is_found_by_its_key_alone(url: str) -> None:
    data = bytes(range(256)) * 5000
    with Store.open(url) as store:
        kept_by: DerivedStore = store
        kept_by.keep_derived(key("a"), data, 10)
        assert store.derived(key("a")) == data
        assert store.derived(key("b")) is None
    with Store.open(url) as again:
        assert again.derived(key("a")) == data
        assert again.check() == ()


def test_keeping_again_replaces(store: Store) -> None:
    for data in (b"first", b"first", b"second, longer", b""):
        store.keep_derived(key("a"), data, 1)
        assert store.derived(key("a")) == data
        assert kept(store) == {key("a"): len(data)}


def test_a_key_is_a_digest(store: Store) -> None:
    with pytest.raises(InvalidRunError):
        store.keep_derived("short", b"data", 1)


# The budget


def test_the_least_recently_used_goes_first(store: Store) -> None:
    for name in "abc":
        store.keep_derived(key(name), bytes(MB), 3)
        an_hour_passes(store)
    assert store.derived(key("a")) is not None  # now the most recently used
    an_hour_passes(store)
    store.keep_derived(key("d"), bytes(MB), 3)
    assert kept(store).keys() == {key("a"), key("c"), key("d")}
    an_hour_passes(store)
    store.keep_derived(key("e"), bytes(2 * MB), 3)
    assert kept(store).keys() == {key("d"), key("e")}


def test_a_value_larger_than_the_budget_is_not_kept(store: Store) -> None:
    store.keep_derived(key("a"), bytes(MB), 1)
    store.keep_derived(key("b"), bytes(MB + 1), 1)
    assert kept(store).keys() == {key("a")}
    store.keep_derived(key("b"), bytes(MB), 1)
    assert kept(store).keys() == {key("b")}


def test_a_smaller_budget_makes_room(store: Store) -> None:
    for i in range(4):
        store.keep_derived(key(str(i)), bytes(MB), 4)
    store.keep_derived(key("new"), bytes(MB), 2)
    assert len(kept(store)) == 2
    store.keep_derived(key("none"), b"x", 0)
    assert kept(store) == {}


def test_the_new_value_stays_when_another_machines_clock_is_ahead(store: Store) -> None:
    store.keep_derived(key("a"), bytes(MB), 1)
    an_hour_passes(store, -1)
    store.keep_derived(key("b"), bytes(MB), 1)
    assert kept(store).keys() == {key("b")}


STEPS = st.lists(
    st.tuples(st.sampled_from(("keep", "read")), st.sampled_from("abcdef"), st.integers(0, 5)), max_size=25
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_it_keeps_what_a_list_in_order_of_use_would(store: Store, steps: list[tuple[str, str, int]]) -> None:
    with store._database.write() as connection:
        connection.execute(delete(Derived))
    expected: OrderedDict[str, int] = OrderedDict()
    for what, name, size in steps:
        if what == "keep":
            store.keep_derived(key(name), bytes(size), 8e-6)  # eight bytes
            expected[name] = size
        else:
            found = store.derived(key(name))
            assert (None if found is None else len(found)) == expected.get(name)
        if name in expected:
            expected.move_to_end(name)
        while sum(expected.values()) > 8:
            expected.popitem(last=False)
        assert kept(store) == {key(name): size for name, size in expected.items()}
        an_hour_passes(store)


def test_writers_at_once_keep_to_the_budget(url: str) -> None:
    sums = []

    def write(store: Store, names: str) -> None:
        for name in names * 4:
            store.keep_derived(key(name), name.encode() * 1000, 0.005)
            sums.append(sum(kept(store).values()))
            found = store.derived(key(name))
            assert found in (None, name.encode() * 1000)  # another one may have taken its room

    with Store.open(url) as first, Store.open(url) as second, ThreadPoolExecutor(4) as threads:
        jobs = [(first, "abcdef"), (second, "fedcba"), (first, "ghabij"), (second, "bajihg")]
        for done in [threads.submit(write, *job) for job in jobs]:
            done.result()
        assert len(sums) == 96
        assert max(sums) == 5000
        assert first.check() == ()


# Marks


def test_a_read_marks_at_most_once_a_minute(store: Store) -> None:
    store.keep_derived(key("a"), b"data", 1)
    first = used(store, "a")
    assert datetime.now(UTC) - first < timedelta(seconds=30)
    store.derived(key("a"))
    assert used(store, "a") == first
    for hours in (1, -1):  # long ago, and in the future of a clock that was corrected
        an_hour_passes(store, hours)
        assert store.derived(key("a")) == b"data"
        assert abs(datetime.now(UTC) - used(store, "a")) < timedelta(seconds=30)


def test_a_locked_store_is_read_without_waiting(url: str) -> None:
    with Store.open(url) as store, Store.open(url) as other:
        store.keep_derived(key("a"), b"data", 1)
        an_hour_passes(store)
        before = used(store, "a")
        with other._database.write(alone=True) as connection:
            connection.execute(update(Derived).values(size=Derived.size))  # holds the row
            started = datetime.now(UTC)
            assert store.derived(key("a")) == b"data"
            assert datetime.now(UTC) - started < timedelta(seconds=2)  # a writer waits for five
            assert used(store, "a") == before
        assert store.derived(key("a")) == b"data"
        assert used(store, "a") > before


def test_a_store_that_may_not_be_written_is_read(url: str) -> None:
    with Store.open(url) as store:
        store.keep_derived(key("a"), b"data", 1)
        an_hour_passes(store)
        before = used(store, "a")
        name = "PRAGMA query_only =" if url.startswith("sqlite") else "SET default_transaction_read_only TO"
        say(store, f"{name} on")
        with pytest.raises(StoreReadOnlyError):
            store.keep_derived(key("b"), b"data", 1)
        assert store.derived(key("a")) == b"data"
        assert used(store, "a") == before
        say(store, f"{name} off")
        assert store.derived(key("a")) == b"data"
        assert used(store, "a") > before


def say(store: Store, statement: str) -> None:
    """Set the only connection of a store."""
    with store._database.engine.connect() as connection:
        connection.exec_driver_sql(statement)
        connection.commit()


# Beside the runs


def test_what_is_done_to_runs_leaves_derived_values(store: Store) -> None:
    store.keep_derived(key("a"), b"data", 1)
    run_id = store.record(draft(pictures={"picture": CAT}))
    assert [run.id for run in store.export(RunFilter())] == [run_id]
    assert store.delete([run_id], None) == 1
    store.record(draft())
    assert store.prune(datetime.now(UTC) + timedelta(hours=1)) == 1
    assert store.check() == ()
    assert store.derived(key("a")) == b"data"


def test_a_backup_of_a_file_holds_derived_values(sqlite_store: Callable[[Path], str], tmp_path: Path) -> None:
    with Store.open(sqlite_store(tmp_path)) as store:
        store.keep_derived(key("a"), b"data", 1)
        store.backup(tmp_path / "copy.sqlite3")
    with Store.open(f"sqlite:///{tmp_path / 'copy.sqlite3'}") as copy:
        assert copy.derived(key("a")) == b"data"
        assert copy.check() == ()


def test_a_mark_rewrites_little_of_a_large_value(sqlite_store: Callable[[Path], str], tmp_path: Path) -> None:
    with Store.open(sqlite_store(tmp_path)) as store:
        store.keep_derived(key("a"), bytes(5 * MB), 10)
        an_hour_passes(store)
        with store._database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        store.derived(key("a"))
        assert 0 < (tmp_path / "store.sqlite3-wal").stat().st_size < 100_000
