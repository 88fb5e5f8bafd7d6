"""`similar`: what of two pictures corresponds, as a matrix of numbers and as matches."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.checkpoints import write_atomically
from core.cli.shared import (
    Answer,
    FacetOption,
    JsonOption,
    LayerOption,
    ModelOption,
    NoStoreOption,
    PictureArgument,
    SizeOption,
    StrideOption,
    model_pool,
    new_file,
    read_picture,
    run_store,
    writing,
)
from core.errors import InputError
from core.features.query import PatchQuery
from core.features.values import FeatureOptions
from core.images import ImageInput
from core.registry import ModelSpec, resolve
from core.runs import LOCAL_OWNER
from core.settings import settings

if TYPE_CHECKING:
    from core.features.similarity import UnitGrid
    from core.features.workflow import SimilarResult
    from db import Store


def compare_pictures(
    image_a: Annotated[str, PictureArgument],
    image_b: Annotated[str, PictureArgument],
    model: ModelOption,
    out: Annotated[
        Path,
        typer.Option(
            metavar="SIM.npy",
            help="Where the cosines go: float32, patches of IMAGE_A by patches of IMAGE_B, row by row.",
        ),
    ],
    query: Annotated[
        str | None,
        typer.Option(metavar="ROW,COL", help="A patch of IMAGE_A to look for in IMAGE_B, from 0,0."),
    ] = None,
    matches: Annotated[
        int, typer.Option(metavar="N", min=0, help="Mutual pairs, spread over IMAGE_A, best first.")
    ] = 20,
    layer: LayerOption = -1,
    facet: FacetOption = "token",
    stride: StrideOption = None,
    size: SizeOption = None,
    background: Annotated[
        bool,
        typer.Option(
            "--background",
            help="Also say where scores lie among those of 16 unrelated pictures, from 0 to 100.",
        ),
    ] = False,
    as_json: JsonOption = False,
    no_store: NoStoreOption = False,
) -> Answer:
    """Compare two pictures patch by patch."""
    from core.features.export import matrix_npy

    asked = None if query is None else PatchQuery((_patch(query),))
    first, second, spec = read_picture(image_a), read_picture(image_b), resolve(model)
    options = FeatureOptions(layer, facet, stride, size)
    new_file(out)
    with run_store(no_store) as store:
        result = _compare(first, second, spec, options, asked, matches, background, store)
    with writing(out):
        write_atomically(out, matrix_npy(result.first, result.second))
    payload = {
        "run": result.run_id,
        "model": spec.id,
        **options.as_json(),
        "first": _picture(first, result.first),
        "second": _picture(second, result.second),
        "out": str(out),
        "shape": [len(result.first.flat), len(result.second.flat)],
        "cls_similarity": result.similarity.cls,
        "global_similarity": result.similarity.mean,
        "best_buddies": result.similarity.best_buddies,
        "percentiles": {name: at._asdict() for name, at in result.standings.items()},
        "query": result.answer.match.as_json() if result.answer else None,
        "matches": [match.as_json() for match in result.matches],
        "notes": list(result.notes),
        "times_ms": {
            "load": result.times.load_ms,
            "model": result.times.model_ms,
            "similarity": result.times.similarity_ms,
        },
        "features": list(result.times.sources),
    }
    return Answer(payload, _text(result, out))


def _compare(
    first: ImageInput,
    second: ImageInput,
    spec: ModelSpec,
    options: FeatureOptions,
    query: PatchQuery | None,
    matches: int,
    background: bool,
    store: "Store | None",
) -> "SimilarResult":
    from core.features.cache import FeatureCache
    from core.features.unrelated import gather
    from core.features.workflow import similar

    cache = FeatureCache(store, settings().embedding_memory_mb, settings().embedding_store_mb)
    pool = model_pool()
    return similar(
        first,
        second,
        spec,
        cache=cache,
        pool=pool,
        sink=store,
        owner=LOCAL_OWNER,
        options=options,
        query=query,
        matches_n=matches,
        unrelated=gather(spec, options, cache=cache, pool=pool) if background else None,
    )


def _patch(text: str) -> tuple[int, int]:
    numbers = re.fullmatch(r"(\d{1,6}),(\d{1,6})", text, re.ASCII)
    if numbers is None:
        raise InputError(f"--query is {text!r}.", "Give row and column of a patch from 0, as in 3,5.")
    return int(numbers[1]), int(numbers[2])


def _picture(image: ImageInput, grid: "UnitGrid") -> dict[str, Any]:
    rows, columns = grid.grid
    return {
        "name": image.name,
        "width": image.width,
        "height": image.height,
        "grid": [rows, columns],
        "box": list(grid.frame.box),
    }


def _text(result: "SimilarResult", out: Path) -> str:
    """Return the answer for a person, a line for each part."""
    similarity, (a, b) = result.similarity, (result.first.grid, result.second.grid)
    numbers = [f"mean of patches {similarity.mean:.3f}", f"best buddies {similarity.best_buddies:.1%}"]
    if similarity.cls is not None:
        numbers.insert(0, f"CLS {similarity.cls:.3f}")
    lines = [f"{a[0]} x {a[1]} by {b[0]} x {b[1]} patches in {out}", f"Similarity: {', '.join(numbers)}"]
    lines += [
        f"  {name}: above {at.percentile:.0f} % of {at.n} unrelated pairs"
        for name, at in result.standings.items()
    ]
    if result.answer:
        match = result.answer.match
        x, y = match.second_xy
        mutual = (
            "mutual" if match.mutual else f"not mutual, {match.cycle_error_px:.0f} px off on the way back"
        )
        lines.append(
            f"Patch {match.first} is most like {match.second} at ({x:.0f}, {y:.0f}): "
            f"{match.score:.3f}, {mutual}"
        )
    lines.append(f"{len(result.matches)} mutual pairs")
    return "\n".join([*lines, *result.notes])
