"""`segment` and `segment-eval`: masks from prompts, and how good a segmenter is at them."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from core.checkpoints import write_atomically
from core.cli.shared import (
    Answer,
    JsonOption,
    ModelOption,
    NoStoreOption,
    PictureArgument,
    model_pool,
    new_file,
    read_picture,
    run_store,
    writing,
)
from core.errors import InputError
from core.explain.maps import npy_bytes
from core.images import ImageInput, encode_png
from core.registry import ModelSpec, resolve
from core.runs import LOCAL_OWNER
from core.segment.prompts import Box, Point, Prompts
from core.settings import settings

if TYPE_CHECKING:
    from core.segment.cache import EmbeddingCache
    from core.segment.masks import Masks
    from db import Store

_NUMBER = r"-?\d{1,6}(?:\.\d{1,6})?"


def segment_picture(
    picture: Annotated[str, PictureArgument],
    model: ModelOption,
    out: Annotated[
        Path, typer.Option(metavar="MASK.png", help="Where the mask goes: 0 outside, 255 inside.")
    ],
    point: Annotated[
        list[str] | None,
        typer.Option(metavar="X,Y[,0]", help="A pixel of the object; with ,0 one that is not. Repeatable."),
    ] = None,
    box: Annotated[
        str | None, typer.Option(metavar="X0,Y0,X1,Y1", help="A box around the object, in pixels.")
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(
            metavar="PREV.npy",
            help="What to start from: logits that --logits wrote, or a mask of the picture's size.",
        ),
    ] = None,
    logits: Annotated[
        Path | None,
        typer.Option(metavar="NEXT.npy", help="Where to keep the answer's logits, for --mask next time."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--everything", help="All masks; the file numbers them, smaller ones in front.")
    ] = False,
    as_json: JsonOption = False,
    no_store: NoStoreOption = False,
) -> Answer:
    """Write the mask of what the prompts point at, the best of three; or of everything."""
    image, spec = read_picture(picture), resolve(model, task="segmentation")
    prompts = Prompts(tuple(map(_point, point or ())), _box(box), *_start(mask))
    if everything == (not prompts.is_empty):
        raise InputError(
            "Both prompts and --everything were given." if everything else "There is nothing to segment by.",
            "Give points, a box or a mask, or else --everything.",
        )
    if everything and logits is not None:
        raise InputError("--logits is of one answer.", "Leave it out with --everything.")
    new_file(out)
    if logits is not None:
        new_file(logits)
    with run_store(no_store) as store:
        if everything:
            return _everything(image, spec, out, store)
        return _one(image, spec, prompts, out, logits, store)


def _cache(store: "Store | None") -> "EmbeddingCache":
    from core.segment.cache import EmbeddingCache

    return EmbeddingCache(store, settings().embedding_memory_mb, settings().embedding_store_mb)


def _one(
    image: ImageInput,
    spec: ModelSpec,
    prompts: Prompts,
    out: Path,
    logits: Path | None,
    store: "Store | None",
) -> Answer:
    from core.segment.workflow import segment

    result = segment(
        image, spec, prompts, pool=model_pool(), cache=_cache(store), sink=store, owner=LOCAL_OWNER
    )
    masks, best = result.masks, result.masks.best
    found = masks.mask(best)
    with writing(out):
        write_atomically(out, encode_png(found.astype(np.uint8) * 255))
    if logits is not None:
        with writing(logits):
            write_atomically(logits, npy_bytes(masks.low_res[best]))
    payload = {
        "run": result.run_id,
        "model": spec.id,
        "picture": image.name,
        "width": image.width,
        "height": image.height,
        "prompts": prompts.to_json(),
        "out": str(out),
        **_described(masks, best, found),
        "masks": [_described(masks, i, masks.mask(i)) for i in range(len(masks))],
        "times_ms": {
            "load": result.times.load_ms,
            "embed": result.times.embed_ms,
            "decode": result.times.decode_ms,
        },
        "embedding": result.times.embedded,
    }
    return Answer(
        payload,
        f"{int(found.sum()):,} pixels, predicted IoU {masks.predicted_iou[best]:.3f}, in {out}",
    )


def _described(masks: "Masks", index: int, mask: NDArray[np.bool_]) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    corners = [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1] if len(rows) else None
    return {
        "predicted_iou": float(masks.predicted_iou[index]),
        "stability": float(masks.stability[index]),
        "area": int(mask.sum()),
        "bbox": corners,
    }


def _everything(image: ImageInput, spec: ModelSpec, out: Path, store: "Store | None") -> Answer:
    from core.segment.automatic_values import LENIENT
    from core.segment.export import labels_png
    from core.segment.workflow import segment_everything

    result = segment_everything(
        image,
        spec,
        LENIENT,
        pool=model_pool(),
        cache=_cache(store),
        sink=store,
        owner=LOCAL_OWNER,
    )
    with writing(out):
        write_atomically(out, labels_png(result.labels))
    payload = {
        "run": result.run_id,
        "model": spec.id,
        "picture": image.name,
        "out": str(out),
        "coverage": result.coverage,
        "masks": [
            {
                "area": mask.area,
                "box": list(mask.box),
                "predicted_iou": mask.predicted_iou,
                "stability": mask.stability,
                "point": list(mask.point),
            }
            for mask in result.masks
        ],
        "times_ms": {"embed": result.times.embed_ms, "masks": result.times.decode_ms},
    }
    return Answer(payload, f"{len(result.masks)} masks cover {result.coverage:.1%} of the picture, in {out}")


def _numbers(text: str, option: str, counts: tuple[int, ...], form: str) -> list[float]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in counts or not all(re.fullmatch(_NUMBER, part, re.ASCII) for part in parts):
        raise InputError(f"{option} is {text!r}.", f"Give {form} in pixels, as in {option} 120,80.")
    return [float(part) for part in parts]


def _point(text: str) -> Point:
    x, y, *sign = _numbers(text, "--point", (2, 3), "X,Y or X,Y,0")
    if sign and sign[0] not in (0.0, 1.0):
        raise InputError(
            f"--point is {text!r}.", "End with ,1 for a pixel of the object, ,0 for one that is not."
        )
    return Point(x, y, not sign or bool(sign[0]))


def _box(text: str | None) -> Box | None:
    if text is None:
        return None
    x0, y0, x1, y1 = _numbers(text, "--box", (4,), "X0,Y0,X1,Y1")
    return x0, y0, x1, y1


def _start(path: Path | None) -> tuple[NDArray[np.float32] | None, NDArray[np.bool_] | None]:
    """Return logits, or a mask, to start from."""
    if path is None:
        return None, None
    try:
        with path.open("rb") as file:
            found = np.lib.format.read_array(file, allow_pickle=False)
        if found.ndim not in (2, 3) or found.dtype.kind not in "fbu":
            raise ValueError("it holds no array of numbers with two axes")
        found = found.reshape(found.shape[-2:])
    except (OSError, ValueError, EOFError, MemoryError) as error:  # a header may claim any size
        raise InputError(
            f"{path} cannot be used as a mask: {str(error).rstrip('.')}.",
            "Give a .npy file that --logits wrote, or a mask of the picture's size.",
        ) from error
    if found.dtype.kind == "f":
        return found.astype(np.float32), None
    return None, found > 0


def evaluate_model(
    model: ModelOption,
    scenes: Annotated[int, typer.Option(metavar="N", min=1, help="Pictures of each of three kinds.")] = 20,
    seed: Annotated[int, typer.Option(metavar="S", min=0, help="Another seed, other pictures.")] = 0,
    clicks: Annotated[int, typer.Option(metavar="K", min=1, max=50, help="Clicks on each object.")] = 5,
    as_json: JsonOption = False,
    no_store: NoStoreOption = False,
) -> Answer:
    """Click objects of fresh pictures as a person would, and measure the IoU after each click."""
    from core.segment.evaluate import truth_pictures
    from core.segment.workflow import evaluate_segmenter

    spec = resolve(model, task="segmentation")
    with run_store(no_store) as store:
        found, run_id = evaluate_segmenter(
            spec,
            truth_pictures(scenes, seed),
            source={"scenes": scenes},
            pool=model_pool(),
            sink=store,
            owner=LOCAL_OWNER,
            clicks=clicks,
            seed=seed,
        )
    overall = found.overall
    means = ", ".join(f"{value:.3f}" for value in overall.mean_iou)
    payload = {"run": run_id, "model": spec.id, "scenes": scenes, **found.to_json()}
    return Answer(
        payload,
        f"{overall.objects} objects: mean IoU {means} after 1 to {clicks} clicks, {overall.box_mean_iou:.3f} "
        f"for a box",
    )
