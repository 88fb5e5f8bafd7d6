"""Samples: every listed one loads offline, is the photograph that scikit-image means, and costs no import."""

import subprocess
import sys

import numpy as np
import pytest
from skimage import data as skimage_data

from core.errors import InputError
from core.samples import load_sample, samples
from core.scenes import generate_scene

PHOTOS = {sample.id for sample in samples() if sample.kind == "photo"}


def test_photographs_and_scenes_are_listed_once() -> None:
    ids = [sample.id for sample in samples()]
    assert len(set(ids)) == len(ids)
    assert {"astronaut", "chelsea", "coffee", "rocket", "camera", "coins", "page", "text", "retina"} <= PHOTOS
    assert {"motorcycle-left", "motorcycle-right"} <= PHOTOS
    assert sum(sample.kind == "scene" for sample in samples()) >= 4
    assert all(sample.title and sample.source for sample in samples())


@pytest.mark.parametrize("sample_id", [sample.id for sample in samples()])
def test_every_listed_sample_loads_under_its_id(sample_id: str) -> None:
    image = load_sample(sample_id)
    assert image.name == sample_id
    assert min(image.width, image.height) >= 150
    assert image.rgb.std() > 10


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "camera", "coins", "text"])
def test_photographs_are_those_of_skimage(name: str) -> None:
    expected = getattr(skimage_data, name)()
    if expected.ndim == 2:
        expected = np.repeat(expected[:, :, None], 3, axis=2)
    assert np.array_equal(load_sample(name).rgb, expected)


def test_stereo_pair_is_left_and_right() -> None:
    left, right, _ = skimage_data.stereo_motorcycle()
    assert np.array_equal(load_sample("motorcycle-left").rgb, left)
    assert np.array_equal(load_sample("motorcycle-right").rgb, right)


def test_photograph_in_another_colour_space_becomes_srgb() -> None:
    raw, shown = skimage_data.rocket().astype(int), load_sample("rocket").rgb.astype(int)  # Adobe RGB
    assert shown.shape == raw.shape
    assert 1 < np.abs(shown - raw).mean() < 15


def test_any_seed_is_a_scene() -> None:
    for seed in (1, 123456):
        image = load_sample(f"scene/{seed}")
        assert np.array_equal(image.rgb, generate_scene(seed).rgb)
        assert image.sha256 == load_sample(f"scene/{seed}").sha256


@pytest.mark.parametrize(
    ("sample_id", "remedy"),
    [
        ("astronout", "Did you mean astronaut?"),
        ("../../etc/passwd", "There are astronaut"),
        ("", "There are astronaut"),
        ("scene/-1", "a whole number"),
        ("scene/", "a whole number"),
        ("scene/²", "a whole number"),
        ("scene/" + "9" * 19, "whole number"),
    ],
)
def test_unknown_samples_are_refused(sample_id: str, remedy: str) -> None:
    with pytest.raises(InputError) as caught:
        load_sample(sample_id)
    assert remedy in caught.value.remedy


def test_listing_and_loading_import_nothing_heavy() -> None:
    program = (
        "import sys; from core.samples import load_sample, samples; samples(); load_sample('coffee');"
        "load_sample('scene/3'); print({'skimage', 'pooch', 'scipy', 'torch', 'timm'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
