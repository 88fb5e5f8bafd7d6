"""What extraction of features costs: over a bare loop of PyTorch, and beside transformers' own pipeline.

    python -m tests.bench.features [--rounds N] [--batch N] [--batches N] [--threads N] [--device D] [--tiny]

One DINOv2-S/14 of transformers with random weights, saved to a folder; square pictures of 480 pixels, decoded
beforehand, at 224 pixels (257 tokens). Every case begins with the decoded pictures and ends with numbers on
the CPU, in the same batches, on the same device, and all take turns within each round:

    extract         ours: resize and normalise, run in batches, cut into patches and CLS, cast to float16,
                    check that all is finite, copy each picture's values out of its batch
    bare loop       the same resizing and normalising, the same network under the same autocast, and its
                    last_hidden_state as float32; no cast, no check, nothing cut out
    pipeline        pipeline("image-feature-extraction"), its own processor at the same size, single precision
                    as is its default, tensors returned (lists of Python numbers would take it far longer)

Ratios are of throughput, ours over the other's: of the medians, of the minima, and the median within a round.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from core.features.extract import extract
from core.features.values import FeatureOptions
from core.images import ImageInput, from_rgb
from core.loaders import ModelPool
from core.preprocess import prepare
from core.registry import resolve
from core.vision_model import VisionModel
from tests.bench.attention import measure

WANTED = {"bare loop": 0.95, "pipeline": 1.0}
SIDE = 224
SMALL = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6}
TINY = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}


def save_dinov2(folder: Path, shape: Mapping[str, int]) -> None:
    """Save a DINOv2/14 with random weights, and its image processor without a margin to crop."""
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    Dinov2Model(Dinov2Config(**shape, patch_size=14, image_size=SIDE)).save_pretrained(folder)
    edge = {"height": SIDE, "width": SIDE}
    BitImageProcessor(size={"shortest_edge": SIDE}, crop_size=edge).save_pretrained(folder)


def pictures(n: int) -> list[ImageInput]:
    """Return square pictures of smooth noise."""
    generator = np.random.default_rng(0)
    small = generator.integers(0, 256, (n, 12, 12, 3), dtype=np.uint8)
    resized = [Image.fromarray(one).resize((480, 480), Image.Resampling.BICUBIC) for one in small]
    return [from_rgb(np.asarray(one), f"picture {i}") for i, one in enumerate(resized)]


def cases_of(
    model: VisionModel, folder: Path, images: list[ImageInput], batch: int
) -> dict[str, Callable[[], Any]]:
    """Return what is compared; each returns last_hidden_state's patches, or features, of every picture."""
    from transformers import pipeline

    extractor = pipeline("image-feature-extraction", model=str(folder), device=torch.device(model.device))
    decoded = [Image.fromarray(image.rgb) for image in images]
    dtype = (
        torch.bfloat16
        if model.device.startswith("cuda") and torch.cuda.is_bf16_supported()
        else torch.float16
    )
    module: Any = model.module

    def bare() -> list[torch.Tensor]:
        found: list[torch.Tensor] = []
        for start in range(0, len(images), batch):
            some = images[start : start + batch]
            pixels = torch.cat([prepare(image, model.input, fit="whole")[0] for image in some])
            half = torch.autocast("cuda", dtype) if model.device.startswith("cuda") else nullcontext()
            with torch.inference_mode(), half:
                found.extend(module(pixels.to(model.device)).last_hidden_state.float().cpu())
        return found

    return {
        "extract": lambda: extract(model, images, FeatureOptions(), batch),
        "bare loop": bare,
        "pipeline": lambda: extractor(decoded, batch_size=batch, return_tensors=True),
    }


def check(cases: Mapping[str, Callable[[], Any]]) -> None:
    """Make sure that all compute the same, up to what two ways to resize a picture differ by."""
    ours, bare, theirs = (cases[name]() for name in ("extract", "bare loop", "pipeline"))
    for features, own, other in zip(ours, bare, theirs, strict=True):
        found = torch.from_numpy(features.patches.copy()).float().flatten(0, 1)
        assert torch.nn.functional.cosine_similarity(found, own[1:]).min() > 0.999
        assert torch.nn.functional.cosine_similarity(found, other.squeeze(0)[1:].cpu()).mean() > 0.98


def print_table(taken: Mapping[str, list[tuple[float, float]]], n: int) -> None:
    """Print pictures a second and the ratios that were asked for, by each clock."""
    for clock, title in enumerate(("wall time", "processor time")):
        values = {name: [sample[clock] for sample in samples] for name, samples in taken.items()}
        ours = values["extract"]
        print(f"\n{title:16} pictures/s   extract over it: medians  least  within rounds   wanted")
        for name, own in values.items():
            medians, least = statistics.median(own) / statistics.median(ours), min(own) / min(ours)
            within = statistics.median(b / a for a, b in zip(ours, own, strict=True))
            print(
                f"{name:16} {n / statistics.median(own) * 1000:10.1f} {medians:25.3f} {least:6.3f}"
                f" {within:14.3f} {WANTED.get(name, ''):>8}"
            )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--batches", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tiny", action="store_true", help="a network of two narrow layers")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    images = pictures(arguments.batch * arguments.batches)
    with tempfile.TemporaryDirectory() as name:
        save_dinov2(Path(name), TINY if arguments.tiny else SMALL)
        with ModelPool(budget_mb=2000, device=arguments.device).use(resolve(name)) as model:
            print(
                f"{os.cpu_count()} processors, {model.device}, torch {torch.__version__}, {vars(arguments)}"
            )
            cases = cases_of(model, Path(name), images, arguments.batch)
            check(cases)
            print_table(measure(cases, arguments.rounds), len(images))


if __name__ == "__main__":
    main()
