"""The program in a process of its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.agent.collector import KEY, Collector
from tests.agent.kit import AREA, until
from village_wire.signed import encode_public_key

PROGRAM = [sys.executable, "-m", "village_agent.cli"]
#: A device whose adapter is not plugged in.
SPEAKER = '\n[[devices]]\nid = "speaker"\ndriver = "syn6288"\nport = "/dev/absent"\n'


def configuration(folder: Path, broker: str, devices: str = "") -> Path:
    path = folder / "agent.toml"
    path.write_text(
        f'[agent]\nid = "box"\narea = "{AREA}"\nstate_dir = "state"\n\n[collector]\nbroker = "{broker}"\n'
        f'command_key = "{encode_public_key(KEY.public_key())}"\n\n'
        f'[[devices]]\nid = "machine"\ndriver = "host"\n{devices}'
    )
    return path


def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env=os.environ | {"COLUMNS": "200"} | environment,
    )


@asynccontextmanager
async def agent(config: Path) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(*PROGRAM, "run", "--config", str(config), stderr=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def online(far: Collector, count: int = 1) -> None:
    await until(lambda: len([status for status in far.statuses if status.online]) == count, 15)
