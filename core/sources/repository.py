"""A folder or a hub repository: its config.json tells whether timm or transformers saved it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.hub import cached_file, fetching, local_errors, require_hub
from core.registry import ModelSpec
from core.sources.network import Network
from core.sources.timm_models import from_timms_own
from core.sources.transformers_models import from_transformers


def from_folder(spec: ModelSpec) -> Network:
    """A model folder: timm's (`save_for_hf`) or transformers' (`save_pretrained`)."""
    config = _config(Path(spec.weights))
    with local_errors(spec.title):
        if "architecture" not in config:
            return from_transformers(spec.weights, spec, local=True)
        return from_timms_own(f"local-dir:{spec.weights}", str(config["architecture"]), spec)


def _config(folder: Path) -> Mapping[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"The folder {folder.name} has no config.json that can be read.",
            "Give a folder that timm or transformers saved a model in.",
        ) from error
    if not isinstance(config, dict):
        raise InputError(f"The config.json in {folder.name} is no JSON object.", "Save the model again.")
    return config


def from_hub(spec: ModelSpec) -> Network:
    """A model of the hub: timm's or transformers', as its config.json says."""
    from huggingface_hub import hf_hub_download

    with fetching(spec.id, spec.weights, spec.revision) as cached:
        here = cached_file(spec.weights, "config.json", spec.revision)
        if here is None:  # timm fetches the weights of its own names without it
            require_hub(spec.id)
        config = here or Path(hf_hub_download(spec.weights, "config.json", revision=spec.revision))
        architecture = _config(config.parent).get("architecture")
        if architecture is None:
            return from_transformers(spec.weights, spec, local=cached is not None)
        if cached:
            return from_folder(replace(spec, weights=str(cached.parent)))
        return from_timms_own(f"hf-hub:{spec.weights}@{spec.revision}", str(architecture), spec)
