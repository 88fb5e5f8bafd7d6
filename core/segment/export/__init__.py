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

from core.segment.export.archive import archive
from core.segment.export.coco import coco_json, coco_polygons_json, read_coco
from core.segment.export.outlines import geojson, read_geojson, read_yolo, yolo_txt
from core.segment.export.pictures import (
    cutout_png,
    label_map_png,
    labels_png,
    mask_png,
    read_label_map,
    read_mask,
)
from core.segment.export.prompts import prompts_json, read_prompts_json
from core.segment.export.shared import PromptSheet, SegmentedObject, most_masks

__all__ = [
    "PromptSheet",
    "SegmentedObject",
    "archive",
    "coco_json",
    "coco_polygons_json",
    "cutout_png",
    "geojson",
    "label_map_png",
    "labels_png",
    "mask_png",
    "most_masks",
    "prompts_json",
    "read_coco",
    "read_geojson",
    "read_label_map",
    "read_mask",
    "read_prompts_json",
    "read_yolo",
    "yolo_txt",
]
