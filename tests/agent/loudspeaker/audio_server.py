"""The collector's side of sound files: serves them with ranges, and misbehaves as a test wants."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from village_wire.broadcasts import Audio

TOKEN = "may-fetch"


@dataclass
class AudioServer:
    """What is served, and what was asked for."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    #: Path and range of each request.
    requests: list[tuple[str, str]] = field(default_factory=list)
    status: int = 0
    #: The connection ends after so many bytes of an answer.
    cut: int | None = None
    #: Ranges are not understood.
    whole: bool = False
    #: The answers that are cut wait for this.
    go_on: threading.Event = field(default_factory=threading.Event)

    def add(self, content: bytes, seconds: float = 1.0) -> Audio:
        digest = hashlib.sha256(content).hexdigest()
        self.files[digest] = content
        return Audio(sha256=digest, bytes=len(content), seconds=seconds, token=TOKEN)


@contextmanager
def audio_server() -> Iterator[AudioServer]:
    found = AudioServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            found.requests.append((self.path, wanted))
            content = found.files.get(self.path.removeprefix("/api/v1/audio/"))
            if found.status or content is None or self.headers["Authorization"] != f"Bearer {TOKEN}":
                self.send_response(found.status or (404 if content is None else 401))
                self.end_headers()
                return
            begin = 0 if found.whole or not wanted else int(wanted.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206 if begin else 200)
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - begin))
            self.end_headers()
            body = content[begin:]
            self.wfile.write(body if found.cut is None else body[: found.cut])

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
