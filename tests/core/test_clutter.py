"""Crowded pictures: the same for the same seed, and their masks are the truth."""

import hashlib
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from core.errors import InputError
from core.scenes import clutter
from core.scenes.clutter import MIN_AREA, MIN_CONTRAST, STYLES, Clutter, Style, generate_clutter

SEEDS = range(40)
SIDE = 128


def photograph(seed: int, height: int = 150, width: int = 200) -> NDArray[np.uint8]:
    """Return a coarse colourful picture that depends on nothing outside this file."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.NEAREST))


PHOTOGRAPHS = tuple(photograph(seed) for seed in range(3))


@cache
def drawn(seed: int, style: Style) -> Clutter:
    return generate_clutter(seed, style, PHOTOGRAPHS, SIDE)


def everything() -> Iterator[Clutter]:
    yield from (drawn(seed, style) for style in STYLES for seed in SEEDS)


def digest(found: Clutter) -> str:
    return hashlib.sha256(found.rgb.tobytes() + found.owner.tobytes()).hexdigest()


# The same seed


@pytest.mark.parametrize("style", STYLES)
def test_the_same_seed_gives_the_same_bytes(style: Style) -> None:
    for seed in (0, 5, 2**62):
        one, two = (generate_clutter(seed, style, PHOTOGRAPHS, SIDE) for _ in range(2))
        assert digest(one) == digest(two)


def test_other_seeds_and_styles_give_other_pictures() -> None:
    digests = [digest(found) for found in everything()]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("shapes", "28e4da3db02e1b42"),
        ("cutouts", "1504cfb7e1a3e079"),
    ],
)
def test_the_pictures_of_a_seed_stay_what_they_are(style: Style, expected: str) -> None:
    """The owner map, which no version of a blur or of JPEG changes; scores in cards depend on it."""
    owner = generate_clutter(7, style, PHOTOGRAPHS, SIDE).owner
    assert hashlib.sha256(owner.tobytes()).hexdigest()[:16] == expected


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seeds_that_are_none(seed: int) -> None:
    with pytest.raises(InputError):
        generate_clutter(seed, "shapes", PHOTOGRAPHS)


# The truth


def test_sizes_and_kinds() -> None:
    for side in (64, 200):
        found = generate_clutter(3, "cutouts", PHOTOGRAPHS, side)
        assert (found.rgb.shape, found.rgb.dtype) == ((side, side, 3), np.uint8)
        assert (found.owner.shape, found.owner.dtype) == ((side, side), np.uint8)
    assert generate_clutter(3, "shapes", PHOTOGRAPHS).owner.shape == (256, 256)


def test_things_are_numbered_from_one_the_largest_first() -> None:
    for found in everything():
        numbers = np.unique(found.owner)
        count = len(found.masks)
        assert 1 <= count <= 7
        assert set(numbers) - {0} == set(range(1, count + 1))
        areas = [int(mask.sum()) for mask in found.masks]
        assert areas == sorted(areas, reverse=True)
        assert min(areas) >= MIN_AREA * found.owner.size


def test_masks_are_disjoint_and_are_the_owner_map() -> None:
    for found in everything():
        stacked = np.sum(found.masks, axis=0)
        assert stacked.max() == 1
        assert np.array_equal(stacked == 1, found.owner > 0)


def test_pictures_are_crowded() -> None:
    for style in STYLES:
        counts = [len(drawn(seed, style).masks) for seed in SEEDS]
        assert len(set(counts)) >= 4
        assert np.mean(counts) > 2


@pytest.mark.parametrize("style", STYLES)
def test_things_can_be_told_from_what_is_around_them(style: Style) -> None:
    """Most of them clearly: the mean colour inside, against a ring of four pixels outside."""
    apart = []
    for seed in SEEDS:
        found = drawn(seed, style)
        for mask in found.masks:
            grown = _grown(mask, 4)
            inside, outside = found.rgb[mask].mean(axis=0), found.rgb[grown & ~mask].mean(axis=0)
            apart.append(float(np.abs(inside - outside).mean()))
    assert np.median(apart) > MIN_CONTRAST


def test_everything_that_stands_alone_has_the_contrast() -> None:
    """On photographs of one grey, things of that same grey in another light: few can be told from it."""
    grey = [np.full((150, 200, 3), 120, np.uint8)] * 2
    found = [
        contrast for seed in range(60) for contrast in _alone(generate_clutter(seed, "cutouts", grey, SIDE))
    ]
    assert len(found) >= 20
    assert min(found) > 0.8 * MIN_CONTRAST  # noise and blur of the camera come later


def _alone(found: Clutter) -> Iterator[float]:
    """Yield the contrast along the edge of each thing wholly inside, with nothing near."""
    ground = np.median(found.rgb[found.owner == 0], axis=0)
    for mask in found.masks:
        near = _grown(mask, 5) & ~mask
        border = np.concatenate([mask[[0, 1, -2, -1]].ravel(), mask[:, [0, 1, -2, -1]].ravel()])
        clear = not found.owner[near].any() and np.abs(found.rgb[near] - ground).mean() < 12
        if clear and not border.any():
            edge = mask & _grown(~mask, 2)
            yield float(np.abs(found.rgb[edge] - ground).mean())


def _grown(mask: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    from scipy.ndimage import binary_dilation

    found: NDArray[np.bool_] = binary_dilation(mask, iterations=by)
    return found


def test_contrast_is_measured_along_the_edge() -> None:
    size = (20, 20)
    disc = np.zeros(size, np.uint8)
    disc[4:16, 4:16] = 255
    shade = Image.fromarray(disc)
    ground = Image.new("RGB", size, (100, 100, 100))
    assert clutter._contrast(ground, Image.new("RGB", size, (100, 100, 100)), shade) == 0
    assert clutter._contrast(ground, Image.new("RGB", size, (130, 100, 40)), shade) == 30
    hollow = ground.copy()
    hollow.paste((255, 255, 255), (6, 6, 14, 14))  # differs only where the edge is not
    assert clutter._contrast(ground, hollow, shade) == 0
    assert clutter._contrast(ground, ground, Image.new("L", size)) == 0


# What they are made of


def test_cutouts_hold_no_colours_but_those_of_the_photographs() -> None:
    """Grey photographs give grey pictures; things of `shapes` are of any colour."""
    grey = [np.repeat(photograph(seed)[..., :1], 3, axis=2) for seed in range(3)]
    spread = {
        style: max(
            int(np.ptp(generate_clutter(s, style, grey, SIDE).rgb, axis=2).max()) for s in (0, 2, 3, 5)
        )
        for style in STYLES
    }
    assert spread["shapes"] > 60
    assert spread["cutouts"] < 60  # noise of the camera is of any colour


def test_the_photographs_decide_the_picture() -> None:
    others = tuple(photograph(seed) for seed in (10, 11, 12))
    one, two = (generate_clutter(4, "cutouts", given, SIDE).rgb for given in (PHOTOGRAPHS, others))
    assert not np.array_equal(one, two)


def test_one_photograph_is_enough_and_small_ones_too() -> None:
    for given in (PHOTOGRAPHS[:1], [photograph(0, 20, 30), photograph(1, 9, 200)]):
        for style in STYLES:
            assert generate_clutter(1, style, given, SIDE).masks


def test_photographs_stay_as_they_are() -> None:
    given = [photograph(seed).copy() for seed in range(3)]
    before = [picture.copy() for picture in given]
    for style in STYLES:
        generate_clutter(1, style, given, SIDE)
    assert all(np.array_equal(one, two) for one, two in zip(given, before, strict=True))
