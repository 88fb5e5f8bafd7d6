"""`search`: the stored pictures that are most like one."""

import sys
from typing import Annotated

import typer

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
    open_store,
    read_picture,
)
from core.features.values import FeatureOptions
from core.registry import resolve
from core.runs import LOCAL_OWNER
from core.settings import settings


def search_stored(
    picture: Annotated[str, PictureArgument],
    model: ModelOption,
    top: Annotated[int, typer.Option(metavar="N", help="How many pictures, 1 to 100.")] = 10,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="cls|mean",
            help="What stands for a picture: its CLS token (where there is one), or the mean of its patches.",
        ),
    ] = None,
    layer: LayerOption = -1,
    facet: FacetOption = "token",
    stride: StrideOption = None,
    size: SizeOption = None,
    as_json: JsonOption = False,
    no_store: NoStoreOption = False,
) -> Answer:
    """Find the pictures of earlier runs that are most like one; those new to the model are run first."""
    from core.features.cache import FeatureCache
    from core.features.search import PictureSearch
    from core.features.search_workflow import search_pictures
    from core.features.vector_index import vector_kind

    kind = None if by is None else vector_kind(by)
    image, spec = read_picture(picture), resolve(model)
    options = FeatureOptions(layer, facet, stride, size)
    with open_store() as store:
        cache = FeatureCache(store, settings().embedding_memory_mb, settings().embedding_store_mb)
        result = search_pictures(
            image,
            spec,
            options,
            search=PictureSearch(store, cache),
            cache=cache,
            pool=model_pool(),
            sink=None if no_store else store,
            owner=LOCAL_OWNER,
            top=top,
            kind=kind,
            progress=_tell,
        )
    hits = [
        {
            "rank": rank,
            "sha256": hit.sha256,
            "name": hit.name,
            "run": hit.run_id,
            "score": hit.score,
            "best": list(hit.best),
        }
        for rank, hit in enumerate(result.hits, start=1)
    ]
    payload = {
        "run": result.run_id,
        "model": spec.id,
        **options.as_json(),
        "picture": image.name,
        "by": result.kind,
        "indexed": result.indexed.done,
        "failed": [{"name": name, "message": message} for name, message in result.indexed.failed],
        "hits": hits,
        "times_ms": {"load": result.load_ms, "index": result.index_ms, "search": result.search_ms},
    }
    lines = [f"{hit['rank']:4} {hit['score']:7.4f}  {hit['name']}  (run {hit['run']})" for hit in hits]
    return Answer(payload, "\n".join(lines) or "The store keeps no other picture.")


def _tell(done: int, of: int) -> None:
    typer.echo(f"{done} of {of} pictures run", file=sys.stderr)
