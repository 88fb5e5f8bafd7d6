"""Every format at once."""

import io
import re
import zipfile
from collections.abc import Sequence

from core.images import ImageInput
from core.segment.export.coco import coco_json, coco_polygons_json
from core.segment.export.outlines import geojson, yolo_txt
from core.segment.export.pictures import cutout_png, label_map_png, mask_png
from core.segment.export.prompts import prompts_json
from core.segment.export.shared import PromptSheet, SegmentedObject, check_objects, check_size, class_names_of


def archive(image: ImageInput, objects: Sequence[SegmentedObject], model_id: str) -> bytes:
    """Return a ZIP file of everything above; the same objects give the same bytes.

    Raises:
        InputError: There are no objects, or too many.
    """
    check_size(check_objects(objects), (image.height, image.width), "mask")
    names = class_names_of(objects)
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
