"""Sweeps over files: their bytes go to whoever measures, and come back from the store for a resume."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.bench.sweep import files as limits
from core.bench.sweep.crew import Here
from core.bench.sweep.files import files_of
from core.bench.sweep.plan import SweepPlan
from core.bench.sweep.progress import Phase
from core.bench.sweep.run import SweepRun
from core.cli import main
from core.errors import InputError
from core.samples import load_sample
from core.scenes import generate_scene
from core.settings import settings
from db import Store
from tests.support.sweep_cells import measure
from tests.support.zips import zipped

CUP, MOON = load_sample("coffee"), load_sample("moon")


@pytest.fixture
def store() -> Iterator[Store]:
    """The store of this test."""
    with Store.open(settings().database_url) as opened:
        yield opened


def begin(store: Store, *models: str, owner: str = "ada") -> SweepRun:
    plan = SweepPlan(models, ("astronaut", CUP.sha256, MOON.sha256))
    return SweepRun.begin(
        plan, where=Here(), measure=measure, ledger=store, owner=owner, files=files_of([CUP, MOON])
    )


def resume(store: Store, set_id: str, **more: object) -> SweepRun:
    return SweepRun.resume(set_id, where=Here(), measure=measure, ledger=store, owner="ada", **more)  # type: ignore[arg-type]


def sizes(store: Store, set_id: str) -> list[float]:
    """Return how large the file of each cell's picture was where it was measured."""
    return [row.metrics["value"] for row in store.set_results(set_id, "ada", metrics=("value",))]


def test_the_bytes_of_files_reach_whoever_measures(store: Store) -> None:
    run = begin(store, "size")
    assert run.work().phase is Phase.DONE
    assert sizes(store, run.set_id) == [0.0, float(len(CUP.data)), float(len(MOON.data))]
    assert [picture.sha256 for picture in store.run(run.set_id, "ada").inputs] == [CUP.sha256, MOON.sha256]


def test_whoever_resumes_has_the_files_from_the_store(store: Store) -> None:
    run = begin(store, "size")
    run.cancel()
    run.work()
    again = resume(store, run.set_id)
    assert again.work().phase is Phase.DONE
    assert sizes(store, run.set_id) == [0.0, float(len(CUP.data)), float(len(MOON.data))]


def test_files_that_no_store_kept_are_asked_for_and_nothing_is_measured(store: Store) -> None:
    with Store.open(settings().database_url, keep_pictures=False) as forgetful:
        run = begin(forgetful, "size")
    run.cancel()
    run.work()
    with pytest.raises(InputError, match="2 of its files are not here") as caught:
        resume(store, run.set_id)
    assert "same files again" in caught.value.remedy
    with pytest.raises(InputError, match="1 of its files is"):
        resume(store, run.set_id, given={CUP.sha256: CUP.data})
    assert store.run(run.set_id, "ada").status == "cancelled"
    given = {CUP.sha256: CUP.data, MOON.sha256: MOON.data}
    assert resume(store, run.set_id, given=given).work().phase is Phase.DONE
    assert sizes(store, run.set_id)[1:] == [float(len(CUP.data)), float(len(MOON.data))]


def test_nobody_resumes_with_the_files_of_somebody_else(store: Store) -> None:
    run = begin(store, "size", owner="bob")
    with pytest.raises(Exception, match="no run"):
        resume(store, run.set_id)
    assert store.picture_data(run.set_id, "picture", "bob") == CUP.data
    with pytest.raises(Exception, match="no run"):
        store.picture_data(run.set_id, "picture", "ada")


def test_a_plan_without_its_files_is_refused(store: Store) -> None:
    with pytest.raises(InputError, match="not here"):
        SweepRun.begin(
            SweepPlan(("size",), (CUP.sha256,)), where=Here(), measure=measure, ledger=store, owner="ada"
        )


def test_each_file_is_taken_once_and_not_too_many_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [file.name for file in files_of([CUP, replace(CUP, name="again"), MOON])] == ["coffee", "moon"]
    monkeypatch.setattr(limits, "MOST_FILES", 1)
    with pytest.raises(InputError, match="More than 1 files"):
        files_of([CUP, MOON])


def test_the_command_takes_files_folders_and_zips(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, store: Store
) -> None:
    folder = tmp_path / "some pictures"
    folder.mkdir()
    (folder / "a, b.png").write_bytes(generate_scene(1).png())
    (tmp_path / "c.png").write_bytes(generate_scene(2).png())
    (tmp_path / "more.zip").write_bytes(zipped({"d.png": generate_scene(3).png()}))
    words = ["sweep", "--models", "facebook/none-such", "--json"]
    for path in (folder, tmp_path / "c.png", tmp_path / "more.zip"):
        words += ["--file", str(path)]
    assert main(words) == 0
    answer = json.loads(capfd.readouterr().out)
    assert (answer["phase"], answer["done"], answer["failed"]) == ("done", 3, 3)
    sweep = store.run(answer["sweep"], "local")
    assert [picture.name for picture in sweep.inputs] == ["a, b.png", "c.png", "d.png"]
    assert all(picture.kept for picture in sweep.inputs)
    assert main([*words[:-6], "--file", str(tmp_path / "no.png")]) == 2
    assert "no.png" in json.loads(capfd.readouterr().out)["error"]["message"]
