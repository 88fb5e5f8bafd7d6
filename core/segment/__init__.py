"""Promptable segmentation: a picture to an embedding, an embedding and prompts to masks.

    prompts.py     what a person points at
    masks.py       what the model answers, and how it is brought to the picture's size
    segmenter.py   the contract of a loaded model: `embed` and `decode`, both without state
    original.py    models of the segment-anything package
    transformers_sam.py  models of transformers
    automatic.py   everything in the picture at once
    regions.py     cleaning a mask, without the model
    export/        masks and prompts as files, and back
    cache.py       embeddings kept in memory and in the store
    evaluate.py    simulated clicks where the truth is known
    workflow.py    the use cases, a run of each

Points and boxes are in pixels of the upright picture as segment-anything counts them: x to the right, y down,
whole numbers at the middle of a pixel, (0, 0) the top left one.
"""

from core.segment.masks import Geometry, Masks, upscale
from core.segment.prompts import Box, Point, Prompts
from core.segment.segmenter import ImageEmbedding, Segmenter, decode, embed

__all__ = [
    "Box",
    "Geometry",
    "ImageEmbedding",
    "Masks",
    "Point",
    "Prompts",
    "Segmenter",
    "decode",
    "embed",
    "upscale",
]
