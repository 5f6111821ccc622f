"""Collector programs that share a broker, a PostgreSQL and an InfluxDB, to be killed, frozen and started again."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.collector.people import administrators_token, api_client
from tests.peers.influx import BUCKET, ORGANISATION, TOKEN, InfluxServer, influx_server
from tests.peers.postgres import PASSWORD, PostgresServer, postgres_server
from village_collector.stores.control import ControlStore
from village_collector.stores.influx import InfluxAddress, InfluxStore
from village_collector.trust.authority import load_authority
from village_collector.trust.command_keys import load_command_key
from village_collector.trust.key_files import load_audit_key

_START_SECONDS = 20.0


@dataclass(frozen=True)
class Stores:
    """What several collectors share: both stores, the key that signs commands, and an administrator's token."""

    folder: Path
    postgres: PostgresServer
    influx: InfluxServer
    control_url: str
    key: Ed25519PublicKey
    token: str

    @asynccontextmanager
    async def control(self) -> AsyncIterator[ControlStore]:
        """The control store, to compare with."""
        store = ControlStore(self.control_url, PASSWORD)
        await asyncio.to_thread(store.open)
        try:
            yield store
        finally:
            await asyncio.to_thread(store.close)

    @asynccontextmanager
    async def telemetry(self) -> AsyncIterator[InfluxStore]:
        """The telemetry store, to compare with."""
        store = InfluxStore(InfluxAddress(self.influx.url, ORGANISATION, BUCKET, TOKEN))
        await store.open()
        try:
            yield store
        finally:
            await store.close()


@contextmanager
def shared_stores(folder: Path) -> Iterator[Stores]:
    """Start both stores and make the keys."""
    with ExitStack() as stack:
        postgres = stack.enter_context(postgres_server())
        (folder / "influx").mkdir()
        influx = stack.enter_context(influx_server(folder / "influx"))
        key = load_command_key(folder)
        load_authority(folder, make=True)
        load_audit_key(folder)
        (folder / "token").write_text(TOKEN)
        postgres.password_file(folder)
        url = postgres.make_database()
        control = ControlStore(url, PASSWORD)
        control.open()
        token = administrators_token(control)
        control.close()
        yield Stores(folder, postgres, influx, url, key.public_key(), token)


class CollectorProgram:
    """One collector. Started again it keeps its folder, as after a power cut."""

    def __init__(self, name: str, broker: str, stores: Stores) -> None:
        self.name = name
        self.folder = stores.folder / name
        self.log = stores.folder / f"{name}.log"
        self.addresses: dict[str, str] = {}
        self._token = stores.token
        self._config = stores.folder / f"{name}.toml"
        self._config.write_text(
            f"""\
[collector]
data_dir = "{self.folder}"
keys_dir = "{stores.folder}"
[broker]
url = "{broker}"
[telemetry]
store = "influx"
url = "{stores.influx.url}"
organisation = "{ORGANISATION}"
bucket = {json.dumps(BUCKET)}
token_file = "{stores.folder / "token"}"
[control]
url = "{stores.control_url}"
password_file = "{stores.folder / "postgres-password"}"
[api]
port = 0
tls = false
"""
        )
        self._process: Process | None = None

    async def start(self) -> None:
        """Return once it takes messages, or says that its broker is away."""
        command = [sys.executable, "-m", "village_collector.cli", "run", "--config", str(self._config)]
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, stderr=log)
        assert self._process.stdout is not None
        self.addresses = {}
        async with asyncio.timeout(_START_SECONDS):
            while len(self.addresses) < 2:
                line = (await self._process.stdout.readline()).decode()
                assert line, self.log.read_text()
                name, url = line.split()
                self.addresses[name] = url

    async def kill(self) -> None:
        """Kill it with SIGKILL."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """Ask it to end."""
        await self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Stop its process: its connections stay open, and nobody serves them."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def client(self) -> httpx.AsyncClient:
        """A client of its API."""
        return api_client(self.folder, self.addresses["api"], token=self._token, timeout=40)

    async def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Return the API's answer."""
        async with self.client() as client:
            try:
                answer = await client.request(method, path, json=body)
            except httpx.TransportError as error:
                raise AssertionError(f"{self.name}: {error!r}: {self.log.read_text()[-3000:]}") from None
            assert answer.is_success, answer.text
            found: dict[str, Any] = answer.json()
            return found

    async def _end(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)
            async with asyncio.timeout(20):
                await self._process.communicate()


@asynccontextmanager
async def collector_program(name: str, broker: str, stores: Stores) -> AsyncIterator[CollectorProgram]:
    """A running collector, killed at the end."""
    program = CollectorProgram(name, broker, stores)
    try:
        await program.start()
        yield program
    finally:
        await program.kill()
