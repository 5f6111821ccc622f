from __future__ import annotations

import asyncio
import json
import sys

import pytest
from pymodbus.pdu.bit_message import ReadDiscreteInputsRequest, WriteSingleCoilRequest
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from tests.peers import free_port
from village_drivers.kit import Refused
from village_drivers.modbus.link import TcpLink
from village_drivers.serial_line import SerialLine
from village_emulators.line import Cable
from village_emulators.modbus_board import InvalidLine, ModbusBoardEmulator


async def _connected(port: int) -> TcpLink:
    """Connect once the emulator listens."""
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            return await TcpLink.connect("127.0.0.1", port, 1)


async def test_program_obeys_its_input_and_tells_what_is_written() -> None:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "village_emulators.modbus_board", "--tcp", str(port)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    assert process.stderr
    link = await _connected(port)
    try:
        process.stdin.write(b"input 3 on\nregister 2 123\nnonsense\n")
        assert b"not understood: 'nonsense'" in await process.stderr.readline()
        assert await link.ask(ReadDiscreteInputsRequest(address=0, count=5)) == [0, 0, 0, 1, 0]
        assert await link.ask(ReadHoldingRegistersRequest(address=2, count=1)) == [123]
        assert await link.ask(ReadInputRegistersRequest(address=2, count=1)) == [123]
        await link.ask(WriteSingleCoilRequest(address=7, bits=[True]))
        assert json.loads(await process.stdout.readline()) == {"coil": 7, "on": True}
        with pytest.raises(Refused, match="illegal address"):
            await link.ask(WriteSingleCoilRequest(address=8, bits=[True]))
    finally:
        link.close()
        process.terminate()
        await process.communicate()
    assert process.returncode == 0


async def test_board_is_silent_when_another_unit_is_asked() -> None:
    async with Cable() as cable, ModbusBoardEmulator(path=cable.b, unit=5):
        with SerialLine.open(cable.a, 9600) as line:
            await line.write(bytes.fromhex("01 05 00 00 FF 00 8C 3A"))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await line.read()


@pytest.mark.parametrize(
    "line", ["", "input 8 on", "input x on", "register 16 1", "register 0 65536", "input 0", "input ² on"]
)
async def test_wrong_lines_are_refused(line: str) -> None:
    port = free_port()
    async with ModbusBoardEmulator(tcp_port=port) as emulator:
        with pytest.raises(InvalidLine):
            await emulator.obey(line)
