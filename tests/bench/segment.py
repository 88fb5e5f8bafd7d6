"""What promptable segmentation costs: the time of a click, and the memory of an encoding.

    python -m tests.bench.segment clicks [--rounds N] [--threads N]
    python -m tests.bench.segment memory [--threads N]
    python -m tests.bench.segment precision [--threads N]

On the CPU, with ViT-B of segment-anything at 1024 pixels and random weights, and a picture of 1024 x 768.

Clicks: wall time, or with `--clock processor` that of the process (meaningful with one thread), which other
programs disturb less. A second click on a picture, its embedding at hand, against encoding again for it; and
`decode` against `SamPredictor.predict`, which makes masks of full size as part of its call. The decoders take
turns within each round, so that what else the machine does meets all of them alike.

Memory: the peak of resident memory; each case in a process of its own, which loads a file of weights and
encodes one picture.

Precision: IoU of the masks of an encoder in bfloat16 (autocast) to those of float32, over several prompts,
for the shipped checkpoint and for ViT-B.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from segment_anything import SamPredictor, sam_model_registry
from segment_anything.modeling import Sam

from core.images import ImageInput, from_rgb
from core.loaders import ModelPool
from core.registry import ModelSpec, resolve
from core.scenes import SceneOptions, generate_scene
from core.segment import Point, Prompts, Segmenter, decode, embed
from core.segment.cache import EmbeddingCache
from core.segment.lean import lean
from core.segment.original import OriginalSam
from core.segment.segmenter import prompt_tensors
from core.sources.segmenters import build_segmenter

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
SCENE = 7
OWN, OURS = "SamPredictor.predict", "decode"
CASES = ("libraries", "segment-anything, loaded", "segment-anything", "loaded", "embed", "embed in bfloat16")
SHIPPED = "shipped/sam-scenes"
PRECISION_SCENES, PRECISION_POINTS = 4, 5


def picture(number: int = SCENE) -> ImageInput:
    """Return a drawn scene, as wide as the model's square."""
    return from_rgb(generate_scene(number, SceneOptions(width=1024, height=768)).rgb, f"scene {number}")


def random_vit_b() -> Sam:
    """Return segment-anything's own network, ready for inference."""
    torch.manual_seed(0)
    return sam_model_registry["vit_b"]().eval().requires_grad_(False)


def own_answer(predictor: SamPredictor, x: float, y: float) -> np.ndarray:
    """Return segment-anything's own masks 3 H W for one point."""
    masks, _, _ = predictor.predict(np.array([[x, y]]), np.array([1]))
    return masks


def milliseconds(action: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return how long one call takes by a clock in seconds."""
    started = clock()
    action()
    return (clock() - started) * 1000


# Clicks


def clicks(rounds: int, clock: Callable[[], float]) -> None:
    """Print both tables of times."""
    image, sam = picture(), random_vit_b()
    predictor = SamPredictor(sam)
    own_encode_ms = milliseconds(lambda: predictor.set_image(image.rgb), clock)
    lean(sam)
    spec = ModelSpec("random/sam_vit_b", "ViT-B", "shipped", ("segmentation",), "")
    model = OriginalSam(spec, sam, "cpu", "float32", 0.0, 0.0)
    cache = EmbeddingCache(None)
    encode_ms = milliseconds(lambda: cache.get(model, image), clock)
    taken = in_turns(click_cases(model, cache, image, predictor), rounds, clock)
    print_decoders(taken)
    second = taken["second click"]
    print("\nsecond click, the picture's embedding at hand, against encoding for each click:")
    both = {"segment-anything": own_encode_ms + taken[OWN], "the encoder here": encode_ms + second}
    for name, ms in both.items():
        print(f"  {name:18} {ms:9.0f} ms {ms / second:6.1f} x")
    print("  wanted: at least 80 x")


def click_cases(
    model: OriginalSam, cache: EmbeddingCache, image: ImageInput, predictor: SamPredictor
) -> dict[str, Callable[[], object]]:
    """Return what takes turns; each asks for another point each time."""
    generator = np.random.default_rng(0)
    embedding = cache.get(model, image).embedding
    first = prompts_at(*a_point(image, generator))
    sparse, dense = model.module.prompt_encoder(
        points=prompt_tensors(model, embedding.geometry, first)[:2], boxes=None, masks=None
    )
    positions = model.module.prompt_encoder.get_dense_pe()

    def bare() -> object:
        with torch.inference_mode():
            return model.module.mask_decoder(embedding.tensors[0], positions, sparse, dense, True)

    def ours() -> object:
        return decode(model, embedding, prompts_at(*a_point(image, generator)))

    def click() -> object:
        return decode(model, cache.get(model, image).embedding, prompts_at(*a_point(image, generator)))

    def shown() -> object:
        masks = decode(model, embedding, prompts_at(*a_point(image, generator)))
        return masks.mask(masks.best)

    return {
        "mask_decoder alone": bare,
        OWN: lambda: own_answer(predictor, *a_point(image, generator)),
        OURS: ours,
        "decode, best mask at full size": shown,
        "second click": click,
    }


def a_point(image: ImageInput, generator: np.random.Generator) -> tuple[float, float]:
    """Return x and y of any pixel."""
    return float(generator.integers(image.width)), float(generator.integers(image.height))


def prompts_at(x: float, y: float) -> Prompts:
    """Return one click."""
    return Prompts(points=(Point(x, y),))


def in_turns(
    cases: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Return the median milliseconds of each case; each round begins with another."""
    names = list(cases)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(-1, rounds):  # the first round warms up
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            ms = milliseconds(cases[name], clock)
            if turn >= 0:
                taken[name].append(ms)
    return {name: statistics.median(values) for name, values in taken.items()}


def print_decoders(taken: Mapping[str, float]) -> None:
    """Print how long each decoder takes, and its ratio to segment-anything's."""
    print(f"{'':32} median ms  over {OWN}  over mask_decoder alone")
    for name, ms in taken.items():
        print(f"{name:32} {ms:9.1f} {ms / taken[OWN]:26.2f} {ms / taken['mask_decoder alone']:24.2f}")
    print(f"wanted: {OURS} at most 1.15 x {OWN}")


# Memory


def memory() -> None:
    """Measure each case in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / "vit_b.pth")
        command = [sys.executable, "-m", "tests.bench.segment", "memory-of", "--weights", weights]
        command += ["--threads", str(torch.get_num_threads()), "--case"]
        subprocess.run([*command, "write"], check=True)
        peaks = {}
        for case in CASES:
            ended = subprocess.run([*command, case], check=True, stdout=subprocess.PIPE, text=True)
            peak, seconds = ended.stdout.split()
            peaks[case] = float(peak)
            print(f"{case:26} peak {peaks[case]:7.0f} MB, encoded in {seconds:>5} s", flush=True)
    for case in CASES[4:]:
        print(f"{case} over segment-anything: {peaks[case] / peaks['segment-anything']:.3f}")


def memory_of(case: str, weights: Path) -> None:
    """Print this process's peak of resident memory in MB (10^6 bytes), and the seconds of an encoding."""
    if case == "write":
        torch.save(random_vit_b().state_dict(), weights)
        return
    encode: Callable[[], object] = tuple
    if case.startswith("segment-anything"):
        predictor = SamPredictor(sam_model_registry["vit_b"](checkpoint=weights).eval())
        encode = lambda: predictor.set_image(picture().rgb)  # noqa: E731
    elif case != "libraries":
        spec = ModelSpec("file/vit_b.pth", "ViT-B", "file", ("segmentation",), str(weights))
        model = build_segmenter(spec, "cpu", lambda: 0.0)
        encode = lambda: embed(model, picture())  # noqa: E731
    if case.endswith("loaded"):
        encode = tuple
    with torch.autocast("cpu", torch.bfloat16, enabled=case.endswith("bfloat16")):
        seconds = milliseconds(encode) / 1000
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(f"{peak / 1e6:.1f} {seconds:.1f}")


# Precision


def precision() -> None:
    """Print how well the masks agree with those of float32."""
    lean(sam := random_vit_b())
    spec = ModelSpec("random/sam_vit_b", "ViT-B", "shipped", ("segmentation",), "")
    vit_b = OriginalSam(spec, sam, "cpu", "float32", 0.0, 0.0)
    with ModelPool(budget_mb=2000, device="cpu").segmenter(resolve(SHIPPED)) as shipped:
        print_agreement(SHIPPED, shipped, PRECISION_SCENES)
    print_agreement("ViT-B, random weights", vit_b, 1)


def print_agreement(name: str, model: Segmenter, pictures: int) -> None:
    """Print mean and least IoU of all masks of points over some pictures."""
    found: list[float] = []
    for number in range(SCENE, SCENE + pictures):
        image, generator = picture(number), np.random.default_rng(number)
        exact = embed(model, image)
        with torch.autocast("cpu", torch.bfloat16):
            short = embed(model, image)
        for _ in range(PRECISION_POINTS):
            prompts = prompts_at(*a_point(image, generator))
            first, second = decode(model, exact, prompts), decode(model, short, prompts)
            found += [iou(first.mask(m), second.mask(m)) for m in range(len(first))]
    mean, least = statistics.mean(found), min(found)
    print(f"{name:24} {len(found):3} masks: mean IoU {mean:.4f}, least {least:.4f}; wanted: mean 0.995")


def iou(first: np.ndarray, second: np.ndarray) -> float:
    """Return the IoU of two masks; of two empty ones 1."""
    union = np.count_nonzero(first | second)
    return float(np.count_nonzero(first & second) / union) if union else 1.0


def main() -> None:
    """Print the table of one part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("clicks", "memory", "precision", "memory-of"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--case", choices=("write", *CASES), help="for memory-of: the one to measure")
    parser.add_argument("--weights", type=Path, help="for memory-of: the file to write, or to load")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.part == "memory-of":
        memory_of(arguments.case, arguments.weights)
        return
    print(f"{os.cpu_count()} processors, {arguments.threads} threads, torch {torch.__version__}")
    if arguments.part == "clicks":
        clicks(arguments.rounds, CLOCKS[arguments.clock])
    else:
        {"memory": memory, "precision": precision}[arguments.part]()


if __name__ == "__main__":
    main()
