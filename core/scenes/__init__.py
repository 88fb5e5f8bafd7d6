"""Procedural pictures with exact ground truth, and pairs of pictures with exact correspondences."""

from core.scenes.generate import generate_scene
from core.scenes.pairs import PatchMatches, ScenePair, apply_homography, generate_pair
from core.scenes.shapes import CLASSES
from core.scenes.textures import BACKGROUNDS, COLOURS, TEXTURES
from core.scenes.truth import QA, Scene, SceneObject, SceneOptions

__all__ = [
    "BACKGROUNDS",
    "CLASSES",
    "COLOURS",
    "QA",
    "TEXTURES",
    "PatchMatches",
    "Scene",
    "SceneObject",
    "SceneOptions",
    "ScenePair",
    "apply_homography",
    "generate_pair",
    "generate_scene",
]
