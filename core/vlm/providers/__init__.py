"""All providers, on one page: who they are, what they need, and how one is opened."""

from importlib import import_module
from typing import TYPE_CHECKING, cast

from core.errors import InputError, SetupError
from core.vlm.addresses import Addresses
from core.vlm.base import Provider
from core.vlm.keys import KEY_VARIABLES, TITLES, Keys

if TYPE_CHECKING:
    from core.loaders import ModelPool

REMOTE = tuple(TITLES)
"""Providers that are reached over the network and need a key or an address."""
LOCAL = ("shipped", "hf", "file")
"""Beginnings of ids of models that run on this machine."""
NAMES = (*REMOTE, *LOCAL)
_MODULES = {
    "gemini": ("gemini", "google.genai", "google-genai"),
    "openai": ("openai_api", "openai", "openai"),
    "compatible": ("openai_api", "openai", "openai"),
    "together": ("together_api", "together", "together"),
}
"""Provider to its module here, and the package that it needs: as it is imported, as it is installed."""


def open_provider(name: str, keys: Keys, addresses: Addresses, pool: "ModelPool | None" = None) -> Provider:
    """Return a provider that is ready to be asked; the caller closes it.

    Args:
        name: One of `NAMES`.
        pool: Where models of this machine are held; the remote providers need none.

    Raises:
        InputError: There is no such provider.
        SetupError: A package, a key or an address is missing; the message says which.
    """
    if name not in NAMES:
        raise InputError(f"There is no provider {name!r}.", f"Choose one of {', '.join(NAMES)}.")
    if name in LOCAL:
        from core.vlm.providers.local import LocalProvider

        return LocalProvider(name, pool)
    module, package, distribution = _MODULES[name]
    try:
        import_module(package)
    except ImportError as error:
        raise SetupError(
            f"{TITLES[name]} needs the package {distribution}, which is not installed.",
            f"Run: pip install {distribution}",
        ) from error
    if name == "compatible" and not addresses.base(name):
        raise SetupError(
            "No OpenAI-compatible server is configured.",
            "Set VISION_BENCH_VLM_URL to its address, such as http://localhost:11434/v1.",
        )
    opened = import_module(f"core.vlm.providers.{module}").open_here(
        name, _key(name, keys, addresses), addresses, keys.masked
    )
    return cast(Provider, opened)


def _key(name: str, keys: Keys, addresses: Addresses) -> str:
    """Return the key to ask with; the test server and most compatible servers take any word for one."""
    if key := keys.get(name):
        return key
    if addresses.loopback:
        return "loopback"
    if name == "compatible":
        return "none"
    raise SetupError(
        f"There is no key of {TITLES[name]}.",
        f"Set {' or '.join(KEY_VARIABLES[name])}, or type one in on the page.",
    )
