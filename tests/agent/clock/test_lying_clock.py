"""The real programs, with a box whose system clock is wrong and jumps: nothing is lost, misdated or refused for that."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymodbus.constants import ExcCodes

from tests.agent.kit import AREA, until
from tests.collector.people import api_client, token_for
from tests.faults.clocks import FakeClock, build_library
from tests.faults.stored import COUNTER, StoreCopy, StoredEvent, read_control, read_sqlite_samples
from tests.peers import absent, free_port, peer
from tests.peers.mosquitto import Mosquitto
from village_demo.programs import Program
from village_demo.site import write_toml
from village_emulators.modbus_board import ModbusBoardEmulator

YEAR, DAY = 365 * 86_400, 86_400
#: A poll of the board and its answer; libfaketime makes a program with threads slow.
TOLERANCE = {"ours": 0.5, "faketime": 3.0}
_READ_INPUT_REGISTERS = 4


class Board(ModbusBoardEmulator):
    """A relay, and a register of which each reading is the next number."""

    def __init__(self, port: int) -> None:
        super().__init__(tcp_port=port, relays=1, written=self._note)
        self.port = port
        #: Number -> true time at which it was read.
        self.read: dict[int, float] = {}
        self.relay: list[bool] = []

    def _note(self, _coil: int, on: bool) -> None:
        self.relay.append(on)

    async def _access(
        self,
        function: int,
        _start: int,
        address: int,
        _count: int,
        _registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        if function == _READ_INPUT_REGISTERS and values is None:
            number = len(self.read) + 1
            self.read[number] = time.time()
            _registers[0] = number
        return await super()._access(function, _start, address, _count, _registers, values)


class Site:
    """A collector that waits for its broker, and an agent whose clock the test holds."""

    def __init__(self, folder: Path, clock: FakeClock | FakedTime, broker: Mosquitto, board: Board) -> None:
        self.folder = folder
        self.clock = clock
        self.url = f"http://127.0.0.1:{free_port()}"
        self.broker = broker
        self._board = board
        self._token = ""
        self.collector = self._program("collector", "village_collector.cli", {})
        self.agent = self._program("agent", "village_agent.cli", dict(clock.environment))

    def _program(self, name: str, module: str, environment: dict[str, str]) -> Program:
        arguments = (module, "run", "--config", str(self.folder / f"{name}.toml"))
        return Program(name, arguments, self.folder, environment=environment)

    async def start(self) -> None:
        """Start the collector and then, without a broker, the agent."""
        await self.broker.start()
        write_toml(
            self.folder / "collector.toml",
            ("collector", {"data_dir": str(self.folder / "collector")}),
            ("broker", {"url": self.broker.url}),
            ("api", {"port": int(self.url.rpartition(":")[2]), "tls": False}),
        )
        self._token = await asyncio.to_thread(token_for, self.folder / "collector")
        await self.collector.start()
        key = self.folder / "collector" / "command_key.pub"
        async with asyncio.timeout(20), self._client() as client:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get("/agents")).is_success:
                        break
                await asyncio.sleep(0.05)
        write_toml(
            self.folder / "agent.toml",
            ("agent", {"id": "lin", "area": AREA, "state_dir": "state", "trust_system_clock": False}),
            ("collector", {"broker": self.broker.url, "command_key": key.read_text().strip()}),
            ("outbox", {"write_seconds": 0.1, "send_seconds": 0.1, "drain_spread_seconds": 0.0}),
            (
                "[devices]",
                {
                    "id": "board",
                    "driver": "modbus",
                    "host": "127.0.0.1",
                    "tcp_port": self._board.port,
                    "poll_seconds": 0.2,
                },
            ),
            ("[devices.registers]", {"id": COUNTER, "register": 0, "table": "input", "deadband": 0}),
            ("[devices.relays]", {"id": "relay", "coil": 0}),
        )
        await self.broker.kill()
        await self.agent.start()

    def _client(self) -> httpx.AsyncClient:
        return api_client(self.folder / "collector", self.url, token=self._token)

    async def undated(self) -> int:
        """Lines and events that wait for a date."""
        return await asyncio.to_thread(self._undated)

    def _undated(self) -> int:
        path = self.folder / "state" / "undated.db"
        if not path.exists():
            return 0
        with closing(sqlite3.connect(path)) as file:
            try:
                return int(file.execute("SELECT coalesce(sum(count), 0) FROM undated").fetchone()[0])
            except sqlite3.OperationalError:
                return 0

    async def stored(self) -> StoreCopy:
        return await asyncio.to_thread(self._stored)

    def _stored(self) -> StoreCopy:
        copy = StoreCopy()
        read_control(self.folder / "collector" / "control.db", copy)
        read_sqlite_samples(self.folder / "collector" / "telemetry.db", copy)
        return copy

    async def until_stored(self, condition: Callable[[StoreCopy], bool], seconds: float = 20) -> StoreCopy:
        async with asyncio.timeout(seconds):
            while not condition(copy := await self.stored()):
                await asyncio.sleep(0.1)
            return copy

    async def switch(self, on: bool) -> str:
        """Give a command; return its outcome."""
        body = {
            "target": {"agent": "lin", "device": "relay"},
            "arguments": {"kind": "switch", "on": on},
            "expires_in": 10,
        }
        async with self._client() as client:
            command: dict[str, Any] = (await client.post("/commands", json=body)).json()
            async with asyncio.timeout(15):
                while not command["results"] or command["results"][-1]["outcome"] == "accepted":
                    command = (await client.get(f"/commands/{command['id']}", params={"wait": 1})).json()
        return str(command["results"][-1]["outcome"])


class FakedTime:
    """As `FakeClock`, by libfaketime, which looks at its file once a second."""

    def __init__(self, file: Path, library: Path) -> None:
        self._file = file
        self.jump(0)
        self.environment: Mapping[str, str] = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def jump(self, seconds: int) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self._file)


@asynccontextmanager
async def site(
    folder: Path, clock: FakeClock | FakedTime, offset: int, broker: Mosquitto
) -> AsyncIterator[tuple[Site, Board]]:
    clock.jump(offset)
    async with Board(free_port()) as board:
        made = Site(folder, clock, broker, board)
        try:
            await made.start()
            yield made, board
        finally:
            await made.agent.stop()
            await made.collector.stop()


def fake_clock(folder: Path, name: str) -> FakeClock | FakedTime:
    if name == "faketime":
        program = peer("faketime")
        for place in sorted((program.parents[1] / "lib").glob("**/faketime/libfaketime.so.1")):
            return FakedTime(folder / "clock", place)
        absent("libfaketime is absent: apt-get install faketime")
    library = build_library(folder)
    if library is None:
        absent("a C compiler is absent: apt-get install gcc libc6-dev")
    return FakeClock(folder / "clock", library)


def started(copy: StoreCopy) -> list[StoredEvent]:
    return [event for event in copy.events if event.kind == "agent_started"]


@pytest.mark.timeout(90)
@pytest.mark.parametrize(("start", "library"), [("1970", "ours"), ("a year ahead", "faketime")])
async def test_whatever_the_system_clock_says_everything_arrives_with_its_date(
    tmp_path: Path, start: str, library: str
) -> None:
    begun = time.time()
    offset = YEAR if start == "a year ahead" else 60 - int(begun)
    broker = Mosquitto(tmp_path)
    async with site(tmp_path, await asyncio.to_thread(fake_clock, tmp_path, library), offset, broker) as (one, board):
        # Without a connection nobody knows the time: it is kept, and nothing of it is in the outbox.
        async with asyncio.timeout(20):
            while len(board.read) < 5 or await one.undated() < 5:
                await asyncio.sleep(0.05)
        async with broker:
            await one.until_stored(lambda copy: bool(started(copy)) and len(copy.samples) >= 5)
            assert await one.switch(True) == "done"
            for jump in (YEAR + DAY, -DAY) if library == "ours" else (-DAY,):
                await asyncio.to_thread(one.clock.jump, jump)
                # libfaketime looks at its file once a second.
                seen = len(board.read) + (7 if library == "faketime" else 2)
                await until(lambda seen=seen: len(board.read) >= seen)  # type: ignore[misc]
                assert await one.switch(jump > 0) == "done"
            # Killed while its clock is wrong, it knows the time again at once: the boot is the same.
            await asyncio.to_thread(one.clock.jump, -DAY)
            await one.agent.kill()
            killed = len(board.read)
            await one.agent.start()
            copy = await one.until_stored(lambda copy: len(started(copy)) == 2)
            seen = len(board.read)
            copy = await one.until_stored(lambda copy: any(number >= seen for _, number, _ in copy.samples))
            ended = time.time()
        assert await one.undated() == 0
    assert board.relay == ([True, True, False] if library == "ours" else [True, False])
    assert copy.dead_letters == 0
    for event in copy.events:
        assert begun - TOLERANCE[library] <= event.time <= ended + TOLERANCE[library], event
    times = {number: moment for _, number, moment in copy.samples}
    # The second that a kill takes from readings that are not on disk yet.
    missing = set(range(1, max(times))) - set(times)
    assert all(killed - 5 <= number <= killed + 1 for number in missing), missing
    wrong = {number: moment - board.read[number] for number, moment in times.items()}
    assert max(abs(error) for error in wrong.values()) <= TOLERANCE[library], sorted(wrong.values())
    # Before the broker was there nothing could be dated, and yet it is.
    first = min(started(copy), key=lambda event: event.time)
    assert first.time - TOLERANCE[library] <= min(board.read.values())
