"""What our path costs over a bare call of the SDK, and how a data-set run uses the time that it may.

    python -m tests.bench.vlm [--calls N] [--concurrency N] [--overhead-calls N]

Everything is asked of a loopback server in a process of its own, by the real SDK. The overhead is that of one
question after the other: attempts, picture, score, price and a run in the store, against the same request by
the SDK alone, the two in turns. The data-set run asks a model that takes 100 ms the four tasks about fresh
scenes; ideal is what its concurrency allows with nothing else to do. How near the SDK alone comes to it, as
many requests at once about one picture that is ready, stands beside it: the server and the client share the
processor. Memory is looked at after a tenth and at the end.
"""

import argparse
import asyncio
import base64
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from socket import create_connection, socket
from typing import Any

import openai
import psutil

from core.images import ImageInput
from core.runs import LOCAL_OWNER
from core.vlm.addresses import Addresses
from core.vlm.datasets import scene_items
from core.vlm.keys import Keys
from core.vlm.setrun.plan import Plan
from core.vlm.setrun.run import SetRun
from core.vlm.workflow import Providers, ask_about
from db import Store

LATENCY_S = 0.1
MODEL = "openai/delay-100"
PROMPT = "Describe the picture in one sentence."
SCENE_TASKS = ("caption", "question", "ocr", "objects")
WANTED_SHARE, WANTED_MS = 0.8, 10.0


@contextmanager
def serving() -> Iterator[str]:
    """Yield the address of a loopback server in a process of its own."""
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.support.vlm_server", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            for _ in range(200):
                try:
                    create_connection(("127.0.0.1", port), 0.1).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def request(model: str, image: ImageInput) -> dict[str, Any]:
    """Return the SDK's arguments of the question that our path asks."""
    url = f"data:image/png;base64,{base64.b64encode(image.data).decode()}"
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": PROMPT}]
    return {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        "max_completion_tokens": 512,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def bare(client: openai.OpenAI, image: ImageInput) -> float:
    """Return the milliseconds of the same request by the SDK alone."""
    started = time.perf_counter()
    for _ in client.chat.completions.create(**request("ok", image)):
        pass
    return (time.perf_counter() - started) * 1e3


def ours(providers: Providers, store: Store, image: ImageInput) -> float:
    """Return the milliseconds of a question by our path, its run in the store included."""
    started = time.perf_counter()
    ask_about(
        image, "openai/ok", "caption", PROMPT, ("A cat.",), providers=providers, sink=store, owner=LOCAL_OWNER
    )
    return (time.perf_counter() - started) * 1e3


def measure_overhead(url: str, providers: Providers, store: Store, calls: int) -> bool:
    """Print what our path adds to a call; say whether it is little enough."""
    image = scene_items(1).at(0).load()
    with openai.OpenAI(api_key="loopback", base_url=f"{url}/v1", max_retries=0) as client:
        for _ in range(5):
            bare(client, image), ours(providers, store, image)
        pairs = [(bare(client, image), ours(providers, store, image)) for _ in range(calls)]
    sdk, path = (statistics.median(times) for times in zip(*pairs, strict=True))
    overhead = statistics.median(mine - theirs for theirs, mine in pairs)
    print(f"one call, median of {calls}: SDK {sdk:.1f} ms, our path {path:.1f} ms")
    print(f"overhead {overhead:.1f} ms a call (wanted: under {WANTED_MS:g})")
    return overhead < WANTED_MS


async def bare_at_once(url: str, calls: int, concurrency: int) -> float:
    """Return the seconds of that many calls by the SDK alone."""
    image, places = scene_items(1).at(0).load(), asyncio.Semaphore(concurrency)
    async with openai.AsyncOpenAI(api_key="loopback", base_url=f"{url}/v1", max_retries=0) as client:

        async def call() -> None:
            async with places:
                async for _ in await client.chat.completions.create(**request("delay-100", image)):
                    pass

        await call()
        started = time.perf_counter()
        await asyncio.gather(*(call() for _ in range(calls)))
        return time.perf_counter() - started


def measure_run(url: str, providers: Providers, store: Store, calls: int, concurrency: int) -> bool:
    """Print how a data-set run does; say whether it is quick enough."""
    ideal = calls * LATENCY_S / concurrency
    alone = asyncio.run(bare_at_once(url, calls, concurrency))
    print(f"{calls} calls, {concurrency} at once, ideal {ideal:.1f} s: the SDK alone {alone:.1f} s")
    print(f"share of the ideal throughput, the SDK alone {ideal / alone:.0%}")
    plan = Plan(scene_items(calls // len(SCENE_TASKS), 1), (MODEL,), SCENE_TASKS, concurrency=concurrency)
    run = SetRun.begin(plan, providers=providers, ledger=store, owner=LOCAL_OWNER)
    worker = threading.Thread(target=run.work)
    process, early = psutil.Process(), 0.0
    started = time.perf_counter()
    worker.start()
    while worker.is_alive():
        worker.join(0.05)
        if not early and run.progress.done >= calls / 10:
            early = process.memory_info().rss / 1e6
    seconds, late = time.perf_counter() - started, process.memory_info().rss / 1e6
    print(f"a data-set run of {run.progress.done} calls: {seconds:.1f} s")
    print(f"share of the ideal throughput, our run {ideal / seconds:.0%} (wanted: {WANTED_SHARE:.0%})")
    print(f"memory after a tenth {early:.0f} MB, at the end {late:.0f} MB: {late - early:+.0f} MB")
    return ideal / seconds >= WANTED_SHARE and run.progress.failed == 0


def main(arguments: Sequence[str]) -> int:
    """Measure; 1 where something is not as wanted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=1_000)
    parser.add_argument("--concurrency", type=int, default=20)
    parser.add_argument("--overhead-calls", type=int, default=100)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, serving() as url:
        address = f"sqlite:///{Path(folder) / 'store.sqlite3'}"
        with Store.open(address) as store, Providers(Keys(), Addresses(loopback=url)) as providers:
            quick = measure_overhead(url, providers, store, chosen.overhead_calls)
            smooth = measure_run(url, providers, store, chosen.calls, chosen.concurrency)
    return 0 if quick and smooth else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
