"""A web server on 127.0.0.1 that hands out the files of one folder, and what can go wrong with that."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

Fault = Literal["cut", "whole", "elsewhere", "moved", "loop"]
"""`cut`: half of what was promised, then hung up. `whole`: ignores Range. `elsewhere`: sends on to the same
file under the host name localhost. `moved`: sends on to `/there/FILE`, which has it. `loop`: sends on to
itself."""


class Web(ThreadingHTTPServer):
    """The server. `fault` is what goes wrong with every request; it may be changed at any time."""

    daemon_threads = True

    def __init__(self, root: Path, fault: Fault | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.fault = fault
        self.ranges: list[str | None] = []
        """The Range header of each request, in order."""

    @property
    def url(self) -> str:
        """The address of the folder."""
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serve_folder(root: Path, fault: Fault | None = None) -> Iterator[Web]:
    """Serve the files in `root` until the block ends."""
    with Web(root, fault) as web:
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield web
        finally:
            web.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Web

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers.get("Range"))
        path = unquote(urlsplit(self.path).path)
        target = {
            "elsewhere": f"http://localhost:{self.server.server_port}{path}",
            "moved": f"/there{path}",
            "loop": path,
        }.get(self.server.fault or "")
        if target and not path.startswith("/there/"):
            self._head(302, 0, {"Location": target})
            return
        file = self.server.root / path.rpartition("/")[2]
        if file.is_file():
            self._file(file.read_bytes())
        else:
            self._head(404, 0, {})

    def _file(self, data: bytes) -> None:
        asked = self.headers.get("Range") if self.server.fault != "whole" else None
        start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
        if asked and start >= len(data):
            self._head(416, 0, {"Content-Range": f"bytes */{len(data)}"})
            return
        place = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if asked else {}
        self._head(206 if asked else 200, len(data) - start, place)
        end = (start + len(data)) // 2 if self.server.fault == "cut" else len(data)
        self.wfile.write(data[start:end])
        self.close_connection = self.server.fault == "cut"

    def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
