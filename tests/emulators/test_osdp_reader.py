"""The emulated OSDP readers as a program of their own."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.drivers.osdp.bench import KEY, Log, bus, reader_config
from village_drivers.kit import CardRead, KeysPressed
from village_emulators.line import Cable
from village_emulators.osdp_device import EmulatedReader
from village_emulators.osdp_reader import obey
from village_wire.events import Alarm


@asynccontextmanager
async def program(port: str, *arguments: str) -> AsyncIterator[Process]:
    command = (sys.executable, "-m", "village_emulators.osdp_reader", port, *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.communicate()


async def told(process: Process, event: str) -> dict[str, Any]:
    assert process.stdout is not None
    async with asyncio.timeout(10):
        while True:
            line = await process.stdout.readline()
            assert line, "the emulator ended"
            said: dict[str, Any] = json.loads(line)
            if said["event"] == event:
                return said


async def test_a_program_with_two_readers() -> None:
    log = Log()
    async with Cable() as cable, program(cable.b, "--address", "1", "--address", "2", "--scbk", KEY.hex()) as process:
        driver = bus(cable.a, reader_config(1), reader_config(2))
        run = asyncio.create_task(driver.run(log), name="driver under test")
        try:
            await log.state_is("r1", "works")
            await log.state_is("r2", "works")
            assert process.stdin is not None
            process.stdin.write(b"card 1 26 00123440\nkeys 2 1234#\ntamper 1 on\n")
            await log.heard("r1", CardRead(26, bytes.fromhex("00123440")))
            await log.heard("r2", KeysPressed("1234#"))
            await log.heard("r1", Alarm(code="tamper", active=True))
            handle: Any = driver.devices()["r2"].handle
            await handle.unlock(5)
            output = {"event": "output", "reader": 2, "output": 0, "on": True, "seconds": 5.0}
            assert await told(process, "output") == output
            await handle.indicate("green", buzzer=True, seconds=1)
            assert (await told(process, "led"))["colour"] == "green"
            assert (await told(process, "buzzer"))["reader"] == 2
            process.stdin.write(b"dance 1\n")
            assert "unknown command" in (await told(process, "error"))["text"]
            process.stdin.write(b"offline 2\n")
            await log.state_is("r2", "no_answer")
            process.stdin.write(b"online 2\n")
            await log.state_is("r2", "works")
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(5):
                assert await process.wait() == 0
        finally:
            run.cancel()
            await asyncio.wait([run])


async def test_an_absent_port_is_named() -> None:
    async with program("/nonexistent/tty", "--scbk", KEY.hex()) as process:
        _, error = await process.communicate()
        assert process.returncode == 1
        assert error.decode() == "/nonexistent/tty does not exist\n"


@pytest.mark.parametrize(
    "line",
    ["", "card 1 26", "card 1 x 00", "card 1 26 zz", "card 2 26 00", "card x 26 00", "keys 1 12a", "tamper 1 maybe"],
)
def test_a_line_that_says_nothing(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        obey({1: EmulatedReader(1, KEY, lambda said: None)}, line)
