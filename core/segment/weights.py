"""The published weights of Segment Anything: what they are, fetching them, and building their network."""

import errno
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from core.checkpoints import load_into, read_weights
from core.errors import InputError, OfflineError, SetupError

if TYPE_CHECKING:
    from httpx2 import Client, Response
    from segment_anything.modeling import Sam
    from torch import Tensor

Architecture = Literal["vit_b", "vit_l", "vit_h"]
Progress = Callable[[int, int], None]
"""Called with the bytes that are here and the bytes of the whole file."""

BASE_URL = "https://dl.fbaipublicfiles.com/segment_anything"
CHUNK_BYTES = 1 << 20
TIMEOUT_S = 20.0
"""How long the server may be silent."""
MAX_REDIRECTS = 5
PARTIAL_SUFFIX = ".part"


@dataclass(frozen=True, slots=True)
class PublishedWeights:
    """One file that Segment Anything publishes."""

    name: Architecture
    file: str
    url: str
    sha256: str
    """Hex digest of the file."""
    size_bytes: int
    parameters: int
    """Number of trained values."""


def _row(name: Architecture, tag: str, sha256: str, size_bytes: int, parameters: int) -> PublishedWeights:
    file = f"sam_{name}_{tag}.pth"
    return PublishedWeights(name, file, f"{BASE_URL}/{file}", sha256, size_bytes, parameters)


# Names and addresses: README of facebookresearch/segment-anything. It gives no SHA-256; the six digits in a
# file's name begin its MD5 (01ec64d29a2fca3f0661936605ae66f8, 0b3195507c641ddb6910d2bb5adee89c,
# 4b8939a88964f0f4ff5f5b2642c598a6). The SHA-256 are those that micro-sam (_CHECKSUMS in micro_sam/util.py)
# and 3D Slicer's SAM extension check their downloads by. Parameters are counted from the architecture.
PUBLISHED: tuple[PublishedWeights, ...] = (
    _row(
        "vit_b",
        "01ec64",
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        375_042_383,
        93_735_472,
    ),
    _row(
        "vit_l",
        "0b3195",
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        1_249_524_607,
        312_342_832,
    ),
    _row(
        "vit_h",
        "4b8939",
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        2_564_550_879,
        641_090_608,
    ),
)
WIDTHS: Mapping[int, Architecture] = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}
"""Width of the picture encoder to its name. Source: segment_anything.build_sam."""
WIDTH_FROM = "image_encoder.pos_embed"
"""Name of the tensor 1 G G D whose last axis is that width."""


def recognise(path: Path) -> PublishedWeights | None:
    """Return the published weights that a file is by its name; None if it is none of them."""
    return next((weights for weights in PUBLISHED if weights.file == path.name), None)


def architecture_of(name: str) -> Architecture:
    """Return the architecture that a name speaks of, such as `sam_vit_b_01ec64.pth` or `vit_b`.

    Raises:
        InputError: It speaks of none.
    """
    for weights in PUBLISHED:
        if weights.name in name:
            return weights.name
    raise InputError(
        f"{name} names no architecture of Segment Anything.", f"Name one of {', '.join(WIDTHS.values())}."
    )


def instruction(weights: PublishedWeights, folder: Path) -> str:
    """Return how to bring the weights to a machine without a network, in one sentence."""
    return (
        f"Fetch {weights.url} ({weights.size_bytes / 1e6:,.0f} MB) where there is a network and put it into "
        f"{folder.absolute()} as {weights.file}."
    )


# Fetching


def download(
    weights: PublishedWeights,
    folder: Path,
    *,
    base_url: str = BASE_URL,
    progress: Progress | None = None,
) -> Path:
    """Return the weights in `folder`, fetching them where they are not there yet.

    They arrive under another name, beside their own, and get their own when size and digest are right. What a
    cut or ended download left is taken up again.

    Args:
        base_url: Address of the folder on the server.
        progress: Told after each piece; may raise to end the download.

    Raises:
        InputError: What arrived is another file, which is then deleted.
        OfflineError: The server cannot be reached, or stopped answering.
        SetupError: The disk is full, the folder cannot be written, or the server refuses.
    """
    target = folder / weights.file
    if target.is_file() and target.stat().st_size == weights.size_bytes:
        return target
    partial = target.with_name(target.name + PARTIAL_SUFFIX)
    url = f"{base_url.rstrip('/')}/{weights.file}"
    with _disk_errors(weights, folder), _network_errors(weights, folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not partial.exists() or partial.stat().st_size < weights.size_bytes:
            _fetch(weights, url, partial, progress)
        _check(weights, partial)
        partial.replace(target)
    return target


def _fetch(
    weights: PublishedWeights,
    url: str,
    partial: Path,
    progress: Progress | None,
) -> None:
    """Bring `partial` to its full length, from where an earlier download left off if the server can."""
    import httpx2

    here = partial.stat().st_size if partial.exists() else 0
    # identity: positions in a compressed answer are none in the file
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={here}-"} if here else {})
    with httpx2.Client(timeout=TIMEOUT_S) as client, _opened(client, url, headers) as response:
        if response.status_code == httpx2.codes.RANGE_NOT_SATISFIABLE:
            partial.unlink()  # the start of another file: the next attempt begins anew
        _check_answer(weights, response)
        resumed = response.status_code == httpx2.codes.PARTIAL_CONTENT and _starts_at(response, here)
        with partial.open("ab" if resumed else "wb") as file:
            _write(weights, response, file, progress)


@contextmanager
def _opened(client: "Client", url: str, headers: Mapping[str, str]) -> "Iterator[Response]":
    """Yield the answer, after redirects; none to another host, or away from https, may lose encryption."""
    request = client.build_request("GET", url, headers=headers)
    for _ in range(MAX_REDIRECTS):
        response = client.send(request, stream=True)
        following = response.next_request
        if following is None:
            break
        response.close()
        leaves = request.url.scheme == "https" or request.url.host != following.url.host
        if leaves and following.url.scheme != "https":
            raise SetupError(
                f"{request.url.host} sends on to {following.url.host} without encryption.",
                "Try again from another network.",
            )
        request = following
    else:
        raise SetupError(f"{request.url.host} sends on without end.", "Try again later.")
    try:
        yield response
    finally:
        response.close()


def _check_answer(weights: PublishedWeights, response: "Response") -> None:
    if not response.is_success:
        raise SetupError(
            f"{response.url.host} refused to hand out {weights.file} (HTTP {response.status_code}).",
            f"Try again later, or fetch {response.url} in a browser.",
        )


def _starts_at(response: "Response", position: int) -> bool:
    return response.headers.get("Content-Range", "").startswith(f"bytes {position}-")


def _write(
    weights: PublishedWeights,
    response: "Response",
    file: BinaryIO,
    progress: Progress | None,
) -> None:
    for chunk in response.iter_raw(CHUNK_BYTES):
        file.write(chunk)
        if file.tell() > weights.size_bytes:  # another file; do not fill the disk with it
            break
        if progress is not None:
            progress(file.tell(), weights.size_bytes)


def _check(weights: PublishedWeights, partial: Path) -> None:
    """Make sure that the file is the published one; else delete it."""
    with partial.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    size = partial.stat().st_size
    if size == weights.size_bytes and found == weights.sha256:
        return
    partial.unlink()
    what = f"its SHA-256 is {found[:12]}…" if size == weights.size_bytes else f"it has {size:,} bytes"
    raise InputError(
        f"What arrived as {weights.file} is another file: {what}.",
        "Sign in to the network if it asks for that, and try again.",
    )


@contextmanager
def _network_errors(weights: PublishedWeights, folder: Path) -> Iterator[None]:
    import httpx2

    try:
        yield
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise OfflineError(f"{weights.file} could not be fetched.", instruction(weights, folder)) from error


@contextmanager
def _disk_errors(weights: PublishedWeights, folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SetupError(
                f"The disk of {folder} is full.",
                f"Make room for {weights.size_bytes / 1e6:,.0f} MB and try again.",
            ) from error
        raise SetupError(
            f"{folder} cannot be written: {error.strerror or error}.", "Choose a folder of your own."
        ) from error


# Building


def build_published_sam(path: Path, check_digest: bool = True) -> "Sam":
    """Return the network that a weights file of Segment Anything belongs to, with these weights, on the CPU.

    The architecture is read from the tensors, whatever the file is called.

    Args:
        check_digest: A file with the name of published weights must have their digest.

    Raises:
        InputError: No such file, another digest, cut short, a pickle that holds more than tensors, or the
            weights of another network.
    """
    published = recognise(path) if check_digest else None
    tensors = read_weights(path, published.sha256 if published else None)
    sam = _untrained(_architecture(path, tensors))
    load_into(sam, tensors)
    return sam


def _architecture(path: Path, tensors: Mapping[str, "Tensor"]) -> Architecture:
    positions = tensors.get(WIDTH_FROM)
    if positions is None or positions.ndim != 4:
        raise InputError(
            f"{path.name} holds the weights of another network than Segment Anything.",
            f"Give one of the published files, such as {PUBLISHED[0].file}.",
        )
    width = positions.shape[-1]
    if width not in WIDTHS:
        raise InputError(
            f"{path.name} holds a picture encoder {width} wide, which is none of the published sizes "
            f"({', '.join(str(known) for known in WIDTHS)}).",
            "Give the checkpoint together with its card.",
        )
    return WIDTHS[width]


def _untrained(architecture: Architecture) -> "Sam":
    from segment_anything import sam_model_registry

    sam: Sam = sam_model_registry[architecture]()
    return sam
