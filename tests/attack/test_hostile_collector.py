"""`village` against a server that is no collector: raw answers over a real socket, and bounds on what they cost."""

from __future__ import annotations

import gzip
import json
import os
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.cli.collector import environment
from village_cli import client
from village_cli.sessions import Session

ROOT = Path(__file__).parents[2]
#: `village` alone takes some 60 MB of memory and 700 MB of addresses.
ADDRESS_BYTES = 1_500_000_000


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Run a server that calls `answer` for each connection once a request has come."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    link, _ = server.accept()
                    with link, suppress(OSError):
                        link.recv(65536)
                        answer(link)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def village(url: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the program with a bound on its memory."""
    bound = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({ADDRESS_BYTES},) * 2)"
    program = f"{bound}; from village_cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        env=environment(url, {"VILLAGE_TOKEN": "vs1.p2mE0zKq4Wc7XyT1nRb8dQ"}),
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        timeout=25,
        check=False,
    )


def _head(*lines: str, status: str = "200 OK") -> bytes:
    return "\r\n".join(
        (f"HTTP/1.1 {status}", "Content-Type: application/json", "Connection: close", *lines, "", "")
    ).encode()


def _bomb(link: socket.socket) -> None:
    # Two gigabytes of zeros, twice compressed: some kilobytes on the wire.
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(16 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    body = gzip.compress(block * 128 + b"\x03\x00", 9)
    link.sendall(_head("Content-Encoding: deflate, gzip", f"Content-Length: {len(body)}") + body)


def _endless(link: socket.socket) -> None:
    link.sendall(_head("Transfer-Encoding: chunked"))
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    while True:
        link.sendall(chunk)


def _endless_headers(link: socket.socket) -> None:
    link.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        link.sendall(b"X: " + b"y" * 8000 + b"\r\n")


def _redirect(link: socket.socket) -> None:
    link.sendall(_head("Location: http://127.0.0.1:1/steal", "Content-Length: 0", status="307 Temporary Redirect"))


def _nested(link: socket.socket) -> None:
    body = b'{"schema":"village.agents/1","agents":' + b"[" * 100_000
    link.sendall(_head(f"Content-Length: {len(body)}") + body)


def _acting(link: socket.socket) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\u202egnp\u2028"
    document = {"status": 403, "title": "t", "detail": evil, "advice": {"en": evil, "zh": evil}}
    body = json.dumps(document, ensure_ascii=False).encode()
    head = _head(f"Content-Length: {len(body)}", status="403 " + "Forbidden").replace(b"json", b"problem+json", 1)
    link.sendall(head + body)


@pytest.mark.parametrize(
    ("answer", "told", "code"),
    [
        (_bomb, "is no collector", 3),
        (_endless, "is longer than", 3),
        (_endless_headers, "No collector answers", 3),
        (_redirect, "is no collector", 3),
        (_nested, "is no collector", 3),
        (lambda link: link.sendall(os.urandom(3000)), "No collector answers", 3),
        (lambda link: link.sendall(_head("Content-Length: 5") + b"{"), "No collector answers", 3),
        (_acting, "\\x1b]0;owned\\x07\\x1b[2J\\u202egnp\\u2028", 1),
    ],
    ids=["bomb", "endless", "headers", "redirect", "nested", "noise", "cut", "acting"],
)
def test_whatever_answers_people_get_one_sentence(
    answer: Callable[[socket.socket], None], told: str, code: int
) -> None:
    began = time.monotonic()
    with answering(answer) as url:
        done = village(url, "agents")
    assert (done.returncode, told in done.stderr) == (code, True), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
    assert "vs1.p2mE0" not in done.stderr
    assert time.monotonic() - began < 20


def test_an_answer_drop_by_drop_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_TRANSFER_SECONDS", 0.3)
    over = threading.Event()

    def drip(link: socket.socket) -> None:
        link.sendall(_head("Transfer-Encoding: chunked"))
        while not over.wait(0.02):
            link.sendall(b"1\r\n \r\n")

    with answering(drip) as url, client.Client(Session(url, "", "", "environment")) as asking:
        with pytest.raises(client.Unreachable, match="no whole answer"):
            asking.get("/agents", "village.agents/1")
        over.set()
