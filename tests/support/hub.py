"""A model hub on 127.0.0.1 that speaks the real one's routes, so that timm and transformers really download.

    root/ORG/NAME/FILE   is served as  /ORG/NAME/resolve/REVISION/FILE

Point HF_ENDPOINT at `Hub.url` before the libraries are imported, so in a process of its own.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

Fault = Literal["gated", "error", "cut", "wrong", "page"]
"""`gated`: 403, terms not accepted. `error`: 500. `cut`: half a body, then hung up. `wrong`: other bytes, as
many. `page`: a sign-in page instead of the file, as some networks send."""

PAGE = b"<!DOCTYPE html><html><title>Sign in</title></html>"
POINTER_BYTES = 10_000
"""Files from this size on are named by their SHA-256, as what the hub keeps in its large-file storage."""


class Hub(ThreadingHTTPServer):
    """The server; `faults` maps `/`, `ORG/NAME` or `ORG/NAME/FILE` to what goes wrong there."""

    daemon_threads = True

    def __init__(self, root: Path, faults: dict[str, Fault] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.faults: dict[str, Fault] = faults or {}
        self.requests: list[str] = []
        """Method and path of each request, in order."""

    @property
    def url(self) -> str:
        """The address to put into HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serve_hub(root: Path, faults: dict[str, Fault] | None = None) -> Iterator[Hub]:
    """Serve the repositories under `root` until the block ends."""
    with Hub(root, faults) as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()


def commit_of(folder: Path) -> str:
    """Return the 40 hex digits that stand for what is in a repository now."""
    names = sorted(file.name for file in folder.iterdir())
    return hashlib.sha1("\n".join(names).encode(), usedforsecurity=False).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append(f"{self.command} {path}")
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"] and len(parts) >= 4:
            self._api(f"{parts[2]}/{parts[3]}", parts[4:])
        elif len(parts) >= 5 and parts[2] == "resolve":
            self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        elif path == "/":
            self._send(500 if "/" in self.server.faults else 200, PAGE, {"Content-Type": "text/html"})
        else:
            self._send(404, b"Not found", {})

    def _api(self, repository: str, rest: list[str]) -> None:
        folder = self.server.root / repository
        if self._refused(repository, folder, "main"):
            return
        if rest[:1] == ["tree"] and len(rest) > 2:  # a folder inside: none has one
            self._send(404, b"Entry not found", {"X-Error-Code": "EntryNotFound"})
            return
        files = [{"rfilename": file.name} for file in sorted(folder.iterdir())]
        facts: object = {"id": repository, "sha": commit_of(folder), "siblings": files}
        if rest[:1] == ["tree"]:
            facts = [
                {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": "0" * 40}
                for file in sorted(folder.iterdir())
            ]
        self._send(200, json.dumps(facts).encode(), {"Content-Type": "application/json"})

    def _file(self, repository: str, revision: str, name: str) -> None:
        folder = self.server.root / repository
        if self._refused(repository, folder, revision):
            return
        commit = {"X-Repo-Commit": commit_of(folder)}
        if not (folder / name).is_file():
            self._send(404, b"Entry not found", commit | {"X-Error-Code": "EntryNotFound"})
            return
        data = (folder / name).read_bytes()
        fault = self.server.faults.get(f"{repository}/{name}")
        if fault == "error":
            self._send(500, b"Internal error", {})
            return
        if fault == "page":
            data = PAGE
        digest = hashlib.sha256(data).hexdigest()
        headers = commit | {"ETag": f'"{digest if len(data) >= POINTER_BYTES else digest[:40]}"'}
        if fault == "wrong":
            data = data[: len(data) // 2] + bytes(len(data) - len(data) // 2)
        self._send(200, data, headers | {"Accept-Ranges": "bytes"}, cut=fault == "cut")

    def _refused(self, repository: str, folder: Path, revision: str) -> bool:
        """Answer with a no, where there is a reason for one."""
        fault = self.server.faults.get(repository)
        if fault == "gated":
            self._send(403, b"Access to this model is restricted", {"X-Error-Code": "GatedRepo"})
        elif fault == "error":
            self._send(500, b"Internal error", {})
        elif not folder.is_dir():
            self._send(404, b"Repository not found", {"X-Error-Code": "RepoNotFound"})
        elif revision not in ("main", commit_of(folder)):
            self._send(404, b"Invalid rev id", {"X-Error-Code": "RevisionNotFound"})
        else:
            return False
        return True

    def _send(self, status: int, body: bytes, headers: dict[str, str], *, cut: bool = False) -> None:
        start, whole = self._range(len(body)) if status == 200 else (0, True)
        self.send_response(status if whole else 206)
        for name, value in headers.items():
            self.send_header(name, value)
        if not whole:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[start : len(body) // 2] if cut else body[start:])
        if cut:
            self.close_connection = True

    def _range(self, length: int) -> tuple[int, bool]:
        """Return where the asked-for bytes start, and whether they are all."""
        asked = self.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").partition("-")[0] or 0) if asked else 0
        return min(start, length), not asked
