"""A process of its own that asks vision-language models by name and says in one JSON line each how that went.

python -m tests.support.ask_models PROMPT NAME...
"""

import json
import sys
from typing import Any

PICTURE_SEED = 3
MAX_TOKENS = 8


def _ask(name: str, prompt: str) -> dict[str, Any]:
    from core.errors import VisionBenchError
    from core.images import from_rgb
    from core.loaders import ModelPool
    from core.registry import available, resolve
    from core.scenes import generate_scene

    spec = resolve(name, "vlm")
    before = available(spec)
    image = from_rgb(generate_scene(PICTURE_SEED).rgb, "scene")
    try:
        with ModelPool(budget_mb=100, device="cpu").vlm(spec) as model, model.turn:
            made = model.generate(
                image,
                prompt,
                max_tokens=MAX_TOKENS,
                temperature=0.0,
                on_text=lambda _: None,
                cancelled=lambda: False,
            )
            facts = {"text": made.text, "revision": model.spec.revision}
            return facts | {"available": [before, available(spec)]}
    except VisionBenchError as error:
        return {"error": type(error).__name__, "message": error.message, "remedy": error.remedy}


def main(prompt: str, *names: str) -> None:
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    for name in names:
        print(json.dumps({"name": name} | _ask(name, prompt)), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
