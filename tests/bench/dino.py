"""What the bookkeeping of self-distillation costs: a step against the bare forwards and backwards of it.

    python -m tests.bench.dino [--rounds N] [--threads N]

Both sides use the networks of the shipped recipe (batch 64, two large crops of 64 px and two small ones of
32 px) on the same crops in the same precision. The bare loop is the teacher's pass, the student's passes,
the cross entropy of plain softmax targets, its gradient and the optimizers' steps: no centring, no
temperatures or learning rates that change, no clipping, no moving teacher, no signs of collapse. The two
take turns, and the ratio is of the medians. What it costs to draw the crops is given apart.
"""

import argparse
import statistics
import time

import torch
from torch.nn import functional as F

from core.samples import photographs
from core.training.dino.config import DinoConfig
from core.training.dino.crops import Crops, draw_crops
from core.training.dino.distill import Distillation

WANTED = 0.9


def bare_step(distillation: Distillation, crops: Crops) -> None:
    """Take one step with nothing but what learning itself needs."""
    with torch.autocast("cpu", torch.bfloat16, enabled=distillation.in_half):
        with torch.no_grad():
            targets = (distillation.teacher(crops.large)[1].float() / 0.04).softmax(dim=-1)
        large, small = distillation.student(crops.large)[1], distillation.student(crops.small)[1]
    shares = [F.log_softmax(view.float() / 0.1, dim=-1) for view in (*large, *small)]
    pairs = [(t, s) for t in range(2) for s in range(len(shares)) if s != t]
    loss = sum(-(targets[t] * shares[s]).sum(dim=-1).mean() for t, s in pairs) / len(pairs)
    distillation.student.zero_grad()
    torch.autograd.backward(loss)
    for optimizer in distillation.optimizers:
        optimizer.step()


def one_round(config: DinoConfig, step: int, ours: Distillation, bare: Distillation) -> dict[str, float]:
    """Return the seconds that the crops and either side's step took; the sides take turns to be first."""
    started = time.perf_counter()
    crops = draw_crops(config, step, photographs())
    found = {"crops": time.perf_counter() - started}
    sides = {"step": lambda: ours.learn(crops, step), "bare": lambda: bare_step(bare, crops)}
    for name in sorted(sides, reverse=step % 2 == 0):
        started = time.perf_counter()
        sides[name]()
        found[name] = time.perf_counter() - started
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    config = DinoConfig(
        small_crops=2, prototypes=512, centring="sinkhorn", large_scale=(0.5, 1.0), small_scale=(0.25, 0.6)
    )
    ours, bare = Distillation(config), Distillation(config)
    taken: dict[str, list[float]] = {"crops": [], "step": [], "bare": []}
    for step in range(given.rounds + 1):
        found = one_round(config, step, ours, bare)
        if step:  # the first round warms up
            for name, seconds in found.items():
                taken[name].append(seconds)
    median = {name: statistics.median(values) for name, values in taken.items()}
    ratio = median["bare"] / median["step"]
    print(f"rounds {given.rounds}, threads {given.threads}, bfloat16 {ours.in_half}")
    print(f"bare step      {median['bare'] * 1000:8.1f} ms")
    print(
        f"our step       {median['step'] * 1000:8.1f} ms   throughput {ratio:.3f} of bare (wanted {WANTED})"
    )
    print(f"drawing crops  {median['crops'] * 1000:8.1f} ms   on top of either")


if __name__ == "__main__":
    main()
