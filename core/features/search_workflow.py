"""The use case of the search: a picture in, those like it out, and one run in the store."""

import json
import time
from dataclasses import dataclass, replace

from core.features.cache import FeatureCache, Featured
from core.features.kinds import SEARCH
from core.features.query import PatchQuery
from core.features.search import PictureSearch, Progress, check_asked
from core.features.search_values import Hit, Indexed
from core.features.values import FeatureOptions, ImageFeatures
from core.features.vector_index import VectorKind
from core.features.workflow import is_loaded, new_feature_draft
from core.images import ImageInput
from core.loaders import ModelPool
from core.recording import ms_since, recorded_failure
from core.registry import ModelSpec
from core.runs import Artifact, Metric, RunInput, RunSink


@dataclass(frozen=True, eq=False, slots=True)
class SearchResult:
    """The pictures that are like one."""

    hits: tuple[Hit, ...]
    """The most alike first."""
    kind: VectorKind
    """What stood for the pictures."""
    indexed: Indexed
    """What was made findable first."""
    load_ms: float
    """How long the picture waited for the model."""
    index_ms: float
    """How long it took to make pictures findable."""
    search_ms: float
    """How long it took to find these, with their maps."""
    run_id: str | None
    """None where the run was not stored."""


def search_pictures(
    image: ImageInput,
    spec: ModelSpec,
    options: FeatureOptions,
    *,
    search: PictureSearch,
    cache: FeatureCache,
    pool: ModelPool,
    sink: RunSink | None,
    owner: str,
    top: int = 12,
    region: PatchQuery | None = None,
    kind: VectorKind | None = None,
    index: bool = True,
    progress: Progress | None = None,
) -> SearchResult:
    """Find the stored pictures that are most like one, or like a region of it: one run.

    The run keeps digests and scores. Names are not kept with it: whoever opens the run asks the store for
    those that they may see (`Store.find_pictures`).

    Args:
        top, region: As in `PictureSearch.rank`.
        kind: What stands for a whole picture; None takes the CLS token where the model has one, else the
            mean. For a region it is the mean.
        index: Make pictures findable first that are new to the model; else they are not found.
        progress: As `PictureSearch.index_missing` tells it.

    Raises:
        InputError: The model cannot give such features, or something asked for cannot be.
    """
    parameters = {
        "options": options.as_json(),
        "top": top,
        "region": region.as_json() if region else None,
        "kind": kind,
    }
    draft = new_feature_draft(SEARCH, spec, pool, owner, parameters, (RunInput("picture", image),))
    indexed, index_ms = Indexed(0, ()), 0.0
    found: Featured | None = None
    with recorded_failure(sink, draft, lambda: found is not None or is_loaded(spec, pool)):
        found = cache.get(spec, image, options, pool)
        kind = _kind(kind, region, found.features)
        check_asked(found.features, top, region, kind)
        if index:
            started = time.perf_counter()
            indexed = search.index_missing(
                spec, options, pool=pool, owner=owner, kind=kind, progress=progress
            )
            index_ms = ms_since(started)
        started = time.perf_counter()
        hits = search.rank(found.features, spec, pool=pool, owner=owner, top=top, region=region, kind=kind)
    result = SearchResult(hits, kind, indexed, found.load_ms, index_ms, ms_since(started), None)
    if sink is None:
        return result
    metrics = [
        Metric("load_ms", found.load_ms, "ms"),
        Metric("model_ms", found.model_ms, "ms"),
        Metric("index_ms", index_ms, "ms"),
        Metric("search_ms", result.search_ms, "ms"),
        Metric("indexed", indexed.done),
        Metric("hits", len(hits)),
    ]
    if hits:
        metrics.append(Metric("best_score", hits[0].score))
    done = replace(
        draft,
        parameters=dict(draft.parameters) | {"kind": kind},
        duration_ms=found.ms + result.search_ms,
        metrics=metrics,
        artifacts=[Artifact("hits.json", "application/json", hits_json(hits))],
    )
    return replace(result, run_id=sink.record(done))


def _kind(kind: VectorKind | None, region: PatchQuery | None, features: ImageFeatures) -> VectorKind:
    if region is not None:
        return "mean"
    return kind or ("mean" if features.cls is None else "cls")


def hits_json(hits: tuple[Hit, ...]) -> bytes:
    """Return which pictures were found, without their names: a list of digest, score and best patch."""
    rows = [{"sha256": hit.sha256, "score": hit.score, "best": list(hit.best)} for hit in hits]
    return json.dumps(rows).encode()
