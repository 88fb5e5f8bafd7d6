"""Sweeps that a page drives, and the command that drives one."""

import json
from collections.abc import Iterator

import pytest

from core.bench.sweep.crew import Here
from core.bench.sweep.live import LiveSweeps
from core.bench.sweep.plan import SweepPlan
from core.bench.sweep.progress import Phase
from core.cli import main
from core.errors import InputError
from core.settings import settings
from db import Store
from tests.support.sweep_cells import measure


@pytest.fixture
def store() -> Iterator[Store]:
    """The store of this test."""
    with Store.open(settings().database_url) as opened:
        yield opened


def test_a_page_begins_finds_cancels_and_resumes_its_own_sweeps(store: Store) -> None:
    sweeps = LiveSweeps(lambda: measure)
    plan = SweepPlan(("sleep-0", "sleep-1000"), ("a",))
    live = sweeps.begin(plan, where=Here(), ledger=store, owner="ada")
    set_id = live.run.set_id
    assert sweeps.find(set_id, "ada") is live
    assert (sweeps.find(set_id, "bob"), sweeps.of("bob")) == (None, ())
    live.run.cancel()
    live.wait()
    assert (live.progress.phase, live.error) == (Phase.CANCELLED, None)
    again = sweeps.resume(set_id, where=Here(), ledger=store, owner="ada")
    assert sweeps.of("ada") == (again,)
    again.run.cancel()
    again.wait()


def test_an_owner_has_so_many_sweeps_at_once(store: Store) -> None:
    sweeps = LiveSweeps(lambda: measure)
    plan = SweepPlan(("sleep-1000",), ("a",))
    some = [sweeps.begin(plan, where=Here(), ledger=store, owner="ada") for _ in range(3)]
    with pytest.raises(InputError, match="3 sweeps of yours are under way"):
        sweeps.begin(plan, where=Here(), ledger=store, owner="ada")
    for live in some:
        live.run.cancel()
    for live in some:
        live.wait()


# The command


def test_the_command_measures_and_says_what_became_of_each_model(
    capfd: pytest.CaptureFixture[str],
) -> None:
    models = "shipped/vit-scenes,facebook/none-such"
    words = f"sweep --models {models} --scenes 1@7 --batch 1,2 --threads 1 --seconds 0.2 --json"
    assert main(words.split()) == 0
    answer = json.loads(capfd.readouterr().out)
    assert (answer["phase"], answer["cells"], answer["done"], answer["failed"]) == ("done", 2, 2, 1)
    by_model = {row["model_id"]: (row["status"], row["count"]) for row in answer["counts"]}
    assert by_model == {"shipped/vit-scenes": ("ok", 1), "hf/facebook/none-such": ("failed", 1)}
    with Store.open(settings().database_url) as store:
        parent = store.run(answer["sweep"], "local")
        assert (parent.kind, parent.parameters["pictures"]) == ("sweep", ["scene/7"])
        done = [store.run(row.run_id, "local") for row in store.set_results(answer["sweep"], "local")]
        assert {run.kind for run in done} == {"benchmark"}
        assert {run.parameters["cell"]["picture"] for run in done} == {"scene/7"}
    assert main(["sweep", "--resume", answer["sweep"], "--json"]) == 0  # nothing is left to do
    assert json.loads(capfd.readouterr().out)["done"] == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "No model is chosen"),
        ("--models shipped/vit-scenes", "No picture is chosen"),
        ("--models shipped/vit-scenes --pictures nothing", "nothing"),
        ("--models shipped/vit-scenes --scenes x", "--scenes is 'x'"),
        ("--models shipped/vit-scenes --scenes 2 --threads one", "--threads is 'one'"),
        ("--models shipped/vit-scenes --scenes 2 --precision fp8", "no precision 'fp8'"),
        ("--models shipped/vit-scenes --scenes 2 --workers 0", "0 workers"),
        ("--models shipped/vit-scenes --scenes 2 --ray nowhere", "no address of a Ray cluster"),
        ("--models shipped/vit-scenes --scenes 2 --gpus-per-cell 1", "for a Ray cluster"),
        ("--models shipped/vit-scenes --resume x", "has its own cells"),
    ],
)
def test_wrong_words_are_answered_in_a_sentence(
    words: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", *words.split(), "--json"]) == 2
    assert said in json.loads(capfd.readouterr().out)["error"]["message"]
