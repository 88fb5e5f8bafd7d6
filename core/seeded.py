"""Random numbers that depend on a seed alone, whatever other threads do meanwhile."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

INITIALISERS = {"normal", "normal_", "uniform_", "rand", "randn", "trunc_normal_"} | {
    f"{scheme}_{shape}_" for scheme in ("kaiming", "xavier") for shape in ("normal", "uniform")
}
"""The functions with which networks set their first weights."""


class Seeded(TorchFunctionMode):
    """While entered, this thread's first weights are those that `torch.manual_seed(seed)` would give.

    `manual_seed` itself sets the generator of the whole process: two networks that are built at the same
    time would take each other's numbers.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        if getattr(func, "__name__", "") in INITIALISERS:
            options["generator"] = self.generator
        return func(*args, **options)
