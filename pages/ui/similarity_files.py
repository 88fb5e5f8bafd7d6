"""What can be taken away: maps, matrix, pairs, and how to do the same without the page."""

from __future__ import annotations

import re
from functools import partial
from shlex import quote
from typing import TYPE_CHECKING

import streamlit as st

from core.charts.overlay import overlay_png
from core.explain.maps import npy_bytes
from core.features.export import matches_csv, matches_json, matrix_npy
from pages.ui.pictures import is_sample
from pages.ui.similarity_draw import scale_limits
from pages.ui.similarity_inputs import PAGE
from pages.ui.similarity_state import SIDES, Pair, Side

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from core.features.matching import Match, QueryAnswer
    from core.images import ImageInput
    from pages.ui.similarity_view import Answered, View

MAX_MATRIX_MB = 128.0
"""The largest matrix that is offered, in MB (10^6 bytes): of two grids of 75 x 75 patches."""


def files(found: Answered, matches: tuple[Match, ...]) -> None:
    """Draw the downloads, and the command and the script that do the same."""
    pair = found.pair
    with st.container(horizontal=True):
        if found.answer is not None:
            for side in SIDES[: 1 if pair.is_self else 2]:
                _map_downloads(found, found.answer, side)
        _matrix_download(pair)
        if matches:
            _download("Pairs (CSV)", "pairs.csv", "text/csv", partial(matches_csv, matches))
            _download("Pairs (JSON)", "pairs.json", "application/json", partial(_json, pair, matches))
        with st.popover("As a command", icon=":material/terminal:"):
            st.code(command(pair, len(matches)), language="shell", wrap_lines=True)
        with st.popover("As Python", icon=":material/code:"):
            st.code(python_script(pair, found.view, len(matches)), language="python", wrap_lines=True)


def _map_downloads(found: Answered, answer: QueryAnswer, side: Side) -> None:
    is_own = side == found.pair.asked.side
    values = answer.self_map if is_own else answer.cross_map
    stem = _stem(found.pair.image(side))
    limits = scale_limits(found)
    _download(
        f"{side.capitalize()} map (PNG)",
        f"{stem}-{side}-map.png",
        "image/png",
        partial(_png, found.pair, found.view, side, values, limits),
    )
    _download(
        f"{side.capitalize()} map (NPY)",
        f"{stem}-{side}-map.npy",
        "application/octet-stream",
        partial(npy_bytes, values),
        "Cosines as they are, rows by columns of patches, float32.",
    )


def _png(
    pair: Pair, view: View, side: Side, values: NDArray[np.float32], limits: tuple[float, float]
) -> bytes:
    return overlay_png(
        pair.image(side),
        values,
        pair.grid(side).frame,
        colour_map=view.colour_map,
        opacity=view.opacity,
        smooth=view.smooth,
        limits=limits,
    )


def _matrix_download(pair: Pair) -> None:
    n, m = len(pair.result.first.flat), len(pair.result.second.flat)
    size_mb = 4 * n * m / 1e6
    said = f"Every patch of the first against every patch of the second: {n} x {m}, {size_mb:.1f} MB."
    if size_mb > MAX_MATRIX_MB:
        st.button("Matrix (NPY)", disabled=True, help=f"{said} Only up to {MAX_MATRIX_MB:g} MB are offered.")
        return
    make = partial(matrix_npy, pair.result.first, pair.result.second)
    _download("Matrix (NPY)", "similarity.npy", "application/octet-stream", make, said)


def _json(pair: Pair, matches: tuple[Match, ...]) -> bytes:
    facts = {
        "first": {"name": pair.first.name, "sha256": pair.first.sha256},
        "second": {"name": pair.second.name, "sha256": pair.second.sha256},
        "model": pair.spec.id,
        "revision": pair.features[0].revision,
        "options": pair.options.as_json(),
    }
    return matches_json(facts, matches)


def _download(
    label: str, name: str, media_type: str, make: Callable[[], bytes | str], said: str | None = None
) -> None:
    st.download_button(
        label,
        make,
        name,
        media_type,
        icon=":material/download:",
        on_click="ignore",
        key=f"{PAGE}_{label}",
        help=said,
    )


def _stem(image: ImageInput) -> str:
    return re.sub(r"[^\w-]+", "-", image.name.rpartition(".")[0] or image.name) or "picture"


def _named(image: ImageInput) -> str:
    return f"sample:{image.name}" if is_sample(image.name, image.sha256) else image.name


def command(pair: Pair, n: int) -> str:
    """Return the command that compares the same pictures; a query of one patch of the first goes with it."""
    parts = ["python -m core similar", quote(_named(pair.first)), quote(_named(pair.second))]
    parts.append(f"--model {quote(pair.spec.id)}")
    asked, options = pair.asked, pair.options
    if asked.side == "first" and len(asked.include) == 1 and not asked.exclude:
        parts.append(f"--query {asked.include[0][0]},{asked.include[0][1]}")
    parts += [f"--{name} {value}" for name, value in options.as_json().items() if value is not None]
    return " ".join([*parts, f"--matches {n}", "--out similarity.npy"])


def python_script(pair: Pair, view: View, n: int) -> str:
    """Return a script that finds the same with this repository's own functions."""
    source, target = (0, 1) if pair.asked.side == "first" else (1, 0)
    apart = view.apart and pair.is_self
    options = ", ".join(f"{name}={value!r}" for name, value in pair.options.as_json().items())
    script = f"""from core.cli.shared import read_picture
from core.features.cache import FeatureCache
from core.features.matching import ask, matches
from core.features.query import PatchQuery
from core.features.similarity import UnitGrid
from core.features.values import FeatureOptions
from core.loaders import ModelPool
from core.registry import resolve

pictures = [read_picture({_named(pair.first)!r}), read_picture({_named(pair.second)!r})]
options = FeatureOptions({options})
found = FeatureCache(None).get_many(resolve({pair.spec.id!r}), pictures, options, ModelPool())
grids = [UnitGrid.of(one.features) for one in found]
"""
    if pair.asked.query is not None:
        query = f"PatchQuery({pair.asked.include!r}, {pair.asked.exclude!r})"
        how = f"top={view.top}, radius={view.radius}, apart={apart}"
        script += f"""query = {query}
answer = ask(query, grids[{source}], grids[{target}], {how})
for peak in answer.peaks:
    print(peak.patch, round(peak.score, 4))
"""
    if n:
        script += f"""for pair in matches(grids[0], grids[1], {n}, apart={pair.is_self}):
    print(pair.first_xy, pair.second_xy, round(pair.score, 4))
"""
    return script
