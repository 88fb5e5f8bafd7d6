"""What reading attention costs: time over a plain pass, and memory.

    python -m tests.bench.attention time [--rounds N] [--threads N]
    python -m tests.bench.attention memory

Time: ViT-B/16 at 224 pixels, batch 1, random weights. The cases take turns within each round, so that what
else the machine does meets all of them alike. Two clocks: wall time, and the processor time of the process
(meaningful with one thread), which other programs disturb less. A ratio is given of the medians, of the
minima, and as the median of the ratios within a round.

Memory (Linux): DINOv2-S/14 at 518 pixels (1,370 tokens), each case in a process of its own after a plain
pass: how far resident memory rises at most while it runs, and how many bytes of attention are kept.
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

import torch

from core.explain.attention import extract_attention
from core.loaders import ModelPool
from core.registry import resolve
from core.vision_model import VisionModel

TIMED = "random/vit_base_patch16_224"
MEASURED = "random/vit_small_patch14_dinov2"
WANTED = {"one layer": 1.05, "all layers": 1.10}
CASES = ("plain pass", "one layer", "all layers")


def load(name: str) -> VisionModel:
    """Return a model with random weights on the CPU."""
    with ModelPool(budget_mb=2000, device="cpu").use(resolve(name)) as model:
        return model


def cases_of(model: VisionModel) -> dict[str, Callable[[], object]]:
    """Return what is compared, over one random picture of the model's own size."""
    height, width = model.input.size
    grid = (height // model.input.patch[0], width // model.input.patch[1])
    pixels = torch.randn(1, 3, height, width)

    def plain() -> torch.Tensor:
        with torch.inference_mode():
            return model.forward(pixels).cpu()

    return {
        "plain pass": plain,
        "one layer": lambda: extract_attention(model, pixels, grid, [model.depth - 1]),
        "all layers": lambda: extract_attention(model, pixels, grid, range(model.depth)),
    }


def transformers_cases() -> dict[str, Callable[[], object]]:
    """Return the plain pass and the eager `output_attentions=True` of transformers' ViT-B/16 at 224."""
    from transformers import ViTConfig, ViTForImageClassification

    config = {"num_labels": 1000}
    sdpa, eager = (
        ViTForImageClassification._from_config(ViTConfig(**config), attn_implementation=kind).eval()
        for kind in ("sdpa", "eager")
    )
    pixels = torch.randn(1, 3, 224, 224)

    def plain() -> object:
        with torch.inference_mode():
            return sdpa(pixels).logits

    def attentions() -> object:
        with torch.inference_mode():
            found = eager(pixels, output_attentions=True).attentions
        assert len(found) == 12
        return [weights.numpy() for weights in found]

    return {"transformers, sdpa": plain, "transformers, eager": attentions}


def measure(cases: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Return wall and processor milliseconds of each case in each round; each round begins with another."""
    names = list(cases)
    for name in names:
        cases[name]()
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            wall, cpu = time.perf_counter(), time.process_time()
            cases[name]()
            taken[name].append(((time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000))
    return taken


def print_times(taken: Mapping[str, list[tuple[float, float]]]) -> None:
    """Print a table for each clock, and the ratios that were asked for."""
    for clock, title in enumerate(("wall time", "processor time")):
        values = {name: [sample[clock] for sample in samples] for name, samples in taken.items()}
        print(f"\n{title:22}   median ms   least ms   over plain: medians  least  within rounds")
        for name, own in values.items():
            print(
                f"{name:22} {statistics.median(own):11.1f} {min(own):10.1f}", _ratios(own, values[CASES[0]])
            )
        print(
            "\nall layers over transformers, eager:",
            _ratios(values["all layers"], values["transformers, eager"]),
        )
    print(
        "\nwanted: " + ", ".join(f"{name} at most {limit} x a plain pass" for name, limit in WANTED.items())
    )


def _ratios(own: list[float], base: list[float]) -> str:
    within = statistics.median(a / b for a, b in zip(own, base, strict=True))
    return (
        f"{statistics.median(own) / statistics.median(base):20.3f} {min(own) / min(base):6.3f} {within:14.3f}"
    )


def status_mb(field: str) -> float:
    """Return a size of this process, in MB: `VmRSS` is resident now, `VmHWM` was at most (Linux)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError(f"this system does not tell {field}")


def memory_case(name: str) -> None:
    """Print how far resident memory rises during a case, after a plain pass, and what is kept, in MB."""
    cases = cases_of(load(MEASURED))
    cases["plain pass"]()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    before = status_mb("VmRSS")
    result = cases[name]()
    kept = sum(w.nbytes for w in result[0].weights.values()) / 1e6 if isinstance(result, tuple) else 0.0
    print(f"{name:16} {before:13.1f} {status_mb('VmHWM') - before:12.1f} {kept:10.1f}")


def print_memory() -> None:
    """Measure each case in a process of its own."""
    print(f"{'DINOv2-S at 518':16}   resident MB  rises by MB    kept MB", flush=True)
    for name in CASES:
        subprocess.run(
            [sys.executable, "-m", "tests.bench.attention", "memory-of", "--case", name], check=True
        )


def main() -> None:
    """Print the table of one part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("time", "memory", "memory-of"))
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--case", choices=CASES, default=CASES[0], help="for memory-of: the one to measure")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    if arguments.part == "memory":
        print_memory()
    elif arguments.part == "memory-of":
        memory_case(arguments.case)
    else:
        print(f"{os.cpu_count()} processors, torch {torch.__version__}, {vars(arguments)}")
        print_times(measure(cases_of(load(TIMED)) | transformers_cases(), arguments.rounds))


if __name__ == "__main__":
    main()
