"""How good features are that were learned without labels: their neighbours, a linear map, their attention.

Source: Caron et al. 2021, section 4.1 (k-NN and linear evaluation) and 4.2.2 (attention masks).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from core.explain.attention import extract_attention
from core.explain.maps import Head, attention_row, mass_mask, patch_map, to_picture
from core.nn import VisionTransformer
from core.preprocess import Frame
from core.scenes import CLASSES, Scene, SceneOptions, generate_scene
from core.training.data import normalise
from core.vision_model import VisionModel

Features = NDArray[np.float32]
Labels = NDArray[np.int64]

BANK_SEEDS, TEST_SEEDS = 4 * 10**12, 5 * 10**12
"""First scene seeds of two ranges that meet neither each other nor those of any training."""
NEIGHBOURS = 20
TEMPERATURE = 0.07
"""Of the neighbours' votes: exp(cosine / temperature)."""
MASS = 0.6
"""Share of the attention that a mask holds."""
SINGLE = SceneOptions(max_objects=1, text_probability=0.0)
"""Scenes of one object and no word."""


@dataclass(frozen=True, eq=False, slots=True)
class Labelled:
    """Scenes with the class of their largest object."""

    scenes: tuple[Scene, ...]
    labels: NDArray[np.int64]


def fresh_scenes(first: int, count: int, options: SceneOptions) -> Labelled:
    """Return the scenes of `count` seeds from `first`."""
    found = tuple(generate_scene(seed, options) for seed in range(first, first + count))
    return Labelled(found, np.array([CLASSES.index(scene.label) for scene in found]))


@torch.inference_mode()
def cls_features(vit: VisionTransformer, scenes: Sequence[Scene], size: int) -> NDArray[np.float32]:
    """Return the CLS token after the last norm, N D, of scenes squeezed into `size` x `size` pixels."""
    device = next(vit.parameters()).device
    found = []
    for start in range(0, len(scenes), 128):
        resized = [_resized(scene, size) for scene in scenes[start : start + 128]]
        found.append(vit.forward_features(normalise(np.stack(resized)).to(device))[:, 0].float().cpu())
    return torch.cat(found).numpy()


def _resized(scene: Scene, size: int) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(scene.rgb).resize((size, size), Image.Resampling.BICUBIC))


def knn_accuracy(bank: Features, bank_labels: Labels, test: Features, labels: Labels) -> float:
    """Return how often the 20 nearest of the bank (N D, by cosine), voting by closeness, name the class."""
    from sklearn.neighbors import KNeighborsClassifier

    def votes(distances: NDArray[np.float64]) -> NDArray[np.float64]:
        weights: NDArray[np.float64] = np.exp((1 - distances) / TEMPERATURE)
        return weights

    model = KNeighborsClassifier(NEIGHBOURS, weights=votes, metric="cosine", algorithm="brute")
    return float(model.fit(bank, bank_labels).score(test, labels))


def probe_accuracy(bank: Features, bank_labels: Labels, test: Features, labels: Labels) -> float:
    """Return the accuracy of logistic regression on standardised features (N D), learned from the bank."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500, C=0.1))
    return float(model.fit(bank, bank_labels).score(test, labels))


@dataclass(frozen=True, slots=True)
class MaskScores:
    """Jaccard index (0-1) of attention masks with the objects, mean over the pictures."""

    best_head: float
    """Of each picture's best head, chosen by the truth: an upper bound."""
    head_mean: float
    """Of the mean over the heads: no truth is needed to choose it."""


def attention_masks(model: VisionModel, scenes: Sequence[Scene], size: int) -> MaskScores:
    """Return how well what CLS attends to in the last layer, cut at 60 % of its mass, covers the objects.

    The truth is all objects of a scene together. A patch is a flat cell of the mask.
    """
    found = np.array([_jaccards(model, scene, size) for scene in scenes])  # N heads+1
    return MaskScores(float(found[:, :-1].max(axis=1).mean()), float(found[:, -1].mean()))


def _jaccards(model: VisionModel, scene: Scene, size: int) -> list[float]:
    """Return the Jaccard index of each head's mask, then that of the mean over the heads."""
    pixels = normalise(_resized(scene, size)[None])
    grid = size // model.input.patch[0], size // model.input.patch[1]
    attention, _, _ = extract_attention(model, pixels, grid, [-1])
    truth = np.any([item.mask for item in scene.objects], axis=0)
    height, width = truth.shape
    frame = Frame((0, 0, width, height), grid)
    found = []
    heads: list[Head] = [*range(model.heads), "mean"]
    for head in heads:
        values = patch_map(attention, attention_row(attention, model.depth - 1, head, "cls"))
        cells = mass_mask(values, MASS).astype(np.float32)
        mask = to_picture(cells, frame, width, height, smooth=False) > 0.5
        found.append(float((mask & truth).sum() / (mask | truth).sum()))
    return found
