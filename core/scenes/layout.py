"""Where everything goes: objects and a word, placed so that the truth stays clear.

Three rules make a scene unambiguous: each object keeps most of its pixels visible, the largest is larger than
the next by a clear factor, and it is wide enough to be seen. A draw that breaks one is thrown away whole;
only the class of the main object survives, so that classes stay equally frequent.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.scenes.shapes import CLASSES, EXTENT, coverage
from core.scenes.text import WORDS, WordLayer, draw_word
from core.scenes.textures import COLOURS, TEXTURES
from core.scenes.truth import SceneOptions, tight_box

MIN_VISIBLE = 0.62
"""Least share of an object's pixels that nothing hides."""
MIN_DOMINANCE = 1.35
"""Least ratio of the largest visible area to the second."""
MIN_WIDTH = 0.28
"""Least width of the largest object's box, as a share of the picture's shorter side."""

_PLAIN_SHARE = 0.4
_TRIES = 24


@dataclass(frozen=True, eq=False, slots=True)
class Placed:
    """An object with its place: `coverage` (h w, 0-255) has its top left corner at (x, y)."""

    shape: str
    colour: str
    texture: str
    side_px: float
    angle: float
    coverage: NDArray[np.uint8]
    x: int
    y: int


@dataclass(frozen=True, eq=False, slots=True)
class PlacedWord:
    """A word with its place: its layers have their top left corner at (x, y)."""

    layer: WordLayer
    x: int
    y: int


@dataclass(frozen=True, eq=False, slots=True)
class Layout:
    """A whole scene before it is painted."""

    placed: tuple[Placed, ...]
    """Back to front."""
    word: PlacedWord | None
    """In front of all objects."""
    owner: NDArray[np.int8]
    """H W: 1 + index into `placed` of what is seen at each pixel, 0 for background and word."""


class _Board:
    """The owner map while it fills up, and what each object has left of its pixels."""

    def __init__(self, width: int, height: int) -> None:
        self.owner = np.zeros((height, width), dtype=np.int8)
        self.full: list[int] = []
        self.visible: list[int] = []

    def hidden(self, mask: NDArray[np.bool_], x: int, y: int) -> list[int] | None:
        """Return the pixels each object would lose under `mask` at (x, y), or None if that is too many."""
        below = self.owner[y : y + mask.shape[0], x : x + mask.shape[1]][mask]
        lost = [int(n) for n in np.bincount(below, minlength=len(self.full) + 1)[1:]]
        kept = all(v - n >= MIN_VISIBLE * f for v, n, f in zip(self.visible, lost, self.full, strict=True))
        return lost if kept else None

    def put(self, mask: NDArray[np.bool_], x: int, y: int, lost: Sequence[int], owner: int) -> None:
        self.owner[y : y + mask.shape[0], x : x + mask.shape[1]][mask] = owner
        self.visible = [v - n for v, n in zip(self.visible, lost, strict=True)]

    def find(
        self, rng: np.random.Generator, mask: NDArray[np.bool_], tries: int, choose_freest: bool
    ) -> tuple[int, int, list[int]] | None:
        """Return a random (x, y, lost) at which nothing is hidden too much, or None after `tries` throws."""
        room_x, room_y = self.owner.shape[1] - mask.shape[1], self.owner.shape[0] - mask.shape[0]
        if room_x < 0 or room_y < 0:
            return None
        best: tuple[int, int, list[int]] | None = None
        for _ in range(tries):
            x, y = int(rng.integers(room_x + 1)), int(rng.integers(room_y + 1))
            lost = self.hidden(mask, x, y)
            if lost is not None and (best is None or sum(lost) < sum(best[2])):
                best = x, y, lost
                if not choose_freest or not any(lost):
                    break
        return best


def _sides(
    rng: np.random.Generator, main: str, others: Sequence[str], side_px: int, shrink: float
) -> list[float]:
    """Return the square root of each object's area in pixels, the main object's first."""
    main_side = min(rng.uniform(0.30, 0.44), 0.80 / EXTENT[main]) * side_px
    areas = rng.uniform(0.12, 0.52, len(others)) * shrink
    limits = (0.62 / EXTENT[name] * side_px for name in others)
    return [
        main_side,
        *(min(main_side * math.sqrt(a), limit) for a, limit in zip(areas, limits, strict=True)),
    ]


def _texture(rng: np.random.Generator) -> str:
    if rng.random() < _PLAIN_SHARE:
        return "plain"
    return TEXTURES[int(rng.integers(1, len(TEXTURES)))]


def _place_objects(
    rng: np.random.Generator, board: _Board, main: str, options: SceneOptions, shrink: float
) -> list[Placed] | None:
    """Fill `board` from back to front, or return None where an object found no place."""
    count = int(rng.integers(options.min_objects, options.max_objects + 1))
    shapes = [main, *(CLASSES[int(i)] for i in rng.integers(0, len(CLASSES), count - 1))]
    sides = _sides(rng, main, shapes[1:], min(options.width, options.height), shrink)
    colours = [list(COLOURS)[int(i)] for i in rng.permutation(len(COLOURS))[:count]]
    placed: list[Placed] = []
    for index in (int(i) for i in rng.permutation(count)):
        angle = math.radians(options.max_tilt_degrees) * rng.uniform(-1, 1)
        drawn = coverage(shapes[index], sides[index], angle)
        mask = drawn >= 128
        spot = board.find(rng, mask, _TRIES, choose_freest=False)
        if spot is None:
            return None
        x, y, lost = spot
        board.put(mask, x, y, lost, len(placed) + 1)
        board.full.append(int(np.count_nonzero(mask)))
        board.visible.append(board.full[-1])
        placed.append(Placed(shapes[index], colours[index], _texture(rng), sides[index], angle, drawn, x, y))
    return placed


def _place_word(rng: np.random.Generator, board: _Board, side_px: int) -> PlacedWord | None:
    """Put a word where it hides least, or return None where it found no place."""
    layer = draw_word(WORDS[int(rng.integers(len(WORDS)))], max(10, round(rng.uniform(0.14, 0.19) * side_px)))
    mask = layer.halo >= 128
    spot = board.find(rng, mask, _TRIES, choose_freest=True)
    if spot is None:
        return None
    x, y, lost = spot
    board.put(mask, x, y, lost, 0)
    return PlacedWord(layer, x, y)


def _is_clear(board: _Board, placed: Sequence[Placed], main: str, side_px: int) -> bool:
    """Return whether the largest object is the intended one, dominates, and is wide enough."""
    order = sorted(range(len(placed)), key=lambda i: -board.visible[i])
    first = order[0]
    if len(order) > 1 and board.visible[first] < MIN_DOMINANCE * board.visible[order[1]]:
        return False
    x0, _, x1, _ = tight_box(board.owner == first + 1)
    return placed[first].shape == main and x1 - x0 >= MIN_WIDTH * side_px


def lay_out(rng: np.random.Generator, options: SceneOptions) -> Layout:
    """Draw layouts until one keeps the three rules; the smaller objects shrink a little with each failure."""
    main = CLASSES[int(rng.integers(len(CLASSES)))]
    wants_word = rng.random() < options.text_probability
    side_px, shrink = min(options.width, options.height), 1.0
    while True:
        board = _Board(options.width, options.height)
        placed = _place_objects(rng, board, main, options, shrink)
        shrink = max(0.35, shrink * 0.93)
        if placed is None:
            continue
        word = _place_word(rng, board, side_px) if wants_word else None
        if (word is not None or not wants_word) and _is_clear(board, placed, main, side_px):
            return Layout(tuple(placed), word, board.owner)
