"""How the learning rate goes: a straight line up, then half a cosine down to nothing."""

import math


def warmup_cosine(step: int, total_steps: int, warmup_steps: int) -> float:
    """Return the share (0-1) of the peak learning rate for `step`, counted from 0.

    Source: Loshchilov & Hutter 2017 (SGDR), one cycle, with the linear warm-up of Goyal et al. 2017.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
