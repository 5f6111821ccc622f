"""A Modbus relay board: relays at coils 0.., inputs at discrete inputs 0.., holding and input registers 0 to 15.

With `--current REGISTER,COIL` a register measures the current of an amplifier that a relay gives power, in hundredths of an ampere. The
board can't know what the amplifier does: `sounds on` and `sounds off` on standard input tell it, `power off` blows its fuse.

    python -m village_emulators.modbus_board /tmp/device-end --relays 8 --inputs 8
    python -m village_emulators.modbus_board --tcp 5020
    python -m village_emulators.modbus_board --tcp 5020 --current 4,0

Standard input takes `input 3 on`, `input 3 off`, `register 0 123` (both tables), `sounds on` and `power off`; standard output has a JSON line for each coil
that is written: `{"coil": 3, "on": true}`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from village_emulators.console import lines

#: Registers of either table.
REGISTERS = 16
_WRITE_COILS = (5, 15)
_READ_INPUTS = 2
_READ_REGISTERS = (3, 4)
_HOLDING, _INPUT = 6, 4


class InvalidLine(ValueError):
    """The text is not a command of the emulator."""


@dataclass(slots=True)
class AmplifierCurrent:
    """The current of an amplifier behind a relay, as a register shows it: in hundredths of an ampere."""

    register: int
    coil: int
    idle: int = 5
    sounding: int = 82
    #: Whether a sound goes through the amplifier, and whether its fuse is whole.
    sounds: bool = False
    power: bool = True

    def drawn(self, on: bool) -> int:
        """What is drawn while the relay is on or off."""
        if not on or not self.power:
            return 0
        return self.sounding if self.sounds else self.idle


class ModbusBoardEmulator:
    """The board as a pymodbus server; use it as an asynchronous context. `written` hears of every coil that is written."""

    def __init__(
        self,
        *,
        path: str | None = None,
        tcp_port: int | None = None,
        unit: int = 1,
        relays: int = 8,
        inputs: int = 8,
        baudrate: int = 9600,
        written: Callable[[int, bool], None] | None = None,
        current: AmplifierCurrent | None = None,
    ) -> None:
        self._path = path
        self._tcp_port = tcp_port
        self._unit = unit
        self._relays = relays
        self._inputs = inputs
        self._baudrate = baudrate
        self._written = written
        self.current = current
        self._on: set[int] = set()
        #: Refuse the function codes in here with an exception; for tests of what the driver says then.
        self.refuse: dict[int, ExcCodes] = {}
        self._server: ModbusSerialServer | ModbusTcpServer

    async def __aenter__(self) -> Self:
        device = SimDevice(
            self._unit,
            (
                [SimData(0, values=[False] * self._relays, datatype=DataType.BITS)],
                [SimData(0, values=[False] * self._inputs, datatype=DataType.BITS)],
                [SimData(0, count=REGISTERS, datatype=DataType.REGISTERS)],
                [SimData(0, count=REGISTERS, datatype=DataType.REGISTERS)],
            ),
            action=self._access,
        )
        if self._path is not None:
            self._server = ModbusSerialServer(
                device, port=self._path, baudrate=self._baudrate, trace_packet=self._only_ours
            )
        else:
            self._server = ModbusTcpServer(device, address=("127.0.0.1", self._tcp_port or 502))
        await self._server.serve_forever(background=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus has no annotation here

    async def set_input(self, number: int, on: bool) -> None:
        """Close or open a discrete input."""
        await self._server.async_setValues(self._unit, _READ_INPUTS, number, [on])

    async def set_register(self, number: int, value: int) -> None:
        """Set a holding register and the input register of the same number."""
        for function in (_HOLDING, _INPUT):
            await self._server.async_setValues(self._unit, function, number, [value])

    async def coil(self, number: int) -> bool:
        """Return whether a coil is on."""
        values = await self._server.async_getValues(self._unit, 1, number, 1)
        return bool(values[0])

    async def obey(self, line: str) -> None:
        """Carry out one line of standard input; raises `InvalidLine`."""
        match line.split():
            case ["input", number, ("on" | "off") as state] if number.isdecimal() and int(number) < self._inputs:
                await self.set_input(int(number), state == "on")
            case ["register", number, value] if (
                number.isdecimal() and int(number) < REGISTERS and value.isdecimal() and int(value) <= 0xFFFF
            ):
                await self.set_register(int(number), int(value))
            case [("sounds" | "power") as what, ("on" | "off") as state] if self.current is not None:
                setattr(self.current, what, state == "on")
            case _:
                raise InvalidLine(f"not understood: {line[:80]!r}; try: input 0 on | register 0 123 | sounds on")

    def _only_ours(self, sending: bool, data: bytes) -> bytes:
        # On a serial line a board is silent when another unit is asked; pymodbus would answer with an exception.
        return b"" if sending and data[0] != self._unit else data

    async def _access(
        self,
        function: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        if function in self.refuse:
            return self.refuse[function]
        if function in _WRITE_COILS and values is not None:
            if address + len(values) > self._relays:
                return ExcCodes.ILLEGAL_ADDRESS
            for offset, value in enumerate(values):
                (self._on.add if value else self._on.discard)(address + offset)
                if self._written is not None:
                    self._written(address + offset, bool(value))
        if function in _READ_REGISTERS and self.current is not None:
            place = self.current.register
            if address <= place < address + count:
                registers[place - start] = self.current.drawn(self.current.coil in self._on)
        return None


def _current(text: str) -> AmplifierCurrent:
    register, _, coil = text.partition(",")
    return AmplifierCurrent(int(register), int(coil))


def _print_coil(coil: int, on: bool) -> None:
    print(json.dumps({"coil": coil, "on": on}), flush=True)


async def _serve(emulator: ModbusBoardEmulator) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with emulator, asyncio.TaskGroup() as group:
        reading = group.create_task(_obey_lines(emulator), name="standard input")
        await stop.wait()
        reading.cancel()


async def _obey_lines(emulator: ModbusBoardEmulator) -> None:
    async for line in lines():
        try:
            await emulator.obey(line)
        except InvalidLine as error:
            print(error, file=sys.stderr, flush=True)


def main() -> None:
    """Run the board until stopped."""
    parser = argparse.ArgumentParser(description="Emulate a Modbus relay board. 模拟 Modbus 继电器板。")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("path", nargs="?", help="serial device, e.g. /tmp/device-end")
    where.add_argument("--tcp", type=int, metavar="PORT", help="serve Modbus TCP on this port of 127.0.0.1")
    parser.add_argument("--unit", type=int, default=1, help="unit (slave) address")
    parser.add_argument("--relays", type=int, default=8, help="number of relays")
    parser.add_argument("--inputs", type=int, default=8, help="number of inputs")
    parser.add_argument("--baudrate", type=int, default=9600, help="speed of the serial line")
    parser.add_argument(
        "--current", type=_current, metavar="REGISTER,COIL", help="register that measures an amplifier's current"
    )
    options = parser.parse_args()
    logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)
    emulator = ModbusBoardEmulator(
        path=options.path,
        tcp_port=options.tcp,
        unit=options.unit,
        relays=options.relays,
        inputs=options.inputs,
        baudrate=options.baudrate,
        written=_print_coil,
        current=options.current,
    )
    asyncio.run(_serve(emulator))


if __name__ == "__main__":
    main()
