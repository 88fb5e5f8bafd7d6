"""A training as one run in the store, however it ends."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from core.runs import Artifact, Metric, RunDraft, RunSink


@contextmanager
def recorded(
    sink: RunSink | None, draft: RunDraft, earlier: Sequence[Metric], elapsed_s: Callable[[], float]
) -> Iterator[str]:
    """Open a run and yield its id, '' without a store; close it as failed or cancelled where the body raises.

    Args:
        earlier: What was measured before a training was resumed.
        elapsed_s: How long it has taken so far, in seconds.
    """
    if sink is None:
        yield ""
        return
    run_id = sink.start(draft)
    sink.log(run_id, earlier)
    try:
        yield run_id
    except BaseException as error:
        sink.finish(
            run_id,
            status="cancelled" if isinstance(error, KeyboardInterrupt) else "failed",
            duration_ms=elapsed_s() * 1000,
            error_class=type(error).__name__,
            error_message=str(error),
        )
        raise


def finish(sink: RunSink | None, run_id: str, elapsed_s: float, score: Metric, card: Path) -> None:
    """Close the run of a training that ended well, with its score and the checkpoint's card."""
    if sink is not None:
        sink.finish(
            run_id,
            status="ok",
            duration_ms=elapsed_s * 1000,
            metrics=[score],
            artifacts=[Artifact(card.name, "application/json", card.read_bytes())],
        )
