"""Our timing beside PyTorch's own, on the same calls, and what timing itself costs.

    python -m tests.bench.timing [--seconds S] [--rounds N]

1. Medians of `core.bench.timing.time_calls` over those of `torch.utils.benchmark.Timer.timeit`, each of which
   takes about a millisecond at least, for calls from a tenth of one to a ViT's forward pass. The two take
   turns, and the median of the rounds' ratios is told: a busy machine strikes both. Wanted: within 3 %.
2. What a sample costs beside its call: the time per sample of a call that does nothing, over the time of the
   same call in a bare loop. Wanted: below 50 microseconds.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import timm
import torch
from torch.utils.benchmark import Timer

from core.bench.timing import time_calls

WANTED_SHARE, WANTED_US = 0.03, 50.0
IDLE_CALLS = 200_000


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


def theirs(call: Callable[[], object], seconds: float) -> float:
    """Return PyTorch's median of a call, in ms."""
    timer = Timer("call()", globals={"call": call}, num_threads=torch.get_num_threads())
    number = max(1, round(1e-3 / timer.timeit(3).median))
    deadline, found = time.perf_counter() + seconds, []
    while time.perf_counter() < deadline:
        found.append(timer.timeit(number).median)
    return statistics.median(found) * 1e3


def measure_medians(seconds: float, rounds: int) -> bool:
    """Print both medians of every call; say whether they agree."""
    agree = True
    print(f"{'call':<22}{'ours ms':>10}{'torch ms':>10}{'ratio':>8}")
    for name, call in calls().items():
        time_calls(call, 0.3)
        pairs = []
        for _ in range(rounds):
            pairs.append((statistics.median(time_calls(call, seconds)), theirs(call, seconds)))
        ratio = statistics.median(mine / other for mine, other in pairs)
        mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"{name:<22}{mine:>10.3f}{other:>10.3f}{ratio:>8.3f}")
        agree = agree and abs(ratio - 1) <= WANTED_SHARE
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
    parser.add_argument("--seconds", type=float, default=1.0, help="of each side in each round")
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args(arguments)
    with torch.inference_mode():
        agree = measure_medians(chosen.seconds, chosen.rounds)
    return 0 if measure_overhead() and agree else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
