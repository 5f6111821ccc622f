"""The program on a terminal of its own, as a person sees it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.cli.collector import PROGRAM, ROOT, environment

PATIENCE_SECONDS = 15.0
_SEQUENCE = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07)")


class Terminal:
    """A running program; `output` is what it has written so far."""

    def __init__(self, process: subprocess.Popen[bytes], side: int) -> None:
        self.process = process
        self.output = ""
        self._side = side
        self._raw = b""

    @property
    def text(self) -> str:
        """The output without control sequences."""
        return _SEQUENCE.sub("", self.output).replace("\r", "")

    def wait_for(self, words: str, times: int = 1) -> None:
        """Read until `words` were written so often."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.text.count(words) < times:
            assert time.monotonic() < deadline, f"{words!r} did not come: {self.output!r}"
            if not self._read(deadline):
                raise AssertionError(f"the program ended before {words!r}: {self.output!r}")

    def type(self, line: str) -> None:
        """Type a line and Enter."""
        os.write(self._side, f"{line}\n".encode())

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> int:
        """Press Ctrl-C (or send another signal) and return the exit code."""
        os.kill(self.process.pid, number)
        return self.end()

    def end(self) -> int:
        """Read to the end and return the exit code."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._read(deadline):
            assert time.monotonic() < deadline, "the program does not end"
        return self.process.wait(timeout=PATIENCE_SECONDS)

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._side], [], [], max(0.0, deadline - time.monotonic()))
        try:
            part = os.read(self._side, 65536) if ready else b""
        except OSError:
            # Linux: the other side is closed.
            part = b""
        self._raw += part
        self.output = self._raw.decode(errors="replace")
        return bool(part) or not ready


@contextmanager
def on_terminal(url: str, *words: str, more: Mapping[str, str] | None = None, columns: int = 120) -> Iterator[Terminal]:
    """Start the program on a pseudo-terminal; what is left of it is killed at the end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    settings = environment(url, {"TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "40", **(more or {})})
    process = subprocess.Popen(
        [*PROGRAM, *words],
        env=settings,
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        # Passwords are read from the controlling terminal, which must be this one and not that of the tests.
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  # One system call.
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
