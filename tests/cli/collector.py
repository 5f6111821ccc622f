"""A real HTTP server that gives canned answers, and the real program as a user starts it."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.cli import canned
from village_collector.trust.authority import Issued

ROOT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-m", "village_cli.main")


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came in."""

    method: str
    path: str
    query: dict[str, list[str]]
    document: Any
    token: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server answers."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Collector:
    """Answers by method and path; several answers of one path come one after another, the last one for ever."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    replies: dict[tuple[str, str], list[Reply]] = field(default_factory=dict)

    def answers(self, method: str, path: str, *documents: dict[str, Any], status: int = 200) -> None:
        """Answer with JSON documents; problem documents when the status is an error."""
        kind = "application/problem+json" if status >= 400 else "application/json"
        bodies = [json.dumps(document, ensure_ascii=False).encode() for document in documents]
        self.replies[method, path] = [Reply(body, status, kind) for body in bodies]

    def gives(self, method: str, path: str, *replies: Reply) -> None:
        """Answer with bytes."""
        self.replies[method, path] = list(replies)

    def lets_in(self, authority_pem: str = "") -> None:
        """Answer to a login of `li`, with the certificate of the authority if there is one."""
        self.gives("GET", "/authority", Reply(authority_pem.encode(), content_type="application/x-pem-file"))
        self.answers("POST", "/login", canned.LOGIN)
        self.answers("GET", "/me", canned.ME)
        self.gives("POST", "/logout", Reply(b"", 204))

    def asked(self) -> list[str]:
        """Method and path of every request that came in."""
        return [f"{request.method} {request.path}" for request in self.requests]

    def reply(self, request: Request) -> Reply:
        """Note a request and choose its answer."""
        self.requests.append(request)
        found = self.replies.get((request.method, request.path))
        if not found:
            return Reply(b"{}", 404, "application/problem+json")
        return found.pop(0) if len(found) > 1 else found[0]


@contextmanager
def serve(tls: Issued | None = None, port: int = 0) -> Iterator[Collector]:
    """Run a server on a port of the loopback, a free one by default; with a certificate it speaks TLS."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            path = parts.path.removeprefix("/api/v1")
            document = json.loads(body) if body else None
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            reply = collector.reply(
                Request(self.command, path, parse_qs(parts.query, keep_blank_values=True), document, token)
            )
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815  # Names that the base class calls.

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        server.daemon_threads = True
        if tls is not None:
            server.socket = _context(tls).wrap_socket(server.socket, server_side=True)
        collector.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


def _context(issued: Issued) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(f"{issued.key_pem}{issued.pem}")
        file.flush()
        context.load_cert_chain(file.name)
    return context


def environment(url: str, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of the program: English, Beijing time, 100 columns, nobody logged in anywhere."""
    kept = {
        key: os.environ[key] for key in ("PATH", "HOME", "PYTHONPATH", "COVERAGE_PROCESS_START") if key in os.environ
    }
    base = {
        "VILLAGE_URL": url,
        "TZ": "Asia/Shanghai",
        "LC_ALL": "C.UTF-8",
        "COLUMNS": "100",
        "XDG_CONFIG_HOME": str(ROOT / "absent"),
    }
    return {**kept, **base, **(more or {})}


@dataclass(frozen=True, slots=True)
class Village:
    """Starts the program."""

    url: str

    def __call__(
        self, *words: str, stdin: str = "", more: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end; output as text."""
        return subprocess.run(
            [*PROGRAM, *words],
            input=stdin,
            env=environment(self.url, more),
            cwd=ROOT,
            capture_output=True,
            encoding="utf-8",
            timeout=20,
            check=False,
        )
