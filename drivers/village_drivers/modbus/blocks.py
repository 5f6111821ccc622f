"""Which addresses are read together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pymodbus.pdu.bit_message import ReadCoilsRequest, ReadDiscreteInputsRequest
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from village_drivers.modbus.config import Input, ModbusConfig, Register, Relay
from village_drivers.modbus.frames import Request

Entry = Relay | Input | Register
#: A request answers at most 125 registers (Application Protocol V1.1b3, section 6.3); bits are kept to the same number.
MAX_COUNT = 125


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Entries at consecutive addresses and the request that reads them."""

    table: str
    make: Callable[[int, int], Request]
    first: int
    entries: tuple[Entry, ...]

    @property
    def request(self) -> Request:
        """The request; its answer has one value per entry, in order."""
        return self.make(self.first, len(self.entries))

    def singles(self) -> list[Block]:
        """Return one block per entry."""
        return [Block(self.table, self.make, self.first + index, (entry,)) for index, entry in enumerate(self.entries)]

    def __str__(self) -> str:
        last = self.first + len(self.entries) - 1
        return f"{self.table} {self.first}" if last == self.first else f"{self.table} {self.first} to {last}"


def blocks_of(config: ModbusConfig) -> list[Block]:
    """Return the requests of one round of reading. Gaps are not read: some boards refuse addresses that they lack."""
    return [
        *_runs(
            "coil", lambda at, count: ReadCoilsRequest(address=at, count=count), ((r.coil, r) for r in config.relays)
        ),
        *_runs(
            "input",
            lambda at, count: ReadDiscreteInputsRequest(address=at, count=count),
            ((i.input, i) for i in config.inputs),
        ),
        *_runs(
            "holding register",
            lambda at, count: ReadHoldingRegistersRequest(address=at, count=count),
            ((r.address, r) for r in config.registers if r.table == "holding"),
        ),
        *_runs(
            "input register",
            lambda at, count: ReadInputRegistersRequest(address=at, count=count),
            ((r.address, r) for r in config.registers if r.table == "input"),
        ),
    ]


def request_of(register: Register) -> Request:
    """Return the request that reads one register."""
    make = ReadHoldingRegistersRequest if register.table == "holding" else ReadInputRegistersRequest
    return make(address=register.address, count=1)


def scaled(register: Register, raw: int) -> float:
    """Return the value of a register of which `raw` was read, 0 to 65,535."""
    number = raw - 0x10000 if register.signed and raw >= 0x8000 else raw
    return number * register.scale + register.offset


def _runs(table: str, make: Callable[[int, int], Request], entries: Iterable[tuple[int, Entry]]) -> list[Block]:
    runs: list[tuple[int, list[Entry]]] = []
    for address, entry in sorted(entries, key=lambda pair: pair[0]):
        if runs and address == runs[-1][0] + len(runs[-1][1]) and len(runs[-1][1]) < MAX_COUNT:
            runs[-1][1].append(entry)
        else:
            runs.append((address, [entry]))
    return [Block(table, make, first, tuple(run)) for first, run in runs]
