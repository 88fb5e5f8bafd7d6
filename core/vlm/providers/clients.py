"""HTTP clients for the SDKs: of their own kind, without redirects or time-outs that nobody asked for."""

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from core.settings import THIS_MACHINE
from core.vlm.providers.streaming import CONNECT_S

if TYPE_CHECKING:
    import httpx
    import httpx2

_IDLE_CONNECTIONS = 20
"""Kept open, so that a later request need not connect again."""


def httpx2_client(base: str | None) -> "httpx2.AsyncClient":
    """Return a client of httpx2, which google-genai and openai use."""
    import httpx2

    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=_IDLE_CONNECTIONS)
    timeout = httpx2.Timeout(None, connect=CONNECT_S)
    return httpx2.AsyncClient(limits=limits, timeout=timeout, **_shared(base))


def httpx_client(base: str | None) -> "httpx.AsyncClient":
    """Return a client of httpx, which together uses."""
    import httpx

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=_IDLE_CONNECTIONS)
    timeout = httpx.Timeout(None, connect=CONNECT_S)
    return httpx.AsyncClient(limits=limits, timeout=timeout, **_shared(base))


def _shared(base: str | None) -> dict[str, Any]:
    """Return what both have: a redirect would carry a key to another host, a proxy cannot reach this one."""
    here = urlsplit(base or "").hostname in THIS_MACHINE
    return {"follow_redirects": False, "trust_env": not here}
