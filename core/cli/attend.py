"""`attend`: the attention of one query, as a file of numbers."""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from core.checkpoints import write_atomically
from core.cli.shared import (
    Answer,
    JsonOption,
    ModelOption,
    NoStoreOption,
    PictureArgument,
    model_pool,
    new_file,
    read_picture,
    run_store,
    writing,
)
from core.errors import InputError
from core.explain.maps import Fusion, Head, Query, attention_row, npy_bytes, patch_map, rollout_row
from core.preprocess import Fit
from core.registry import resolve
from core.runs import LOCAL_OWNER

if TYPE_CHECKING:
    from core.explain.attention import Attention

FUSIONS: dict[str, Fusion] = {"mean": "mean", "max": "max", "min": "min"}


@dataclass(frozen=True, slots=True)
class View:
    """Which of the attention that was read becomes the map."""

    head: Head
    query: Query
    fusion: Fusion | None
    """How rollout merges heads; None for the attention of one layer."""

    @classmethod
    def parse(cls, head: str, query: str, rollout: bool) -> "View":
        """Read what the person wrote.

        Raises:
            InputError: It is no head, no query, or a single head for rollout.
        """
        fusion = FUSIONS.get(head)
        if fusion is None and not re.fullmatch(r"\d{1,6}", head, re.ASCII):
            raise InputError(f"--head is {head!r}.", "Give the number of a head from 0, or mean, max or min.")
        if fusion is None and rollout:
            raise InputError(
                "Rollout merges the heads of every layer.", "Give --head mean, max or min with it."
            )
        return cls(fusion or int(head), _query(query), fusion if rollout else None)

    def map_of(self, attention: "Attention", layer: int) -> NDArray[np.float32]:
        """Return the map, rows by columns of patches."""
        if self.fusion:
            row = rollout_row(attention, self.fusion, self.query)
        else:
            row = attention_row(attention, layer, self.head, self.query)
        return patch_map(attention, row)

    def as_json(self, layer: int) -> dict[str, object]:
        """Return the view as the page of attention maps stores it."""
        method = "rollout" if self.fusion else "attention"
        query = self.query if self.query == "cls" else list(self.query)
        return {"method": method, "layer": layer, "head": self.head, "query": query}


def _query(text: str) -> Query:
    if text == "cls":
        return "cls"
    numbers = re.fullmatch(r"(\d{1,6}),(\d{1,6})", text, re.ASCII)
    if numbers is None:
        raise InputError(f"--query is {text!r}.", "Give cls, or row and column of a patch from 0, as in 3,5.")
    return int(numbers[1]), int(numbers[2])


def attend_picture(
    picture: Annotated[str, PictureArgument],
    model: ModelOption,
    out: Annotated[
        Path, typer.Option(metavar="MAP.npy", help="Where the map goes: float32, rows by columns.")
    ],
    layer: Annotated[int, typer.Option(help="From 0; -1 is the last.")] = -1,
    head: Annotated[
        str, typer.Option(metavar="H|mean|max|min", help="One head, from 0, or all merged.")
    ] = "mean",
    query: Annotated[
        str, typer.Option(metavar="cls|ROW,COL", help="Whose attention; patches from 0,0.")
    ] = "cls",
    rollout: Annotated[bool, typer.Option("--rollout", help="Through all layers instead of in one.")] = False,
    fit: Annotated[Fit, typer.Option(help="How much of the picture the model sees.")] = "whole",
    as_json: JsonOption = False,
    no_store: NoStoreOption = False,
) -> Answer:
    """Write the attention that a query pays to each patch of a picture."""
    from core.workflows import attend

    view, image, spec = View.parse(head, query, rollout), read_picture(picture), resolve(model)
    new_file(out)
    with run_store(no_store) as store:
        result = attend(
            image,
            spec,
            pool=model_pool(),
            sink=store,
            owner=LOCAL_OWNER,
            fit=fit,
            layer=layer,
            head=view.head,
            query=view.query,
            rollout=view.fusion,
        )
        attention, layer = result.attention, layer % result.attention.depth
        values = view.map_of(attention, layer)
        if store is not None and result.run_id is not None:
            store.set_view(result.run_id, LOCAL_OWNER, view.as_json(layer))
    with writing(out):
        write_atomically(out, npy_bytes(values))
    payload = {
        "run": result.run_id,
        "model": spec.id,
        "picture": image.name,
        **view.as_json(layer),
        "out": str(out),
        "shape": list(values.shape),
        "sum": float(values.sum()),
        "checks": asdict(attention.checks) | {"passed": attention.checks.passed},
        "predictions": [asdict(prediction) for prediction in result.predictions],
    }
    return Answer(payload, f"{values.shape[0]} x {values.shape[1]} patches, sum {values.sum():.4f}, in {out}")
