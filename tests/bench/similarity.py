"""What comparing two pictures costs, once their features are there.

    python -m tests.bench.similarity [--rounds N] [--threads N] [--grid N] [--large N]

1. A click: what the server does for a query of one patch on cached features, from float16 features in memory
   (normalised once for each picture, before) to self map, cross map, best match, five peaks and all marks of
   trust, against 1,024 background patches. Wanted: below 50 ms at 37 x 37 patches of ViT-B's width.
2. The full similarity of two such pictures over the bare product of the same matrices into the same memory;
   once with normalising both pictures, once with that done before. Wanted: at most 1.2.
3. The memory of all nearest neighbours at 74 x 74 by 74 x 74: how far resident memory rises at most (Linux),
   in a process of its own, over the bound that `core.features.nearest.correspond` states. Wanted: at most 1.

Features are random; times do not depend on their values. Cases of a part take turns.
"""

import argparse
import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from core.features.matching import ask
from core.features.nearest import correspond
from core.features.query import PatchQuery
from core.features.similarity import BLOCK_MB, UnitGrid, similarity_matrix, unit
from core.features.unrelated import Unrelated
from core.features.values import FeatureOptions, ImageFeatures
from core.preprocess import Frame
from tests.bench.attention import status_mb

DIM = 768
BACKGROUND = 1024


def features(side: int, seed: int) -> ImageFeatures:
    """Return what a model of ViT-B's width might say about a square picture."""
    patches = np.random.default_rng(seed).standard_normal((side, side, DIM), np.float32).astype(np.float16)
    frame = Frame((0, 0, 14 * side, 14 * side), (side, side))
    return ImageFeatures(patches, None, frame, f"{seed:064x}", "random", "1", FeatureOptions())


def background() -> Unrelated:
    """Return as many background patches as the fixed set has."""
    vectors = np.random.default_rng(9).standard_normal((BACKGROUND, DIM), np.float32)
    return Unrelated(("0" * 64,), unit(vectors), np.zeros(BACKGROUND, np.intp), ())


def measure(cases: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the milliseconds of each case in each round; each round begins with another."""
    names = list(cases)
    for name in names:
        cases[name]()
    taken: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            started = time.perf_counter()
            cases[name]()
            taken[name].append((time.perf_counter() - started) * 1000)
    return taken


def print_click(side: int, rounds: int) -> None:
    """Print the time of a click, and of normalising the two pictures, which comes before the first."""
    raw = features(side, 1), features(side, 2)
    first, second = map(UnitGrid.of, raw)
    unrelated, query = background(), PatchQuery(((side // 2, side // 3),))
    cases: dict[str, Callable[[], object]] = {
        "a click": lambda: ask(query, first, second, unrelated=unrelated),
        "both pictures normalised": lambda: [UnitGrid.of(one) for one in raw],
    }
    print(f"\n{side} x {side} patches, D = {DIM}   median ms   least ms   most ms")
    for name, values in measure(cases, rounds).items():
        print(f"{name:30} {statistics.median(values):9.2f} {min(values):10.2f} {max(values):9.2f}")
    print("wanted: a click below 50 ms")


def print_similarity(side: int, rounds: int) -> None:
    """Print the full similarity over the bare product."""
    raw = features(side, 1), features(side, 2)
    first, second = map(UnitGrid.of, raw)
    room: NDArray[np.float32] = np.empty((side * side, side * side), np.float32)
    cases: dict[str, Callable[[], object]] = {
        "bare product": lambda: np.matmul(first.flat, second.flat.T, out=room),
        "similarity": lambda: similarity_matrix(first, second),
        "similarity, normalising too": lambda: similarity_matrix(UnitGrid.of(raw[0]), UnitGrid.of(raw[1])),
    }
    taken = measure(cases, rounds)
    base = taken["bare product"]
    print(
        f"\n{side} x {side} by {side} x {side}      median ms   over the product: medians  least  in rounds"
    )
    for name, values in taken.items():
        within = statistics.median(a / b for a, b in zip(values, base, strict=True))
        medians, least = statistics.median(values) / statistics.median(base), min(values) / min(base)
        print(f"{name:30} {statistics.median(values):9.1f} {medians:26.3f} {least:6.3f} {within:9.3f}")
    print("wanted: at most 1.2")


def print_memory(side: int) -> None:
    """Print how far resident memory rises while all nearest neighbours are found."""
    first, second = (UnitGrid.of(features(side, seed)) for seed in (1, 2))
    small = UnitGrid.of(features(8, 1))
    correspond(small, small)  # what BLAS sets up once
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    before, started = status_mb("VmRSS"), time.perf_counter()
    found = correspond(first, second)
    seconds, rises = time.perf_counter() - started, status_mb("VmHWM") - before
    results = (found.forward, found.backward, found.score, found.second_score)
    bound = BLOCK_MB + 4 + sum(values.nbytes for values in results) / 1e6
    whole = (side * side) ** 2 * 4 / 1e6
    print(f"\n{side} x {side} twice   rises by MB   bound MB   over the bound   whole matrix MB   seconds")
    times = f"{rises:13.1f} {bound:10.1f} {rises / bound:16.3f} {whole:17.1f} {seconds:9.2f}"
    print(f"all neighbours  {times}")
    print("wanted: at most 1")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--grid", type=int, default=37, help="patches on a side, for the times")
    parser.add_argument("--large", type=int, default=74, help="patches on a side, for the memory")
    parser.add_argument("--memory-only", action="store_true", help="the third part, in this process")
    arguments = parser.parse_args()
    with threadpool_limits(arguments.threads):
        if arguments.memory_only:
            print_memory(arguments.large)
            return
        print(f"{os.cpu_count()} processors, numpy {np.__version__}, {vars(arguments)}")
        print_click(arguments.grid, arguments.rounds)
        print_similarity(arguments.grid, arguments.rounds)
    sys.stdout.flush()
    options = ("--threads", arguments.threads, "--large", arguments.large)
    command = [sys.executable, "-m", "tests.bench.similarity", "--memory-only", *map(str, options)]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
