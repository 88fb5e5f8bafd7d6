"""Our timing beside PyTorch's own, on the same calls, and what timing itself costs.

    python -m tests.bench.timing [--seconds S] [--threads N]

1. Medians of `core.bench.timing.time_calls` over those of `torch.utils.benchmark.Timer.timeit`, for calls
   from a tenth of a millisecond to a ViT's forward pass. The two take turns every few milliseconds, now one
   first, now the other, so that a busy machine strikes both; what is told is the median of the ratios of
   neighbours, with its interval of 95 %. PyTorch's median is one of means of blocks of calls, so our single
   calls are put into blocks of as many. Wanted: within 3 %.
2. What a sample costs beside its call: the time per sample of a call that does nothing, over the time of the
   same call in a bare loop. Wanted: below 50 microseconds.
"""

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import timm
import torch
from torch.utils.benchmark import Timer

from core.bench.statistics import quantile
from core.bench.timing import time_calls

WANTED_SHARE, WANTED_US = 0.03, 50.0
IDLE_CALLS = 200_000
BLOCK_S = 3e-3
WARM_UP = 2
"""Calls that PyTorch makes before it looks at the clock."""
AT_LEAST = 11
"""Pairs, for a median with its interval."""


def calls() -> dict[str, Callable[[], object]]:
    """Return what is timed, by name."""
    torch.manual_seed(0)
    small, large = torch.randn(160, 160), torch.randn(800, 800)
    tiny = timm.create_model("vit_tiny_patch16_224").eval()
    picture = torch.randn(1, 3, 224, 224)
    return {
        "matrix product 160": lambda: small @ small,
        "matrix product 800": lambda: large @ large,
        "ViT-Ti/16, 224 px": lambda: tiny(picture),
    }


def our_mean(call: Callable[[], object], number: int) -> float:
    """Return our mean of as many calls, in ms, after as many to warm up as PyTorch makes."""
    return statistics.fmean(time_calls(call, 0.0, at_least=WARM_UP + number)[WARM_UP:])


def neighbours(call: Callable[[], object], seconds: float) -> list[tuple[float, float]]:
    """Return our mean and PyTorch's of a block of calls, in ms, again and again in turn."""
    timer = Timer("call()", globals={"call": call}, num_threads=torch.get_num_threads())
    number = max(1, round(BLOCK_S / timer.timeit(10).median))
    found, deadline, ours_first = [], time.perf_counter() + seconds, True
    while time.perf_counter() < deadline or len(found) < AT_LEAST:
        if ours_first:
            ours = our_mean(call, number)
        theirs = timer.timeit(number).median * 1e3
        if not ours_first:
            ours = our_mean(call, number)
        found.append((ours, theirs))
        ours_first = not ours_first
    return found


def measure_medians(seconds: float) -> bool:
    """Print both medians of every call; say whether they agree."""
    agree = True
    print(f"{'call':<22}{'pairs':>7}{'ours ms':>10}{'torch ms':>10}{'ratio':>8}   95 %")
    for name, call in calls().items():
        time_calls(call, 0.3)
        pairs = neighbours(call, seconds)
        ratio = quantile(np.sort([mine / other for mine, other in pairs]), 0.5)
        mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
        ends = f"{ratio.low:.3f} to {ratio.high:.3f}"
        print(f"{name:<22}{len(pairs):>7}{mine:>10.3f}{other:>10.3f}{ratio.value:>8.3f}   {ends}")
        agree = agree and abs(ratio.value - 1) <= WANTED_SHARE
    return agree


def measure_overhead() -> bool:
    """Print what a sample costs; say whether it is little enough."""

    def idle() -> None:
        pass

    started = time.perf_counter_ns()
    for _ in range(IDLE_CALLS):
        idle()
    bare = time.perf_counter_ns() - started
    started = time.perf_counter_ns()
    time_calls(idle, 0.0, at_least=IDLE_CALLS)
    cost_us = (time.perf_counter_ns() - started - bare) / IDLE_CALLS / 1e3
    print(f"a sample costs {cost_us:.2f} us beside its call (wanted: below {WANTED_US:g})")
    return cost_us < WANTED_US


def main(arguments: Sequence[str]) -> int:
    """Measure; 1 where something is not as wanted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=12.0, help="for each call")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch; fewer than cores are calmer")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    gc.collect()
    gc.freeze()  # each block of ours collects first, which takes a hundred times as long as the block
    with torch.inference_mode():
        agree = measure_medians(chosen.seconds)
    return 0 if measure_overhead() and agree else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
