"""`train`: a checkpoint of one's own, every epoch in the store.

The options are the fields of `core.training.config.TrainConfig`,
`core.training.promptable.config.PromptableConfig`, `core.training.dino.config.DinoConfig` and
`core.training.captioner.config.CaptionerConfig`, with the help that is written there.
"""

import ast
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, fields
from inspect import Parameter, Signature, getsource
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from core.checkpoints import Card
from core.cli.shared import Answer, JsonOption, NoStoreOption, run_store
from core.training.captioner.config import CaptionerConfig
from core.training.config import TrainConfig
from core.training.dino.config import DinoConfig
from core.training.promptable.config import PromptableConfig

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


def _with_options_of(config: type) -> Callable[[Any], Any]:
    """Give a command one option for each field of a configuration, with its type and default."""
    types, help_texts = get_type_hints(config), field_help(config)
    options: dict[str, tuple[Any, Any]] = {"as_json": (JsonOption, False), "no_store": (NoStoreOption, False)}
    for field in fields(config):
        option = typer.Option(help=help_texts.get(field.name))
        options[field.name] = (Annotated[types[field.name], option], field.default)

    def give(command: Any) -> Any:
        command.__annotations__ = {name: annotation for name, (annotation, _) in options.items()}
        command.__signature__ = Signature(
            [
                Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
                for name, (annotation, default) in options.items()
            ]
        )
        return command

    return give


@app.command("vit")
@_with_options_of(TrainConfig)
def vit(as_json: bool, no_store: bool, **options: Any) -> Answer:
    """Train a Vision Transformer and write a checkpoint with its card."""
    config = TrainConfig(**options)
    from core.training.supervised import train_vit

    with run_store(no_store) as store:
        result = train_vit(config, store, _command())
    epochs = {"epochs": [asdict(epoch) for epoch in result.history]}
    return _trained(result.run_id, result.checkpoint, result.card, epochs)


@app.command("sam")
@_with_options_of(PromptableConfig)
def sam(as_json: bool, no_store: bool, **options: Any) -> Answer:
    """Train a small Segment Anything Model and write a checkpoint with its card."""
    config = PromptableConfig(**options)
    from core.training.promptable.train import train_sam

    with run_store(no_store) as store:
        result = train_sam(config, store, _command())
    reports = {"reports": [asdict(report) for report in result.history]}
    return _trained(result.run_id, result.checkpoint, result.card, reports)


@app.command("dino")
@_with_options_of(DinoConfig)
def dino(as_json: bool, no_store: bool, **options: Any) -> Answer:
    """Train a Vision Transformer without labels (DINO) and write a checkpoint with its card."""
    config = DinoConfig(**options)
    from core.training.dino.train import train_dino

    with run_store(no_store) as store:
        result = train_dino(config, store, _command())
    reports = {"reports": [asdict(report) for report in result.history]}
    return _trained(result.run_id, result.checkpoint, result.card, reports)


@app.command("captioner")
@_with_options_of(CaptionerConfig)
def captioner(as_json: bool, no_store: bool, **options: Any) -> Answer:
    """Train a small vision-language model on scenes and write a checkpoint with its card."""
    config = CaptionerConfig(**options)
    from core.training.captioner.train import train_captioner

    with run_store(no_store) as store:
        result = train_captioner(config, store, _command())
    reports = {"reports": [asdict(report) for report in result.history]}
    return _trained(result.run_id, result.checkpoint, result.card, reports)


def _command() -> str:
    return shlex.join(["python", "-m", "core", *sys.argv[1:]])


def _trained(run_id: str, checkpoint: Path, card: Card, history: dict[str, Any]) -> Answer:
    score = card.score
    payload = {
        "run": run_id or None,
        "checkpoint": str(checkpoint),
        "sha256": card.sha256,
        "parameters": card.parameters,
        "score": {"name": score.name, "value": score.value, "n": score.n},
        **history,
    }
    return Answer(payload, f"{checkpoint}: {score.name} {score.value:.2%} on {score.n:,} pictures")
