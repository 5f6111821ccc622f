"""What runs: a broker with its memory on disk, a collector with its stores, two agents, and the hardware at the far ends."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.collector.people import api_client, token_for
from tests.faults.network import Link
from tests.faults.produced import CARD_BITS, CARD_SECONDS
from tests.faults.stored import COUNTER
from village_demo.programs import Program
from village_demo.site import free_port, write_toml

AGENTS = ("lin", "shan")
AREAS = {"lin": "330110101205", "shan": "330110101206"}
TOWNSHIP = "330110101000"
#: Device id -> address on the bus.
READERS = {"gate": 1, "clinic": 2}
CHIP = "speaker"
RELAYS = 24
#: Cards are numbered from 1; of three, two are known everywhere.
MAX_CARDS = 4000
_ORGANISATION, _BUCKET, _TOKEN = "village", "telemetry", "token-of-a-fault-run"
_SPEECH_SPEED = "8"


class Absent(Exception):
    """A program that is needed is not there; the text says how to get it."""


def find(name: str) -> Path | None:
    """Return the path of a real server: in the folder that `VILLAGE_PEERS` names, then on PATH."""
    folder = os.environ.get("VILLAGE_PEERS")
    if folder and (Path(folder) / name).is_file():
        return Path(folder) / name
    found = shutil.which(name)
    return Path(found) if found else None


def is_known(card: int) -> bool:
    """Whether the doors open to a card."""
    return card % 3 != 2


#: Agent, emulator (`osdp`, `board`, `chip`) and what it told.
Told = Callable[[str, str, dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How the village is built. `clocks`: agent -> environment that fakes its clock."""

    folder: Path
    store: str
    broker_port: int
    links: Mapping[str, Link]
    clocks: Mapping[str, Mapping[str, str]]


class Village:
    """All programs. `start` brings them up; `stop` takes them down, the agents first."""

    def __init__(self, plan: Plan, told: Told) -> None:
        """Raises `Absent`."""
        self.plan = plan
        self.folder = plan.folder
        self._api_port, self._influx_port = free_port(), free_port()
        self._token = ""
        self.url = f"http://127.0.0.1:{self._api_port}"
        self.influx_url = f"http://127.0.0.1:{self._influx_port}"
        for name in ("log", "lines", "broker", "influx", *AGENTS, "collector"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.broker = self._server("mosquitto", "-c", str(self.folder / "mosquitto.conf"))
        self.store = self._influxd() if plan.store == "influx" else None
        self.collector = self._program(
            "collector", "village_collector.cli", "run", "--config", str(self.folder / "collector.toml")
        )
        self.agents = {agent: self._agent(agent) for agent in AGENTS}
        self.far_ends = {(agent, name): program for agent in AGENTS for name, program in self._far_ends(agent, told)}
        self._lines = [
            self._program(
                f"line-{agent}-{name}", "village_emulators.line", self._line(agent, name), self._far(agent, name)
            )
            for agent, name in self.far_ends
        ]

    def state_dir(self, agent: str) -> Path:
        """An agent's own folder."""
        return self.folder / agent

    @property
    def data_dir(self) -> Path:
        """The collector's own folder."""
        return self.folder / "collector"

    def client(self, **options: Any) -> httpx.AsyncClient:
        """A client of the collector's API, as an administrator."""
        return api_client(self.data_dir, self.url, token=self._token, **options)

    @property
    def influx(self) -> tuple[str, str, str, str]:
        """Address, organisation, bucket and token of InfluxDB."""
        return self.influx_url, _ORGANISATION, _BUCKET, _TOKEN

    async def start(self) -> None:
        """Start all, and return when every agent is online; raises `TimeoutError`."""
        await asyncio.to_thread(self._write_broker_config)
        await self.broker.start()
        if self.store is not None:
            await self.store.start()
            await self._influx_answers()
            await asyncio.to_thread(self._set_up_influx)
        await asyncio.to_thread(self._write_collector_config)
        self._token = await asyncio.to_thread(token_for, self.data_dir)
        await self.collector.start()
        for line in self._lines:
            await line.start()
        await self.answers()
        key = (self.data_dir / "command_key.pub").read_text().strip()
        for agent in AGENTS:
            await asyncio.to_thread(self._write_agent_config, agent, key)
        async with asyncio.timeout(30):
            while not all(Path(self._far(*place)).exists() for place in self.far_ends):
                await asyncio.sleep(0.05)
        for program in (*self.far_ends.values(), *self.agents.values()):
            await program.start()
        await self.online()

    async def answers(self) -> None:
        """Wait until the collector's API answers; raises `TimeoutError`."""
        await self._poll(lambda _: True)

    async def online(self) -> None:
        """Wait until the collector sees every agent; raises `TimeoutError`."""
        await self._poll(lambda agents: len(agents) == len(AGENTS) and all(agent["online"] for agent in agents))

    async def stop(self) -> None:
        """Stop all."""
        for group in (self.agents.values(), self.far_ends.values(), self._lines, [self.collector], [self.broker]):
            await asyncio.gather(*(program.stop() for program in group))
        if self.store is not None:
            await self.store.stop()

    async def _poll(self, condition: Callable[[list[dict[str, Any]]], bool]) -> None:
        async with asyncio.timeout(60), self.client() as client:
            while True:
                for program in (self.collector, *self.agents.values()):
                    if program.pid and not program.running:
                        raise TimeoutError(f"{program.name} ended; see {program.log}")
                try:
                    answer = await client.get("/agents")
                    if answer.is_success and condition(answer.json()["agents"]):
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.1)

    def _line(self, agent: str, name: str) -> str:
        return str(self.folder / "lines" / f"{agent}-{name}")

    def _far(self, agent: str, name: str) -> str:
        return f"{self._line(agent, name)}-device"

    def _program(self, name: str, *arguments: str) -> Program:
        return Program(name, arguments, self.folder / "log")

    def _server(self, name: str, *arguments: str) -> Program:
        path = find(name)
        if path is None:
            raise Absent(f"{name} is absent: put it on PATH or name its folder in VILLAGE_PEERS")
        return Program(name, arguments, self.folder / "log", launcher=(str(path),))

    def _influxd(self) -> Program:
        files = self.folder / "influx"
        arguments = [
            "--bolt-path",
            f"{files}/i.bolt",
            "--engine-path",
            f"{files}/engine",
            "--sqlite-path",
            f"{files}/i.db",
        ]
        arguments += ["--http-bind-address", self.influx_url[7:], "--reporting-disabled", "--log-level", "error"]
        return self._server("influxd", *arguments)

    def _agent(self, agent: str) -> Program:
        return Program(
            f"agent-{agent}",
            ("village_agent.cli", "run", "--config", str(self.folder / f"{agent}.toml")),
            self.folder / "log",
            launcher=(*self.plan.links[agent].launcher, sys.executable, "-m"),
            environment=self.plan.clocks.get(agent),
        )

    def _far_ends(self, agent: str, told: Told) -> list[tuple[str, Program]]:
        modules = {
            "osdp": (
                "village_emulators.osdp_reader",
                [*(f"--address={n}" for n in READERS.values()), "--scbk", "0" * 31 + "1"],
            ),
            "board": ("tests.faults.counting_board", ["--relays", str(RELAYS)]),
            "chip": ("village_emulators.syn6288", ["--speed", _SPEECH_SPEED]),
        }
        return [
            (
                name,
                Program(
                    f"{agent}-{name}",
                    (module, self._far(agent, name), *arguments),
                    self.folder / "log",
                    told=lambda report, name=name: told(agent, name, report),  # type: ignore[misc]
                ),
            )
            for name, (module, arguments) in modules.items()
        ]

    def _write_broker_config(self) -> None:
        hosts = sorted({"127.0.0.1", *(link.listen for link in self.plan.links.values())})
        lines = [f"listener {self.plan.broker_port} {host}" for host in hosts]
        lines += ["allow_anonymous true", "persistence true", f"persistence_location {self.folder / 'broker'}/"]
        lines += ["autosave_interval 2", "max_queued_messages 1000"]
        if os.geteuid() == 0:
            lines.append("user root")
        (self.folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    def _write_collector_config(self) -> None:
        telemetry: dict[str, Any] = {"store": self.plan.store}
        if self.plan.store == "influx":
            token = self.folder / "influx-token"
            token.touch(mode=0o600)
            token.write_text(_TOKEN)
            telemetry |= {
                "url": self.influx_url,
                "organisation": _ORGANISATION,
                "bucket": _BUCKET,
                "token_file": str(token),
            }
        write_toml(
            self.folder / "collector.toml",
            ("collector", {"data_dir": str(self.data_dir)}),
            ("broker", {"url": f"mqtt://127.0.0.1:{self.plan.broker_port}"}),
            ("telemetry", telemetry),
            ("api", {"port": self._api_port, "tls": False}),
        )

    def _write_agent_config(self, agent: str, key: str) -> None:
        scbk = self.folder / "scbk"
        scbk.touch(mode=0o600)
        scbk.write_text("0" * 31 + "1")
        link = self.plan.links[agent]
        cards = [f"{CARD_BITS}:{number:08x}" for number in range(1, MAX_CARDS) if is_known(number)]
        write_toml(
            self.folder / f"{agent}.toml",
            ("agent", {"id": agent, "area": AREAS[agent], "state_dir": str(self.state_dir(agent))}),
            ("collector", {"broker": f"mqtt://{link.host}:{link.port}", "command_key": key}),
            ("[devices]", {"id": "box", "driver": "host", "interval_seconds": 2}),
            ("[devices]", {"id": CHIP, "driver": "syn6288", "port": self._line(agent, "chip")}),
            ("[devices]", {"id": "door-bus", "driver": "osdp", "port": self._line(agent, "osdp")}),
            *(("[devices.readers]", {"id": name, "address": n, "scbk_file": str(scbk)}) for name, n in READERS.items()),
            ("[devices]", {"id": "board", "driver": "modbus", "port": self._line(agent, "board"), "poll_seconds": 0.2}),
            ("[devices.registers]", {"id": COUNTER, "register": 0, "table": "input", "deadband": 0}),
            *(("[devices.relays]", {"id": f"relay-{n}", "coil": n}) for n in range(RELAYS)),
            *(
                ("[doors]", {"reader": name, "lock": name, "cards": cards, "unlock_seconds": CARD_SECONDS})
                for name in READERS
            ),
        )

    async def _influx_answers(self) -> None:
        async with asyncio.timeout(30), httpx.AsyncClient(trust_env=False) as client:
            while True:
                try:
                    if (await client.get(f"{self.influx_url}/health")).is_success:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)

    def _set_up_influx(self) -> None:
        body = {
            "username": "faults",
            "password": "password-of-a-run",
            "org": _ORGANISATION,
            "bucket": _BUCKET,
            "token": _TOKEN,
        }
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{self.influx_url}/api/v2/setup", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        # It answers before it is ready to be set up.
        for attempt in range(50):
            try:
                with urllib.request.urlopen(request, timeout=10):  # noqa: S310 - loopback
                    return
            except urllib.error.URLError:
                if attempt == 49:
                    raise
                time.sleep(0.1)
