"""Outlines as YOLO labels and as GeoJSON in pixels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.segment.export.shared import (
    MAX_OUTLINES_MB,
    SegmentedObject,
    Size,
    check_masks,
    check_objects,
    check_size,
    checked_ring,
    json_bytes,
    json_name,
    json_numbers,
    json_value,
    optional_number,
    reading,
)
from core.segment.regions import fill, keyholes, polygons


def yolo_txt(
    width: int, height: int, objects: Sequence[SegmentedObject], class_names: Sequence[str]
) -> bytes:
    """Return YOLO's segmentation labels: a line for each separate part, with x and y as parts of the sides.

    A line is the number of the class, from 0, and the corners; holes are keyholes as in COCO polygons. The
    format knows no objects: the parts of all objects of a class become one mask when they are read.

    Raises:
        InputError: There are no objects, too many, or one whose name is not a class.
    """
    check_size(check_objects(objects), (height, width), "mask")
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
    with reading(data, "YOLO labels", MAX_OUTLINES_MB):
        for line in data.decode("ascii").splitlines():
            number, *values = line.split()
            corners = checked_ring(np.array(values, dtype=np.float64).reshape(-1, 2), (1, 1))
            rings.setdefault(int(number), []).append([checked_ring(corners * size[::-1], size)])
        if not all(0 <= number < len(class_names) for number in rings):
            raise ValueError("an unknown class")
        check_masks(len(rings), size)
        return tuple(SegmentedObject(class_names[n], fill(rings[n], *size)) for n in sorted(rings))


def geojson(objects: Sequence[SegmentedObject]) -> bytes:
    """Return a GeoJSON FeatureCollection: a Polygon or MultiPolygon with holes for each object.

    Coordinates are pixels of the picture, x to the right and y down, not degrees; its `properties` say so.

    Raises:
        InputError: There are no objects, or too many.
    """
    height, width = check_objects(objects)
    note = "pixels of the picture: x to the right, y down, (0, 0) the top left corner of the top left pixel"
    return json_bytes(
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
    with reading(data, "GeoJSON outlines", MAX_OUTLINES_MB):
        raw = json_value(data)
        picture = raw.get("properties") or {}
        check_size((picture.get("height", size[0]), picture.get("width", size[1])), size, "GeoJSON picture")
        check_masks(len(raw["features"]), size)
        return tuple(_geojson_object(feature, size) for feature in raw["features"])


def _geojson_object(feature: Any, size: Size) -> SegmentedObject:
    geometry, properties = feature["geometry"], feature["properties"]
    parts = {"Polygon": [geometry["coordinates"]], "MultiPolygon": geometry["coordinates"]}[geometry["type"]]
    shapes = [
        [checked_ring(np.array([json_numbers(xy) for xy in ring]), size) for ring in part] for part in parts
    ]
    score = optional_number(properties.get("predicted_iou"))
    return SegmentedObject(json_name(properties["name"]), fill(shapes, *size), score)


def _ring(corners: Any, size: Size) -> NDArray[np.float64]:
    return checked_ring(np.array([json_numbers(xy) for xy in corners]), size)
