"""COCO files of one picture, with run lengths or with polygons."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.segment.export.shared import (
    MAX_OUTLINES_MB,
    SegmentedObject,
    Size,
    check_masks,
    check_objects,
    check_size,
    checked_ring,
    class_names_of,
    json_bytes,
    json_name,
    json_numbers,
    json_value,
    optional_number,
    reading,
)
from core.segment.regions import fill, keyholes

_RUN_DIGITS = 7
"""Groups of five bits in a run length; more would be longer than any picture."""


def coco_json(image_name: str, width: int, height: int, objects: Sequence[SegmentedObject]) -> bytes:
    """Return a COCO file of one picture, the masks being compressed run lengths by pycocotools.

    Raises:
        InputError: There are no objects, or too many.
    """
    check_size(check_objects(objects), (height, width), "mask")
    return _coco(image_name, objects, [_run_lengths(item.mask) for item in objects])


def coco_polygons_json(image_name: str, width: int, height: int, objects: Sequence[SegmentedObject]) -> bytes:
    """Return a COCO file of one picture, the masks being polygons, one for each separate part.

    COCO polygons cannot hold holes. Here the line of a part turns off to each of its holes, goes around it
    and comes back the same way ("keyhole"): that bridge has no width. `read_coco` gives the exact mask, and
    so does pycocotools (`COCO.annToMask`), as does any reader that takes the pixels whose middle is inside.
    A reader that also draws the line itself, as OpenCV's `fillPoly` does, adds pixels at the border.

    Raises:
        InputError: There are no objects, or too many.
    """
    check_size(check_objects(objects), (height, width), "mask")
    return _coco(image_name, objects, [[r.ravel().tolist() for r in keyholes(item.mask)] for item in objects])


def _run_lengths(mask: NDArray[np.bool_]) -> dict[str, Any]:
    from pycocotools import mask as coco

    encoded = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode("ascii")}


def _coco(image_name: str, objects: Sequence[SegmentedObject], outlines: list[Any]) -> bytes:
    height, width = objects[0].mask.shape
    category = {name: number for number, name in enumerate(class_names_of(objects), 1)}
    annotations = [
        {
            "id": number,
            "image_id": 1,
            "category_id": category[item.name],
            "segmentation": outline,
            "area": item.area,
            "bbox": _bbox(item.mask),
            "iscrowd": 0,
        }
        | ({} if item.predicted_iou is None else {"score": item.predicted_iou})
        for number, (item, outline) in enumerate(zip(objects, outlines, strict=True), 1)
    ]
    return json_bytes(
        {
            "images": [{"id": 1, "file_name": image_name, "width": width, "height": height}],
            "categories": [{"id": number, "name": name} for name, number in category.items()],
            "annotations": annotations,
        }
    )


def _bbox(mask: NDArray[np.bool_]) -> list[int]:
    """Return x, y, width, height."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return [x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1]


def read_coco(data: bytes, size: Size) -> tuple[SegmentedObject, ...]:
    """Return the objects in a COCO file of one picture: run lengths or polygons.

    Raises:
        InputError: It is none, of several pictures, or of one of another size.
    """
    with reading(data, "COCO annotations", MAX_OUTLINES_MB):
        raw = json_value(data)
        (image,) = raw["images"]
        check_size((image["height"], image["width"]), size, "COCO picture")
        names = {category["id"]: json_name(category["name"]) for category in raw["categories"]}
        check_masks(len(raw["annotations"]), size)
        return tuple(_coco_object(annotation, image["id"], names, size) for annotation in raw["annotations"])


def _coco_object(raw: Any, image_id: object, names: dict[Any, str], size: Size) -> SegmentedObject:
    if raw["image_id"] != image_id:
        raise ValueError("an annotation of another picture")
    outline = raw["segmentation"]
    if isinstance(outline, dict):
        mask = _decode_runs(outline, size)
    else:
        mask = fill(
            [[checked_ring(np.reshape(json_numbers(line), (-1, 2)), size)] for line in outline], *size
        )
    return SegmentedObject(names[raw["category_id"]], mask, optional_number(raw.get("score")))


def _decode_runs(raw: dict[str, Any], size: Size) -> NDArray[np.bool_]:
    """Return the mask in COCO's run lengths: column by column, outside first.

    pycocotools decodes in C, where the lengths of a damaged file may lead out of the array.
    """
    check_size(tuple(raw["size"]), size, "mask")
    counts = raw["counts"]
    runs = np.array(_compressed_runs(counts)) if isinstance(counts, str) else json_numbers(counts)
    area = size[0] * size[1]
    if not ((runs >= 0) & (runs <= area)).all() or (runs % 1).any() or runs.sum() != area:
        raise ValueError("the lengths do not add up to the picture")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs.astype(np.int64)).reshape(size, order="F")


def _compressed_runs(text: str) -> list[int]:
    """Return the lengths in COCO's text: five bits a character from 48 on, lowest first, 32 meaning more.

    From the fourth on they are differences to the last but one. Source: `rleFrString` in cocoapi's maskApi.c.
    """
    runs: list[int] = []
    value = digit = 0
    for code in text.encode("ascii"):
        bits = code - 48
        if not 0 <= bits < 64 or digit == _RUN_DIGITS:
            raise ValueError("no run length")
        value |= (bits & 31) << 5 * digit
        digit += 1
        if not bits & 32:
            value -= (bits & 16) << 5 * digit - 4 if bits & 16 else 0  # the highest bit is the sign
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = digit = 0
    if digit:
        raise ValueError("the text is cut off")
    return runs
