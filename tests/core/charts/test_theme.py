"""Colours: the same for a model everywhere, apart for everybody."""

import subprocess
import sys
from itertools import combinations

import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab

from core.charts.theme import CATEGORIES, model_colour


def lab(colour: str) -> np.ndarray:
    return rgb2lab(np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255)


def test_a_model_has_one_colour_on_every_machine() -> None:
    code = "from core.charts.theme import model_colour; print(model_colour('timm/vit_tiny_patch16_224'))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == model_colour("timm/vit_tiny_patch16_224")


def test_models_spread_over_all_colours() -> None:
    used = [model_colour(f"timm/model_{i}") for i in range(800)]
    assert set(used) == set(CATEGORIES)
    assert max(used.count(colour) for colour in CATEGORIES) < 150


def test_any_two_colours_can_be_told_apart() -> None:
    assert min(deltaE_ciede2000(lab(a), lab(b)) for a, b in combinations(CATEGORIES, 2)) > 15


def test_every_colour_shows_on_white_and_on_black() -> None:
    for colour in CATEGORIES:
        assert 30 < lab(colour)[0] < 80
