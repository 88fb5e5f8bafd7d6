"""How the teacher's momentum and temperature, and the weight decay, go over a training."""

import math

from core.training.schedule import warmup_cosine


def cosine_between(start: float, end: float, step: int, total_steps: int) -> float:
    """Return the value at `step`, counted from 0, of half a cosine from `start` to `end`."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, total_steps))))


def warmed_up(start: float, end: float, step: int, warmup_steps: int) -> float:
    """Return the value at `step` of a straight line from `start` that reaches `end` after the warm-up."""
    return end if step >= warmup_steps else start + (end - start) * step / warmup_steps


def learning_rate(step: int, total_steps: int, warmup_steps: int, peak: float, last: float) -> float:
    """Return the learning rate at `step`: a line up to `peak`, half a cosine down to `last`."""
    share = warmup_cosine(step, total_steps, warmup_steps)
    return peak * share if step < warmup_steps else last + (peak - last) * share
