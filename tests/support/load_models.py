"""A process of its own that loads models by name and says in one JSON line each how that went.

    python -m tests.support.load_models [--hurry] NAME...

`--hurry` leaves out the pauses that the hub's library makes between its retries.
"""

import hashlib
import json
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def digest_of(module: "nn.Module") -> str:
    """Return one digest of the names, shapes and values of a network's tensors."""
    total = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        total.update(f"{name} {tuple(tensor.shape)}".encode() + tensor.contiguous().numpy().tobytes())
    return total.hexdigest()


def _load(name: str) -> dict[str, Any]:
    import torch

    from core.errors import VisionBenchError
    from core.loaders import ModelPool
    from core.registry import available, resolve

    spec = resolve(name)
    before, started = available(spec), time.perf_counter()
    try:
        with ModelPool(budget_mb=1000, device="cpu").use(spec) as model:
            takes = model.input
            seconds = time.perf_counter() - started
            with torch.inference_mode():
                output = model.forward(torch.zeros(1, 3, *takes.size))
            return {
                "digest": digest_of(model.module),
                "revision": model.spec.revision,
                "labels": list(model.labels),
                "prefix_tokens": model.prefix_tokens,
                "shape": [model.depth, model.heads],
                "input": [
                    model.input.size,
                    model.input.crop_mode,
                    model.input.crop_fraction,
                    model.input.mean,
                ],
                "outputs": output.shape[-1],
                "available": [before, available(spec)],
                "seconds": seconds,
            }
    except VisionBenchError as error:
        facts = {"error": type(error).__name__, "message": error.message, "remedy": error.remedy}
        return facts | {"seconds": time.perf_counter() - started}


def main(arguments: list[str]) -> None:
    if "--hurry" in arguments:
        time.sleep = lambda seconds: None
    import timm  # noqa: F401  loading is timed, importing is not
    import torch
    import transformers
    from transformers import AutoModel, Dinov2Model  # noqa: F401

    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    for name in arguments:
        if not name.startswith("--"):
            print(json.dumps({"name": name} | _load(name)), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
