"""Masks and prompts as files: what is shown is taken away, and what was taken away can be loaded."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import streamlit as st

from core.errors import InputError
from core.images import ImageInput
from core.registry import ModelSpec
from core.segment import export
from core.segment.export import PromptSheet, SegmentedObject
from core.segment.prompts import Prompts
from pages.ui.segment_run import PAGE
from pages.ui.segment_state import Work
from pages.ui.segment_view import draw_all, looks


def segmented(work: Work) -> tuple[SegmentedObject, ...]:
    """Return every object with a mask as the page shows it.

    Raises:
        InputError: There is none.
    """
    found = []
    for item, mask in draw_all(work, work.looks or looks()).masks:
        if mask.any():
            result = item.step.result
            predicted = float(result.masks.predicted_iou[item.step.index]) if result else None
            found.append(SegmentedObject(item.name, mask, predicted, item.step.prompts))
    if not found:
        raise InputError("There is no mask to save yet.", "Mark an object on the canvas first.")
    return tuple(found)


def files(work: Work, image: ImageInput, spec: ModelSpec) -> None:
    """Draw what can be taken away, and what can be loaded."""
    if all(item.step.result is None for item in work.objects):
        st.info("Mark an object first.", icon=":material/info:")
    else:
        _downloads(work, image, spec)
    _load(work, image)


def _downloads(work: Work, image: ImageInput, spec: ModelSpec) -> None:
    stem = re.sub(r"[^\w.-]+", "-", image.name.rpartition("/")[2].partition(".")[0]) or "picture"

    def all_of(make: Callable[[tuple[SegmentedObject, ...]], bytes]) -> Callable[[], bytes]:
        return lambda: make(segmented(work))

    def active(make: Callable[[SegmentedObject], bytes]) -> Callable[[], bytes]:
        return lambda: make(_active(work))

    size = image.width, image.height
    named = list(dict.fromkeys(item.name for item in work.objects))

    def sheet(objects: tuple[SegmentedObject, ...]) -> bytes:
        asked = tuple((item.name, item.prompts) for item in objects if item.prompts is not None)
        return export.prompts_json(PromptSheet(image.sha256, *size, spec.id, asked))

    offered = [
        ("Mask (PNG)", f"{stem}-mask.png", "image/png", active(lambda o: export.mask_png(o.mask))),
        (
            "Cut-out (PNG)",
            f"{stem}-cutout.png",
            "image/png",
            active(lambda o: export.cutout_png(image.rgb, o.mask)),
        ),
        ("Label map (PNG)", f"{stem}-labels.png", "image/png", all_of(export.label_map_png)),
        (
            "COCO, RLE (JSON)",
            f"{stem}-coco.json",
            "application/json",
            all_of(lambda o: export.coco_json(image.name, *size, o)),
        ),
        (
            "COCO, polygons (JSON)",
            f"{stem}-polygons.json",
            "application/json",
            all_of(lambda o: export.coco_polygons_json(image.name, *size, o)),
        ),
        ("YOLO (TXT)", f"{stem}.txt", "text/plain", all_of(lambda o: export.yolo_txt(*size, o, named))),
        ("GeoJSON", f"{stem}.geojson", "application/geo+json", all_of(export.geojson)),
        ("Prompts (JSON)", f"{stem}-prompts.json", "application/json", all_of(sheet)),
        ("All (ZIP)", f"{stem}.zip", "application/zip", all_of(lambda o: export.archive(image, o, spec.id))),
    ]
    with st.container(horizontal=True):
        for label, name, media_type, data in offered:
            st.download_button(
                label,
                data,
                name,
                media_type,
                icon=":material/download:",
                on_click="ignore",
                key=f"{PAGE}_{label}",
            )
    st.caption("Mask and cut-out are of the chosen object, the others of all. Coordinates are pixels.")


def _active(work: Work) -> SegmentedObject:
    found = segmented(replace(work, objects=[work.edited], active=0))
    return found[0]


def _load(work: Work, image: ImageInput) -> None:
    """Take over prompts that were saved before, each as an object; or a mask, which the model refines."""
    file = st.file_uploader(
        "Load prompts (JSON) or a mask to start from (PNG)", ["json", "png"], key=f"{PAGE}_load"
    )
    if file is None or st.session_state.get(f"{PAGE}_loaded") == file.file_id:
        return
    st.session_state[f"{PAGE}_loaded"] = file.file_id
    data = file.getvalue()
    if data.startswith(b"\x89PNG"):
        loaded = [("", Prompts(mask=export.read_mask(data, (image.height, image.width))))]
    else:
        sheet = export.read_prompts_json(data)
        if sheet.sha256 != image.sha256:
            st.toast("These prompts were made on another picture.", icon=":material/info:")
        loaded = list(sheet.objects)
    for _, prompts in loaded:
        prompts.checked(image.width, image.height)
    for name, prompts in loaded:
        item = work.blank()
        item.name = name[:60] or item.name
        item.show(prompts, 0)
    work.redraw()
    st.rerun(scope="app")
