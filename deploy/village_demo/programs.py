"""Programs of the demo: started, watched, killed, started again, and never left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

#: A program that does not stop by itself is killed after this many seconds.
_GRACE = 8.0
#: One line of an emulator's report.
_MAX_LINE = 64 * 1024


class Program:
    """One program. Lines of JSON that it prints are kept in `reports` and handed to `told`; the rest goes to its log.

    `launcher` stands before the arguments, by default the Python that runs them as a module; `environment` is added to ours.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        log_folder: Path,
        *,
        launcher: Sequence[str] = (sys.executable, "-m"),
        environment: Mapping[str, str] | None = None,
        told: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.name = name
        self.reports: list[dict[str, Any]] = []
        self.log = log_folder / f"{name}.log"
        self._command = (*launcher, *arguments)
        self._environment = dict(environment or {})
        self._told = told
        self._process: Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    @property
    def pid(self) -> int:
        """Process id while it runs, else 0."""
        return self._process.pid if self._process is not None else 0

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it, in a process group of its own so that Ctrl-C reaches only the demo, which then stops all in order."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=PIPE,
                stdout=PIPE,
                stderr=log,
                start_new_session=True,
                limit=_MAX_LINE,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self._environment},
            )
        self._reading = asyncio.create_task(self._read(self._process), name=f"read {self.name}")

    async def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        if self._process is None or self._process.stdin is None:
            raise RuntimeError(f"{self.name} is not running")
        self._process.stdin.write(f"{line}\n".encode())
        await self._process.stdin.drain()

    async def report(self, seconds: float, **wanted: object) -> dict[str, Any]:
        """Wait for a report that has these values; raises `TimeoutError`."""
        async with asyncio.timeout(seconds):
            while True:
                self._changed.clear()
                for report in self.reports:
                    if wanted.items() <= report.items():
                        return report
                await self._changed.wait()

    async def kill(self) -> None:
        """End it with SIGKILL, as a power cut does, together with its children."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """End it with SIGTERM and, if it does not obey, with SIGKILL."""
        await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> None:
        process, reading = self._process, self._reading
        self._process = self._reading = None
        if process is None or reading is None:
            return
        if process.returncode is None:
            _signal(process, number)
            try:
                async with asyncio.timeout(_GRACE):
                    await process.wait()
            except TimeoutError:
                _signal(process, signal.SIGKILL)
                await process.wait()
        # Whatever it started is in its process group.
        _signal(process, signal.SIGKILL)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)

    async def _read(self, process: Process) -> None:
        if process.stdout is None:
            return
        while line := await _line(process.stdout):
            try:
                report = json.loads(line)
            except ValueError:
                report = None
            if isinstance(report, dict):
                self.reports.append(report)
                if self._told is not None:
                    self._told(report)
                self._changed.set()
            with self.log.open("ab") as log:
                log.write(line)


async def _line(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.readline()
    except ValueError:
        return b"(a line too long)\n"


def _signal(process: Process, number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
