"""The demo's village: what runs, with which configuration, on which lines and ports."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
from iotcore import Broker

from village_demo.programs import Program

TOWNSHIP = "330110101000"
LIN, SHAN = "330110101205", "330110101206"
GOOD_CARD, BAD_CARD = "00123456", "00abcdef"
#: Who is logged in while the demo runs.
PERSON = "demo"
#: Emulated speech chips speak this many times faster than real ones, so that a round takes a minute.
_SPEED = "4"


@dataclass
class Village:
    """Everything that runs. `start` brings it up, `stop` takes it down in order."""

    folder: Path
    collector: Program = field(init=False)
    agents: dict[str, Program] = field(init=False)
    emulators: dict[str, Program] = field(init=False)
    lines: dict[str, Program] = field(init=False)
    url: str = ""

    def __post_init__(self) -> None:
        for name in ("log", "lines", "collector", "lin", "shan"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._scbk = secrets.token_hex(16)
        self._camera_port, self._site_port = free_port(), free_port()
        self._broker_port, self._api_port = free_port(), free_port()
        self.collector = self._program(
            "collector", "village_collector.cli", "run", "--config", self._path("collector.toml")
        )
        self.lines = {name: self._line(name) for name in ("syn6288", "xfs5152", "osdp", "modbus")}
        self.emulators = {
            "syn6288": self._emulator("syn6288", self._far("syn6288"), "--speed", _SPEED),
            "xfs5152": self._emulator("xfs5152", self._far("xfs5152"), "--speed", _SPEED),
            "osdp_reader": self._emulator(
                "osdp_reader", self._far("osdp"), "--address", "1", "--address", "2", "--scbk", self._scbk
            ),
            "modbus_board": self._emulator("modbus_board", self._far("modbus")),
            "camera": self._emulator("camera", "--port", str(self._camera_port), "--path", "/square"),
            "mqtt_devices": self._emulator("mqtt_devices", "--broker", f"mqtt://127.0.0.1:{self._site_port}"),
        }
        self.agents = {name: self._agent(name) for name in ("lin", "shan")}

    @property
    def environment(self) -> dict[str, str]:
        """What a shell needs for `village` to be logged in here; the person's own logins stay out of it."""
        return {"VILLAGE_URL": self.url, "XDG_CONFIG_HOME": self._path("config")}

    @property
    def broadcast_file(self) -> Path:
        """What the sound loudspeaker played."""
        return self.folder / "shan" / "broadcast.wav"

    async def start(self) -> None:
        """Start all; raises `TimeoutError` when the collector does not answer in time."""
        self.url = f"https://127.0.0.1:{self._api_port}"
        await asyncio.to_thread(self._write_configs)
        await self.collector.start()
        for line in self.lines.values():
            await line.start()
        await self.answers(self.collector)
        await self._log_in()
        for name, area in (("lin", LIN), ("shan", SHAN)):
            await self._enrol(name, area)
        async with asyncio.timeout(20):
            while not all(Path(self._far(name)).exists() for name in self.lines):
                await asyncio.sleep(0.05)
        for program in (*self.emulators.values(), *self.agents.values()):
            await program.start()

    async def answers(self, collector: Program) -> None:
        """Wait until the collector's API answers; raises `TimeoutError`, or `RuntimeError` with its log if it ended."""
        authority = self.folder / "collector" / "ca.pem"
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(httpx.TransportError, OSError):
                    trusted = ssl.create_default_context(cafile=authority)
                    async with httpx.AsyncClient(trust_env=False, verify=trusted) as client:
                        if (await client.get(f"{self.url}/api/v1/authority")).is_success:
                            return
                if not collector.running:
                    tail = (await asyncio.to_thread(collector.log.read_text))[-2000:]
                    raise RuntimeError(f"the collector ended:\n{tail}")
                await asyncio.sleep(0.1)

    async def village(self, *arguments: str, seconds: float = 60, token: str = "") -> tuple[int, str, str]:
        """Run `village` as a person would, or as the holder of a token; return the exit code and what it printed.

        Raises `TimeoutError`.
        """
        shown = {"VILLAGE_TOKEN": token} if token else {}
        return await self._run("village_cli.main", *arguments, seconds=seconds, shown=shown)

    async def stop(self) -> None:
        """Stop all: agents first, so that they hand over what they have."""
        for group in (self.agents, self.emulators, self.lines):
            await asyncio.gather(*(program.stop() for program in group.values()))
        await self.collector.stop()

    @asynccontextmanager
    async def site_broker(self) -> AsyncIterator[None]:
        """Run the broker of the site's own MQTT devices."""
        config = self.folder / "site-broker.toml"
        config.write_text(_site_broker(self._site_port))
        broker = Broker(config_path=str(config))
        await asyncio.to_thread(broker.start)
        try:
            yield
        finally:
            await asyncio.to_thread(broker.stop)

    async def _log_in(self) -> None:
        password = self.folder / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(12))
        await self._must("village_collector.cli", "administrator", PERSON, "--config", self._path("collector.toml"),
                         "--password-file", str(password))  # fmt: skip
        authority = self._path("collector/ca.pem")
        await self._must("village_cli.main", "login", PERSON, "--ca", authority, "--password-file", str(password))

    async def _enrol(self, agent: str, area: str) -> None:
        answer = json.loads(await self._must("village_cli.main", "agent", "add", agent, "--area", area, "--json"))
        config = self._path(f"{agent}.toml")
        await self._must("village_agent.cli", "enroll", self.url, "-", "--config", config, feed=answer["token"])

    async def _must(self, module: str, *arguments: str, feed: str = "") -> str:
        code, text, errors = await self._run(module, *arguments, feed=feed)
        if code != 0:
            raise RuntimeError(f"{module} {' '.join(arguments)}: exit code {code}: {errors or text}")
        return text

    async def _run(
        self,
        module: str,
        *arguments: str,
        seconds: float = 60,
        feed: str = "",
        shown: Mapping[str, str] = MappingProxyType({}),
    ) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **self.environment, **shown},
        )
        try:
            async with asyncio.timeout(seconds):
                text, errors = await process.communicate(f"{feed}\n".encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode or 0, text.decode(), errors.decode().strip()

    def _path(self, name: str) -> str:
        return str(self.folder / name)

    def _near(self, line: str) -> str:
        return self._path(f"lines/{line}")

    def _far(self, line: str) -> str:
        return self._path(f"lines/{line}-device")

    def _program(self, name: str, *arguments: str) -> Program:
        return Program(name, arguments, self.folder / "log")

    def _line(self, name: str) -> Program:
        return self._program(f"line-{name}", "village_emulators.line", self._near(name), self._far(name))

    def _emulator(self, name: str, *arguments: str) -> Program:
        return self._program(name, f"village_emulators.{name}", *arguments)

    def _agent(self, name: str) -> Program:
        return self._program(f"agent-{name}", "village_agent.cli", "run", "--config", self._path(f"{name}.toml"))

    def _write_configs(self) -> None:
        write_toml(
            self.folder / "collector.toml",
            ("collector", {"data_dir": self._path("collector")}),
            ("broker", {"url": "embedded", "port": self._broker_port}),
            ("api", {"port": self._api_port}),
        )
        scbk = self.folder / "lin" / "scbk"
        scbk.touch(mode=0o600)
        scbk.write_text(self._scbk)
        write_toml(
            self.folder / "lin.toml",
            ("agent", {"state_dir": self._path("lin")}),
            ("[devices]", {"id": "box", "driver": "host", "interval_seconds": 5}),
            (
                "[devices]",
                {
                    "id": "square-speaker",
                    "driver": "syn6288",
                    "name": "广场喇叭",
                    "tags": ["school"],
                    "port": self._near("syn6288"),
                },
            ),
            ("[devices]", {"id": "door-bus", "driver": "osdp", "port": self._near("osdp")}),
            ("[devices.readers]", {"id": "gate", "name": "祠堂大门", "address": 1, "scbk_file": str(scbk)}),
            ("[devices.readers]", {"id": "clinic", "name": "卫生室", "address": 2, "scbk_file": str(scbk)}),
            (
                "[devices]",
                {
                    "id": "square",
                    "driver": "rtsp",
                    "name": "广场摄像机",
                    "url": f"rtsp://127.0.0.1:{self._camera_port}/square",
                    "interval_seconds": 10,
                },
            ),
            ("[doors]", {"reader": "gate", "lock": "gate", "cards": [f"26:{GOOD_CARD}"], "unlock_seconds": 3}),
        )
        write_toml(
            self.folder / "shan.toml",
            ("agent", {"state_dir": self._path("shan")}),
            ("[devices]", {"id": "box", "driver": "host", "interval_seconds": 5}),
            ("[devices]", {"id": "hill-speaker", "driver": "xfs5152", "port": self._near("xfs5152")}),
            ("[devices]", {"id": "hall-speaker", "driver": "sound", "output": f"file:{self.broadcast_file}"}),
            ("[devices]", {"id": "pump-board", "driver": "modbus", "port": self._near("modbus"), "unit": 1}),
            ("[devices.relays]", {"id": "amplifier", "coil": 0}),
            ("[devices.inputs]", {"id": "pump-door", "input": 0}),
            ("[devices]", {"id": "zigbee", "driver": "mqtt", "broker": f"mqtt://127.0.0.1:{self._site_port}"}),
        )


def free_port() -> int:
    """Return a TCP port of the loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def write_toml(path: Path, *tables: tuple[str, dict[str, Any]]) -> None:
    """Write a configuration: names of tables (`[name]` for one of several) with their values."""
    # A JSON text, number or list of them is the same in TOML.
    text = "".join(
        f"[{name}]\n"
        + "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())
        + "\n"
        for name, values in tables
    )
    path.write_text(text)


def _site_broker(port: int) -> str:
    return f"""
id = 0
[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 1048576
max_segment_count = 4
[v5.1]
name = "site"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 65536
max_inflight_count = 100
dynamic_filters = true
"""
