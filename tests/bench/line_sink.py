"""Stands in for InfluxDB where only the consumer is measured: counts the lines written and answers 204. `python -m tests.bench.line_sink`.

Prints its port. `GET /count` answers `{"lines": …, "blocks": …}`; every other GET gets what the collector and Telegraf look for before they write.
"""

from __future__ import annotations

import json
import sys
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

_OPENING = {
    "status": "pass",
    "name": "influxdb",
    "version": "v2.7.12",
    "buckets": [{"id": "1", "name": "b"}],
    "orgs": [{"id": "1"}],
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    lock: ClassVar[threading.Lock] = threading.Lock()
    lines: ClassVar[int] = 0
    blocks: ClassVar[int] = 0

    def setup(self) -> None:
        super().setup()
        # Bytes to read wait in one piece; the default reads a small buffer at a time.
        self.rfile = self.connection.makefile("rb", 256 * 1024)

    def do_GET(self) -> None:
        own = {"lines": _Handler.lines, "blocks": _Handler.blocks}
        self._answer(200, json.dumps(own if self.path == "/count" else _OPENING).encode())

    def do_POST(self) -> None:
        body = self._body()
        if self.headers.get("Content-Encoding") == "gzip":
            body = zlib.decompress(body, 16 + zlib.MAX_WBITS)
        count = body.count(b"\n") + (not body.endswith(b"\n") and bool(body))
        with _Handler.lock:
            _Handler.lines += count
            _Handler.blocks += 1
        self._answer(204, b"")

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response_only(status)
        if body:
            self.send_header("Content-Type", "application/json")
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)


def main() -> None:
    """Serve until killed."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
