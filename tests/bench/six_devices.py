"""A site with two OSDP readers, two loudspeakers and two cameras, emulated on real lines, and the real agent that drives them."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.bench.rig import RunningCollector, stop
from tests.bench.rows import NotMeasured
from tests.peers import free_port

AGENT = "six-devices"
DEVICES = frozenset({"gate", "clinic", "square-speaker", "hill-speaker", "square", "bridge"})
_AREA = "330110101205"
_LINES = ("syn6288", "xfs5152", "osdp")


@asynccontextmanager
async def six_devices(folder: Path, broker: str, command_key: str) -> AsyncIterator[Process]:
    """Run emulators and agent with default settings; yield the agent's process. Files are in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    scbk, cameras = secrets.token_hex(16), (free_port(), free_port())
    (folder / "scbk").touch(mode=0o600)
    (folder / "scbk").write_text(scbk)
    _configure(folder, broker, command_key, cameras)
    async with AsyncExitStack() as stack:
        for line in _LINES:
            await _program(stack, folder, "village_emulators.line", folder / line, folder / f"{line}-device")
        async with asyncio.timeout(20):
            while not all((folder / f"{line}-device").exists() for line in _LINES):
                await asyncio.sleep(0.05)
        for chip in ("syn6288", "xfs5152"):
            await _program(stack, folder, f"village_emulators.{chip}", folder / f"{chip}-device")
        bus = (folder / "osdp-device", "--address", "1", "--address", "2", "--scbk", scbk)
        await _program(stack, folder, "village_emulators.osdp_reader", *bus)
        for port in cameras:
            await _program(stack, folder, "village_emulators.camera", "--port", str(port), "--path", "/live")
        config = ("--config", folder / "agent.toml")
        # An installed agent finds its modules compiled, as pip leaves them; compiling them would stay in its memory.
        check = await _program(stack, folder, "village_agent.cli", "check", *config, "--seconds", "3", compiled=True)
        await check.wait()
        yield await _program(stack, folder, "village_agent.cli", "run", *config, compiled=True)


async def all_ok(running: RunningCollector, seconds: float = 90) -> None:
    """Wait until the collector calls all six devices ok; raises `NotMeasured` with what it calls them instead."""
    states: Mapping[str, str] = {}
    try:
        async with asyncio.timeout(seconds), running.client() as client:
            while True:
                answer = await client.get("/devices")
                states = {row["device"]: row["status"] for row in answer.json()["devices"]}
                if states.keys() >= DEVICES and all(states[device] == "ok" for device in DEVICES):
                    return
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise NotMeasured(f"not all six devices are ok after {seconds:.0f} s: {dict(states)}") from None


async def _program(
    stack: AsyncExitStack, folder: Path, module: str, *arguments: str | Path, compiled: bool = False
) -> Process:
    log = stack.enter_context((folder / f"{module}.log").open("ab"))
    environment = dict(os.environ)
    if compiled:
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    # Emulators end when their standard input does.
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *map(str, arguments), stdin=PIPE, stdout=log, stderr=log, env=environment
    )
    stack.push_async_callback(stop, process)
    return process


def _configure(folder: Path, broker: str, command_key: str, cameras: tuple[int, int]) -> None:
    readers = [("gate", 1), ("clinic", 2)]
    tables: list[tuple[str, Mapping[str, object]]] = [
        ("[agent]", {"id": AGENT, "area": _AREA, "state_dir": str(folder / "state")}),
        ("[collector]", {"broker": broker, "command_key": command_key}),
        ("[[devices]]", {"id": "square-speaker", "driver": "syn6288", "port": str(folder / "syn6288")}),
        ("[[devices]]", {"id": "hill-speaker", "driver": "xfs5152", "port": str(folder / "xfs5152")}),
        ("[[devices]]", {"id": "door-bus", "driver": "osdp", "port": str(folder / "osdp")}),
        *(
            ("[[devices.readers]]", {"id": name, "address": address, "scbk_file": str(folder / "scbk")})
            for name, address in readers
        ),
        *(
            ("[[devices]]", {"id": name, "driver": "rtsp", "url": f"rtsp://127.0.0.1:{port}/live"})
            for name, port in zip(("square", "bridge"), cameras, strict=True)
        ),
        *(("[[doors]]", {"reader": name, "lock": name, "cards": ["26:00123456"]}) for name, _ in readers),
    ]
    (folder / "agent.toml").write_text(
        "\n".join(
            f"{name}\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
            for name, table in tables
        )
    )
