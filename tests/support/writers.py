"""What other processes do to a store in the tests. Apart from them, so that a new process imports little."""

import resource
import signal
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

from core.runs import Metric, RunDraft
from db import Store, StoreError
from tests.support.runs import Picture, draft, text_file


def whole_run(seed: int) -> RunDraft:
    """Return a run with a part in every table, all made from `seed`."""
    return draft(
        parameters={"seed": seed},
        metrics=[Metric("seed", seed), *(Metric("loss", seed + i, step=i) for i in range(20))],
        pictures={"picture": Picture("p", f"picture {seed}".encode() * 200)},
        artifacts=[text_file("result", f"result {seed}" * 2000)],
        tags=[f"seed {seed}"],
    )


def assert_whole(store: Store, run_id: str) -> None:
    """Check that a run has every part that `whole_run` gave it."""
    run = store.run(run_id, None)
    seed = run.parameters["seed"]
    assert [m.value for m in run.metrics] == [seed, *(seed + i for i in range(20))]
    assert store.picture_data(run_id, "picture", None) == f"picture {seed}".encode() * 200
    assert store.artifact(run_id, "result", None).decode() == f"result {seed}" * 2000
    assert run.tags == (f"seed {seed}",)


def open_and_close(url: str) -> None:
    """Open a store."""
    Store.open(url).close()


def open_and_record(url: str, n: int) -> list[str]:
    """Record `n` runs and return their ids."""
    with Store.open(url) as store:
        return [store.record(draft()) for _ in range(n)]


def record_for_ever(url: str, acknowledged: Path, seed: int) -> None:
    """Record runs until killed; each id goes to the file `acknowledged` when the store has returned it."""
    with Store.open(url) as store, acknowledged.open("ab", buffering=0) as log:
        while True:
            log.write(store.record(whole_run(seed)).encode() + b"\n")
            seed += 1


def record_from_threads(url: str, seed: int, answer: "Connection[object, list[str]]") -> None:
    """Record twelve runs from three threads and answer their ids."""
    with Store.open(url) as store, ThreadPoolExecutor(3) as threads:
        answer.send(list(threads.map(store.record, [whole_run(seed + i) for i in range(12)])))


def start_and_wait(url: str, answer: "Connection[object, str]") -> None:
    """Start a run, answer its id and wait to be killed."""
    with Store.open(url) as store:
        answer.send(store.start(draft(kind="training", duration_ms=None)))
        signal.pause()


def fill(store: Store) -> tuple[list[str], str]:
    """Record until the store refuses; return the acknowledged runs and the kind of the error."""
    ids: list[str] = []
    try:
        while len(ids) < 10_000:
            ids.append(store.record(whole_run(len(ids))))
    except StoreError as error:
        return ids, type(error).__name__
    return ids, ""


def fill_a_bounded_file(url: str, room: int, answer: "Connection[object, tuple[list[str], str]]") -> None:
    """Let no file of this process grow by more than `room` bytes, and answer what `fill` returns."""
    with Store.open(url) as store:
        log = Path(url.removeprefix("sqlite:///") + "-wal")
        resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size + room,) * 2)
        answer.send(fill(store))


def plan_claim_and_wait(url: str, answer: "Connection[object, tuple[str, list[str]]]") -> None:
    """Plan six calls, claim four, finish two, answer the set and what is done, and wait to be killed."""
    from tests.db.test_calls import CALLS

    with Store.open(url) as store:
        set_id = store.start(draft(kind="vlm-set", duration_ms=None))
        store.plan_calls(set_id, CALLS)
        claimed = store.claim_calls(set_id, 4)
        done = [store.finish_call(set_id, call.position, draft(kind="vlm")) for call in claimed[:2]]
        answer.send((set_id, done))
        signal.pause()
