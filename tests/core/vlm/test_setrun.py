"""Data-set runs against the loopback server by the real SDKs, with the real store."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import InputError
from core.settings import ROOT, settings
from core.vlm.addresses import Addresses
from core.vlm.datasets import open_items, scene_items
from core.vlm.keys import Keys
from core.vlm.setrun.lost import LOST_CALLS
from core.vlm.setrun.plan import Plan
from core.vlm.setrun.progress import Phase, Progress
from core.vlm.setrun.results import METRICS, differences, read_rows, summaries
from core.vlm.setrun.run import KIND, SetRun
from core.vlm.workflow import Providers
from db import RunFilter, Store
from db.records import CallResult
from tests.support.vlm_server import VlmServer
from tests.support.vlm_server.truths import teach_items

PRICES = """
[[price]]
provider = "openai"
model = "*"
input = 1.0
output = 10.0
as_of = 2026-01-01
source = "https://example.test/prices"
"""
OWNER = "ada"
World = Callable[..., SetRun]


@pytest.fixture
def server() -> Iterator[VlmServer]:
    """A loopback server of its own."""
    with VlmServer() as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """The store of this test."""
    with Store.open(settings().database_url) as opened:
        yield opened


@pytest.fixture
def priced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every OpenAI model a price."""
    path = tmp_path / "prices.toml"
    path.write_text(PRICES.replace('"*"', '"o*"') + PRICES.replace('"*"', '"d*"'))
    monkeypatch.setenv("VISION_BENCH_PRICES", str(path))
    settings.cache_clear()


@pytest.fixture
def providers(server: VlmServer) -> Iterator[Providers]:
    """All providers, spoken to at the loopback server."""
    with Providers(Keys(), Addresses(loopback=server.url)) as opened:
        yield opened


def begin(store: Store, providers: Providers, models: str, count: int = 5, **more: Any) -> SetRun:
    """Begin a run over scenes."""
    tasks = more.pop("tasks", ("ocr",))
    plan = Plan(scene_items(count, 1), tuple(models.split()), tasks, **more)
    return SetRun.begin(plan, providers=providers, ledger=store, owner=OWNER)


def resume(store: Store, providers: Providers, set_id: str, count: int, **more: Any) -> SetRun:
    """Go on with a run over scenes."""
    return SetRun.resume(
        set_id, scene_items(count, 1), providers=providers, ledger=store, owner=OWNER, **more
    )


def rows_of(store: Store, set_id: str) -> list[CallResult]:
    """Return what the calls came to."""
    return read_rows(lambda after: store.set_results(set_id, OWNER, metrics=METRICS, after=after, limit=7))


def until(true: Callable[[], bool]) -> None:
    """Wait for something that happens in another thread."""
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def in_background(run: SetRun) -> tuple[threading.Thread, list[Progress]]:
    """Let a run work in a thread of its own."""
    ended: list[Progress] = []
    thread = threading.Thread(target=lambda: ended.append(run.work()))
    thread.start()
    return thread, ended


def test_every_call_is_asked_once_and_one_row(server: VlmServer, store: Store, providers: Providers) -> None:
    run = begin(store, providers, "openai/ok together/ORG/ok gemini/ok", 4, tasks=("ocr", "caption"))
    ended = run.work()
    assert (ended.phase, ended.done, ended.failed, ended.total) == (Phase.DONE, 24, 0, 24)
    assert len(server.requests) == 24
    rows = rows_of(store, run.set_id)
    assert len({(row.model_id, row.task, row.item) for row in rows}) == 24 == len(rows)
    parent = store.run(run.set_id, OWNER)
    assert (parent.kind, parent.status) == (KIND, "ok")
    assert parent.parameters["models"] == ["openai/ok", "together/ORG/ok", "gemini/ok"]
    assert store.count(RunFilter(owner=OWNER)) == 25
    assert ended.under_way == 0 == ended.spending.held_usd


def test_the_limit_of_each_provider_holds(server: VlmServer, store: Store, providers: Providers) -> None:
    run = begin(store, providers, "openai/delay-50", 12, concurrency=3)
    assert run.work().done == 12
    assert server.most_at_once == 3


def test_failures_are_rows_of_their_class_and_never_scores(
    server: VlmServer, store: Store, providers: Providers
) -> None:
    items = scene_items(4, 1)
    teach_items(server, items)
    run = begin(store, providers, "openai/truth-1.0 openai/http-401", 4, tasks=("question",))
    ended = run.work()
    assert (ended.phase, ended.done, ended.failed) == (Phase.DONE, 8, 4)
    right, wrong = summaries(rows_of(store, run.set_id))
    assert (right.right, right.reliability, right.mean_score) == (4, 1.0, 1.0)
    assert (wrong.outcomes, wrong.scores, wrong.right) == ({"auth": 4}, (), None)
    assert differences(rows_of(store, run.set_id)) == ()


def test_a_picture_that_cannot_be_used_is_a_row_and_nobody_is_asked(
    server: VlmServer, store: Store, providers: Providers, tmp_path: Path
) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (tmp_path / "set" / "good.png").write_bytes(scene_items(1).at(0).load().data)
    plan = Plan(open_items(str(tmp_path / "set")), ("openai/ok",), ("caption",))
    run = SetRun.begin(plan, providers=providers, ledger=store, owner=OWNER)
    assert (run.work().failed, len(server.requests)) == (1, 1)
    assert [row.error_class for row in rows_of(store, run.set_id)] == ["InputError", ""]


def test_pause_and_go_on(server: VlmServer, store: Store, providers: Providers) -> None:
    run = begin(store, providers, "openai/delay-50", 10, concurrency=2)
    thread, ended = in_background(run)
    until(lambda: run.progress.done >= 2)
    run.pause()
    until(lambda: run.progress.under_way == 0)
    time.sleep(0.15)
    asked = len(server.requests)
    assert (run.progress.phase, asked < 10) == (Phase.PAUSED, True)
    time.sleep(0.2)
    assert len(server.requests) == asked
    run.go_on()
    thread.join()
    assert (ended[0].done, len(server.requests)) == (10, 10)


def test_cancelled_and_resumed(server: VlmServer, store: Store, providers: Providers) -> None:
    run = begin(store, providers, "openai/slow", 6, concurrency=2)
    thread, ended = in_background(run)
    until(lambda: run.progress.done >= 2)
    run.cancel()
    thread.join()
    assert ended[0].phase is Phase.CANCELLED
    assert store.run(run.set_id, OWNER).status == "cancelled"
    again = resume(store, providers, run.set_id, 6)
    assert again.progress.done == ended[0].done
    assert again.work().phase is Phase.DONE
    rows = rows_of(store, run.set_id)
    assert [row.status for row in rows] == ["ok"] * 6
    assert store.run(run.set_id, OWNER).status == "ok"


@pytest.mark.usefixtures("priced")
def test_a_budget_of_money_is_never_exceeded_and_can_be_raised(
    server: VlmServer, store: Store, providers: Providers
) -> None:
    run = begin(store, providers, "openai/ok", 30, budget_usd=0.03, max_tokens=64)
    ended = run.work()
    assert ended.phase is Phase.BUDGET
    assert 0 < ended.done < 30
    assert ended.spending.usd <= 0.03
    assert "does not cover the most that the next call may cost" in ended.message
    assert len(server.requests) == ended.done
    more = resume(store, providers, run.set_id, 30, budget_usd=5.0)
    assert more.progress.spending.usd == pytest.approx(ended.spending.usd)
    assert more.work().phase is Phase.DONE
    assert len(server.requests) == 30


def test_a_budget_of_calls_is_exact_over_all_sittings(
    server: VlmServer, store: Store, providers: Providers
) -> None:
    run = begin(store, providers, "openai/ok", 9, budget_calls=4, concurrency=4)
    assert (run.work().phase, len(server.requests)) == (Phase.BUDGET, 4)
    again = resume(store, providers, run.set_id, 9, budget_calls=6)
    assert (again.work().phase, len(server.requests)) == (Phase.BUDGET, 6)
    assert store.run(run.set_id, OWNER).error_class == "Budget"


def test_money_cannot_bind_a_model_without_a_price(store: Store, providers: Providers) -> None:
    with pytest.raises(InputError, match="The price of compatible/ok is unknown"):
        begin(store, providers, "compatible/ok", budget_usd=1.0)
    assert store.count(RunFilter()) == 0
    ended = begin(store, providers, "compatible/ok", budget_usd=1.0, budget_calls=2).work()
    assert (ended.done, ended.spending.usd, ended.spending.unpriced) == (2, 0.0, 2)


def test_another_data_set_is_not_gone_on_with(store: Store, providers: Providers) -> None:
    run = begin(store, providers, "openai/ok", 3, budget_calls=1)
    run.work()
    with pytest.raises(InputError, match="is not the data set of this run"):
        resume(store, providers, run.set_id, 4)
    some = next(summary.id for summary in store.runs(RunFilter(kinds=("vlm",))))
    with pytest.raises(InputError, match="is no data-set run"):
        resume(store, providers, some, 3)


WORK = """
import sys
from core.settings import settings
from core.vlm.addresses import Addresses
from core.vlm.datasets import scene_items
from core.vlm.keys import Keys
from core.vlm.setrun.plan import Plan
from core.vlm.setrun.run import SetRun
from core.vlm.workflow import Providers
from db import Store
with Store.open(settings().database_url) as store, Providers(Keys(), Addresses(loopback=sys.argv[1])) as them:
    plan = Plan(scene_items(40, 1), ("openai/delay-100", "together/ORG/delay-100"), ("ocr",), concurrency=3)
    run = SetRun.begin(plan, providers=them, ledger=store, owner="ada")
    print(run.set_id, flush=True)
    run.work()
"""


def test_a_killed_process_resumes_exactly(server: VlmServer, store: Store, providers: Providers) -> None:
    command = [sys.executable, "-c", WORK, server.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ) as process:
        assert process.stdout is not None
        set_id = process.stdout.readline().strip()
        until(lambda: len(server.requests) >= 25)
        process.send_signal(signal.SIGKILL)
    before = len(rows_of(store, set_id))
    assert 0 < before < 80
    time.sleep(0.3)  # what was sent arrives
    asked = len(server.requests)
    again = resume(store, providers, set_id, 40)
    ended = again.work()
    assert (ended.phase, ended.done) == (Phase.DONE, 80)
    rows = rows_of(store, set_id)
    assert len(rows) == 80 == len({row.run_id for row in rows})
    assert set(Counter((row.model_id, row.item) for row in rows).values()) == {1}
    assert len(server.requests) == asked + 80 - before
    threads = 2 * (3 + 2)  # of two providers: that ask three at once, and two to prepare and write down
    assert asked - before <= threads  # under way at the kill, and only those, were asked twice
    lost = {metric.name: metric.value for metric in store.run(set_id, OWNER).metrics}[LOST_CALLS]
    assert asked - before <= lost <= threads + 8
