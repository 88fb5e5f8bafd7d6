"""What may be started: on a private machine what the machine can do, on a public one what is fair."""

from __future__ import annotations

from dataclasses import dataclass

from pages.ui.session import on_private_machine

PAGE = "bench"
"""Prefix of the page's widget keys."""
PATH = "pages/model_benchmark.py"


@dataclass(frozen=True)
class Limits:
    """The most that one benchmark may ask for."""

    models: int
    pictures: int
    option_sets: int
    batch: int
    seconds: float
    rounds: int
    scenes: int
    side_px: int
    threads: int
    downloads: bool
    """Whether models may be chosen that are not on this machine yet, and ids typed in."""
    pauses: bool
    """Whether it may be paused: meanwhile nobody else's begins."""
    uploads_data: bool
    sweeps: bool


PRIVATE = Limits(60, 64, 24, 1024, 3600.0, 100, 100_000, 4096, 1024, True, True, True, True)
PUBLIC = Limits(8, 4, 2, 16, 5.0, 5, 50, 512, 4, False, False, False, False)


def limits() -> Limits:
    """Return this session's limits."""
    return PRIVATE if on_private_machine() else PUBLIC
