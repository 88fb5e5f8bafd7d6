"""`features`: what a model says about each patch of pictures, as a file of numbers."""

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
from core.features.values import FeatureOptions
from core.registry import resolve
from core.runs import LOCAL_OWNER
from core.settings import settings

if TYPE_CHECKING:
    from core.features.cache import Featured


def write_features(
    pictures: Annotated[list[str], PictureArgument],
    model: ModelOption,
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE.npz",
            help="Where the features go: patches_0 and cls_0 of the first picture, and so on; float16.",
        ),
    ],
    layer: LayerOption = -1,
    facet: FacetOption = "token",
    stride: StrideOption = None,
    size: SizeOption = None,
    as_json: JsonOption = False,
    no_store: NoStoreOption = False,
) -> Answer:
    """Write the features of pictures."""
    from core.features.cache import FeatureCache
    from core.features.export import features_npz
    from core.features.workflow import featured

    images, spec = [read_picture(name) for name in pictures], resolve(model)
    options = FeatureOptions(layer, facet, stride, size)
    new_file(out)
    with run_store(no_store) as store:
        cache = FeatureCache(store, settings().embedding_memory_mb, settings().embedding_store_mb)
        found, runs = featured(
            images, spec, cache=cache, pool=model_pool(), sink=store, owner=LOCAL_OWNER, options=options
        )
    names = [image.name for image in images]
    with writing(out):
        write_atomically(out, features_npz([one.features for one in found], names))
    rows = [_row(name, one) for name, one in zip(names, found, strict=True)]
    payload = {
        "runs": list(runs),
        "model": spec.id,
        "revision": found[0].features.revision,
        **options.as_json(),
        "dim": found[0].features.dim,
        "pictures": rows,
        "out": str(out),
    }
    lines = [f"{row['name']}: {row['grid'][0]} x {row['grid'][1]} patches, {row['source']}" for row in rows]
    return Answer(payload, "\n".join([*lines, f"{found[0].features.dim} numbers for each patch, in {out}"]))


def _row(name: str, found: "Featured") -> dict[str, Any]:
    features = found.features
    return {
        "name": name,
        "sha256": features.sha256,
        "grid": list(features.frame.grid),
        "box": list(features.frame.box),
        "shape": list(features.patches.shape),
        "cls": features.cls is not None,
        "source": found.source,
        "times_ms": {"load": found.load_ms, "model": found.model_ms, "all": found.ms},
    }
