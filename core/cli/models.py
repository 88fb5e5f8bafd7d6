"""`models` and `classify`: what there is, and what it sees in pictures."""

from dataclasses import asdict
from typing import Annotated

import typer

from core.cli.shared import (
    Answer,
    JsonOption,
    ModelOption,
    NoStoreOption,
    PictureArgument,
    model_pool,
    read_picture,
    run_store,
)
from core.registry import available, catalog, resolve
from core.runs import LOCAL_OWNER


def list_models(as_json: JsonOption = False) -> Answer:
    """List the models: shipped ones, then published ones, and whether they are on this machine."""
    models = [
        {
            "id": spec.id,
            "title": spec.title,
            "tasks": list(spec.tasks),
            "source": spec.source,
            "available": available(spec),
            "parameters": spec.parameters,
            "license": spec.license,
        }
        for spec in catalog()
    ]
    lines = [
        f"{'here' if available(spec) else '-':5}{spec.id:60}{', '.join(spec.tasks)}" for spec in catalog()
    ]
    return Answer({"models": models}, "\n".join(lines))


def classify_pictures(
    pictures: Annotated[list[str], PictureArgument],
    model: ModelOption,
    top: Annotated[int, typer.Option(min=1, help="How many classes for each picture.")] = 5,
    as_json: JsonOption = False,
    no_store: NoStoreOption = False,
) -> Answer:
    """Name what is in pictures."""
    from core.workflows import classify

    images, spec = [read_picture(name) for name in pictures], resolve(model)
    with run_store(no_store) as store:
        results = classify(images, spec, pool=model_pool(), sink=store, owner=LOCAL_OWNER, top=top)
    lines = []
    for image, result in zip(images, results, strict=True):
        lines += [image.name, *(f"  {found.score:7.2%}  {found.label}" for found in result.predictions)]
    payload = {
        "model": spec.id,
        "pictures": [image.name for image in images],
        "runs": [result.run_id for result in results],
        "predictions": [[asdict(found) for found in result.predictions] for result in results],
    }
    return Answer(payload, "\n".join(lines))
