"""A real InfluxDB 2 on the loopback, set up with a token of the test's choice."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tests.peers import free_port, peer

ORGANISATION = "village"
#: A name that Flux would take apart if it were not escaped.
BUCKET = "tele ${x} metry"
TOKEN = "token-of-a-test"


@dataclass(frozen=True)
class InfluxServer:
    """A running server. Names are those of this module."""

    url: str
    process: subprocess.Popen[bytes]

    def make_bucket(self, name: str, retention_seconds: int) -> None:
        """Add a bucket; the shortest retention is an hour, 0 is for ever."""
        organisation = self.ask("GET", f"/api/v2/orgs?org={ORGANISATION}")["orgs"][0]["id"]
        rules = [{"type": "expire", "everySeconds": retention_seconds}]
        self.ask("POST", "/api/v2/buckets", {"orgID": organisation, "name": name, "retentionRules": rules})

    def delete_bucket(self, name: str) -> None:
        """Delete a bucket with all that is in it."""
        found = self.ask("GET", f"/api/v2/buckets?name={quote(name)}")["buckets"][0]
        self.ask("DELETE", f"/api/v2/buckets/{found['id']}")

    def ask(self, method: str, path: str, body: object = None) -> dict[str, list[dict[str, str]]]:
        """Return the server's JSON answer."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Token {TOKEN}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
            found: dict[str, list[dict[str, str]]] = json.loads(answer.read() or b"{}")
            return found


@contextmanager
def influx_server(
    folder: Path, port: int | None = None, *, onboard: bool = True, engine: Path | None = None
) -> Iterator[InfluxServer]:
    """Start a server with its files in `folder` (kept ones are used again) and stop it at the end.

    `onboard`: make the first user; `engine`: where the points are, if not in `folder`.
    """
    program = peer("influxd")
    url = f"http://127.0.0.1:{port or free_port()}"
    files = [
        "--bolt-path",
        folder / "i.bolt",
        "--engine-path",
        engine or folder / "engine",
        "--sqlite-path",
        folder / "i.sqlite",
    ]
    command = [program, *files, "--http-bind-address", url[7:], "--reporting-disabled", "--log-level", "error"]
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server = InfluxServer(url, process)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                if server.ask("GET", "/api/v2/setup").get("allowed") and onboard:
                    user = {"username": "test", "password": "password-of-a-test"}
                    server.ask("POST", "/api/v2/setup", {**user, "org": ORGANISATION, "bucket": BUCKET, "token": TOKEN})
                break
            except OSError as error:
                if (
                    isinstance(error, urllib.error.HTTPError)
                    or process.poll() is not None
                    or time.monotonic() > deadline
                ):
                    raise
                time.sleep(0.05)
        yield server
    finally:
        # It does not catch SIGTERM.
        process.send_signal(signal.SIGINT)
        process.wait(20)
