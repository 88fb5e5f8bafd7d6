"""A long run of this process, watched by a person at a terminal."""

import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

import typer

SAY_EVERY_S = 2.0
CANCELLED = 130
"""Exit code of a run that was broken off, as a shell's after Ctrl-C."""

ProgressT = TypeVar("ProgressT")
ProgressT_co = TypeVar("ProgressT_co", covariant=True)


class Job(Protocol[ProgressT_co]):
    """A run that can be cancelled, and looked at while it works."""

    @property
    def progress(self) -> ProgressT_co: ...

    def work(self) -> ProgressT_co: ...

    def cancel(self) -> None: ...


def watched(job: Job[ProgressT], text: Callable[[ProgressT], str]) -> ProgressT:
    """Let a run work and say on stderr how far it is; Ctrl-C breaks it off, and what is done stays."""
    raised: list[BaseException] = []

    def target() -> None:
        try:
            job.work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=target, name="work")
    thread.start()
    while thread.is_alive():
        try:
            thread.join(SAY_EVERY_S)
            typer.echo(text(job.progress), err=True)
        except KeyboardInterrupt:
            job.cancel()
    if raised:
        raise raised[0]
    return job.progress
