"""`train`: a checkpoint of one's own, every epoch in the store.

The options are the fields of `core.training.config.TrainConfig`, with the help that is written there.
"""

import ast
import shlex
import sys
from dataclasses import asdict, fields
from inspect import Parameter, Signature, getsource
from itertools import pairwise
from typing import Annotated, Any, get_type_hints

import typer

from core.cli.shared import Answer, JsonOption, NoStoreOption, run_store
from core.training.config import TrainConfig

app = typer.Typer(help="Train a model of one's own.", no_args_is_help=True)


@app.callback()
def train() -> None:
    """Train a model of one's own."""


def field_help(kind: type) -> dict[str, str]:
    """Return the strings that stand below the fields of a class; Python itself does not keep them."""
    found = {}
    for field, below in pairwise(ast.iter_child_nodes(ast.parse(getsource(kind)).body[0])):
        match field, below:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                found[name] = " ".join(text.split())
    return found


def _with_training_options(command: Any) -> Any:
    """Give a command one option for each field of the configuration, with its type and default."""
    types, help_texts = get_type_hints(TrainConfig), field_help(TrainConfig)
    options: dict[str, tuple[Any, Any]] = {"as_json": (JsonOption, False), "no_store": (NoStoreOption, False)}
    for field in fields(TrainConfig):
        option = typer.Option(help=help_texts.get(field.name))
        options[field.name] = (Annotated[types[field.name], option], field.default)
    command.__annotations__ = {name: annotation for name, (annotation, _) in options.items()}
    command.__signature__ = Signature(
        [
            Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for name, (annotation, default) in options.items()
        ]
    )
    return command


@app.command("vit")
@_with_training_options
def vit(as_json: bool, no_store: bool, **options: Any) -> Answer:
    """Train a Vision Transformer and write a checkpoint with its card."""
    config = TrainConfig(**options)
    from core.training.supervised import train_vit

    command = shlex.join(["python", "-m", "core", *sys.argv[1:]])
    with run_store(no_store) as store:
        result = train_vit(config, store, command)
    score = result.card.score
    payload = {
        "run": result.run_id or None,
        "checkpoint": str(result.checkpoint),
        "sha256": result.card.sha256,
        "parameters": result.card.parameters,
        "score": {"name": score.name, "value": score.value, "n": score.n},
        "epochs": [asdict(epoch) for epoch in result.history],
    }
    return Answer(payload, f"{result.checkpoint}: {score.name} {score.value:.2%} on {score.n:,} pictures")
