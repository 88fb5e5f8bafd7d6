"""The model hub: found out fast whether it answers, and its failures in plain words.

The libraries' own retries take 20 to 50 seconds to notice that there is no network. One request with a short
timeout decides here; the answer holds for half a minute.
"""

import http.client
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from core.errors import InputError, OfflineError, SetupError, VisionBenchError
from core.settings import settings

REMEMBER_S = 30.0
REMEDY = (
    "Connect to the network and try again, choose a model of this repository (shipped/…), or give a "
    "weights file by its path (file/…)."
)

_lock = threading.Lock()
_answered: dict[str, tuple[float, bool]] = {}
"""Hub address to when it was asked and whether it answered."""


def endpoint() -> str:
    """Return the address of the hub, as the hub's own library has it."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def reachable() -> bool:
    """Say whether the hub answers; asks at most once in half a minute."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return False
    address = endpoint()
    with _lock:
        asked, answer = _answered.get(address, (float("-inf"), False))
        if time.monotonic() - asked > REMEMBER_S:
            answer = _answers(address, settings().hub_timeout_s)
            _answered[address] = (time.monotonic(), answer)
        return answer


def last_known() -> bool | None:
    """Return the remembered answer without asking; None where nobody has asked yet."""
    known = [answer for _, answer in _answered.values()]
    return known[-1] if known else None


def _answers(address: str, timeout_s: float) -> bool:
    """Ask in a thread of its own: looking a name up obeys no timeout."""
    answered = threading.Event()
    threading.Thread(target=_ask, args=(address, timeout_s, answered), daemon=True).start()
    return answered.wait(timeout_s)


def _ask(address: str, timeout_s: float, answered: threading.Event) -> None:
    parts = urlsplit(address)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        connection.request("HEAD", parts.path or "/")
        connection.getresponse()
        answered.set()
    except (OSError, http.client.HTTPException):
        return
    finally:
        connection.close()


def require_hub(model: str) -> None:
    """Make sure that the hub answers before anything is fetched from it.

    Raises:
        OfflineError: It does not.
    """
    if not reachable():
        host = urlsplit(endpoint()).hostname
        raise OfflineError(
            f"The weights of {model} are not on this machine, and {host} does not answer.", REMEDY
        )


@contextmanager
def hub_errors(model: str) -> Iterator[None]:
    """Translate what goes wrong while `model` is fetched and read."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from safetensors import SafetensorError

    try:
        yield
    except VisionBenchError:
        raise
    except GatedRepoError as error:
        raise SetupError(
            f"{model} is only given to those who accepted its terms.",
            "Accept them on the model's page and set HF_TOKEN in the environment.",
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise InputError(
            f"The hub has no {model}, or it is private.", "Check the name and the revision."
        ) from error
    except LocalEntryNotFoundError as error:
        raise OfflineError(f"The hub stopped answering while {model} was fetched.", REMEDY) from error
    except EntryNotFoundError as error:
        raise InputError(
            f"{model} has no weights file that can be read here.", "Choose another model."
        ) from error
    except HfHubHTTPError as error:
        raise SetupError(f"The hub refused to hand out {model}.", "Try again in a minute.") from error
    except SafetensorError as error:
        raise SetupError(
            f"The weights of {model} are broken.", "Delete its folder in the hub's cache and fetch it again."
        ) from error
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise InputError(
            f"{model} cannot be loaded: {_first_line(error)}", "Choose another model."
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{lines[0][:200].rstrip('.')}." if lines else f"{type(error).__name__}."
