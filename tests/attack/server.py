"""The collector's real program, and requests that no client would write, byte by byte over a socket."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import psutil

from tests.collector.people import token_for
from village_collector.stores.control import ControlStore


class Answer(NamedTuple):
    """One answer of a connection."""

    status: int
    head: str
    body: bytes


@dataclass(frozen=True)
class Server:
    """A collector that runs in `folder`."""

    folder: Path
    process: subprocess.Popen[bytes]
    url: str
    broker: str
    log_file: Path

    @property
    def token(self) -> str:
        """A new token of an administrator."""
        return token_for(self.folder)

    @property
    def memory(self) -> int:
        """Bytes that the program holds."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def log(self) -> str:
        """What the program has logged so far."""
        return self.log_file.read_text()

    def connect(self) -> socket.socket:
        """A connection, through TLS if the program speaks it."""
        parts = urlsplit(self.url)
        raw = socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10)
        if parts.scheme == "http":
            return raw
        return ssl.create_default_context(cafile=self.folder / "ca.pem").wrap_socket(raw, server_hostname="127.0.0.1")

    def send(self, *pieces: bytes, seconds: float = 5.0) -> list[Answer]:
        """Send bytes and return all answers until the server closes, or says nothing more for a quarter of a second."""
        received = b""
        with self.connect() as link:
            with suppress(OSError):
                for piece in pieces:
                    link.sendall(piece)
            link.settimeout(seconds)
            with suppress(OSError):
                while chunk := link.recv(65536):
                    received += chunk
                    link.settimeout(0.25)
        return read_answers(received)

    def control(self) -> ControlStore:
        """Its store, opened beside it."""
        store = ControlStore(f"sqlite:///{self.folder / 'control.db'}")
        store.open()
        return store


def read_answers(received: bytes) -> list[Answer]:
    """Take answers with a `Content-Length`, or to the end of the connection, apart."""
    answers = []
    while received.startswith(b"HTTP/"):
        head, _, rest = received.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        lengths = [line.split(":", 1)[1] for line in lines if line.lower().startswith("content-length:")]
        size = int(lengths[0]) if lengths else len(rest) if b" 204 " not in head[:20] else 0
        answers.append(Answer(int(lines[0].split()[1]), head.decode("latin-1"), rest[:size]))
        received = rest[size:]
    return answers


@contextmanager
def collector(folder: Path, *, api: str = "", broker: str = "port = 0") -> Iterator[Server]:
    """Run the program; `api` and `broker` are more lines of these tables."""
    data = folder / "data"
    config, log = folder / "collector.toml", folder / "log"
    config.write_text(f"[broker]\n{broker}\n[api]\nport = 0\n{api}\n")
    command = [sys.executable, "-m", "village_collector.cli", "run", "--config", str(config), "--data-dir", str(data)]
    with log.open("wb") as errors:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
    try:
        assert process.stdout is not None
        addresses: dict[str, str] = {}
        while len(addresses) < 2:
            line = process.stdout.readline().decode()
            assert line, log.read_text()
            name, url = line.split()
            addresses[name] = url
        yield Server(data, process, addresses["api"], addresses["broker"], log)
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
