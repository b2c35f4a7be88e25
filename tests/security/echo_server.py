"""A model that repeats what it was sent, headers and all: in a good answer, in a 401, or not at all."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

GOOD, GOOD_ECHO, UNAUTHORIZED_ECHO, HANG = "good", "good_echo", "unauthorized_echo", "hang"
TRUNCATED_ECHO = "truncated_echo"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    behaviour = GOOD
    gave_up = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        behaviour = self.server.behaviour
        if behaviour == HANG:
            self.server.gave_up.wait(10)
            self.close_connection = True
            return
        echo = self._echo() if behaviour != GOOD else None
        answer = json.dumps({"mood": "calm"}) if behaviour != TRUNCATED_ECHO else f"not JSON: {echo}"
        if behaviour == UNAUTHORIZED_ECHO:
            self._send(401, {"error": {"message": f"Who is {json.dumps(echo)}?", "code": "invalid_api_key"}})
            return
        message = {"role": "assistant", "content": answer}
        usage = {"prompt_tokens": 3, "completion_tokens": 2}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self._send(200, {"model": "fake", "choices": [choice], "usage": usage, "echo": echo})

    def _echo(self) -> dict[str, object]:
        said = dict(self.headers)
        bearer = self.headers["Authorization"]
        return {
            "headers": said,
            "base64": base64.b64encode(bearer.encode()).decode(),
            "url": f"https://host/?key={quote(bearer, safe='')}",
            "inner": json.dumps(said),
        }

    def _send(self, status: int, body: dict[str, object]) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.send_header("x-request-id", f"id {self.headers['Authorization']}")
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""


@contextmanager
def echo_server(behaviour: str) -> Iterator[str]:
    """Serve on this machine; yields the base URL."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.behaviour = behaviour
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.gave_up.set()
            server.shutdown()
            thread.join()
