from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from pymodbus.constants import ExcCodes

from tests.drivers.recorder import NoServices, Recorder, running
from tests.peers import free_port
from village_drivers.abilities import Door, Meter, Switch, abilities_of
from village_drivers.kit import DriverError, Misconfigured, NotConnected, Refused, Services
from village_drivers.modbus.driver import ModbusBoard
from village_drivers.registry import DRIVERS
from village_drivers.serial_line import SerialLine
from village_emulators.line import Cable
from village_emulators.modbus_board import AmplifierCurrent, ModbusBoardEmulator

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


def _board(**more: Any) -> ModbusBoard:
    config = ModbusBoard.Config.model_validate({"id": "board", "driver": "modbus", **_ALL, **more})
    return ModbusBoard(cast("Any", config), cast("Services", NoServices()))


def _switch(board: ModbusBoard, name: str) -> Switch:
    handle = board.devices()[name].handle
    assert isinstance(handle, Switch)
    return handle


def _door(board: ModbusBoard, name: str = "gate") -> Door:
    handle = board.devices()[name].handle
    assert isinstance(handle, Door)
    return handle


def _meter(board: ModbusBoard, name: str = "level") -> Meter:
    handle = board.devices()[name].handle
    assert isinstance(handle, Meter)
    return handle


@asynccontextmanager
async def _site(
    **more: Any,
) -> AsyncIterator[tuple[Cable, ModbusBoardEmulator, ModbusBoard, Recorder, list[tuple[int, bool]]]]:
    written: list[tuple[int, bool]] = []
    report = Recorder()
    async with (
        Cable() as cable,
        ModbusBoardEmulator(path=cable.b, written=lambda c, on: written.append((c, on))) as emulator,
    ):
        yield cable, emulator, _board(port=cable.a, baudrate=115200, **more), report, written


async def _ended(task: asyncio.Task[None], seconds: float = 5.0) -> DriverError:
    async with asyncio.timeout(seconds):
        await asyncio.wait([task])
    error = task.exception()
    assert isinstance(error, DriverError)
    return error


def test_it_stands_in_the_registry() -> None:
    assert DRIVERS["modbus"].load() is ModbusBoard


def test_devices_have_the_abilities_of_their_kind() -> None:
    devices = _board(port="/dev/null").devices()
    assert {name: (device.kind, abilities_of(device.handle)) for name, device in devices.items()} == {
        "horn": ("relay", ("switch",)),
        "lamp": ("relay", ("switch",)),
        "gate": ("lock", ("door",)),
        "contact": ("contact", ()),
        "level": ("register", ("meter",)),
    }


async def test_first_round_reports_everything() -> None:
    async with _site() as (_, emulator, board, report, _written), running(board, report, may_end=True):
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


@pytest.mark.parametrize("table", ["holding", "input"])
async def test_a_register_is_measured_between_two_rounds(table: str) -> None:
    level = {"id": "level", "register": 4, "table": table, "scale": 0.01, "signed": True}
    async with (
        _site(registers=[level], poll_seconds=3600) as (_, emulator, board, report, _written),
        running(board, report, may_end=True),
    ):
        await report.until(lambda: len(report.states) == 5)
        await emulator.set_register(4, 82)
        assert await _meter(board).measure() == pytest.approx(0.82)
        await emulator.set_register(4, 0xFFFF)
        assert await _meter(board).measure() == pytest.approx(-0.01)
        emulator.refuse[3] = emulator.refuse[4] = ExcCodes.DEVICE_BUSY
        with pytest.raises(Refused, match="exception 6"):
            await _meter(board).measure()
        emulator.refuse.clear()
        # A measurement that nobody waits for any more is not made, and a relay is switched among many.
        many = [asyncio.create_task(_meter(board).measure()) for _ in range(5)]
        await asyncio.sleep(0)
        many[0].cancel()
        await _switch(board, "horn").switch(True)
        await asyncio.gather(*many[1:])


async def test_the_emulated_amplifier_draws_what_relay_sound_and_fuse_make_it() -> None:
    level = {"id": "level", "register": 4, "scale": 0.01}
    async with _site(registers=[level], poll_seconds=3600) as (_, emulator, board, report, _written):
        emulator.current = AmplifierCurrent(4, 0)
        async with running(board, report, may_end=True):
            await report.until(lambda: len(report.states) == 5)
            seen = [await _meter(board).measure()]
            await _switch(board, "horn").switch(True)
            for line in ("sounds off", "sounds on", "power off"):
                await emulator.obey(line)
                seen.append(await _meter(board).measure())
            assert seen == pytest.approx([0, 0.05, 0.82, 0])


async def test_a_meter_that_is_away_says_so() -> None:
    board = _board(port="/dev/null")
    with pytest.raises(NotConnected, match="not connected yet"):
        await _meter(board).measure()


async def test_only_a_change_is_reported() -> None:
    async with (
        _site(relays=[], inputs=[{"id": "contact", "input": 0}]) as (_, emulator, board, report, _written),
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
        board = _board(port=cable.a, relays=relays, inputs=[], registers=[], poll_seconds=3600)
        with SerialLine.open(cable.b, 9600) as far:
            async with running(board, Recorder(), may_end=True):
                assert await far.read() == bytes.fromhex("01 01 00 00 00 08 3D CC")
                await far.write(bytes.fromhex("01 01 01 05 91 8B"))
                switching = asyncio.create_task(_switch(board, "r0").switch(True))
                assert await far.read() == bytes.fromhex("01 05 00 00 FF 00 8C 3A")
                await far.write(bytes.fromhex("01 85 02 C3 51"))
                with pytest.raises(Refused, match="illegal address"):
                    await switching


async def test_switch_is_confirmed_and_reported() -> None:
    async with _site() as (_, emulator, board, report, written), running(board, report, may_end=True):
        await report.until(lambda: len(report.states) == 5)
        await _switch(board, "horn").switch(True)
        assert await emulator.coil(0)
        assert ("horn", "switch", {"on": True}) in report.readings
        await _switch(board, "lamp").switch(False)
        assert await emulator.coil(1), "a normally closed relay is off while its coil is on"
        assert written == [(2, False), (0, True), (1, True)]


async def test_lock_opens_and_secures_itself() -> None:
    async with _site() as (_, emulator, board, report, written), running(board, report, may_end=True):
        await report.until(lambda: len(report.states) == 5)
        written.clear()
        await _door(board).unlock(0.2)
        assert await emulator.coil(2)
        await report.until(lambda: report.readings[-1] == ("gate", "lock", {"locked": True}))
        assert written == [(2, True), (2, False)]


async def test_second_unlock_prolongs_the_first() -> None:
    async with _site() as (_, _emulator, board, report, written), running(board, report, may_end=True):
        await report.until(lambda: len(report.states) == 5)
        written.clear()
        await _door(board).unlock(0.1)
        await _door(board).unlock(0.5)
        await _door(board).unlock(0.1)
        start = asyncio.get_running_loop().time()
        await report.until(lambda: report.readings[-1] == ("gate", "lock", {"locked": True}))
        assert asyncio.get_running_loop().time() - start > 0.3
        assert written.count((2, False)) == 1


async def test_lock_is_secured_when_the_driver_is_stopped() -> None:
    async with _site() as (_, emulator, board, report, _written):
        async with running(board, report, may_end=True):
            await report.until(lambda: len(report.states) == 5)
            await _door(board).unlock(60)
            assert await emulator.coil(2)
        assert not await emulator.coil(2)
        with pytest.raises(NotConnected) as stopped:
            await _door(board).unlock(1)
        assert stopped.value.code == "stopped"


async def test_lock_left_open_is_secured_on_connecting() -> None:
    async with _site() as (_, emulator, board, report, written):
        async with running(board, report, may_end=True) as task:
            await report.until(lambda: len(report.states) == 5)
            await _door(board).unlock(0.3)
            await emulator.__aexit__(None, None, None)
            assert (await _ended(task)).code == "no_answer"
        async with emulator:
            await emulator._server.async_setValues(1, 5, 2, [True])
            async with running(board, report, may_end=True):
                await report.until(lambda: written[-1] == (2, False))


async def test_cancelled_switch_leaves_the_driver_working() -> None:
    async with _site() as (_, emulator, board, report, _written), running(board, report, may_end=True):
        await report.until(lambda: len(report.states) == 5)
        switching = asyncio.create_task(_switch(board, "horn").switch(True))
        await asyncio.sleep(0)
        switching.cancel()
        await asyncio.wait([switching])
        await _switch(board, "horn").switch(True)
        assert await emulator.coil(0)


async def test_exception_answer_is_a_refusal_with_its_name() -> None:
    async with _site() as (_, emulator, board, report, _written), running(board, report, may_end=True):
        await report.until(lambda: len(report.states) == 5)
        emulator.refuse = {5: ExcCodes.DEVICE_BUSY}
        with pytest.raises(Refused, match=r"exception 6 \(device busy\)") as refused:
            await _switch(board, "horn").switch(True)
        assert refused.value.code == "rejected"
        emulator.refuse = {}
        await _switch(board, "horn").switch(True)


async def test_only_the_address_that_the_board_lacks_is_degraded() -> None:
    relays = [{"id": "there", "coil": 15}, {"id": "lacking", "coil": 16}]
    async with (
        _site(relays=relays, inputs=[], registers=[]) as (_, _emulator, board, report, _written),
        running(board, report, may_end=True),
    ):
        await report.until(lambda: len(report.states) == 2)
        assert report.status("there") == "ok works"
        assert report.status("lacking") == "degraded rejected"
        assert report.states["lacking"][2] == "coil 16: exception 2 (illegal address)"


async def test_lock_that_cannot_be_secured_says_so() -> None:
    async with _site() as (_, emulator, board, report, _written), running(board, report, may_end=True):
        await report.until(lambda: len(report.states) == 5)
        await _door(board).unlock(0.1)
        emulator.refuse = {5: ExcCodes.DEVICE_FAILURE}
        await report.until(lambda: report.status("gate") == "degraded rejected")
        emulator.refuse = {}
        await report.until(lambda: report.status("gate") == "ok works")
        assert not await emulator.coil(2)


async def test_silent_board_is_no_answer_and_commands_fail() -> None:
    async with Cable() as cable:
        board = _board(port=cable.a, baudrate=115200)
        async with running(board, Recorder(), may_end=True) as task:
            await asyncio.sleep(0)
            switching = asyncio.create_task(_switch(board, "horn").switch(True))
            error = await _ended(task)
            assert isinstance(error, NotConnected)
            assert (error.code, str(error)) == ("no_answer", f"{cable.a}: unit 1 does not answer")
            with pytest.raises(NotConnected):
                await switching


async def test_cut_line_is_no_answer_and_the_next_run_works() -> None:
    async with _site() as (cable, _, board, report, _written):
        async with running(board, report, may_end=True) as task:
            await report.until(lambda: len(report.states) == 5)
            cable.cut(True)
            assert (await _ended(task)).code == "no_answer"
        cable.cut(False)
        report.states.clear()
        async with running(board, report, may_end=True):
            await report.until(lambda: len(report.states) == 5)


async def test_command_on_a_cut_line_fails_with_what_happened() -> None:
    async with (
        _site(poll_seconds=3600) as (cable, _, board, report, _written),
        running(board, report, may_end=True) as task,
    ):
        await report.until(lambda: len(report.states) == 5)
        cable.cut(True)
        with pytest.raises(NotConnected, match="does not answer"):
            await _door(board).unlock(1)
        await _ended(task)


async def test_unplugged_line_is_noticed_while_waiting_for_an_answer() -> None:
    async with Cable() as cable:
        board = _board(port=cable.a, baudrate=300)
        with SerialLine.open(cable.b, 300) as far:
            async with running(board, Recorder(), may_end=True) as task:
                await far.read()
                far.close()
                cable.unplug()
                assert (await _ended(task, 1.0)).code == "line_closed"


async def test_noise_before_answers_does_no_harm() -> None:
    async with _site() as (cable, _, board, report, _written), running(board, report, may_end=True):
        await report.until(lambda: len(report.states) == 5)
        for _ in range(20):
            cable.inject(os.urandom(7), into=cable.a)
            await _switch(board, "horn").switch(True)


async def test_nothing_but_noise_is_called_noise() -> None:
    async with Cable() as cable:
        board = _board(port=cable.a, baudrate=115200)
        with SerialLine.open(cable.b, 115200) as far:
            async with running(board, Recorder(), may_end=True) as task:
                for _ in range(2):
                    await far.read()
                    await far.write(b"\x00\xff" * 300)
                error = await _ended(task)
                assert (error.code, "600 bytes" in str(error) or "1200 bytes" in str(error)) == ("noise", True)


@pytest.mark.parametrize(
    ("make", "kind", "code"),
    [
        (lambda folder: folder / "absent", NotConnected, "line_missing"),
        (lambda folder: folder, Misconfigured, "misconfigured"),
        (lambda folder: Path("/dev/null"), Misconfigured, "misconfigured"),
    ],
)
async def test_line_that_cannot_be_opened(
    tmp_path: Path, make: Callable[[Path], Path], kind: type[DriverError], code: str
) -> None:
    board = _board(port=str(make(tmp_path)))
    with pytest.raises(kind) as caught:
        await board.run(Recorder())
    assert caught.value.code == code
    with pytest.raises(NotConnected) as refused:
        await _switch(board, "horn").switch(True)
    assert refused.value.code == code


async def test_line_of_another_program_is_not_shared() -> None:
    async with Cable() as cable:
        with SerialLine.open(cable.a, 9600), pytest.raises(NotConnected, match="in use"):
            await _board(port=cable.a).run(Recorder())


async def test_modbus_tcp() -> None:
    port = free_port()
    report = Recorder()
    board = _board(host="127.0.0.1", tcp_port=port)
    async with ModbusBoardEmulator(tcp_port=port) as emulator, running(board, report, may_end=True) as task:
        await report.until(lambda: len(report.states) == 5)
        await _switch(board, "horn").switch(True)
        assert await emulator.coil(0)
        await _door(board).unlock(0.1)
        await report.until(lambda: report.readings[-1] == ("gate", "lock", {"locked": True}))
        await emulator.__aexit__(None, None, None)
        assert (await _ended(task)).code == "unreachable"


async def test_tcp_port_where_nobody_listens() -> None:
    with pytest.raises(NotConnected) as caught:
        await _board(host="127.0.0.1", tcp_port=free_port()).run(Recorder())
    assert caught.value.code == "unreachable"


async def test_tcp_peer_that_speaks_something_else() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(NotConnected, match="no Modbus TCP header") as caught:
            await _board(host="127.0.0.1", tcp_port=port).run(Recorder())
    assert caught.value.code == "noise"
