"""An HTTP server on 127.0.0.1 that answers whatever a test says, and keeps every request as it came.

`tests.support.vlm_server` speaks as the services do; this one is for what no service should ever say.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


@dataclass(frozen=True, slots=True)
class Came:
    """A request."""

    path: str
    """With its query."""
    headers: dict[str, str]
    """By name in lower case."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Says:
    """An answer."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cuts: bool = False
    """Whether it hangs up before all that it promised was said."""


class RawServer(ThreadingHTTPServer):
    """Serves while its `with` block is entered; `says` may be changed at any time."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.says: Callable[[Came], Says] = lambda came: Says()
        self.came: list[Came] = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """Its origin."""
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: RawServer

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        came = Came(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        self.server.came.append(came)
        says = self.server.says(came)
        self.send_response(says.status)
        for name, value in {**says.headers, "Content-Length": str(len(says.body) + 9 * says.cuts)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(says.body)
        self.close_connection = says.cuts

    do_POST = do_GET
