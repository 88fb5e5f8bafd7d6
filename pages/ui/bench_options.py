"""How models are run while they are measured."""

from __future__ import annotations

from itertools import product

import streamlit as st

from core.bench.options import PRECISIONS, Options
from core.bench.plan import ROUNDS
from core.errors import InputError
from pages.ui.bench_limits import limits

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
USUAL_S = 3.0


def options_picker(key: str, *, sweep: bool = False) -> tuple[tuple[Options, ...], int]:
    """Draw the options; return every set of them, and the rounds.

    Args:
        sweep: Whether sizes and threads may be several, each a cell of its own; there are no rounds then.

    Raises:
        InputError: There are too many sets, or one cannot be used.
    """
    may = limits()
    batches = st.pills(
        "Batch sizes",
        [size for size in BATCHES if size <= may.batch],
        selection_mode="multi",
        wrap=True,
        default=None if f"{key}_batches" in st.session_state else [1],
        key=f"{key}_batches",
        persist_state="session",
        help="Pictures in one pass, for the throughput. Times of single calls are always of one picture.",
    )
    precisions = st.pills(
        "Precision",
        PRECISIONS,
        selection_mode="multi",
        wrap=True,
        default=None if f"{key}_precision" in st.session_state else ["fp32"],
        key=f"{key}_precision",
        persist_state="session",
        help="Each one is a measurement of its own.",
    )
    sizes, threads = _numbers(f"{key}_many" if sweep else key, sweep)
    one, two = st.columns(2)
    seconds = one.number_input(
        "Seconds for each",
        0.1,
        may.seconds,
        min(USUAL_S, may.seconds),
        step=1.0,
        key=f"{key}_seconds",
        persist_state="session",
        help="How long each model is timed once it is warm. 11, 64 and 662 calls make p50, p90 and p99 "
        "worth relying on.",
    )
    rounds = ROUNDS
    if not sweep:
        rounds = int(
            two.number_input(
                "Rounds",
                1,
                may.rounds,
                min(ROUNDS, may.rounds),
                key=f"{key}_rounds",
                persist_state="session",
                help="How often the clock turns to each model again, so that drift hits all alike.",
            )
        )
    compiled = may.downloads and st.toggle(
        "torch.compile",
        key=f"{key}_compiled",
        persist_state="session",
        help="Rewrites the networks first, which takes a minute or more; it is no part of the times.",
    )
    if not precisions or not batches:
        raise InputError("No precision or no batch size is chosen.", "Choose at least one of each.")
    sets = tuple(
        Options(tuple(sorted(batches)), precision, size, bool(compiled), thread, float(seconds))
        for precision, size, thread in product(precisions, sizes, threads)
    )
    if len(sets) > may.option_sets:
        raise InputError(f"These are {len(sets)} sets of options.", f"Choose at most {may.option_sets} here.")
    return sets, rounds


def _numbers(key: str, several: bool) -> tuple[list[int | None], list[int | None]]:
    """Draw input size and threads; None is the model's own, and PyTorch's choice."""
    may = limits()
    one, two = st.columns(2)
    if several:
        sizes = _whole(one, "Input sizes (px)", f"{key}_size", "own size", may.side_px)
        return sizes, _whole(two, "Threads", f"{key}_threads", "PyTorch's choice", may.threads)
    size = one.number_input(
        "Input size (px)",
        1,
        may.side_px,
        None,
        key=f"{key}_size",
        persist_state="session",
        placeholder="own size",
        help="Shorter side of the model's input, rounded to whole patches. Segmenters have one size.",
    )
    threads = two.number_input(
        "Threads",
        1,
        may.threads,
        None,
        key=f"{key}_threads",
        persist_state="session",
        placeholder="PyTorch's choice",
        help="Of the CPU's kernels.",
    )
    return [None if size is None else int(size)], [None if threads is None else int(threads)]


def _whole(
    column: st.delta_generator.DeltaGenerator, label: str, key: str, usual: str, most: int
) -> list[int | None]:
    text = column.text_input(label, key=key, persist_state="session", placeholder=usual, help="As in 1, 2, 4")
    parts = [part.strip() for part in text.replace(";", ",").split(",") if part.strip()]
    if any(not part.isdecimal() or not 1 <= int(part) <= most for part in parts):
        raise InputError(f"{label} cannot be {text!r}.", f"Give whole numbers, 1 to {most:,}, as in 1, 2, 4.")
    return list(dict.fromkeys(int(part) for part in parts)) or [None]
