"""A board on an emulated line, and the driver."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from tests.drivers.recorder import NoServices, Recorder
from village_drivers.abilities import Door, Meter, Switch
from village_drivers.kit import Services
from village_drivers.modbus.driver import ModbusBoard
from village_emulators.line import Cable
from village_emulators.modbus_board import ModbusBoardEmulator

_ALL = {
    "relays": [
        {"id": "horn", "coil": 0},
        {"id": "lamp", "coil": 1, "normally_closed": True},
        {"id": "gate", "coil": 2, "door": True},
    ],
    "inputs": [{"id": "contact", "input": 3}],
    "registers": [{"id": "level", "register": 0, "scale": 0.5, "offset": 1, "signed": True, "deadband": 1.0}],
    "poll_seconds": 0.05,
}


def make_board(**more: Any) -> ModbusBoard:
    config = ModbusBoard.Config.model_validate({"id": "board", "driver": "modbus", **_ALL, **more})
    return ModbusBoard(cast("Any", config), cast("Services", NoServices()))


def switch_of(board: ModbusBoard, name: str) -> Switch:
    handle = board.devices()[name].handle
    assert isinstance(handle, Switch)
    return handle


def door_of(board: ModbusBoard, name: str = "gate") -> Door:
    handle = board.devices()[name].handle
    assert isinstance(handle, Door)
    return handle


def meter_of(board: ModbusBoard, name: str = "level") -> Meter:
    handle = board.devices()[name].handle
    assert isinstance(handle, Meter)
    return handle


@asynccontextmanager
async def site(
    **more: Any,
) -> AsyncIterator[tuple[Cable, ModbusBoardEmulator, ModbusBoard, Recorder, list[tuple[int, bool]]]]:
    written: list[tuple[int, bool]] = []
    report = Recorder()
    async with (
        Cable() as cable,
        ModbusBoardEmulator(path=cable.b, written=lambda c, on: written.append((c, on))) as emulator,
    ):
        yield cable, emulator, make_board(port=cable.a, baudrate=115200, **more), report, written
