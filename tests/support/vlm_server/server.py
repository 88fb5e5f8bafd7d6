"""The server: takes requests, records them, and answers as a behaviour says, in the format of a service."""

import contextlib
import json
import re
import select
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from tests.support.vlm_server import gemini_wire
from tests.support.vlm_server.behaviours import Ask, Failure, Page, Reply, Silence, Step, step_for
from tests.support.vlm_server.chat_wire import OPENAI, TOGETHER, ChatWire, supported_models
from tests.support.vlm_server.requests import Seen, Sent, key_digest, pixel_digest, read_chat, read_gemini

Wire = ModuleType | ChatWire

WRONG_KEY = "wrong"
"""A key that begins so is no key at any service, on any route."""
HTML = b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
_ASKS_GEMINI = re.compile(r"/v1(?:beta)?/models/(.+):(generateContent|streamGenerateContent)")


class VlmServer(ThreadingHTTPServer):
    """Gemini, OpenAI and Together on one address of this machine; serves while its `with` block is entered.

    Args:
        port: 0 takes a free one.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.listing: str = "ok"
        """What the routes that list models do: a failure such as `http-503`, `html` or `silent`."""
        self._lock = threading.Lock()
        self._seen: list[Seen] = []
        self._asked: Counter[tuple[str, str, str]] = Counter()
        self._answers: dict[tuple[str, str], str] = {}
        self._in_flight = self._most = 0
        self._connections: set[socket.socket] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._stopping.set()
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self._lock:  # clients keep connections open for their next request
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    @property
    def url(self) -> str:
        """Its origin: Gemini's and Together's base URL; OpenAI's SDK wants `/v1` after it."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def requests(self) -> tuple[Seen, ...]:
        """All requests since the last reset, in the order of arrival."""
        with self._lock:
            return tuple(self._seen)

    @property
    def most_at_once(self) -> int:
        """The most requests that were being answered at the same time."""
        with self._lock:
            return self._most

    def reset(self) -> None:
        """Forget requests, counts of `flaky-N`, the high-water mark and `listing`; answers taught stay."""
        with self._lock:
            self.listing = "ok"
            self._seen.clear()
            self._asked.clear()
            self._most = self._in_flight

    def teach(self, rgb: np.ndarray, prompt: str, answer: str) -> None:
        """Tell it what `truth-P` should answer to a prompt about a picture, uint8 H W 3.

        No request holds the truth, so the server knows it only from here. It knows the picture again by its
        pixels: in any lossless format, at the same size.
        """
        with self._lock:
            self._answers[pixel_digest(rgb), prompt.strip()] = answer

    def take(self, service: str, path: str, key: str, sent: Sent) -> tuple[Seen, Ask]:
        """Record a request and say what it wants."""
        digest = key_digest(key)
        with self._lock:
            seen = Seen(len(self._seen) + 1, service, path, digest, time.monotonic(), sent)
            self._seen.append(seen)
            asked = (service, digest, sent.model)
            earlier = self._asked[asked]
            self._asked[asked] += 1
        wants_usage = bool((sent.options.get("stream_options") or {}).get("include_usage"))
        has_temperature = "temperature" in {**sent.options, **(sent.options.get("generationConfig") or {})}
        return seen, Ask(
            sent.model,
            sent.prompt,
            sent.picture,
            digest,
            earlier,
            self._answers,
            wants_usage,
            has_temperature,
        )

    def begin(self) -> None:
        """Count a question that is being answered."""
        with self._lock:
            self._in_flight += 1
            self._most = max(self._most, self._in_flight)

    def end(self) -> None:
        """Count it as answered."""
        with self._lock:
            self._in_flight -= 1

    def pause(self, seconds: float) -> bool:
        """Wait; whether the server is to stop."""
        return self._stopping.wait(seconds) if seconds else self._stopping.is_set()

    def opened(self, connection: socket.socket) -> None:
        """Remember a connection, so that it ends with the server."""
        with self._lock:
            self._connections.add(connection)

    def closed(self, connection: socket.socket) -> None:
        """Forget it."""
        with self._lock:
            self._connections.discard(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about clients that hung up, which some behaviours make them do."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are written apart: 40 ms a call otherwise
    server: VlmServer
    _is_counted = False

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""

    def setup(self) -> None:
        super().setup()
        self.server.opened(self.connection)

    def finish(self) -> None:
        self.server.closed(self.connection)
        super().finish()

    def do_GET(self) -> None:
        self._guarded(self._list)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.begin()
        self._is_counted = True
        try:
            self._guarded(lambda: self._ask(body))
        finally:
            self._answered()

    def _guarded(self, answer: Callable[[], None]) -> None:
        try:
            answer()
        except OSError:  # the client hung up
            self.close_connection = True

    def _answered(self) -> None:
        """Count the question as answered, before its last byte: the client may ask again after that."""
        if self._is_counted:
            self._is_counted = False
            self.server.end()

    def _wire(self, path: str) -> Wire:
        if "x-goog-api-key" in self.headers or path.startswith("/v1beta/"):
            return gemini_wire
        return TOGETHER if "Together/" in self.headers.get("User-Agent", "") else OPENAI

    def _key(self) -> str:
        bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
        return self.headers.get("x-goog-api-key", "") or bearer

    def _list(self) -> None:
        parts = urlsplit(self.path)
        wire = self._wire(parts.path)
        seen, ask = self.server.take(wire.NAME, parts.path, self._key(), Sent())
        if parts.path not in ("/v1/models", "/v1beta/models", "/v2/supported-models"):
            self._json(404, {}, {"error": {"code": 404, "message": f"No route {parts.path}"}})
        elif self.server.listing != "ok" or not self._has_key():
            listing = replace(ask, model=self.server.listing)
            self._do(wire, seen, listing, step_for(listing))
        elif parts.path == "/v2/supported-models":
            self._json(200, {}, supported_models())
        elif wire is gemini_wire:
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            page = gemini_wire.models(int(query.get("pageToken") or 0), int(query.get("pageSize") or 50))
            self._json(200, {}, page)
        else:
            self._json(200, {}, wire.models())

    def _has_key(self) -> bool:
        key = self._key()
        return bool(key) and not key.startswith(WRONG_KEY)

    def _ask(self, body: bytes) -> None:
        path = unquote(urlsplit(self.path).path)
        wire, match = self._wire(path), _ASKS_GEMINI.fullmatch(path)
        if not match and path != "/v1/chat/completions":
            self._json(404, {}, {"error": {"code": 404, "message": f"No route {path}"}})
            return
        sent = json.loads(body)
        read = read_gemini(match[1], match[2].startswith("stream"), sent) if match else read_chat(sent)
        seen, ask = self.server.take(wire.NAME, path, self._key(), read)
        self._do(wire, seen, ask, step_for(ask))

    def _do(self, wire: Wire, seen: Seen, ask: Ask, step: Step) -> None:
        if not self._has_key():
            step = Failure(401, "bad-key")
        if isinstance(step, Reply):
            step = wire.adapt(step)
        if isinstance(step, Reply) and step.ending == "error" and not seen.sent.stream:
            step = Failure(503)
        if isinstance(step, Silence):
            self._hang()
        elif isinstance(step, Page):
            self._send(step.status, "text/html", {}, HTML)
        elif isinstance(step, Failure):
            status, headers, body = wire.failure(step, ask)
            self._json(status, {**headers, "x-request-id": f"req_{seen.number}"}, body)
        elif seen.sent.stream:
            self._stream(wire, seen, ask, step)
        else:
            self._whole(wire, seen, ask, step)

    def _whole(self, wire: Wire, seen: Seen, ask: Ask, reply: Reply) -> None:
        data = json.dumps(wire.whole(reply, ask, seen.number)).encode()
        self.server.pause(reply.first_s + reply.gap_s * max(0, len(reply.pieces) - 1))
        if reply.ending == "hang":
            self._head(200, "application/json", {"Content-Length": str(len(data))})
            self.wfile.write(data[:20])
            self._hang()
        elif reply.ending == "cut":
            self._head(200, "application/json", {"Content-Length": str(len(data))})
            self.wfile.write(data[: len(data) // 2])
            self._hang_up()
        else:
            junk = reply.ending == "junk"
            headers = {"x-request-id": f"req_{seen.number}"}
            self._send(200, "application/json", headers, data[: len(data) // 2] if junk else data)

    def _stream(self, wire: Wire, seen: Seen, ask: Ask, reply: Reply) -> None:
        if self.server.pause(reply.first_s):
            self._hang_up()
            return
        headers = {"Transfer-Encoding": "chunked", "x-request-id": f"req_{seen.number}"}
        self._head(200, "text/event-stream", headers)
        for event in wire.opening(reply, ask, seen.number):
            self.wfile.write(_chunk(_event(event)))
        for position, text in enumerate(reply.pieces):
            if position and not self._goes_on(wire, ask, reply):
                return
            self.wfile.write(_chunk(_event(wire.piece(text, reply, ask, seen.number))))
        last = [_event(event) for event in wire.closing(reply, ask, seen.number)]
        self._end(b"".join(last) + wire.DONE)

    def _goes_on(self, wire: Wire, ask: Ask, reply: Reply) -> bool:
        """Whether the next piece is due, after the time between two."""
        if reply.ending == "hang":
            self._hang()
        elif reply.ending == "cut":
            self._hang_up()
        elif reply.ending == "junk":
            self._end(b'data: {"choices": [{"delta": {"content": "half a\n\n')
        elif reply.ending == "error":
            self._end(_event(wire.failure(Failure(503), ask)[2]))
        else:
            return not self.server.pause(reply.gap_s)
        return False

    def _end(self, data: bytes) -> None:
        """Write the last of a stream, in one: what is left of it, and that it is the end."""
        self._answered()
        self.wfile.write(_chunk(data) + b"0\r\n\r\n")

    def _hang(self) -> None:
        """Keep the connection open, saying nothing, until the client or the server lets go."""
        while not self.server.pause(0.02):
            readable, _, _ = select.select([self.connection], [], [], 0)
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                break
        self.close_connection = True

    def _hang_up(self) -> None:
        self._answered()
        self.close_connection = True

    def _json(self, status: int, headers: dict[str, str], value: Any) -> None:
        self._send(status, "application/json", headers, json.dumps(value).encode())

    def _send(self, status: int, kind: str, headers: dict[str, str], body: bytes) -> None:
        self._answered()
        self._head(status, kind, {**headers, "Content-Length": str(len(body))})
        self.wfile.write(body)

    def _head(self, status: int, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def _event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
