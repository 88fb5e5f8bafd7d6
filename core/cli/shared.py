"""What the commands have in common: their answer, their store, and how a picture is named."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import InputError
from core.features.values import Facet
from core.images import ImageInput, Limits, check_size, decode
from core.samples import load_sample
from core.settings import settings

if TYPE_CHECKING:
    from core.loaders import ModelPool
    from db import Store

SAMPLE_PREFIX = "sample:"

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
"""Heeded by `main`, for errors too; a command takes it only so that the word is known there."""
NoStoreOption = Annotated[bool, typer.Option("--no-store", help="Leave no run in the store.")]
PictureArgument = typer.Argument(
    metavar="IMAGE", help=f"A file, or {SAMPLE_PREFIX}ID as in {SAMPLE_PREFIX}astronaut."
)
ModelOption = Annotated[str, typer.Option("--model", metavar="ID", help="An id that `models` lists.")]
LayerOption = Annotated[int, typer.Option("--layer", help="From 0; -1 is the last.")]
FacetOption = Annotated[Facet, typer.Option("--facet", help="What is read in the layer.")]
StrideOption = Annotated[
    int | None,
    typer.Option(
        "--stride", metavar="PX", help="Between neighbouring patches; below the patch they overlap."
    ),
]
SizeOption = Annotated[
    int | None,
    typer.Option("--size", metavar="PX", help="Shorter side of the model's input; its own if left out."),
]
MaxTokensOption = Annotated[
    int, typer.Option("--max-tokens", metavar="N", help="Most tokens of an answer, thinking included.")
]
EstimateOption = Annotated[bool, typer.Option("--estimate", help="Say what it will take, and do nothing.")]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command found out. `main` prints it, either way; a command itself never writes to stdout.

    Raises:
        TypeError: `payload` holds something that JSON does not have.
        ValueError: It holds a number that is not finite.
    """

    payload: Mapping[str, Any]
    """As JSON values, for `--json`."""
    text: str
    """For a person."""
    exit_code: int = 0

    def __post_init__(self) -> None:
        json.dumps(dict(self.payload), allow_nan=False)


def model_pool() -> "ModelPool":
    """Return a pool for the models of one command."""
    from core.loaders import ModelPool

    return ModelPool(budget_mb=settings().model_memory_mb, device=settings().device)


def open_store() -> "Store":
    """Open the store that the pages use, too."""
    from db import Store

    return Store.open(settings().database_url, keep_pictures=settings().keep_pictures)


@contextmanager
def run_store(no_store: bool) -> "Iterator[Store | None]":
    """Yield the store that keeps a run, or None where the person wants no trace."""
    if no_store:
        yield None
        return
    with open_store() as store:
        yield store


def read_picture(name: str) -> ImageInput:
    """Return the picture at a path, or the sample that `sample:ID` names.

    Raises:
        InputError: There is no such picture, or it cannot be used.
    """
    if name.startswith(SAMPLE_PREFIX):
        return load_sample(name.removeprefix(SAMPLE_PREFIX))
    path = Path(name).expanduser()
    limits = Limits(settings().max_upload_mb, settings().max_megapixels)
    try:
        if not path.is_file():
            raise InputError(
                f"There is no file {name}.",
                f"Check the path, or name a sample as in {SAMPLE_PREFIX}astronaut.",
            )
        check_size(path.stat().st_size, name, limits)
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(
            f"{name} cannot be read ({error}).", "Check its name and your right to read it."
        ) from error
    return replace(decode(data, name, limits), name=path.name)  # a message names the path, a run does not


def names(text: str) -> tuple[str, ...]:
    """Return what stands between commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def new_file(path: Path) -> Path:
    """Return `path` with its folder made.

    Raises:
        InputError: The folder cannot be made or written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure to write at `path` into what the person can do about it."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path} cannot be written ({reason}).", "Name another place with --out.") from error
