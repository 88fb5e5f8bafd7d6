"""How much faster everything in a picture is found than by segment-anything's own generator.

    python tests/bench/everything.py [--side N] [--points N] [--seed N] [--threads N] [--state PATH]

Both sides run in turn on the same model, picture, points and thresholds; encoding the picture is excluded on
both. Three cases: the default thresholds; `strict`, where no mask passes; and `loose`, where many do. Matched
IoU: of each of the original's masks, with that of our masks which fits it best.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from segment_anything import SamAutomaticMaskGenerator  # noqa: E402

from core.checkpoints import read_card, read_weights  # noqa: E402
from core.images import ImageInput, from_rgb  # noqa: E402
from core.registry import ModelSpec  # noqa: E402
from core.samples import photographs  # noqa: E402
from core.scenes.clutter import generate_clutter  # noqa: E402
from core.segment import ImageEmbedding, embed  # noqa: E402
from core.segment.automatic import generate  # noqa: E402
from core.segment.automatic_values import AutomaticMask, AutomaticOptions  # noqa: E402
from core.segment.original import OriginalSam  # noqa: E402
from core.segment.regions import iou  # noqa: E402
from core.segment.small_sam import build_small_sam  # noqa: E402

CHECKPOINT = ROOT / "checkpoints" / "sam-scenes.safetensors"
WANTED_RATIO, WANTED_IOU = 4.0, 0.99
CASES = {
    "default": {},
    "strict": {"min_predicted_iou": 1.0},
    "loose": {"min_predicted_iou": 0.5, "min_stability": 0.8},
}
"""Options that differ from the defaults."""


class Result(NamedTuple):
    """One case."""

    original_s: float
    own_s: float
    original: int
    own: int
    matched: list[float]
    """Best IoU of each of the original's masks."""


def load(state: Path | None) -> OriginalSam:
    """Return the shipped model, or that of a training's state."""
    if state is None:
        module = build_small_sam(**read_card(CHECKPOINT).architecture.arguments)
        weights = read_weights(CHECKPOINT)
    else:
        module = build_small_sam()
        weights = torch.load(state, weights_only=True)["model"]
        weights.pop("report_sums", None)
    module.load_state_dict(weights)
    spec = ModelSpec("shipped/sam-scenes", "sam-scenes", "shipped", ("segmentation",), "sam-scenes")
    return OriginalSam(
        spec=spec, module=module.eval(), device="cpu", dtype="float32", load_ms=0.0, memory_mb=0.0
    )


def run_original(model: OriginalSam, image: ImageInput, options: AutomaticOptions) -> list[dict[str, Any]]:
    """Return what segment-anything's own generator finds."""
    generator = SamAutomaticMaskGenerator(
        model.module,
        points_per_side=options.points_per_side,
        points_per_batch=options.points_per_batch,
        pred_iou_thresh=options.min_predicted_iou,
        stability_score_thresh=options.min_stability,
    )
    found: list[dict[str, Any]] = generator.generate(image.rgb)
    return found


class EncodingTimer:
    """Adds up how long a model's picture encoder takes."""

    def __init__(self, model: OriginalSam) -> None:
        self.seconds = 0.0
        model.module.image_encoder.register_forward_pre_hook(self._start)
        model.module.image_encoder.register_forward_hook(self._stop)

    def _start(self, *_: object) -> None:
        self.seconds -= time.perf_counter()

    def _stop(self, *_: object) -> None:
        self.seconds += time.perf_counter()


def measure(
    model: OriginalSam,
    timer: EncodingTimer,
    image: ImageInput,
    embedding: ImageEmbedding,
    options: AutomaticOptions,
) -> Result:
    """Run both sides and compare them."""
    started = time.perf_counter()
    own = generate(model, image, options, embedding=embedding)
    own_s = time.perf_counter() - started
    started, encoded = time.perf_counter(), timer.seconds
    original = run_original(model, image, options)
    original_s = time.perf_counter() - started - (timer.seconds - encoded)
    return Result(original_s, own_s, len(original), len(own), matched(original, own))


def matched(original: list[dict[str, Any]], own: tuple[AutomaticMask, ...]) -> list[float]:
    """Return, for each of the original's masks, the IoU of the one of ours that fits best."""
    masks = [mask.mask for mask in own]
    return [max((iou(item["segmentation"], mask) for mask in masks), default=0.0) for item in original]


def print_row(name: str, result: Result) -> bool:
    """Print one case; return whether it is as wanted."""
    ratio = result.original_s / result.own_s
    agreement = f"{np.mean(result.matched):10.4f} {min(result.matched):8.4f}" if result.matched else "no mask"
    print(
        f"{name:8} {result.original_s:11.2f} {result.own_s:8.2f} {ratio:7.1f} {result.original:10d} "
        f"{result.own:6d} {agreement:>19}",
        flush=True,
    )
    same = result.original == result.own and min(result.matched, default=1.0) >= WANTED_IOU
    return ratio >= WANTED_RATIO and same


def main() -> int:
    """Print the table; 1 if a case is not as wanted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=1024, help="of the picture, in pixels")
    parser.add_argument("--points", type=int, default=32, help="along each side")
    parser.add_argument("--seed", type=int, default=0, help="of the picture")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--state", type=Path, help="of a training, instead of the shipped checkpoint")
    parser.add_argument("--case", choices=CASES, nargs="*", default=list(CASES))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = load(arguments.state)
    timer = EncodingTimer(model)
    rgb = generate_clutter(arguments.seed, "cutouts", photographs(), side_px=arguments.side).rgb
    image = from_rgb(rgb, "cutouts")
    embedding = embed(model, image)
    generate(model, image, AutomaticOptions(points_per_side=4), embedding=embedding)  # warm
    print(f"{os.cpu_count()} processors, torch {torch.__version__}, {vars(arguments)}")
    print("         original s    own s   ratio   original    own   mean IoU    least")
    fine = True
    for name in arguments.case:
        options = AutomaticOptions(points_per_side=arguments.points, **CASES[name])
        fine &= print_row(name, measure(model, timer, image, embedding, options))
    print(f"wanted: ratio at least {WANTED_RATIO:g}, least IoU {WANTED_IOU:g}, as many masks")
    return 0 if fine else 1


if __name__ == "__main__":
    raise SystemExit(main())
