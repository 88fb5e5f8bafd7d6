"""Memory that does not suffice, said in our words."""

from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import SetupError


@contextmanager
def memory_checked(device: str, model_id: str) -> Iterator[None]:
    """Turn whatever the libraries raise when a picture does not fit into an error with its remedy.

    Raises:
        SetupError: The memory of `device` does not suffice.
    """
    import torch

    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "alloc" not in str(error) and "memory" not in str(error):
            raise
        raise SetupError(
            f"The memory of {device} does not suffice to encode this picture with {model_id}.",
            "Choose a smaller model, or close other programs and try again.",
        ) from error
