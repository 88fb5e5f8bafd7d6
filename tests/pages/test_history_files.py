"""Runs as files: exactly those that are filtered, whole, safe to open, and stopped where it is asked."""

import csv
import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from core.runs import Metric
from db import RunFilter, Store
from db.records import RunRecord
from pages.ui.history_export import PACKED_FROM, Job, Stopped, runs_of
from pages.ui.history_files import FORMATS, MOST_METRIC_COLUMNS, OTHERS, write_runs
from pages.ui.history_numbers import rows_csv
from pages.ui.history_view import HistoryView, Point
from tests.support.runs import CAT, draft

ADA = RunFilter(owner="ada")


@pytest.fixture
def runs(store: Store) -> list[str]:
    """Return the ids of three runs: one with a comma, one with a number of its own, one hostile."""
    return [
        store.record(draft(note="look, a comma", pictures={"picture": CAT})),
        store.record(
            draft(model_id="other", metrics=[Metric("score", 0.1 + 0.2), Metric("loss", 1.0, step=1)])
        ),
        store.record(draft(model_id="=HYPERLINK(1)", note="@SUM(1)\x00\u202e", tags=["-1"])),
    ]


def write(store: Store, path: Path, form: str, where: RunFilter = ADA, **more: bool) -> Path:
    write_runs(store.export(where), path, form, tick=lambda: None, **more)
    return path


def table(path: Path, form: str) -> pd.DataFrame:
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet, "json": pd.read_json}[form]
    return read(path).set_index("id")


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_holds_the_filtered_runs_and_no_other(
    store: Store, runs: list[str], tmp_path: Path, form: str
) -> None:
    store.record(draft(owner="somebody"))
    store.trash([runs[0]], "ada")
    found = table(write(store, tmp_path / "runs", form), form)
    assert list(found.index) == [runs[2], runs[1]]
    one = table(write(store, tmp_path / "one", form, replace(ADA, models=("other",))), form)
    assert list(one.index) == [runs[1]]


def test_tables_have_a_column_for_each_metric_of_whole_runs(
    store: Store, runs: list[str], tmp_path: Path
) -> None:
    for form in ("csv", "parquet"):
        found = table(write(store, tmp_path / form, form), form)
        assert found.loc[runs[1], "score"] == 0.1 + 0.2  # to the last bit
        assert found.loc[runs[0], "latency_ms (ms)"] == 12.5
        assert pd.isna(found.loc[runs[0], "score"])
        assert "loss" not in found.columns
        assert found.loc[runs[0], "note"] == "look, a comma"
        assert found.loc[runs[0], "pictures"] == "cat.png"
        assert json.loads(found.loc[runs[0], "parameters"]) == {"layer": 3, "head": "mean", "query": [1, 2]}


def test_parquet_keeps_times_and_texts_as_they_are(store: Store, runs: list[str], tmp_path: Path) -> None:
    found = table(write(store, tmp_path / "runs", "parquet"), "parquet")
    assert found["time"].iloc[0].tzinfo is not None
    assert found["time"].iloc[0] == store.run(runs[2], "ada").time
    assert found.loc[runs[2], "model_id"] == "=HYPERLINK(1)"


def test_json_holds_all_of_each_run(store: Store, runs: list[str], tmp_path: Path) -> None:
    found = json.loads(write(store, tmp_path / "runs", "json").read_text())
    assert found == json.loads(json.dumps([record.to_json() for record in store.export(ADA)]))
    assert found[1]["metrics"][1]["step"] == 1


def test_no_cell_is_taken_for_a_formula(store: Store, runs: list[str], tmp_path: Path) -> None:
    rows = list(
        csv.DictReader(io.StringIO(write(store, tmp_path / "runs", "csv").read_bytes().decode(), newline=""))
    )
    assert (rows[0]["model_id"], rows[0]["note"][:8], rows[0]["tags"]) == (
        "'=HYPERLINK(1)",
        "'@SUM(1)",
        "'-1",
    )
    cells = next(csv.reader(io.StringIO(rows_csv([{"=model": "+1", "n": -2.5, "none": None}]).decode())))
    assert cells == ["'=model", "n", "none"]
    assert rows_csv([{"=model": "+1", "n": -2.5, "none": None}]).decode().splitlines()[1] == "'+1,-2.5,"


def test_a_metric_named_like_a_column_loses_neither(store: Store, tmp_path: Path) -> None:
    store.record(draft(metrics=[Metric("device", 3.0)]))
    found = table(write(store, tmp_path / "runs", "csv"), "csv")
    assert (found["device"].iloc[0], found["metric device"].iloc[0]) == ("cpu", 3.0)


def test_of_endless_names_of_metrics_the_last_ones_share_a_column(store: Store, tmp_path: Path) -> None:
    store.record(draft(metrics=[Metric(f"m{i}", float(i)) for i in range(MOST_METRIC_COLUMNS + 2)]))
    found = table(write(store, tmp_path / "runs", "csv"), "csv")
    last = {f"m{i}": float(i) for i in (MOST_METRIC_COLUMNS, MOST_METRIC_COLUMNS + 1)}
    assert json.loads(found[OTHERS].iloc[0]) == last


@pytest.mark.parametrize("form", FORMATS)
def test_no_run_gives_a_file_that_can_be_read(store: Store, tmp_path: Path, form: str) -> None:
    path = write(store, tmp_path / "runs", form)
    assert json.loads(path.read_text()) == [] if form == "json" else len(table(path, form)) == 0


def test_a_packed_file_is_the_same(store: Store, runs: list[str], tmp_path: Path) -> None:
    for form in ("csv", "json"):
        plain = write(store, tmp_path / f"a.{form}", form).read_bytes()
        packed = write(store, tmp_path / f"b.{form}", form, packed=True).read_bytes()
        assert gzip.decompress(packed) == plain


class Endless:
    """A store whose export never ends."""

    def __init__(self, record: RunRecord) -> None:
        self.record, self.given = record, 0

    def export(self, where: RunFilter) -> Iterator[RunRecord]:
        while True:
            self.given += 1
            yield self.record


@pytest.mark.parametrize("form", FORMATS)
def test_a_job_that_is_cancelled_stops_and_leaves_nothing(store: Store, runs: list[str], form: str) -> None:
    endless = Endless(store.run(runs[0], "ada"))
    job = Job(form, ADA, 1_000_000)
    job.start(endless)  # type: ignore[arg-type]
    job.cancel()
    assert job.done.wait(20)
    assert not job.folder.exists()
    assert not job.error


def test_a_job_writes_what_was_asked_and_knows_how_far_it_is(store: Store, runs: list[str]) -> None:
    job = Job("csv", ADA, len(runs))
    assert job.share == 0
    job.start(store)
    assert job.done.wait(20)
    assert (job.share, job.error) == (1.0, "")
    assert list(table(job.path, "csv").index) == runs[::-1]
    job.cancel()
    assert not job.path.exists()


def test_a_job_without_room_or_store_says_so(store: Store, runs: list[str]) -> None:
    class Broken:
        def export(self, where: RunFilter) -> Iterator[RunRecord]:
            yield store.run(runs[0], "ada")
            raise OSError(28, "No space left on device")

    job = Job("json", ADA, 2)
    job.start(Broken())  # type: ignore[arg-type]
    assert job.done.wait(20)
    assert "No space left on device" in job.error
    assert not job.folder.exists()


def test_many_runs_are_packed_but_for_parquet() -> None:
    assert Job("csv", ADA, PACKED_FROM).name == "runs.csv.gz"
    assert Job("parquet", ADA, PACKED_FROM).name == "runs.parquet"
    assert Job("json", ADA, PACKED_FROM - 1).name == "runs.json"


def test_whoever_ticks_can_end_the_writing(store: Store, runs: list[str], tmp_path: Path) -> None:
    left = iter(range(2))

    def tick() -> None:
        if next(left, None) is None:
            raise Stopped

    with pytest.raises(Stopped):
        write_runs(store.export(ADA), tmp_path / "runs", "csv", tick=tick)
    assert not list(tmp_path.glob("tmp*"))


def test_a_job_is_known_by_its_runs_not_by_how_they_are_looked_at() -> None:
    view = HistoryView(model=("a",), period="hour", chart="cost", page=3, sort="model", run="x", name="mine")
    other = HistoryView(model=("a",), period="hour", chart="spread", point=Point())
    assert runs_of(view) == runs_of(other)
    assert runs_of(view) != runs_of(replace(view, point=Point(model="a")))
    assert runs_of(view) != runs_of(replace(view, deleted=True))
