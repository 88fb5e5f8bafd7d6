"""How long a search over many stored vectors takes, and what it finds of what an exact search finds.

    python -m tests.bench.search [--vectors N] [--dim N] [--queries N]

Everything a search does before it looks at pictures is timed: what is new in the store is read, the vector is
compared with all others, and the store says which of the nearest the visitor may see. The store is a SQLite
file of its own; each picture has a run. Of two visitors one has all pictures but a few, the other those few:
for the second one the nearest of all are nobody's, and what may be seen is asked for first.

Recall is the share of the ten nearest of a plain product in double precision that are among the ten found.
"""

import argparse
import hashlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import insert

from core.features.cache import FeatureCache
from core.features.search import PictureSearch
from core.features.similarity import unit
from core.features.values import FeatureOptions
from core.features.vector_index import Space, vector_bytes
from core.runs import Environment, RunDraft
from db import Store
from db.models import Artifact, Image, Run, RunInput

WANTED_MS, WANTED_RECALL = 100.0, 0.99
TOP = 10
MANY, FEW = "many", "few"
OF_FEW = 200
"""Every so many pictures one is the second visitor's."""
CHUNK = 1_000
SPACE = Space("bench", "r", FeatureOptions(), "mean")
ENVIRONMENT = Environment("cpu", "bench", "float32", 1, {}, "")


def features(n: int, dim: int) -> NDArray[np.float32]:
    """Return n vectors of length 1 in clusters, as those of pictures are."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(max(1, n // 100), dim)).astype(np.float32)
    noise = rng.standard_normal((n, dim), np.float32)
    return unit(centres[rng.integers(0, len(centres), n)] + noise)


def owner_of(number: int) -> str:
    """Return whose a picture is."""
    return FEW if number % OF_FEW == 0 else MANY


def chunks(n: int) -> Iterator[range]:
    """Yield numbers of pictures, some at a time."""
    for start in range(0, n, CHUNK):
        yield range(start, min(start + CHUNK, n))


def fill(store: Store, n: int) -> list[str]:
    """Put n pictures with a run each into the tables, without the work of making them, and return digests."""
    store.record(RunDraft("bench", "m", "r", ENVIRONMENT, "nobody"))  # for its environment
    digests = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(n)]
    for numbers in chunks(n):
        some = [(number, f"{number:026d}", digests[number]) for number in numbers]
        rows = {
            Artifact: [{"sha256": sha256, "size": 1, "data": b"x"} for _, _, sha256 in some],
            Image: [image_row(sha256) for _, _, sha256 in some],
            Run: [run_row(run_id, number) for number, run_id, _ in some],
            RunInput: [input_row(run_id, sha256) for _, run_id, sha256 in some],
        }
        with store._database.write() as connection:
            for table, values in rows.items():
                connection.execute(insert(table), values)
    return digests


def image_row(sha256: str) -> dict[str, object]:
    """Return a picture's row."""
    size = {"width": 1, "height": 1, "size": 1}
    return {"sha256": sha256, "format": "PNG", "kept_sha256": sha256, "thumbnail": b""} | size


def run_row(run_id: str, number: int) -> dict[str, object]:
    """Return a run's row."""
    from db.models import EPOCH

    texts = dict.fromkeys(("error_class", "error_message", "note"), "")
    plain = {"kind": "bench", "model_id": "m", "model_revision": "r", "status": "ok", "duration_ms": 1.0}
    facts = {"id": run_id, "time": EPOCH, "environment_id": 1, "owner": owner_of(number), "shared": False}
    return plain | facts | texts | {"parameters": {}, "view": {}}


def input_row(run_id: str, sha256: str) -> dict[str, object]:
    """Return the row that says which picture a run took."""
    return {"run_id": run_id, "position": 0, "role": "picture", "image_sha256": sha256, "name": "p.png"}


def seconds(action: Callable[[], object]) -> float:
    """Return how long one call takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def put(store: Store, digests: Sequence[str], vectors: NDArray[np.float32]) -> None:
    """Keep vectors, some at a time."""
    for numbers in chunks(len(digests)):
        store.put_vectors(SPACE.key, {digests[i]: vector_bytes(vectors[i]) for i in numbers})


def exact(vectors: NDArray[np.float32], asked: NDArray[np.float32], owner: str) -> set[int]:
    """Return the numbers of the ten nearest that are the owner's, in double precision."""
    own = np.array([i for i in range(len(vectors)) if owner_of(i) == owner])
    scores = vectors[own].astype(np.float64) @ asked.astype(np.float64)
    return set(own[np.argsort(-scores)[:TOP]].tolist())


def main() -> int:
    """Print the table; fail where a search takes too long or misses too much."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--queries", type=int, default=100, help="of each visitor")
    arguments = parser.parse_args()
    vectors = features(arguments.vectors + arguments.queries, arguments.dim)
    stored, queries = vectors[: arguments.vectors], vectors[arguments.vectors :]
    good = True
    with tempfile.TemporaryDirectory() as name, Store.open(f"sqlite:///{Path(name) / 'b.sqlite3'}") as store:
        digests = fill(store, arguments.vectors)
        numbers = {sha256: number for number, sha256 in enumerate(digests)}
        print(f"{arguments.vectors} vectors of {arguments.dim} numbers, {stored.nbytes / 1e6:.0f} MB")
        print(f"put into the store       {seconds(lambda: put(store, digests, stored)):8.1f} s")
        search = PictureSearch(store, FeatureCache(store))

        def ask(vector: NDArray[np.float32], owner: str) -> set[int]:
            return {numbers[picture.sha256] for picture, _ in search.nearest(SPACE, vector, TOP, owner=owner)}

        print(f"index built from it      {seconds(lambda: ask(queries[0], MANY)):8.1f} s")
        print(f"\n{'visitor':10}{'pictures':>10}{'p50':>10}{'p95':>10}{'recall@10':>12}")
        for owner in (MANY, FEW):
            times, shares = [], []
            for query in queries:
                started = time.perf_counter()
                found = ask(query, owner)
                times.append((time.perf_counter() - started) * 1000)
                wanted = exact(stored, query, owner)
                shares.append(len(found & wanted) / len(wanted))
            p95, recall = statistics.quantiles(times, n=20)[-1], statistics.mean(shares)
            own = sum(owner_of(i) == owner for i in range(arguments.vectors))
            print(f"{owner:10}{own:10}{statistics.median(times):7.1f} ms{p95:7.1f} ms{recall:12.4f}")
            good = good and p95 < WANTED_MS and recall >= WANTED_RECALL
    print(f"wanted: p95 under {WANTED_MS:g} ms, recall at least {WANTED_RECALL:g}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
