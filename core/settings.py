"""The environment, read once into one frozen value.

Every variable starts with `VISION_BENCH_`; README's table of configuration lists the same names.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from core.errors import SetupError

SAM_URL = "https://dl.fbaipublicfiles.com/segment_anything"
ROOT = Path(__file__).resolve().parent.parent
THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
"""Hosts under which a machine speaks to itself."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Configuration of one process."""

    database_url: str
    """SQLAlchemy address of the result store."""
    checkpoints: Path
    """Folder of the shipped checkpoints and of local weight files."""
    keep_pictures: bool
    """Whether a run keeps its input pictures, so that it can be run again."""
    access: str
    """`auto`, `private` (one person, one history) or `public` (each visitor alone)."""
    max_upload_mb: float
    """Largest accepted picture file, in MB (10^6 bytes)."""
    max_megapixels: float
    """Largest accepted picture, in millions of pixels."""
    device: str
    """`auto`, `cpu`, `cuda` or `mps`."""
    model_memory_mb: float | None
    """Budget of the model pool, in MB (10^6 bytes); None takes a share of what is free."""
    embedding_memory_mb: float
    """Most memory that picture embeddings of segmenters may take, in MB (10^6 bytes)."""
    embedding_store_mb: float
    """Most room that picture embeddings and features may take in the store, in MB (10^6 bytes)."""
    sam_url: str
    """Address of the folder that segment-anything's published weights are fetched from."""
    hub_timeout_s: float
    """How long the model hub may take to answer before it counts as unreachable, in seconds."""
    prices: Path | None
    """A table of prices of remote models instead of the shipped one (`core/vlm/prices.toml`)."""
    vlm_url: str
    """Base address of an OpenAI-compatible server, such as `http://localhost:11434/v1`; empty for none."""
    loopback_url: str
    """Origin of the loopback test server that stands in for all remote providers; empty for none."""
    ray: str
    """Address of a Ray cluster that the page may send sweeps to, such as `HOST:6379`; empty for none."""
    turn_file: Path | None
    """The file that whoever measures holds locked; None is one of this person's on this machine."""


def _number(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise SetupError(
            f"{name} is {text!r}, which is not a positive number.", f"Set {name} to a number above 0."
        )
    return value


def _choice(env: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    text = env.get(name, "").strip().lower() or choices[0]
    if text not in choices:
        raise SetupError(f"{name} is {text!r}.", f"Set it to one of {', '.join(choices)}.")
    return text


def _address(env: Mapping[str, str], name: str, *, here: bool = False) -> str:
    """Return a web address without a slash at its end; `here`: one of this machine, without a path."""
    text = env.get(name, "").strip().rstrip("/")
    if not text:
        return ""
    example = "http://127.0.0.1:8765" if here else "http://localhost:11434/v1"
    try:
        url = urlsplit(text)
        usable = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        raise SetupError(f"{name} is no web address.", f"Set it to an address such as {example}.") from None
    if "@" in url.netloc or url.query or url.fragment:  # not shown: it may hold a secret
        raise SetupError(
            f"{name} holds a password, a query or a fragment.", f"Set it to an address such as {example}."
        )
    if not usable or any(character.isspace() for character in text):
        raise SetupError(f"{name} is {text!r}.", f"Set it to an address such as {example}.")
    if here and (url.hostname not in THIS_MACHINE or url.path):
        raise SetupError(
            f"{name} is {text!r}, which is not the origin of a server on this machine.",
            f"Set it to an address such as {example}.",
        )
    return text


def read_settings(env: Mapping[str, str]) -> Settings:
    """Return the settings that `env` describes.

    Raises:
        SetupError: A value cannot be used; the message names the variable.
    """
    prefix = "VISION_BENCH_"
    keep = _choice(env, f"{prefix}KEEP_PICTURES", ("auto", "1", "0", "true", "false", "yes", "no"))
    access = _choice(env, f"{prefix}ACCESS", ("auto", "private", "public"))
    budget = env.get(f"{prefix}MODEL_MEMORY_MB", "").strip()
    return Settings(
        database_url=env.get(f"{prefix}DATABASE_URL", "").strip()
        or f"sqlite:///{ROOT / 'db' / 'vision_bench.sqlite3'}",
        checkpoints=Path(env.get(f"{prefix}CHECKPOINTS", "").strip() or ROOT / "checkpoints"),
        keep_pictures=access != "public" if keep == "auto" else keep in ("1", "true", "yes"),
        access=access,
        max_upload_mb=_number(env, f"{prefix}MAX_UPLOAD_MB", 20.0),
        max_megapixels=_number(env, f"{prefix}MAX_MEGAPIXELS", 40.0),
        device=_choice(env, f"{prefix}DEVICE", ("auto", "cpu", "cuda", "mps")),
        model_memory_mb=_number(env, f"{prefix}MODEL_MEMORY_MB", 1.0) if budget else None,
        embedding_memory_mb=_number(env, f"{prefix}EMBEDDING_MEMORY_MB", 256.0),
        embedding_store_mb=_number(env, f"{prefix}EMBEDDING_STORE_MB", 512.0),
        sam_url=env.get(f"{prefix}SAM_URL", "").strip() or SAM_URL,
        hub_timeout_s=_number(env, f"{prefix}HUB_TIMEOUT_S", 3.0),
        prices=Path(prices) if (prices := env.get(f"{prefix}PRICES", "").strip()) else None,
        vlm_url=_address(env, f"{prefix}VLM_URL"),
        loopback_url=_address(env, f"{prefix}LOOPBACK_URL", here=True),
        ray=env.get(f"{prefix}RAY", "").strip(),
        turn_file=Path(turn) if (turn := env.get(f"{prefix}TURN_FILE", "").strip()) else None,
    )


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Return this process's settings."""
    return read_settings(os.environ)
