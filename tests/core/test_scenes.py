"""Scenes: the truth is recomputed from pixels, outlines and questions by other means than the generator's."""

import hashlib
import io
import json
import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion
from skimage.draw import polygon2mask
from skimage.transform import warp

from core.errors import InputError
from core.scenes import (
    BACKGROUNDS,
    CLASSES,
    COLOURS,
    TEXTURES,
    Scene,
    SceneOptions,
    ScenePair,
    generate_pair,
    generate_scene,
)
from core.scenes.generate import random_stream
from core.scenes.layout import MIN_DOMINANCE, MIN_VISIBLE, MIN_WIDTH, lay_out
from core.scenes.shapes import OUTLINES, coverage
from core.scenes.text import WORDS
from core.scenes.textures import GROUNDS, pattern

SMALL = SceneOptions(width=96, height=96)
CROWDED = SceneOptions(width=160, height=120, min_objects=3, max_objects=6, text_probability=1.0)

any_seed = st.integers(0, 2**63 - 1)
any_options = st.builds(
    lambda width, height, counts, text, tilt: SceneOptions(
        width, height, min(counts), max(counts), text, tilt
    ),
    st.integers(48, 200),
    st.integers(48, 200),
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.floats(0, 1),
    st.floats(0, 180),
)
any_scene = st.builds(generate_scene, any_seed, any_options)


def _digest(seeds: range, options: SceneOptions) -> str:
    whole = hashlib.sha256()
    for seed in seeds:
        scene = generate_scene(seed, options)
        whole.update(scene.rgb.tobytes() + scene.label.encode() + scene.text.encode())
    return whole.hexdigest()


# --- the same seed is the same scene


def test_default_scenes_are_the_ones_that_the_shipped_checkpoint_was_trained_on() -> None:
    assert (
        _digest(range(24), SceneOptions())
        == "a27bd16e798032b2f1af0b45cd3f24708b7dbdc64fab9a7d3fbe1ec585a6b15e"
    )
    assert _digest(range(24), SMALL) == "0f2dedf637e719552360b3cd12c4e03ecca7c23cd4879bf4016e3ef556499866"


def test_same_seed_gives_the_same_bytes_in_another_process() -> None:
    program = (
        "import hashlib; from core.scenes import generate_pair, generate_scene;"
        "s, p = generate_scene(7), generate_pair(7);"
        "print(hashlib.sha256(s.png() + p.second.tobytes() + repr(s.qa).encode()).hexdigest())"
    )
    scene, pair = generate_scene(7), generate_pair(7)
    here = hashlib.sha256(scene.png() + pair.second.tobytes() + repr(scene.qa).encode()).hexdigest()
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here


def test_neighbouring_seeds_differ() -> None:
    assert len({generate_scene(seed, SMALL).rgb.tobytes() for seed in range(50)}) == 50


# --- masks, boxes and pixels


@settings(max_examples=60, deadline=None)
@given(any_scene)
def test_masks_are_disjoint_boxes_tight_and_largest_is_first(scene: Scene) -> None:
    assert np.sum([o.mask for o in scene.objects], axis=0).max() == 1
    for item in scene.objects:
        x0, y0, x1, y1 = item.bbox
        rows, columns = np.nonzero(item.mask)
        assert (x0, y0, x1, y1) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert item.area == len(rows) == item.mask[y0:y1, x0:x1].sum()
        assert (item.shape in CLASSES, item.colour in COLOURS, item.texture in TEXTURES) == (True,) * 3
    areas = [o.area for o in scene.objects]
    assert areas == sorted(areas, reverse=True)
    assert scene.label == scene.largest.shape == scene.objects[int(np.argmax(areas))].shape
    assert len({o.colour for o in scene.objects}) == len(scene.objects)


@settings(max_examples=60, deadline=None)
@given(any_seed, any_options)
def test_layouts_keep_the_three_rules(seed: int, options: SceneOptions) -> None:
    layout = lay_out(random_stream(seed, 1), options)
    assert options.min_objects <= len(layout.placed) <= options.max_objects
    visible = [int((layout.owner == i).sum()) for i in range(1, len(layout.placed) + 1)]
    full = [int((item.coverage >= 128).sum()) for item in layout.placed]
    assert all(v >= MIN_VISIBLE * f for v, f in zip(visible, full, strict=True))
    first, *rest = sorted(visible, reverse=True)
    assert not rest or first >= MIN_DOMINANCE * rest[0]
    columns = np.flatnonzero((layout.owner == visible.index(first) + 1).any(axis=0))
    assert columns[-1] + 1 - columns[0] >= MIN_WIDTH * min(options.width, options.height)


@settings(max_examples=30, deadline=None)
@given(any_scene)
def test_pixels_well_inside_a_plain_object_have_its_colour(scene: Scene) -> None:
    for item in scene.objects:
        inside = scene.rgb[binary_erosion(item.mask, np.ones((3, 3)), iterations=2)]
        if item.texture == "plain":
            assert (inside == COLOURS[item.colour]).all()


@settings(max_examples=30, deadline=None)
@given(any_seed)
def test_pixels_away_from_everything_on_a_plain_ground_have_its_tone(seed: int) -> None:
    scene = generate_scene(seed, SceneOptions(96, 96, text_probability=0))
    if scene.background == "plain":
        near = binary_dilation(np.any([o.mask for o in scene.objects], axis=0), np.ones((3, 3)), iterations=2)
        assert (scene.rgb[~near] == GROUNDS[scene.ground]).all()


def test_objects_stand_out_from_their_ground() -> None:
    for seed in range(40):
        scene = generate_scene(seed)
        ground = np.array(GROUNDS[scene.ground])
        for item in scene.objects:
            colours = scene.rgb[binary_erosion(item.mask, iterations=2)].astype(int)
            if len(colours):
                assert np.linalg.norm(colours - ground, axis=1).mean() > 80, (seed, item.shape)


def test_arrays_cannot_be_written() -> None:
    scene, pair = generate_scene(3, SMALL), generate_pair(3, SMALL)
    for array in (scene.rgb, scene.largest.mask, pair.second, pair.matrix, pair.first.rgb):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1


# --- shapes and patterns against independent drawing


@pytest.mark.parametrize("shape", CLASSES)
def test_coverage_is_the_outline_that_skimage_draws(shape: str) -> None:
    side, angle = 60.0, 0.5
    drawn = coverage(shape, side, angle) / 255
    assert drawn.sum() == pytest.approx(side**2, rel=0.03)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * side
    loops = [np.array(loop) @ turn.T for loop in OUTLINES[shape]]
    corner = loops[0].min(axis=0)
    # polygon2mask takes (row, column) of pixel centres
    expected, *holes = (polygon2mask(drawn.shape, (loop - corner)[:, ::-1] - 0.5) for loop in loops)
    for hole in holes:
        expected = expected & ~hole
    certain = (drawn == 0) | (drawn == 1)
    assert (expected == (drawn >= 0.5))[certain].all()
    assert certain.mean() > 0.8


def test_circle_and_ring_are_round() -> None:
    for shape, inner in (("circle", 0.0), ("ring", 0.55)):
        radius = 80 / np.sqrt(np.pi * (1 - inner**2))
        drawn = coverage(shape, 80, 0.0)
        y, x = np.indices(drawn.shape) + 0.5
        distance = np.hypot(x - radius, y - radius)
        assert (drawn[(distance < radius - 1.5) & (distance > inner * radius + 1.5)] == 255).all()
        assert (drawn[(distance > radius + 1.5) | (distance < inner * radius - 1.5)] == 0).all()


@pytest.mark.parametrize(
    ("kind", "share"), [("stripes", 1 / 2), ("dots", np.pi * 0.29**2), ("checker", 1 / 2), ("grid", 0.36)]
)
def test_patterns_cover_their_share_at_any_angle(kind: str, share: float) -> None:
    for angle in (0.0, 0.4, 2.0):
        assert pattern(kind, 300, 300, 20, angle).mean() / 255 == pytest.approx(share, abs=0.02)


# --- variety


def test_classes_counts_backgrounds_and_textures_are_balanced() -> None:
    scenes = [generate_scene(seed, SceneOptions(64, 64)) for seed in range(720)]
    labels = Counter(scene.label for scene in scenes)
    assert set(labels) == set(CLASSES)
    assert all(30 <= count <= 95 for count in labels.values())  # 60 expected, standard deviation 7.4
    counts = Counter(len(scene.objects) for scene in scenes)
    assert set(counts) == {1, 2, 3, 4}
    assert min(counts.values()) > 120
    assert min(Counter(scene.background for scene in scenes)[kind] for kind in BACKGROUNDS) > 70
    assert min(Counter(o.texture for s in scenes for o in s.objects)[kind] for kind in TEXTURES) > 150
    assert 0.28 < sum(bool(scene.text) for scene in scenes) / len(scenes) < 0.42


# --- words


def test_the_list_of_words_is_long_and_well_formed() -> None:
    assert len(set(WORDS)) == len(WORDS) >= 150
    assert all(re.fullmatch("[A-Z]{4,6}", word) for word in WORDS)


@settings(max_examples=25, deadline=None)
@given(any_seed)
def test_words_are_high_in_contrast_inside_their_box_and_in_no_mask(seed: int) -> None:
    scene = generate_scene(seed, SceneOptions(128, 128, text_probability=1.0))
    assert scene.text in WORDS
    assert scene.text_bbox is not None
    x0, y0, x1, y1 = scene.text_bbox
    assert 0 <= x0 < x1 <= 128
    assert 0 <= y0 < y1 <= 128
    assert y1 - y0 >= 10  # capitals of ten pixels can be read
    box = scene.rgb[y0:y1, x0:x1].astype(int)
    dark, light = (np.abs(box - ink).max(axis=2) <= 2 for ink in ((20, 22, 30), (252, 252, 250)))
    ink = light if sum(GROUNDS[scene.ground]) < 3 * 128 else dark
    assert 0.08 < ink.mean() < 0.6
    covered = np.any([o.mask for o in scene.objects], axis=0)[y0:y1, x0:x1]
    assert not (covered & ink).any()


# --- caption, questions, JSON


def _answer(scene: Scene, question: str) -> str:
    """Answer a question from the objects alone."""
    shapes = [o.shape for o in scene.objects]
    by_colour = {o.colour: o for o in scene.objects}
    if question == "How many objects are there?":
        return str(len(shapes))
    if found := re.fullmatch(r"How many (\w+) are there\?", question):
        return str(sum(found[1] in (f"{shape}s", f"{shape}es") for shape in shapes))
    if found := re.fullmatch(r"What (shape|colour) is the largest object\?", question):
        largest = max(scene.objects, key=lambda o: o.mask.sum())
        return largest.shape if found[1] == "shape" else largest.colour
    if found := re.fullmatch(r"What colour is the (\w+)\?", question):
        (only,) = [o.colour for o in scene.objects if o.shape == found[1]]
        return only
    if found := re.fullmatch(r"What shape is the (\w+) object\?", question):
        return by_colour[found[1]].shape
    if found := re.fullmatch(r"Is there an? (\w+)\?", question):
        return "yes" if found[1] in shapes else "no"
    if found := re.fullmatch(r"Is the (\w+) (\w+) to the (left|right) of the (\w+) (\w+)\?", question):
        a, b = by_colour[found[1]], by_colour[found[4]]
        assert (a.shape, b.shape) == (found[2], found[5])
        is_left = a.bbox[0] + a.bbox[2] < b.bbox[0] + b.bbox[2]
        return "yes" if is_left == (found[3] == "left") else "no"
    assert question == "What word is written?"
    return scene.text


@settings(max_examples=60, deadline=None)
@given(any_scene)
def test_answers_follow_from_the_objects(scene: Scene) -> None:
    assert {"count", "largest", "colour", "shape", "exists"} <= {qa.kind for qa in scene.qa}
    assert ("text" in {qa.kind for qa in scene.qa}) == bool(scene.text)
    for qa in scene.qa:
        assert qa.answer == _answer(scene, qa.question), qa


def test_yes_and_no_are_about_equally_frequent() -> None:
    for kind in ("exists", "relation"):
        answers = Counter(
            qa.answer for seed in range(300) for qa in generate_scene(seed, SMALL).qa if qa.kind == kind
        )
        assert 0.38 < answers["yes"] / answers.total() < 0.62


def test_caption_names_every_object_and_the_word() -> None:
    scene = generate_scene(7, CROWDED)
    assert all(f"{o.colour}" in scene.caption and o.shape in scene.caption for o in scene.objects)
    assert f'with the word "{scene.text}"' in scene.caption
    assert generate_scene(11).caption == "A large green triangle on a plain cream background."


def test_truth_as_json() -> None:
    scene = generate_scene(7, CROWDED)
    truth = json.loads(json.dumps(scene.to_dict("0007")))
    assert (truth["seed"], truth["class"], truth["text"]) == (7, scene.label, scene.text)
    assert [o["mask"] for o in truth["objects"]][:2] == ["0007_mask0.png", "0007_mask1.png"]
    assert [tuple(o["bbox"]) for o in truth["objects"]] == [o.bbox for o in scene.objects]
    assert {"question", "answer"} <= set(truth["qa"][0])
    mask = np.asarray(Image.open(io.BytesIO(scene.mask_png(1))))
    assert np.array_equal(mask == 255, scene.objects[1].mask)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(scene.png()))), scene.rgb)


# --- refusals


@pytest.mark.parametrize(
    "options",
    [
        {"width": 10},
        {"height": 5000},
        {"min_objects": 0},
        {"min_objects": 3, "max_objects": 2},
        {"max_objects": 9},
        {"text_probability": 1.5},
        {"text_probability": float("nan")},
        {"max_tilt_degrees": -1.0},
    ],
)
def test_impossible_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError) as caught:
        SceneOptions(**options)
    assert caught.value.remedy


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seeds_out_of_range_are_refused(seed: int) -> None:
    with pytest.raises(InputError, match="out of range"):
        generate_scene(seed)


# --- pairs

VIEWS = [SceneOptions(), SceneOptions(300, 120), SceneOptions(48, 400)]


def _warped_by_skimage(pair: ScenePair, pixel_centre: float) -> np.ndarray:
    """Return the first view warped (bilinear); skimage puts pixel centres at whole numbers."""
    shift = np.array([[1, 0, pixel_centre], [0, 1, pixel_centre], [0, 0, 1]])
    back = np.linalg.inv(shift) @ np.linalg.inv(pair.matrix) @ shift
    moved: np.ndarray = warp(pair.first.rgb / 255.0, back, order=1) * 255
    return moved


def _seen_in_both(pair: ScenePair) -> np.ndarray:
    """Return which pixels of the second view lie well inside the first (H W)."""
    height, width = pair.second.shape[:2]
    row, column = np.indices((height, width)) + 0.5
    x, y, w = np.einsum("ij,jhw->ihw", np.linalg.inv(pair.matrix), np.stack([column, row, np.ones_like(row)]))
    inside: np.ndarray = (x > 2 * w) & (x < (width - 2) * w) & (y > 2 * w) & (y < (height - 2) * w)
    return inside


@pytest.mark.parametrize("options", VIEWS, ids=["square", "wide", "high"])
@pytest.mark.parametrize("seed", [0, 4, 7, 11])
def test_second_view_is_the_first_one_warped(seed: int, options: SceneOptions) -> None:
    pair = generate_pair(seed, options)
    inside = _seen_in_both(pair)
    assert inside.mean() > 0.15
    assert np.abs(_warped_by_skimage(pair, 0.5) - pair.second)[inside].max() <= 1.01


@pytest.mark.parametrize("pixel_centre", [0.0, 0.4, 0.6, 1.0])
def test_pixel_centres_lie_at_one_half_and_nowhere_else(pixel_centre: float) -> None:
    pair = generate_pair(2)
    assert np.abs(_warped_by_skimage(pair, pixel_centre) - pair.second)[_seen_in_both(pair)].max() > 3


@settings(max_examples=30, deadline=None)
@given(any_seed, st.sampled_from(VIEWS), st.sampled_from([8, 14, 16, 47]))
def test_correspondences_equal_one_patch_at_a_time(seed: int, options: SceneOptions, patch: int) -> None:
    pair = generate_pair(seed, options)
    matches = pair.correspondences(patch)
    rows, columns = options.height // patch, options.width // patch
    assert matches.grid == matches.visible.shape == (rows, columns)
    (a, b, c), (d, e, f), (g, h, i) = pair.matrix.tolist()
    found = {tuple(p): n for n, p in enumerate(matches.first.tolist())}
    for row in range(rows):
        for column in range(columns):
            x, y = (column + 0.5) * patch, (row + 0.5) * patch
            w = g * x + h * y + i
            u, v = (a * x + b * y + c) / w, (d * x + e * y + f) / w
            inside = w > 0 and 0 <= u < columns * patch and 0 <= v < rows * patch
            assert inside == matches.visible[row, column] == ((row, column) in found)
            if inside:
                n = found[row, column]
                assert matches.xy[n].tolist() == pytest.approx([u, v])
                assert matches.second[n].tolist() == [int(v // patch), int(u // patch)]
                on_object = any(o.mask[int(y), int(x)] for o in pair.first.objects)
                assert matches.on_object[n] == on_object


def test_warps_move_patches_but_keep_most_in_view() -> None:
    shares, moves = [], []
    for seed in range(30):
        matches = generate_pair(seed, SMALL).correspondences(8)
        shares.append(matches.visible.mean())
        moves.append(np.abs(matches.first - matches.second).max(axis=1).mean())
    assert min(shares) > 0.35
    assert np.mean(shares) > 0.7
    assert np.mean(moves) > 0.8


@pytest.mark.parametrize("patch", [0, 97])
def test_patches_that_do_not_fit_are_refused(patch: int) -> None:
    with pytest.raises(InputError, match="does not fit"):
        generate_pair(0, SMALL).correspondences(patch)
