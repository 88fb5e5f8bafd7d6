"""The use cases: features of pictures, two pictures compared, a model's matches scored; a run of each.

What the cache holds needs no model. A run begins when its features are there or its model is: a model that
cannot be loaded leaves no run.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from core.environment import describe_environment
from core.errors import InputError
from core.features.cache import FeatureCache, Featured, revision_of
from core.features.export import matches_json
from core.features.image_similarity import ImageSimilarity, image_similarity
from core.features.kinds import EVALUATION, FEATURES, SIMILARITY
from core.features.matching import Match, QueryAnswer, ask, matches
from core.features.nearest import correspond
from core.features.pck import ALPHAS, PairScores, score_pairs
from core.features.query import PatchQuery
from core.features.similarity import FLAT_SPREAD, UnitGrid
from core.features.unrelated import Standing, Unrelated
from core.features.values import FeatureOptions
from core.images import ImageInput
from core.loaders import ModelPool
from core.recording import ms_since, recorded_failure
from core.registry import ModelSpec
from core.runs import Artifact, Metric, RunDraft, RunInput, RunSink

DEFAULT = FeatureOptions()
ROLES = ("first", "second")
"""Of the pictures of a run."""


@dataclass(frozen=True, slots=True)
class Times:
    """Parts of the time of one comparison, in milliseconds."""

    load_ms: float
    """How long it waited for the model; 0 where all features were found."""
    model_ms: float
    """Of the model on both pictures; 0 where all features were found."""
    sources: tuple[str, str]
    """Where the features of each picture came from: `computed`, or found in `memory` or the `store`."""
    similarity_ms: float
    """All that follows."""


@dataclass(frozen=True, eq=False)
class SimilarResult:
    """What of two pictures corresponds."""

    first: UnitGrid
    second: UnitGrid
    similarity: ImageSimilarity
    standings: Mapping[str, Standing]
    """Where the numbers of `similarity` lie among those of unrelated pictures; empty where not asked."""
    matches: tuple[Match, ...]
    """The best mutual pairs, spread over the first picture."""
    answer: QueryAnswer | None
    """What the query found; None without one."""
    notes: tuple[str, ...]
    """Sentences on what not to make of the numbers."""
    times: Times
    device: str
    device_reason: str
    run_id: str | None = field(default=None)
    """None where the run was not stored."""


def featured(
    images: Sequence[ImageInput],
    spec: ModelSpec,
    *,
    cache: FeatureCache,
    pool: ModelPool,
    sink: RunSink | None,
    owner: str,
    options: FeatureOptions = DEFAULT,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[tuple[Featured, ...], tuple[str | None, ...]]:
    """Return the features of each picture, and the id of its run; None where it was not stored.

    A run keeps no features: they are in the cache's store, or computed again.

    Raises:
        InputError: The model cannot give such features, or gives no answer.
    """
    draft = new_feature_draft(FEATURES, spec, pool, owner, {"options": options.as_json()})
    failing = replace(draft, inputs=(RunInput("picture", images[0]),)) if len(images) == 1 else draft
    with recorded_failure(sink, failing, lambda: is_loaded(spec, pool)):
        found = cache.get_many(spec, images, options, pool, progress)
    if sink is None:
        return found, (None,) * len(found)
    runs = (_features_run(draft, image, one) for image, one in zip(images, found, strict=True))
    return found, tuple(sink.record(run) for run in runs)


def _features_run(draft: RunDraft, image: ImageInput, found: Featured) -> RunDraft:
    rows, columns, dim = found.features.patches.shape
    return replace(
        draft,
        inputs=(RunInput("picture", image),),
        duration_ms=found.ms,
        parameters=dict(draft.parameters) | {"features": found.source},
        metrics=[
            Metric("load_ms", found.load_ms, "ms"),
            Metric("model_ms", found.model_ms, "ms"),
            *(Metric("rows", rows), Metric("columns", columns), Metric("dim", dim)),
        ],
    )


def similar(
    first: ImageInput,
    second: ImageInput,
    spec: ModelSpec,
    *,
    cache: FeatureCache,
    pool: ModelPool,
    sink: RunSink | None,
    owner: str,
    options: FeatureOptions = DEFAULT,
    query: PatchQuery | None = None,
    matches_n: int = 20,
    apart: bool = False,
    unrelated: Unrelated | None = None,
) -> SimilarResult:
    """Compare two pictures patch by patch: one run.

    Args:
        query: What to look for, in the first picture.
        matches_n: How many mutual pairs, 0 for none.
        apart: Leave out, for a query and for pairs, the neighbourhood of the patch itself: for a picture
            against itself.
        unrelated: `core.features.unrelated.gather`'s of the same model and options, for percentiles.

    Raises:
        InputError: The model cannot give such features, the query is outside, or `apart` for two pictures.
    """
    if matches_n < 0:
        raise InputError(f"{matches_n} matches were asked for.", "Ask for 0 or more.")
    if apart and first.sha256 != second.sha256:
        raise InputError("Only within one picture has a patch a neighbourhood.", "Compare it with itself.")
    parameters = {
        "options": options.as_json(),
        "query": query.as_json() if query else None,
        "matches": matches_n,
        "apart": apart,
        "background": unrelated is not None,
    }
    draft = new_feature_draft(
        SIMILARITY, spec, pool, owner, parameters, tuple(map(RunInput, ROLES, (first, second)))
    )
    found: list[Featured] = []
    with recorded_failure(sink, draft, lambda: bool(found) or is_loaded(spec, pool)):
        found += cache.get_many(spec, [first, second], options, pool)
        result = _compared((first, second), found, pool, query, matches_n, apart, unrelated)
    return replace(result, run_id=sink.record(_done(draft, result))) if sink else result


def is_loaded(spec: ModelSpec, pool: ModelPool) -> bool:
    """Say whether the pool holds the model: then a run that fails had begun."""
    return any(model.spec.id == spec.id for model in pool.loaded())


def _compared(
    images: tuple[ImageInput, ImageInput],
    found: Sequence[Featured],
    pool: ModelPool,
    query: PatchQuery | None,
    matches_n: int,
    apart: bool,
    unrelated: Unrelated | None,
) -> SimilarResult:
    started = time.perf_counter()
    features = [one.features for one in found]
    first, second = (UnitGrid.of(one) for one in features)
    background = unrelated.without(*(one.sha256 for one in features)) if unrelated else None
    answer = ask(query, first, second, apart=apart, unrelated=background) if query else None
    neighbours = correspond(first, second)
    similarity = image_similarity(features[0], features[1], neighbours)
    known = None if apart else neighbours
    return SimilarResult(
        first=first,
        second=second,
        similarity=similarity,
        standings=background.standings(similarity) if background else {},
        matches=(
            matches(first, second, matches_n, found=known, apart=apart, unrelated=background)
            if matches_n
            else ()
        ),
        answer=answer,
        notes=tuple(_notes(images, answer)),
        times=Times(
            load_ms=sum(one.load_ms for one in found),
            model_ms=sum(one.model_ms for one in found),
            sources=(found[0].source, found[1].source),
            similarity_ms=ms_since(started),
        ),
        device=pool.choice.device,
        device_reason=pool.choice.reason,
    )


def _notes(images: Sequence[ImageInput], answer: QueryAnswer | None) -> list[str]:
    found = [
        f"{image.name} is of one colour: what its patches differ by comes from their place alone."
        for image in {image.sha256: image for image in images}.values()
        if (image.rgb == image.rgb[0, 0]).all()
    ]
    if answer is not None and answer.flat:
        found.append(f"All similarities to the query are alike, within {FLAT_SPREAD}: no place stands out.")
    return found


def _done(draft: RunDraft, result: SimilarResult) -> RunDraft:
    times, answer = result.times, result.answer
    metrics = [
        Metric("load_ms", times.load_ms, "ms"),
        Metric("model_ms", times.model_ms, "ms"),
        Metric("similarity_ms", times.similarity_ms, "ms"),
        Metric("global_similarity", result.similarity.mean),
        Metric("best_buddies", result.similarity.best_buddies),
        Metric("matches", len(result.matches)),
    ]
    if result.similarity.cls is not None:
        metrics.append(Metric("cls_similarity", result.similarity.cls))
    metrics += [Metric(f"{name}_percentile", at.percentile, "%") for name, at in result.standings.items()]
    if answer is not None:
        metrics.append(Metric("query_score", answer.match.score))
        metrics.append(Metric("query_cycle_error_px", answer.match.cycle_error_px, "px"))
    facts = {"query": answer.match.as_json() if answer else None, "notes": list(result.notes)}
    return replace(
        draft,
        duration_ms=times.model_ms + times.similarity_ms,
        parameters=dict(draft.parameters) | {"features": list(times.sources)},
        metrics=metrics,
        artifacts=[Artifact("matches.json", "application/json", matches_json(facts, result.matches))],
    )


def evaluate_similarity(
    spec: ModelSpec,
    n: int,
    seed: int,
    *,
    cache: FeatureCache,
    pool: ModelPool,
    sink: RunSink | None,
    owner: str,
    options: FeatureOptions = DEFAULT,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[PairScores, str | None]:
    """Score a model's matches where the truth is known (`core.features.pck`): one run, stored when whole.

    Returns the scores, and the run's id; None where it was not stored. `progress` may raise to cancel; then
    nothing is stored.

    Raises:
        InputError: The model cannot give such features, or `n` or `seed` is of no use.
    """
    draft = new_feature_draft(
        EVALUATION, spec, pool, owner, {"options": options.as_json(), "pairs": n, "seed": seed}
    )
    started = time.perf_counter()
    with recorded_failure(sink, draft, lambda: is_loaded(spec, pool)):
        scores = score_pairs(spec, n, seed, options, cache=cache, pool=pool, progress=progress)
    if sink is None:
        return scores, None
    report = Artifact("scores.json", "application/json", json.dumps(scores.as_json()).encode())
    done = replace(draft, duration_ms=ms_since(started), metrics=_score_metrics(scores), artifacts=[report])
    return scores, sink.record(done)


def _score_metrics(scores: PairScores) -> list[Metric]:
    metrics = []
    for kind, found in (("scenes", scores.scenes), ("stereo", scores.stereo)):
        if found is None:
            continue
        for alpha, share, chance in zip(ALPHAS, found.pck, found.chance, strict=True):
            metrics.append(Metric(f"{kind}_pck_{alpha}", share))
            metrics.append(Metric(f"{kind}_pck_{alpha}_chance", chance))
        metrics.append(Metric(f"{kind}_mean_error_px", found.mean_error_px, "px"))
    return metrics


def new_feature_draft(
    kind: str,
    spec: ModelSpec,
    pool: ModelPool,
    owner: str,
    parameters: Mapping[str, Any],
    inputs: tuple[RunInput, ...] = (),
) -> RunDraft:
    """Return a run as it is known before it runs, without the model, which it may not need."""
    return RunDraft(
        kind=kind,
        model_id=spec.id,
        model_revision=revision_of(spec, pool),
        environment=describe_environment(pool.choice.device, "float32"),
        owner=owner,
        parameters={name: value for name, value in parameters.items() if value is not None},
        inputs=inputs,
    )
