"""The model hub: whether it answers, found out fast; what of it is on this disk; its failures in plain words.

The libraries' own retries take 20 to 50 seconds to notice that there is no network. One request with a short
timeout decides here; the answer holds for half a minute. What was fetched once is used without asking again.
"""

import hashlib
import pickle
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from urllib.parse import urlsplit

from core.errors import InputError, OfflineError, SetupError, VisionBenchError
from core.settings import settings

REMEMBER_S = 30.0
WEIGHTS_FILES = ("model.safetensors", "pytorch_model.bin")
"""The names of a model's weights on the hub, in the order in which timm and transformers look for them."""
REMEDY = (
    "Connect to the network and try again, choose a model of this repository (shipped/…), or put a weights "
    "file into the checkpoints folder and choose it there (file/…)."
)

_lock = threading.Lock()
_answered: dict[str, tuple[float, bool]] = {}
"""Hub address to when it was asked and whether it answered."""


def endpoint() -> str:
    """Return the address of the hub, as the hub's own library has it (HF_ENDPOINT)."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def reachable() -> bool:
    """Say whether the hub answers, within `settings().hub_timeout_s`; asks at most once in half a minute."""
    address = endpoint()
    with _lock:
        asked, answer = _answered.get(address, (float("-inf"), False))
        if time.monotonic() - asked > REMEMBER_S:
            answer = _answers(address, settings().hub_timeout_s)
            _answered[address] = (time.monotonic(), answer)
        return answer


def _answers(address: str, timeout_s: float) -> bool:
    """Ask in a thread of its own: looking a name up obeys no timeout."""
    replies: Queue[bool] = Queue()
    threading.Thread(target=lambda: replies.put(_ask(address, timeout_s)), daemon=True).start()
    try:
        return replies.get(timeout=timeout_s)
    except Empty:
        return False


def _ask(address: str, timeout_s: float) -> bool:
    """Ask once, by the hub's own client: its proxy, its certificates, its offline switch."""
    import httpx2
    from huggingface_hub import get_session

    try:
        return bool(get_session().head(address, timeout=timeout_s).status_code < 500)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError):
        return False


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


def cached_file(repository: str, file: str, revision: str = "main") -> Path | None:
    """Return a file of a hub repository from the hub's cache; None where it was not fetched yet."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(repository, file, revision=revision)
    except HFValidationError:  # no repository can have such a name
        return None
    return Path(found) if isinstance(found, str) else None


def cached_weights(repository: str, revision: str = "main") -> Path | None:
    """Return the weights of a hub repository from the hub's cache; None where they were not fetched yet."""
    found = (cached_file(repository, file, revision) for file in WEIGHTS_FILES)
    return next((path for path in found if path is not None), None)


@contextmanager
def fetching(model: str, repository: str, revision: str = "main") -> Iterator[Path | None]:
    """Yield the weights in the hub's cache, or None where the code inside is to fetch them.

    Either way they are checked: before they are read where they were here already, else afterwards. What
    goes wrong inside is translated.

    Raises:
        OfflineError: They are not here and the hub does not answer.
        SetupError: They arrived broken, or the hub wants something first.
        InputError: The hub has no such model, or none that can be used.
    """
    cached = cached_weights(repository, revision)
    if cached is None:
        require_hub(model)
    else:
        check_intact(model, cached)
    try:
        yield cached
    except VisionBenchError:
        raise
    except Exception as error:
        if fetched := cached_weights(repository, revision):
            check_intact(model, fetched)
        raise translated(model, error) from error
    if cached is None and (fetched := cached_weights(repository, revision)):
        check_intact(model, fetched)


def check_intact(model: str, path: Path) -> None:
    """Make sure that a file in the hub's cache is what the hub said it would send.

    The hub names large files by their SHA-256, and its cache keeps that name.

    Raises:
        SetupError: It is another file, or a web page.
    """
    with path.open("rb") as file:
        is_page = file.read(64).lstrip().startswith(b"<")
    if is_page:
        raise SetupError(
            f"What arrived as the weights of {model} is a web page.",
            f"Sign in to the network if it asks for that, delete {path} and try again.",
        )
    digest = path.resolve().name
    if re.fullmatch("[0-9a-f]{64}", digest) and _sha256(path) != digest:
        raise _broken(model, path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _broken(model: str, path: Path | None = None) -> SetupError:
    what = f"Delete {path}" if path else "Delete the model from the hub's cache"
    return SetupError(f"The weights of {model} arrived broken.", f"{what} and try again.")


def translated(model: str, error: BaseException) -> VisionBenchError:
    """Return what went wrong while `model` was fetched and built, as an error for a person."""
    for cause in _causes(error):
        for translate in (_refused, _broken_file, _lost):
            if found := translate(model, cause):
                return found
    text = " ".join(str(error).split())
    if "loading state_dict" in text:
        return InputError(
            f"The weights of {model} do not fit its network: {_short(text.partition(': ')[2])}",
            "Give weights of this architecture, or choose another model.",
        )
    return InputError(
        f"{model} cannot be loaded: {_short(text) or type(error).__name__}", "Choose another model."
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what led to it, the deepest first: the libraries wrap what the hub said."""
    if error.__cause__ is not None:
        yield from _causes(error.__cause__)
    yield error


def _refused(model: str, error: BaseException) -> VisionBenchError | None:
    """The hub answered, with a no."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return SetupError(
            f"{model} is only given to those who accepted its terms.",
            "Accept them on the model's page and set HF_TOKEN in the environment.",
        )
    if isinstance(error, errors.RepositoryNotFoundError | errors.RevisionNotFoundError):
        return InputError(f"The hub has no {model}, or it is private.", "Check the name and the revision.")
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return InputError(f"{model} has no weights that can be read here.", "Choose another model.")
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        return SetupError(f"The hub refused to hand out {model} (HTTP {status}).", "Try again in a minute.")
    return None


def _broken_file(model: str, error: BaseException) -> VisionBenchError | None:
    """The hub answered, and what it sent cannot be read."""
    from safetensors import SafetensorError

    if isinstance(error, SafetensorError):
        return _broken(model)
    if isinstance(error, pickle.UnpicklingError):
        return InputError(
            f"The weights of {model} are a pickle that holds more than tensors; reading it could run a "
            "stranger's code.",
            "Choose a model with safetensors.",
        )
    return None


def _lost(model: str, error: BaseException) -> VisionBenchError | None:
    """The hub stopped answering."""
    import httpx2
    from huggingface_hub.errors import LocalEntryNotFoundError

    if isinstance(error, httpx2.TransportError | LocalEntryNotFoundError):
        return OfflineError(f"The hub stopped answering while {model} was fetched.", REMEDY)
    return None


@contextmanager
def local_errors(model: str) -> Iterator[None]:
    """Translate what goes wrong while a model on this disk is built."""
    try:
        yield
    except VisionBenchError:
        raise
    except Exception as error:
        raise translated(model, error) from error


def _short(text: str, limit: int = 160) -> str:
    """Return the first sentence of a library's message, cut where it is long."""
    first = text.partition(". ")[0]
    return f"{first[:limit].rstrip('. ')}{'…' if len(first) > limit else '.'}" if first else ""
