"""`train`: a checkpoint of one's own, every epoch in the store.

The options are the fields of `core.training.config.TrainConfig`; here they only get their help.
"""

import shlex
import sys
from dataclasses import asdict, fields
from inspect import Parameter, Signature
from typing import Annotated, Any, get_type_hints

import typer

from core.cli.shared import Answer, JsonOption, NoStoreOption, run_store
from core.training.config import TrainConfig

app = typer.Typer(help="Train a model of one's own.", no_args_is_help=True)

HELP = {
    "data": "What to learn: the class of a scene's largest object, or scikit-learn's digits.",
    "out": "Where the checkpoint goes; its card is written beside it.",
    "work": "Folder for generated pictures and the state to resume from.",
    "start_from": "Checkpoint whose weights to begin with.",
    "resume": "Go on with a training that was killed.",
    "seed": "Seed of weights, order and training scenes.",
    "image_size": "Side of the square input, in pixels.",
    "patch_size": "Side of a patch, in pixels.",
    "dim": "Width of a token.",
    "depth": "Number of layers.",
    "heads": "Attention heads in a layer.",
    "mlp_dim": "Width of the hidden layer in each block.",
    "pool": "What the classifier reads: the CLS token or the mean of the patches.",
    "dropout": "Share of activations dropped while learning.",
    "scenes": "Number of different scenes to learn from.",
    "test_scenes": "Number of fresh scenes to measure the score on.",
    "epochs": "How many epochs.",
    "epoch_pictures": "Pictures in one epoch.",
    "batch_size": "Pictures in one batch.",
    "accumulation": "Batches whose mean gradient makes one step.",
    "lr": "Peak learning rate.",
    "warmup_share": "Share of the steps in which the learning rate rises.",
    "weight_decay": "Decoupled weight decay.",
    "clip_norm": "Largest norm of the gradient.",
    "label_smoothing": "Share of each label that goes to the other classes.",
    "dense_weight": "Weight of the loss on patches with known masks; 0 learns from labels alone.",
    "save_every": "Steps between two states to resume from.",
    "device": "cpu, cuda or mps.",
    "threads": "Threads of the CPU's kernels.",
    "workers": "Processes that draw scenes.",
}


def _with_training_options(command: Any) -> Any:
    """Give a command one option for each field of the configuration, with its type and default."""
    types = get_type_hints(TrainConfig)
    options: dict[str, tuple[Any, Any]] = {"as_json": (JsonOption, False), "no_store": (NoStoreOption, False)}
    for field in fields(TrainConfig):
        help_text = typer.Option(help=HELP[field.name])
        options[field.name] = (Annotated[types[field.name], help_text], field.default)
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
