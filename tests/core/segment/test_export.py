"""What is exported is read back pixel by pixel, and no file makes a reader stumble."""

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from core.errors import InputError
from core.images import encode_png, from_rgb
from core.scenes import generate_scene
from core.segment import Point, Prompts
from core.segment.export import (
    PromptSheet,
    SegmentedObject,
    archive,
    coco_json,
    coco_polygons_json,
    cutout_png,
    geojson,
    label_map_png,
    mask_png,
    prompts_json,
    read_coco,
    read_geojson,
    read_label_map,
    read_mask,
    read_prompts_json,
    read_yolo,
    yolo_txt,
)
from core.segment.export.shared import MAX_OBJECTS

Mask = NDArray[np.bool_]
Objects = tuple[SegmentedObject, ...]
Reader = Callable[[bytes], object]

SIZE = (6, 9)
SHEET = PromptSheet(
    "0123456789abcdef" * 4,
    9,
    6,
    "facebook/sam-vit-base",
    (
        ("cup", Prompts((Point(1.5, 2), Point(3, 4, include=False)), (0.0, 1.0, 8.0, 5.5))),
        ("spoon", Prompts(box=(0.0, 0.0, 9.0, 6.0))),
    ),
)


@st.composite
def some_objects(draw: st.DrawFn) -> Objects:
    """Several objects of one small picture: drawn, noisy, one pixel, all of it."""
    size = draw(hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=10))
    found = []
    for number in range(draw(st.integers(1, 3))):
        mask = draw(hnp.arrays(np.bool_, size))
        if not mask.any():
            mask[draw(st.integers(0, size[0] - 1)), draw(st.integers(0, size[1] - 1))] = True
        score = draw(st.none() | st.floats(0, 1))
        found.append(SegmentedObject(f"thing {number}", mask, score))
    return tuple(found)


def objects_of_scene(seed: int) -> Objects:
    """Things, and what is left of the picture around them: a mask with holes."""
    masks = [item.mask for item in generate_scene(seed).objects]
    masks.append(~np.any(masks, axis=0))
    return tuple(SegmentedObject(f"thing {n}", mask.copy(), 0.5) for n, mask in enumerate(masks))


def ring_of_pixels() -> Mask:
    mask = np.zeros(SIZE, dtype=bool)
    mask[1:5, 2:8] = True
    mask[2:4, 3:6] = False
    return mask


EXAMPLE = (SegmentedObject("cup", ring_of_pixels(), 0.9), SegmentedObject("dürre Blätter", ~ring_of_pixels()))


def check_same(read: Objects, written: Objects, scores: bool = True) -> None:
    assert [item.name for item in read] == [item.name for item in written]
    for ours, theirs in zip(read, written, strict=True):
        assert np.array_equal(ours.mask, theirs.mask)
        assert ours.predicted_iou == (theirs.predicted_iou if scores else None)


def check_all_formats(objects: Objects) -> None:
    height, width = size = objects[0].mask.shape
    names = [item.name for item in objects]
    check_same(read_coco(coco_json("a.png", width, height, objects), size), objects)
    check_same(read_coco(coco_polygons_json("a.png", width, height, objects), size), objects)
    check_same(read_geojson(geojson(objects), size), objects)
    check_same(read_yolo(yolo_txt(width, height, objects, names), size, names), objects, scores=False)
    labels = read_label_map(label_map_png(objects), size)
    front = np.zeros(size, dtype=int)
    for number, item in enumerate(objects, 1):
        front[item.mask] = number
        assert np.array_equal(read_mask(mask_png(item.mask), size), item.mask)
    assert np.array_equal(labels, front)


@settings(deadline=None, max_examples=60)
@given(some_objects())
def test_every_format_gives_the_same_pixels_again(objects: Objects) -> None:
    check_all_formats(objects)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.3, 0.6, 0.9]))
def test_noise_is_the_same_again(seed: int, density: float) -> None:
    mask = np.random.default_rng(seed).random((23, 37)) < density
    check_all_formats((SegmentedObject("noise", mask), SegmentedObject("the rest", ~mask)))


@pytest.mark.parametrize("seed", [3, 8])
def test_scenes_are_the_same_again(seed: int) -> None:
    check_all_formats(objects_of_scene(seed))


# Against other readers


def by_pycocotools(raw: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the annotations as run lengths, by pycocotools' own reading of them."""
    from pycocotools import mask as coco

    height, width = raw["images"][0]["height"], raw["images"][0]["width"]
    outlines = [annotation["segmentation"] for annotation in raw["annotations"]]
    return [
        outline if isinstance(outline, dict) else coco.merge(coco.frPyObjects(outline, height, width))
        for outline in outlines
    ]


@pytest.mark.parametrize("write", [coco_json, coco_polygons_json])
@settings(deadline=None, max_examples=40)
@given(objects=some_objects())
def test_coco_files_are_read_by_pycocotools(write: Callable[..., bytes], objects: Objects) -> None:
    from pycocotools import mask as coco

    height, width = objects[0].mask.shape
    raw = json.loads(write("a.png", width, height, objects))
    with warnings.catch_warnings():  # pycocotools is not adapted to numpy 2
        warnings.simplefilter("ignore", DeprecationWarning)
        for item, annotation, runs in zip(objects, raw["annotations"], by_pycocotools(raw), strict=True):
            assert np.array_equal(coco.decode(runs), item.mask)
            assert annotation["area"] == coco.area(runs) == item.mask.sum()
            assert annotation["bbox"] == coco.toBbox(runs).tolist()


def test_coco_files_hold_what_coco_asks_for(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from pycocotools.coco import COCO

    path = tmp_path / "coco.json"
    twice = (*EXAMPLE, EXAMPLE[0])
    path.write_bytes(coco_polygons_json("photo.jpg", 9, 6, twice))
    read = COCO(str(path))
    assert read.loadImgs(1) == [{"id": 1, "file_name": "photo.jpg", "width": 9, "height": 6}]
    assert [item["name"] for item in read.loadCats(read.getCatIds())] == ["cup", "dürre Blätter"]
    annotations = read.loadAnns(read.getAnnIds(imgIds=1))
    assert [item["category_id"] for item in annotations] == [1, 2, 1]
    assert [item["iscrowd"] for item in annotations] == [0, 0, 0]
    assert [item.get("score") for item in annotations] == [0.9, None, 0.9]
    assert annotations[0]["bbox"] == [2, 1, 6, 4]


def test_plain_run_lengths_are_read() -> None:
    raw = json.loads(coco_json("a.png", 9, 6, EXAMPLE[:1]))
    column_wise = EXAMPLE[0].mask.ravel(order="F").astype(int)
    starts = np.flatnonzero(np.diff(column_wise, prepend=0))
    lengths = np.diff([0, *starts, 54]).tolist()
    raw["annotations"][0]["segmentation"]["counts"] = lengths
    check_same(read_coco(json.dumps(raw).encode(), SIZE), EXAMPLE[:1])


@settings(deadline=None, max_examples=40)
@given(some_objects())
def test_geojson_has_the_area_of_the_mask_and_closed_rings(objects: Objects) -> None:
    raw = json.loads(geojson(objects))
    assert raw["type"] == "FeatureCollection"
    assert "y down" in raw["properties"]["coordinates"]
    for item, feature in zip(objects, raw["features"], strict=True):
        geometry = feature["geometry"]
        parts = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
        area = 0.0
        for ring in (np.array(ring) for part in parts for ring in part):
            assert ring[0].tolist() == ring[-1].tolist()
            area += (ring[:-1, 0] * ring[1:, 1] - ring[1:, 0] * ring[:-1, 1]).sum() / 2
        assert area == item.mask.sum() == feature["properties"]["area"]


def test_yolo_lines_are_parts_of_the_sides() -> None:
    mask = np.zeros((4, 8), dtype=bool)
    mask[1:3, 2:4] = True
    mask[0, 7] = True
    lines = yolo_txt(8, 4, (SegmentedObject("b", mask),), ["a", "b"]).decode().splitlines()
    numbers = sorted([float(value) for value in line.split()] for line in lines)
    assert numbers == [
        [1, 0.25, 0.25, 0.5, 0.25, 0.5, 0.75, 0.25, 0.75],
        [1, 0.875, 0, 1, 0, 1, 0.25, 0.875, 0.25],
    ]


def test_yolo_knows_classes_only() -> None:
    left, right = np.zeros((2, 4, 4), dtype=bool)
    left[:, 0] = right[1, 1:] = True
    written = [SegmentedObject("leaf", left), SegmentedObject("leaf", right)]
    (read,) = read_yolo(yolo_txt(4, 4, written, ["leaf"]), (4, 4), ["leaf"])
    assert np.array_equal(read.mask, left | right)
    with pytest.raises(InputError, match="not one of the classes"):
        yolo_txt(4, 4, written, ["tree"])


# Pictures


def test_a_cutout_shows_the_object_alone() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    mask = EXAMPLE[0].mask
    with Image.open(io.BytesIO(cutout_png(rgb, mask, crop=False))) as opened:
        whole = np.asarray(opened)
    assert np.array_equal(whole[..., 3], mask * 255)
    assert np.array_equal(whole[mask][:, :3], rgb[mask])
    assert not whole[~mask].any()
    with Image.open(io.BytesIO(cutout_png(rgb, mask))) as opened:
        assert np.array_equal(np.asarray(opened), whole[1:5, 2:8])
    assert np.array_equal(read_mask(cutout_png(rgb, mask, crop=False), SIZE), mask)


def png(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
def test_masks_of_any_kind_of_png_are_read(mode: str) -> None:
    mask = EXAMPLE[0].mask
    assert np.array_equal(read_mask(png(Image.fromarray(mask).convert(mode)), SIZE), mask)


def test_faint_numbers_of_sixteen_bits_are_inside() -> None:
    mask = EXAMPLE[0].mask
    assert np.array_equal(read_mask(png(Image.fromarray(mask.astype(np.uint16))), SIZE), mask)


def test_a_mask_of_another_size_is_refused_with_both_sizes() -> None:
    with pytest.raises(InputError, match="9 x 6 pixels, the picture of 6 x 9"):
        read_mask(mask_png(EXAMPLE[0].mask), (9, 6))


def test_masks_that_lost_pixels_are_refused() -> None:
    buffer = io.BytesIO()
    Image.fromarray(EXAMPLE[0].mask).save(buffer, "JPEG")
    with pytest.raises(InputError, match="JPEG"):
        read_mask(buffer.getvalue(), SIZE)
    colours = encode_png(np.zeros((*SIZE, 3), dtype=np.uint8))
    with pytest.raises(InputError, match="grey"):
        read_label_map(colours, SIZE)


@pytest.mark.parametrize(("count", "bits"), [(255, "L"), (256, "I;16")])
def test_label_maps_have_bits_enough(count: int, bits: str) -> None:
    masks = np.eye(count, dtype=bool).reshape(count, 1, count)
    data = label_map_png([SegmentedObject(str(n), mask) for n, mask in enumerate(masks)])
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.mode == bits
    assert read_label_map(data, (1, count)).tolist() == [list(range(1, count + 1))]


# Prompts and the archive


def same_prompts(read: PromptSheet, written: PromptSheet) -> bool:
    def plain(sheet: PromptSheet) -> tuple[object, ...]:
        asked = [(name, prompts.to_json()) for name, prompts in sheet.objects]
        return sheet.sha256, sheet.width, sheet.height, sheet.model_id, asked

    return plain(read) == plain(written)


def test_prompts_come_back() -> None:
    assert same_prompts(read_prompts_json(prompts_json(SHEET)), SHEET)


def test_prompts_of_logits_alone_are_left_out() -> None:
    logits = Prompts(logits=np.zeros((4, 4), dtype=np.float32))
    sheet = PromptSheet(SHEET.sha256, 9, 6, "m", (("a", logits), *SHEET.objects))
    assert [name for name, _ in read_prompts_json(prompts_json(sheet)).objects] == ["cup", "spoon"]


def changed(path: str, value: object) -> bytes:
    """Return the example's prompts with one value changed; `path` is keys and indices with dots between."""
    raw = json.loads(prompts_json(SHEET))
    *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    place = raw
    for key in parents:
        place = place[key]
    place[last] = value
    return json.dumps(raw).encode()


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("sha256", "0" * 63, "no prompts"),
        ("sha256", 5, "no prompts"),
        ("width", True, "no prompts"),
        ("width", 9.0, "no prompts"),
        ("height", 0, "no prompts"),
        ("model_id", None, "no prompts"),
        ("objects", None, "no prompts"),
        ("objects.0.name", 7, "no prompts"),
        ("objects.0.name", "", "name"),
        ("objects.0.name", "\ud800", "name"),
        ("objects.0.name", "x" * 1000, "name"),
        ("objects.0.prompts", [], "no prompts"),
        ("objects.0.prompts.points.0.x", 10**400, "no prompts"),
        ("objects.0.prompts.points.0.x", float("nan"), "no prompts"),
        ("objects.0.prompts.points.0.x", "1", "no prompts"),
        ("objects.0.prompts.points.0.x", 9.5, "outside"),
        ("objects.0.prompts.points.0.y", -1, "outside"),
        ("objects.1.prompts.box", [0, 0, 10, 6], "leaves"),
        ("objects.1.prompts.box", [0, 0, 0, 6], "no size"),
        ("objects.1.prompts.box", None, "nothing to segment"),
    ],
)
def test_prompts_that_cannot_be_are_refused(path: str, value: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_prompts_json(changed(path, value))


def test_too_many_or_too_large_prompts_are_refused() -> None:
    one = json.loads(prompts_json(SHEET))["objects"][0]
    assert len(read_prompts_json(changed("objects", [one] * MAX_OBJECTS)).objects) == MAX_OBJECTS
    with pytest.raises(InputError, match="501 objects"):
        read_prompts_json(changed("objects", [one] * (MAX_OBJECTS + 1)))
    with pytest.raises(InputError, match="1 MB"):
        read_prompts_json(prompts_json(SHEET) + b" " * 1_000_000)


def test_the_archive_holds_everything_and_is_reproducible() -> None:
    image = from_rgb(np.full((*SIZE, 3), 200, dtype=np.uint8), "photo.png")
    asked = Prompts((Point(3, 1),))
    objects = (SegmentedObject("../a cup", EXAMPLE[0].mask, 0.9, asked), EXAMPLE[1])
    data = archive(image, objects, "sam-b")
    assert data == archive(image, objects, "sam-b")
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        files = {name: opened.read(name) for name in opened.namelist()}
    names = files["yolo_classes.txt"].decode().splitlines()
    check_same(read_coco(files["coco.json"], SIZE), objects)
    check_same(read_coco(files["coco_polygons.json"], SIZE), objects)
    check_same(read_geojson(files["objects.geojson"], SIZE), objects)
    check_same(read_yolo(files["yolo.txt"], SIZE, names), objects, scores=False)
    assert np.array_equal(read_label_map(files["labels.png"], SIZE) == 1, objects[0].mask)
    sheet = PromptSheet(image.sha256, 9, 6, "sam-b", (("../a cup", asked),))
    assert same_prompts(read_prompts_json(files["prompts.json"]), sheet)
    assert np.array_equal(read_mask(files["masks/001__a_cup.png"], SIZE), objects[0].mask)
    assert {name for name in files if "/" in name} == {
        f"{folder}/{name}.png"
        for folder in ("masks", "cutouts")
        for name in ("001__a_cup", "002_d_rre_Bl_tter")
    }


# What cannot be


def test_objects_that_cannot_be_are_refused() -> None:
    mask = EXAMPLE[0].mask
    with pytest.raises(InputError, match="empty"):
        SegmentedObject("a", mask & ~mask)
    with pytest.raises(InputError, match="name"):
        SegmentedObject("a\n", mask)
    with pytest.raises(InputError, match="finite"):
        SegmentedObject("a", mask, float("nan"))
    with pytest.raises(ValueError, match="bool"):
        SegmentedObject("a", mask.astype(np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        EXAMPLE[0].mask[0, 0] = True
    with pytest.raises(InputError, match="no object"):
        geojson([])
    with pytest.raises(ValueError, match="one size"):
        geojson([EXAMPLE[0], SegmentedObject("a", mask.T.copy())])


NAMES = ["cup", "dürre Blätter"]
READERS: dict[str, tuple[Reader, bytes]] = {
    "mask": (lambda data: read_mask(data, SIZE), mask_png(EXAMPLE[0].mask)),
    "label map": (lambda data: read_label_map(data, SIZE), label_map_png(EXAMPLE)),
    "coco": (lambda data: read_coco(data, SIZE), coco_json("a.png", 9, 6, EXAMPLE)),
    "coco polygons": (lambda data: read_coco(data, SIZE), coco_polygons_json("a.png", 9, 6, EXAMPLE)),
    "yolo": (lambda data: read_yolo(data, SIZE, NAMES), yolo_txt(9, 6, EXAMPLE, NAMES)),
    "geojson": (lambda data: read_geojson(data, SIZE), geojson(EXAMPLE)),
    "prompts": (read_prompts_json, prompts_json(SHEET)),
}
TEXTS = ["coco", "coco polygons", "geojson", "prompts"]


def read_or_refuse(reader: Reader, data: bytes) -> None:
    """Fail if anything but an InputError comes out of it."""
    try:
        reader(data)
    except InputError as error:
        assert error.remedy
        assert len(str(error)) < 500


@pytest.mark.parametrize("name", READERS)
@settings(deadline=None, max_examples=60)
@given(data=st.binary(max_size=200))
def test_random_bytes_are_refused(name: str, data: bytes) -> None:
    read_or_refuse(READERS[name][0], data)


@pytest.mark.parametrize("name", READERS)
@settings(deadline=None, max_examples=60)
@given(st.data())
def test_damaged_files_are_refused_or_read(name: str, data: st.DataObject) -> None:
    reader, good = READERS[name]
    place = data.draw(st.integers(0, len(good) - 1))
    removed = data.draw(st.integers(0, 20))
    put = data.draw(
        st.binary(max_size=4) | st.sampled_from([b"-", b"9999999999", b"1e308", b"]", b"nan", b"~~~~"])
    )
    read_or_refuse(reader, good[:place] + put + good[place + removed :])


ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["Polygon", "MultiPolygon", 1, 2, 6, 9, -1e308, 1e308, [1e308, -1e308] * 3]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["x", "size", "counts", "points", "type"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def replace_one(raw: Any, data: st.DataObject) -> Any:
    """Return JSON with one value, anywhere in it, replaced or taken away."""
    if not isinstance(raw, dict | list) or not raw or data.draw(st.integers(0, 5)) == 0:
        return data.draw(ODD)
    keys = sorted(raw) if isinstance(raw, dict) else list(range(len(raw)))
    key = data.draw(st.sampled_from(keys))
    if data.draw(st.integers(0, 9)) == 0:
        del raw[key]
    else:
        raw[key] = replace_one(raw[key], data)
    return raw


@pytest.mark.parametrize("name", TEXTS)
@settings(deadline=None, max_examples=60)
@given(st.data())
def test_json_of_wrong_values_is_refused_or_read(name: str, data: st.DataObject) -> None:
    reader, good = READERS[name]
    read_or_refuse(reader, json.dumps(replace_one(json.loads(good), data)).encode())


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("data", [b"", b"null", b"[" * 100_000, b"\xff\xfe", b"9" * 5000, b'{"a": NaN}'])
def test_what_is_no_such_json_is_refused(name: str, data: bytes) -> None:
    with pytest.raises(InputError):
        READERS[name][0](data)


@pytest.mark.parametrize("name", READERS)
def test_large_files_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="MB"):
        READERS[name][0](READERS[name][1] + b" " * 21_000_000)


@pytest.mark.parametrize("name", ["mask", "label map", "coco", "coco polygons", "geojson"])
def test_files_of_another_picture_are_refused(name: str) -> None:
    data = READERS[name][1]
    reader = {"mask": read_mask, "label map": read_label_map, "geojson": read_geojson}.get(name, read_coco)
    with pytest.raises(InputError, match="9 x 6 pixels, the picture of 8 x 6"):
        reader(data, (6, 8))


@pytest.mark.parametrize(
    "counts", ["o" * 40, "P", "~", "1", "", "0" * 54, [54.5, -0.5], [2**60] * 16, [-1, 55]]
)
def test_run_lengths_that_lead_out_of_the_picture_are_refused(counts: object) -> None:
    raw = json.loads(coco_json("a.png", 9, 6, EXAMPLE[:1]))
    raw["annotations"][0]["segmentation"]["counts"] = counts
    with pytest.raises(InputError):
        read_coco(json.dumps(raw).encode(), SIZE)


def test_more_masks_than_the_memory_holds_are_refused() -> None:
    raw = json.loads(coco_json("a.png", 9, 6, EXAMPLE[:1]))
    raw["images"][0] |= {"width": 6000, "height": 6000}
    raw["annotations"] *= 100
    with pytest.raises(InputError, match="3600 megapixels"):
        read_coco(json.dumps(raw).encode(), (6000, 6000))
