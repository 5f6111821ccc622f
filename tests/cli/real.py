"""The collector's own program, over TLS with its own authority, and its first administrator."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cli.collector import ROOT
from tests.cli.desk import PASSWORD

_COLLECTOR = (sys.executable, "-m", "village_collector.cli")


class RealCollector:
    """A running `village-collector run`."""

    def __init__(self, folder: Path, process: subprocess.Popen[str], url: str) -> None:
        self.folder = folder
        self.process = process
        self.url = url

    @property
    def log(self) -> str:
        """All that it has logged, over all starts."""
        return (self.folder / "log").read_text()

    @property
    def fingerprint(self) -> str:
        """What it told at its start."""
        return str(re.findall(r"SHA256:([0-9A-F:]{95})", self.log)[-1])


def make_administrator(folder: Path, person: str) -> None:
    """As on the server's console, with the password of every test."""
    secret = folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    words = ("administrator", person, "--data-dir", str(folder / "data"), "--password-file", str(secret))
    subprocess.run([*_COLLECTOR, *words], check=True, capture_output=True, timeout=30, cwd=ROOT)


@contextmanager
def running(folder: Path, port: int = 0) -> Iterator[RealCollector]:
    """Run the program until the end of the block."""
    config = folder / "collector.toml"
    config.write_text(f"[broker]\nport = 0\n[api]\nport = {port}\n")
    words = ("run", "--config", str(config), "--data-dir", str(folder / "data"))
    with (folder / "log").open("a") as log:
        process = subprocess.Popen([*_COLLECTOR, *words], stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT)
    assert process.stdout is not None
    try:
        with process.stdout as output:
            lines = dict(line.split() for line in (output.readline(), output.readline()))
            yield RealCollector(folder, process, lines["api"])
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        finally:
            process.kill()
            process.wait()
