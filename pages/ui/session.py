"""The process-wide singletons, and who the visitor is.

The store and the pool of loaded models are shared by every visitor: the first holds rows that know their
owner, the second holds weights that nobody changes. Everything else belongs to one session (`state.py`).
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import streamlit as st

from core.runs import LOCAL_OWNER
from core.settings import settings
from db import Store
from pages.ui import state

if TYPE_CHECKING:
    from core.bench.live import LiveBenchmarks
    from core.bench.sweep.live import LiveSweeps
    from core.features.cache import FeatureCache
    from core.features.search import PictureSearch
    from core.loaders import ModelPool
    from core.segment.cache import EmbeddingCache
    from core.vlm.setrun.live import LiveRuns

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
FORWARDED = {"forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip"}


@st.cache_resource(show_spinner=False)
def store() -> Store:
    """Return the result store, opened once for the process."""
    return Store.open(settings().database_url, keep_pictures=settings().keep_pictures)


@st.cache_resource(show_spinner=False)
def model_pool() -> ModelPool:
    """Return the pool of loaded models, made once for the process. The first call imports torch."""
    from core.loaders import ModelPool

    return ModelPool(budget_mb=settings().model_memory_mb, device=settings().device)


@st.cache_resource(show_spinner=False)
def embedding_cache() -> EmbeddingCache:
    """Return the picture embeddings of segmenters, shared by everybody who has the same picture."""
    from core.segment.cache import EmbeddingCache

    return EmbeddingCache(store(), settings().embedding_memory_mb, settings().embedding_store_mb)


@st.cache_resource(show_spinner=False)
def feature_cache() -> FeatureCache:
    """Return the features of pictures, shared by everybody who has the same picture."""
    from core.features.cache import FeatureCache

    return FeatureCache(store(), settings().embedding_memory_mb, settings().embedding_store_mb)


@st.cache_resource(show_spinner=False)
def picture_search() -> PictureSearch:
    """Return the search over the store's pictures; each visitor finds only what they may see."""
    from core.features.search import PictureSearch

    return PictureSearch(store(), feature_cache())


@st.cache_resource(show_spinner=False)
def live_runs() -> LiveRuns:
    """Return the data-set runs that work in this process; each owner finds their own only."""
    from core.vlm.setrun.live import LiveRuns

    return LiveRuns()


@st.cache_resource(show_spinner=False)
def live_benchmarks() -> LiveBenchmarks:
    """Return the benchmarks that work in this process; each owner finds their own only."""
    from core.bench.live import LiveBenchmarks

    return LiveBenchmarks()


@st.cache_resource(show_spinner=False)
def live_sweeps() -> LiveSweeps:
    """Return the sweeps that work in this process; each owner finds their own only."""
    from core.bench.sweep.live import LiveSweeps

    return LiveSweeps()


@st.cache_resource(show_spinner=False, on_release=tempfile.TemporaryDirectory.cleanup)
def _uploads() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="vision-bench-", ignore_cleanup_errors=True)


def uploads_folder() -> Path:
    """Return the folder for uploads that another process must read; it goes with this process."""
    return Path(_uploads().name)


def is_private(access: str, headers: Mapping[str, str]) -> bool:
    """Say whether this request comes from the one person whose machine this is.

    With `access="auto"` that is so only when the browser asked for a loopback address and no proxy stands
    between: everybody else is a visitor who sees nothing but their own runs.
    """
    if access != "auto":
        return access == "private"
    names = {name.lower(): value for name, value in headers.items()}
    if FORWARDED & names.keys():
        return False
    return "host" not in names or urlsplit(f"//{names['host']}").hostname in LOOPBACK


def on_private_machine() -> bool:
    """Say whether this session is the machine's own person (`is_private`)."""
    return is_private(settings().access, st.context.headers)


def visitor() -> str:
    """Return the id that owns this session's runs: the machine's own on a private one, else a random one."""
    if on_private_machine():
        return LOCAL_OWNER
    return state.VISITOR.get() or state.VISITOR.set(f"visitor-{secrets.token_urlsafe(12)}")
