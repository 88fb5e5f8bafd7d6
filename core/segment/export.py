"""Masks and prompts of one picture as files, and back.

    file                      writer               reader
    mask, 0 or 255            mask_png             read_mask
    cut-out object            cutout_png           read_mask, unless cropped
    COCO, run lengths         coco_json            read_coco
    COCO, polygons            coco_polygons_json   read_coco
    numbers of the objects    label_map_png        read_label_map
    YOLO segmentation         yolo_txt             read_yolo
    GeoJSON in pixels         geojson              read_geojson
    what was pointed at       prompts_json         read_prompts_json
    all of them               archive

Every reader gives the written masks again, pixel by pixel. Polygons run along the pixels' borders (see
`core.segment.regions`), and a pixel belongs to a polygon if its middle does. Readers take any bytes: what
they cannot use is an InputError.
"""

import io
import json
import math
import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from core.errors import InputError
from core.images import ImageInput, decode
from core.segment.prompts import Prompts
from core.segment.regions import fill, keyholes, polygons

Size = tuple[int, int]
"""Height and width, in pixels."""

MAX_OBJECTS = 500
MAX_PROMPTS_MB = 1.0
"""Of a file of prompts, in MB (10^6 bytes)."""
MAX_OUTLINES_MB = 10.0
"""Of a file of polygons or run lengths, in MB (10^6 bytes)."""
MAX_TOTAL_MEGAPIXELS = 1000.0
"""Of all masks of one file together: each takes a byte for every pixel of the picture."""
MAX_NAME = 100
"""Characters of an object's name."""
_RUN_DIGITS = 7
"""Groups of five bits in a run length; more would be longer than any picture."""


@dataclass(frozen=True, eq=False)
class SegmentedObject:
    """One object of a picture.

    Raises:
        ValueError: The mask is none.
        InputError: The mask is empty, the name cannot be shown, or the predicted IoU is not finite.
    """

    name: str
    mask: NDArray[np.bool_]
    """H W, read-only; at least one pixel is inside."""
    predicted_iou: float | None = None
    prompts: Prompts | None = None

    def __post_init__(self) -> None:
        if self.mask.dtype != np.bool_ or self.mask.ndim != 2:
            raise ValueError(f"mask must be bool H W, not {self.mask.dtype} {self.mask.shape}")
        _check_name(self.name)
        if not self.mask.any():
            raise InputError(f"The mask of {self.name} is empty.", "Keep at least one pixel.")
        if self.predicted_iou is not None and not math.isfinite(self.predicted_iou):
            raise InputError(f"The predicted IoU of {self.name} is not finite.", "Leave it out.")
        self.mask.setflags(write=False)

    @property
    def area(self) -> int:
        """Pixels inside."""
        return int(np.count_nonzero(self.mask))


@dataclass(frozen=True, slots=True)
class PromptSheet:
    """What was pointed at in a picture, for each object."""

    sha256: str
    """Hex digest of the picture's file."""
    width: int
    """Of the picture, in pixels."""
    height: int
    model_id: str
    """The model that was asked."""
    objects: tuple[tuple[str, Prompts], ...]
    """Names and prompts; without logits, which are kept elsewhere."""


def _check_name(name: str) -> None:
    if not (0 < len(name) <= MAX_NAME and name.isprintable()):
        raise InputError(
            "An object's name is empty, too long or cannot be shown.",
            f"Give a name of 1 to {MAX_NAME} printable characters.",
        )


def _check_count(count: int) -> None:
    if count > MAX_OBJECTS:
        raise InputError(f"There are {count} objects.", f"At most {MAX_OBJECTS} fit into one file.")


def _check_masks(count: int, size: Size) -> None:
    """Refuse more masks of a size than one file may hold."""
    _check_count(count)
    megapixels = count * size[0] * size[1] / 1e6
    if megapixels > MAX_TOTAL_MEGAPIXELS:
        raise InputError(
            f"{count} masks of this picture have {megapixels:.0f} megapixels together.",
            f"Use a smaller picture or fewer objects: at most {MAX_TOTAL_MEGAPIXELS:g} fit into one file.",
        )


def most_masks(size: Size) -> int:
    """Return how many masks of a size one file may hold."""
    return min(MAX_OBJECTS, int(MAX_TOTAL_MEGAPIXELS * 1e6 // (size[0] * size[1])))


def _check_objects(objects: Sequence[SegmentedObject]) -> Size:
    """Return the size of the picture that all the objects are of."""
    if not objects:
        raise InputError("There is no object to export.", "Segment one first.")
    shapes = {item.mask.shape for item in objects}
    if len(shapes) > 1:
        raise ValueError(f"masks of one picture have one size, not {sorted(shapes)}")
    height, width = shapes.pop()
    _check_masks(len(objects), (height, width))
    return height, width


def _check_size(found: tuple[Any, ...], size: Size, what: str) -> None:
    if [type(side) for side in found] != [int, int]:
        raise ValueError("no size of a picture")
    if found != size:
        raise InputError(
            f"The {what} is of {found[1]} x {found[0]} pixels, the picture of {size[1]} x {size[0]}.",
            "Choose a file that belongs to this picture.",
        )


@contextmanager
def _reading(data: bytes, what: str, most_mb: float) -> Iterator[None]:
    """Turn everything that a misshapen file brings about into one error, and refuse a large one."""
    if len(data) > most_mb * 1e6:
        raise InputError(
            f"The file has {len(data) / 1e6:.1f} MB; {what} may have {most_mb:g} MB.",
            "Give fewer or simpler objects.",
        )
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise InputError(
            f"The file holds no {what} that can be read here.", "Choose a file that was exported here."
        ) from error


# Pictures


def _png(pixels: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def mask_png(mask: NDArray[np.bool_]) -> bytes:
    """Return a mask (H W) as a PNG file of 8-bit grey: 255 inside, 0 outside."""
    return _png(mask.astype(np.uint8) * 255)


def read_mask(data: bytes, size: Size) -> NDArray[np.bool_]:
    """Return the mask H W in a PNG file: what is not black, or, where any pixel is transparent, what is not.

    Raises:
        InputError: It is no PNG file, or of another size than the picture's.
    """
    image = _open_png(data, "mask", size)
    if image.mode.startswith("I;16"):  # conversion would make small numbers 0
        return np.asarray(image) > 0
    pixels = np.asarray(image.convert("RGBA"))
    if (pixels[..., 3] < 255).any():
        return np.asarray(pixels[..., 3] > 0)
    return np.asarray(pixels[..., :3].any(axis=2))


def _open_png(data: bytes, what: str, size: Size) -> Image.Image:
    """Return the pixels of a PNG file as they are, once `decode` has found them harmless."""
    found = decode(data, f"The {what}")
    if found.format != "PNG":
        raise InputError(f"The {what} is a {found.format} file.", "Save it as PNG, which keeps every pixel.")
    image = PngImagePlugin.PngImageFile(io.BytesIO(data))
    _check_size((image.height, image.width), size, what)
    return image


def cutout_png(rgb: NDArray[np.uint8], mask: NDArray[np.bool_], crop: bool = True) -> bytes:
    """Return the object alone as a PNG file with transparency; what is outside is also made black.

    Args:
        rgb: H W 3, 0-255.
        mask: H W, not empty.
        crop: Only the box around the object.
    """
    pixels = np.dstack([rgb, np.full_like(rgb[..., 0], 255)]) * mask[..., None]
    if crop:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        pixels = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return _png(pixels)


def label_map_png(objects: Sequence[SegmentedObject]) -> bytes:
    """Return a PNG file of grey values: 0 is background, n the n-th object; later objects are in front.

    It has 8 bits, or 16 for more than 255 objects.

    Raises:
        InputError: There are no objects, or too many.
    """
    labels = np.zeros(_check_objects(objects), dtype=np.int32)
    for number, item in enumerate(objects, 1):
        labels[item.mask] = number
    return labels_png(labels)


def labels_png(labels: NDArray[np.int32]) -> bytes:
    """Return numbers H W, 0 to 65,535, as a PNG file of grey values: 8 bits, or 16 for more than 255."""
    return _png(labels.astype(np.uint8 if labels.max() < 256 else np.uint16))


def read_label_map(data: bytes, size: Size) -> NDArray[np.uint16]:
    """Return H W: the number of the object at each pixel, 0 for background.

    Raises:
        InputError: It is no PNG file of grey values, or of another size than the picture's.
    """
    image = _open_png(data, "label map", size)
    if image.mode != "L" and not image.mode.startswith("I;16"):
        raise InputError("The label map is not of grey values.", "Save it as PNG with 8 or 16 bits of grey.")
    return np.asarray(image).astype(np.uint16)


# COCO


def coco_json(image_name: str, width: int, height: int, objects: Sequence[SegmentedObject]) -> bytes:
    """Return a COCO file of one picture, the masks being compressed run lengths by pycocotools.

    Raises:
        InputError: There are no objects, or too many.
    """
    _check_size(_check_objects(objects), (height, width), "mask")
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
    _check_size(_check_objects(objects), (height, width), "mask")
    return _coco(image_name, objects, [[r.ravel().tolist() for r in keyholes(item.mask)] for item in objects])


def _run_lengths(mask: NDArray[np.bool_]) -> dict[str, Any]:
    from pycocotools import mask as coco

    encoded = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode("ascii")}


def _coco(image_name: str, objects: Sequence[SegmentedObject], outlines: list[Any]) -> bytes:
    height, width = objects[0].mask.shape
    category = {name: number for number, name in enumerate(_class_names(objects), 1)}
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
    return _json_bytes(
        {
            "images": [{"id": 1, "file_name": image_name, "width": width, "height": height}],
            "categories": [{"id": number, "name": name} for name, number in category.items()],
            "annotations": annotations,
        }
    )


def _class_names(objects: Sequence[SegmentedObject]) -> list[str]:
    return list(dict.fromkeys(item.name for item in objects))


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
    with _reading(data, "COCO annotations", MAX_OUTLINES_MB):
        raw = _json_value(data)
        (image,) = raw["images"]
        _check_size((image["height"], image["width"]), size, "COCO picture")
        names = {category["id"]: _text(category["name"]) for category in raw["categories"]}
        _check_masks(len(raw["annotations"]), size)
        return tuple(_coco_object(annotation, image["id"], names, size) for annotation in raw["annotations"])


def _coco_object(raw: Any, image_id: object, names: dict[Any, str], size: Size) -> SegmentedObject:
    if raw["image_id"] != image_id:
        raise ValueError("an annotation of another picture")
    outline = raw["segmentation"]
    if isinstance(outline, dict):
        mask = _decode_runs(outline, size)
    else:
        mask = fill([[_ring(np.reshape(_numbers(line), (-1, 2)), size)] for line in outline], *size)
    return SegmentedObject(names[raw["category_id"]], mask, _optional_number(raw.get("score")))


def _decode_runs(raw: dict[str, Any], size: Size) -> NDArray[np.bool_]:
    """Return the mask in COCO's run lengths: column by column, outside first.

    pycocotools decodes in C, where the lengths of a damaged file may lead out of the array.
    """
    _check_size(tuple(raw["size"]), size, "mask")
    counts = raw["counts"]
    runs = np.array(_compressed_runs(counts)) if isinstance(counts, str) else _numbers(counts)
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


# YOLO


def yolo_txt(
    width: int, height: int, objects: Sequence[SegmentedObject], class_names: Sequence[str]
) -> bytes:
    """Return YOLO's segmentation labels: a line for each separate part, with x and y as parts of the sides.

    A line is the number of the class, from 0, and the corners; holes are keyholes as in COCO polygons. The
    format knows no objects: the parts of all objects of a class become one mask when they are read.

    Raises:
        InputError: There are no objects, too many, or one whose name is not a class.
    """
    _check_size(_check_objects(objects), (height, width), "mask")
    lines = []
    for item in objects:
        if item.name not in class_names:
            raise InputError(f"{item.name} is not one of the classes.", "Add it to the names of the classes.")
        for ring in keyholes(item.mask):
            # Eight digits are off by less than half a pixel even in a picture that is all one row.
            values = (f"{value:.8f}" for value in (ring / (width, height)).ravel())
            lines.append(" ".join([str(class_names.index(item.name)), *values]))
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def read_yolo(data: bytes, size: Size, class_names: Sequence[str]) -> tuple[SegmentedObject, ...]:
    """Return one object for each class in YOLO's segmentation labels, in the order of `class_names`.

    Raises:
        InputError: They are none, or name a class or a place that there is not.
    """
    rings: dict[int, list[list[NDArray[np.float64]]]] = {}
    with _reading(data, "YOLO labels", MAX_OUTLINES_MB):
        for line in data.decode("ascii").splitlines():
            number, *values = line.split()
            corners = _ring(np.array(values, dtype=np.float64).reshape(-1, 2), (1, 1))
            rings.setdefault(int(number), []).append([_ring(corners * size[::-1], size)])
        if not all(0 <= number < len(class_names) for number in rings):
            raise ValueError("an unknown class")
        _check_masks(len(rings), size)
        return tuple(SegmentedObject(class_names[n], fill(rings[n], *size)) for n in sorted(rings))


# GeoJSON


def geojson(objects: Sequence[SegmentedObject]) -> bytes:
    """Return a GeoJSON FeatureCollection: a Polygon or MultiPolygon with holes for each object.

    Coordinates are pixels of the picture, x to the right and y down, not degrees; its `properties` say so.

    Raises:
        InputError: There are no objects, or too many.
    """
    height, width = _check_objects(objects)
    note = "pixels of the picture: x to the right, y down, (0, 0) the top left corner of the top left pixel"
    return _json_bytes(
        {
            "type": "FeatureCollection",
            "properties": {"coordinates": note, "width": width, "height": height},
            "features": [_feature(item) for item in objects],
        }
    )


def _feature(item: SegmentedObject) -> dict[str, Any]:
    parts = [
        [np.vstack([ring, ring[:1]]).tolist() for ring in (part.exterior, *part.holes)]
        for part in polygons(item.mask)
    ]
    several = len(parts) > 1
    return {
        "type": "Feature",
        "properties": {"name": item.name, "area": item.area, "predicted_iou": item.predicted_iou},
        "geometry": {
            "type": "MultiPolygon" if several else "Polygon",
            "coordinates": parts if several else parts[0],
        },
    }


def read_geojson(data: bytes, size: Size) -> tuple[SegmentedObject, ...]:
    """Return the objects in a GeoJSON file in pixels of the picture.

    Raises:
        InputError: It is none, of a picture of another size, or leaves the picture.
    """
    with _reading(data, "GeoJSON outlines", MAX_OUTLINES_MB):
        raw = _json_value(data)
        picture = raw.get("properties") or {}
        _check_size((picture.get("height", size[0]), picture.get("width", size[1])), size, "GeoJSON picture")
        _check_masks(len(raw["features"]), size)
        return tuple(_geojson_object(feature, size) for feature in raw["features"])


def _geojson_object(feature: Any, size: Size) -> SegmentedObject:
    geometry, properties = feature["geometry"], feature["properties"]
    parts = {"Polygon": [geometry["coordinates"]], "MultiPolygon": geometry["coordinates"]}[geometry["type"]]
    shapes = [[_ring(np.array([_numbers(xy) for xy in ring]), size) for ring in part] for part in parts]
    score = _optional_number(properties.get("predicted_iou"))
    return SegmentedObject(_text(properties["name"]), fill(shapes, *size), score)


def _ring(corners: NDArray[np.float64], size: Size) -> NDArray[np.float64]:
    """Return K 2 corners (x, y) of a line, if they are some, and inside the picture up to rounding."""
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3:
        raise ValueError("a line has three corners or more, of two numbers")
    if not ((corners >= -1) & (corners <= np.array(size[::-1]) + 1)).all():
        raise InputError("An outline leaves the picture.", "Choose a file that belongs to this picture.")
    return corners


# Prompts


def prompts_json(sheet: PromptSheet) -> bytes:
    """Return what was pointed at as a JSON file. Objects without points and box are left out."""
    return _json_bytes(
        {
            "sha256": sheet.sha256,
            "width": sheet.width,
            "height": sheet.height,
            "model_id": sheet.model_id,
            "objects": [
                {"name": name, "prompts": prompts.to_json()}
                for name, prompts in sheet.objects
                if prompts.points or prompts.box
            ],
        }
    )


def read_prompts_json(data: bytes) -> PromptSheet:
    """Return what `prompts_json` wrote.

    Raises:
        InputError: It is none, too large, or asks what cannot be asked of a picture of its size.
    """
    with _reading(data, "prompts", MAX_PROMPTS_MB):
        raw = _json_value(data)
        width, height, sha256 = raw["width"], raw["height"], raw["sha256"]
        if type(width) is not int or type(height) is not int or width < 1 or height < 1:
            raise ValueError("no size of a picture")
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise ValueError("no digest")
        _check_count(len(raw["objects"]))
        objects = tuple(
            (_text(item["name"]), Prompts.from_json(item["prompts"]).checked(width, height))
            for item in raw["objects"]
        )
        return PromptSheet(sha256, width, height, _text(raw["model_id"]), objects)


# All together


def archive(image: ImageInput, objects: Sequence[SegmentedObject], model_id: str) -> bytes:
    """Return a ZIP file of everything above; the same objects give the same bytes.

    Raises:
        InputError: There are no objects, or too many.
    """
    _check_size(_check_objects(objects), (image.height, image.width), "mask")
    names = _class_names(objects)
    asked = tuple((item.name, item.prompts) for item in objects if item.prompts is not None)
    sheet = PromptSheet(image.sha256, image.width, image.height, model_id, asked)
    files = {
        "coco.json": coco_json(image.name, image.width, image.height, objects),
        "coco_polygons.json": coco_polygons_json(image.name, image.width, image.height, objects),
        "labels.png": label_map_png(objects),
        "yolo.txt": yolo_txt(image.width, image.height, objects, names),
        "yolo_classes.txt": "".join(f"{name}\n" for name in names).encode(),
        "objects.geojson": geojson(objects),
        "prompts.json": prompts_json(sheet),
    }
    for number, item in enumerate(objects, 1):
        plain = re.sub(r"[^A-Za-z0-9-]+", "_", item.name)
        files[f"masks/{number:03d}_{plain}.png"] = mask_png(item.mask)
        files[f"cutouts/{number:03d}_{plain}.png"] = cutout_png(image.rgb, item.mask)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, data in files.items():
            opened.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


# JSON


def _json_bytes(value: dict[str, Any]) -> bytes:
    return json.dumps(value, allow_nan=False).encode("ascii")


def _json_value(data: bytes) -> Any:
    """Return any JSON value; numbers that Python alone knows, or that are absurdly long, are a ValueError."""
    return json.loads(data.decode("utf-8"), parse_constant=_refused, parse_int=_whole)


def _refused(text: str) -> Any:
    raise ValueError(f"{text[:20]} is no JSON number")


def _whole(text: str) -> int:
    return int(text) if len(text) <= 15 else _refused(text)


def _numbers(raw: Any) -> NDArray[np.float64]:
    """Return a list of JSON numbers as an array; finite, as `_json_value` and the check here see to."""
    if not isinstance(raw, list) or any(type(value) not in (int, float) for value in raw):
        raise ValueError("no list of numbers")
    values = np.array(raw, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("not finite")
    return values


def _optional_number(raw: Any) -> float | None:
    return None if raw is None else float(_numbers([raw])[0])


def _text(raw: Any) -> str:
    if not isinstance(raw, str):
        raise ValueError("no text")
    _check_name(raw)
    return raw
