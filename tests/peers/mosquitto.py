"""A real mosquitto on a free loopback port."""

from __future__ import annotations

import asyncio
import signal
from asyncio.subprocess import DEVNULL, Process
from pathlib import Path
from typing import Self

from tests.peers import free_port, peer


class Mosquitto:
    """Start and stop the broker at will; it keeps its port. `extra` are further lines of its configuration."""

    def __init__(self, folder: Path, extra: str = "") -> None:
        self.program = peer("mosquitto")
        self.port = free_port()
        self.config = folder / f"mosquitto-{self.port}.conf"
        anonymous = "" if "allow_anonymous" in extra else "allow_anonymous true\n"
        user = "user root\n"
        self.config.write_text(f"listener {self.port} 127.0.0.1\n{anonymous}{user}{extra}")
        self._process: Process | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            self.program, "-c", self.config, stdout=DEVNULL, stderr=DEVNULL
        )
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    await asyncio.sleep(0.02)
                    continue
                writer.close()
                await writer.wait_closed()
                return

    def reload(self) -> None:
        """Let it read access rules and revoked certificates again."""
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    async def kill(self) -> None:
        """Kill it with SIGKILL, as a power cut does."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            self._process = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()
