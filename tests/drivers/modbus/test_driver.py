from __future__ import annotations

import asyncio
import itertools

import pytest
from pymodbus.constants import ExcCodes

from tests.drivers.modbus.kit import make_board, site, switch_of
from tests.drivers.recorder import Recorder, running
from village_drivers.abilities import abilities_of
from village_drivers.kit import Refused
from village_drivers.modbus.driver import ModbusBoard
from village_drivers.registry import DRIVERS
from village_drivers.serial_line import SerialLine
from village_emulators.line import Cable


def test_it_stands_in_the_registry() -> None:
    assert DRIVERS["modbus"].load() is ModbusBoard


def test_devices_have_the_abilities_of_their_kind() -> None:
    devices = make_board(port="/dev/null").devices()
    assert {name: (device.kind, abilities_of(device.handle)) for name, device in devices.items()} == {
        "horn": ("relay", ("switch",)),
        "lamp": ("relay", ("switch",)),
        "gate": ("lock", ("door",)),
        "contact": ("contact", ()),
        "level": ("register", ("meter",)),
    }


async def test_first_round_reports_everything() -> None:
    async with site() as (_, emulator, board, report, _written), running(board, report, may_end=True):
        await report.until(lambda: len(report.states) == 5)
        assert all(state[:2] == ("ok", "works") for state in report.states.values())
        assert sorted(report.readings, key=lambda reading: reading[0]) == [
            ("contact", "contact", {"on": False}),
            ("gate", "lock", {"locked": True}),
            ("horn", "switch", {"on": False}),
            ("lamp", "switch", {"on": True}),
            ("level", "register", {"value": 1.0}),
        ]
        report.readings.clear()
        await emulator.set_input(3, True)
        await emulator.set_register(0, 0xFFFF)
        await emulator.set_register(0, 0xFFF0)
        await report.until(lambda: len(report.readings) == 2)
        assert sorted(report.readings) == [("contact", "contact", {"on": True}), ("level", "register", {"value": -7.0})]


async def test_only_a_change_is_reported() -> None:
    async with (
        site(relays=[], inputs=[{"id": "contact", "input": 0}]) as (_, emulator, board, report, _written),
        running(board, report, may_end=True),
    ):
        for on in (True, False, True):
            await emulator.set_input(0, on)
            await report.until(lambda on=on: bool(report.readings) and report.readings[-1][2].get("on") is on)  # type: ignore[misc]
        contacts = [fields["on"] for device, _, fields in report.readings if device == "contact"]
        assert contacts[-3:] == [True, False, True]
        assert all(first != second for first, second in itertools.pairwise(contacts))


async def test_frames_on_the_wire_are_those_of_the_standard() -> None:
    async with Cable() as cable:
        relays = [{"id": f"r{coil}", "coil": coil} for coil in range(8)]
        board = make_board(port=cable.a, relays=relays, inputs=[], registers=[], poll_seconds=3600)
        with SerialLine.open(cable.b, 9600) as far:
            async with running(board, Recorder(), may_end=True):
                assert await far.read() == bytes.fromhex("01 01 00 00 00 08 3D CC")
                await far.write(bytes.fromhex("01 01 01 05 91 8B"))
                switching = asyncio.create_task(switch_of(board, "r0").switch(True))
                assert await far.read() == bytes.fromhex("01 05 00 00 FF 00 8C 3A")
                await far.write(bytes.fromhex("01 85 02 C3 51"))
                with pytest.raises(Refused, match="illegal address"):
                    await switching


async def test_exception_answer_is_a_refusal_with_its_name() -> None:
    async with site() as (_, emulator, board, report, _written), running(board, report, may_end=True):
        await report.until(lambda: len(report.states) == 5)
        emulator.refuse = {5: ExcCodes.DEVICE_BUSY}
        with pytest.raises(Refused, match=r"exception 6 \(device busy\)") as refused:
            await switch_of(board, "horn").switch(True)
        assert refused.value.code == "rejected"
        emulator.refuse = {}
        await switch_of(board, "horn").switch(True)


async def test_only_the_address_that_the_board_lacks_is_degraded() -> None:
    relays = [{"id": "there", "coil": 15}, {"id": "lacking", "coil": 16}]
    async with (
        site(relays=relays, inputs=[], registers=[]) as (_, _emulator, board, report, _written),
        running(board, report, may_end=True),
    ):
        await report.until(lambda: len(report.states) == 2)
        assert report.status("there") == "ok works"
        assert report.status("lacking") == "degraded rejected"
        assert report.states["lacking"][2] == "coil 16: exception 2 (illegal address)"
