"""What every workflow does to leave its run in the store, as a success or as a failure."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from core.environment import describe_environment
from core.errors import VisionBenchError
from core.images import ImageInput
from core.loaders import Loaded
from core.runs import RunDraft, RunInput, RunSink


def new_draft(
    kind: str, image: ImageInput | None, model: Loaded, owner: str, parameters: Mapping[str, Any]
) -> RunDraft:
    """Return the run as it is known before it runs.

    Args:
        image: Its picture; None for a run over many.
        parameters: What re-creates it; one that is None was not given.
    """
    return RunDraft(
        kind=kind,
        model_id=model.spec.id,
        model_revision=model.spec.revision,
        environment=describe_environment(model.device, model.dtype),
        owner=owner,
        parameters={name: value for name, value in parameters.items() if value is not None},
        inputs=() if image is None else (RunInput("picture", image),),
    )


def ms_since(started: float) -> float:
    """Return the milliseconds since `time.perf_counter()` was `started`."""
    return (time.perf_counter() - started) * 1000


@contextmanager
def recorded_failure(
    sink: RunSink | None, draft: RunDraft, begun: Callable[[], bool] = lambda: True
) -> Iterator[None]:
    """Keep what goes wrong inside as a failed run, if it has `begun` by then."""
    started = time.perf_counter()
    try:
        yield
    except Exception as error:
        if sink is not None and begun():
            failed = replace(
                draft,
                status="failed",
                duration_ms=ms_since(started),
                error_class=type(error).__name__,
                error_message=error.message if isinstance(error, VisionBenchError) else str(error),
            )
            sink.record(failed)
        raise
