"""A basis of colours as a file, to use it again on other pictures: safetensors, sealed."""

import json
from typing import Any

from safetensors.numpy import load, save

from core.errors import InputError
from core.features.pca import PcaBasis
from core.features.values import FeatureOptions
from core.sealed import DAMAGED, seal, unsealed

FORMAT = "vision-bench pca 1"
MAX_BYTES = 1_000_000
"""A basis takes a few kB; anything larger is something else."""
_ARRAYS = ("mean", "components", "explained", "low", "high")


def basis_to_bytes(basis: PcaBasis) -> bytes:
    """Return a file with the arrays of a basis and, as JSON, what it was fitted to."""
    facts = {
        "format": FORMAT,
        "patches": basis.patches,
        "model": basis.model_id,
        "revision": basis.revision,
        "options": basis.options.as_json(),
    }
    return seal(save, {name: getattr(basis, name) for name in _ARRAYS}, json.dumps(facts))


def basis_from_bytes(data: bytes) -> PcaBasis:
    """Return the basis in a file that `basis_to_bytes` wrote.

    Raises:
        InputError: It is another file, or a byte of it was changed.
    """
    remedy = "Choose a file that was saved with the colours."
    if len(data) > MAX_BYTES:
        raise InputError(f"The file has {len(data) / 1e6:.1f} MB, too large for a basis of colours.", remedy)
    try:
        arrays = load(data)  # checks the header, before anything here believes it
        return _basis(arrays, unsealed(save, arrays, data))
    except (*DAMAGED, InputError) as error:
        raise InputError("The file holds no basis of colours, or was damaged.", remedy) from error


def _basis(arrays: dict[str, Any], facts: dict[str, Any]) -> PcaBasis:
    """Return the basis; a bad file raises what `basis_from_bytes` translates."""
    if facts["format"] != FORMAT or set(arrays) != set(_ARRAYS):
        raise ValueError("it is something else")
    texts = facts["model"], facts["revision"]
    if not all(isinstance(text, str) for text in texts) or not isinstance(facts["patches"], int):
        raise ValueError("a fact of it is of another type")
    options = FeatureOptions(**facts["options"])
    # copied, because what safetensors loads is a view of the file
    copies = {name: arrays[name].copy() for name in _ARRAYS}
    return PcaBasis(**copies, patches=facts["patches"], model_id=texts[0], revision=texts[1], options=options)
