"""Relays, locks and meters of a board."""

from __future__ import annotations

import asyncio

import pytest
from pymodbus.constants import ExcCodes

from tests.drivers.modbus.kit import door_of, make_board, meter_of, site, switch_of
from tests.drivers.recorder import ended, running
from village_drivers.kit import NotConnected, Refused
from village_emulators.modbus_board import AmplifierCurrent


@pytest.mark.parametrize("table", ["holding", "input"])
async def test_a_register_is_measured_between_two_rounds(table: str) -> None:
    level = {"id": "level", "register": 4, "table": table, "scale": 0.01, "signed": True}
    async with (
        site(registers=[level], poll_seconds=3600) as (_, emulator, board, report, _written),
        running(board, report, may_end=True),
    ):
        await report.until(lambda: len(report.states) == 5)
        await emulator.set_register(4, 82)
        assert await meter_of(board).measure() == pytest.approx(0.82)
        await emulator.set_register(4, 0xFFFF)
        assert await meter_of(board).measure() == pytest.approx(-0.01)
        emulator.refuse[3] = emulator.refuse[4] = ExcCodes.DEVICE_BUSY
        with pytest.raises(Refused, match="exception 6"):
            await meter_of(board).measure()
        emulator.refuse.clear()
        # A measurement that nobody waits for any more is not made, and a relay is switched among many.
        many = [asyncio.create_task(meter_of(board).measure()) for _ in range(5)]
        await asyncio.sleep(0)
        many[0].cancel()
        await switch_of(board, "horn").switch(True)
        await asyncio.gather(*many[1:])


async def test_the_emulated_amplifier_draws_what_relay_sound_and_fuse_make_it() -> None:
    level = {"id": "level", "register": 4, "scale": 0.01}
    async with site(registers=[level], poll_seconds=3600) as (_, emulator, board, report, _written):
        emulator.current = AmplifierCurrent(4, 0)
        async with running(board, report, may_end=True):
            await report.until(lambda: len(report.states) == 5)
            seen = [await meter_of(board).measure()]
            await switch_of(board, "horn").switch(True)
            for line in ("sounds off", "sounds on", "power off"):
                await emulator.obey(line)
                seen.append(await meter_of(board).measure())
            assert seen == pytest.approx([0, 0.05, 0.82, 0])


async def test_a_meter_that_is_away_says_so() -> None:
    board = make_board(port="/dev/null")
    with pytest.raises(NotConnected, match="not connected yet"):
        await meter_of(board).measure()


async def test_switch_is_confirmed_and_reported() -> None:
    async with site() as (_, emulator, board, report, written), running(board, report, may_end=True):
        await report.until(lambda: len(report.states) == 5)
        await switch_of(board, "horn").switch(True)
        assert await emulator.coil(0)
        assert ("horn", "switch", {"on": True}) in report.readings
        await switch_of(board, "lamp").switch(False)
        assert await emulator.coil(1), "a normally closed relay is off while its coil is on"
        assert written == [(2, False), (0, True), (1, True)]


async def test_lock_opens_and_secures_itself() -> None:
    async with site() as (_, emulator, board, report, written), running(board, report, may_end=True):
        await report.until(lambda: len(report.states) == 5)
        written.clear()
        await door_of(board).unlock(0.2)
        assert await emulator.coil(2)
        await report.until(lambda: report.readings[-1] == ("gate", "lock", {"locked": True}))
        assert written == [(2, True), (2, False)]


async def test_second_unlock_prolongs_the_first() -> None:
    async with site() as (_, _emulator, board, report, written), running(board, report, may_end=True):
        await report.until(lambda: len(report.states) == 5)
        written.clear()
        await door_of(board).unlock(0.1)
        await door_of(board).unlock(0.5)
        await door_of(board).unlock(0.1)
        start = asyncio.get_running_loop().time()
        await report.until(lambda: report.readings[-1] == ("gate", "lock", {"locked": True}))
        assert asyncio.get_running_loop().time() - start > 0.3
        assert written.count((2, False)) == 1


async def test_lock_is_secured_when_the_driver_is_stopped() -> None:
    async with site() as (_, emulator, board, report, _written):
        async with running(board, report, may_end=True):
            await report.until(lambda: len(report.states) == 5)
            await door_of(board).unlock(60)
            assert await emulator.coil(2)
        assert not await emulator.coil(2)
        with pytest.raises(NotConnected) as stopped:
            await door_of(board).unlock(1)
        assert stopped.value.code == "stopped"


async def test_lock_left_open_is_secured_on_connecting() -> None:
    async with site() as (_, emulator, board, report, written):
        async with running(board, report, may_end=True) as task:
            await report.until(lambda: len(report.states) == 5)
            await door_of(board).unlock(0.3)
            await emulator.__aexit__(None, None, None)
            assert (await ended(task)).code == "no_answer"
        async with emulator:
            await emulator._server.async_setValues(1, 5, 2, [True])
            async with running(board, report, may_end=True):
                await report.until(lambda: written[-1] == (2, False))


async def test_cancelled_switch_leaves_the_driver_working() -> None:
    async with site() as (_, emulator, board, report, _written), running(board, report, may_end=True):
        await report.until(lambda: len(report.states) == 5)
        switching = asyncio.create_task(switch_of(board, "horn").switch(True))
        await asyncio.sleep(0)
        switching.cancel()
        await asyncio.wait([switching])
        await switch_of(board, "horn").switch(True)
        assert await emulator.coil(0)


async def test_lock_that_cannot_be_secured_says_so() -> None:
    async with site() as (_, emulator, board, report, _written), running(board, report, may_end=True):
        await report.until(lambda: len(report.states) == 5)
        await door_of(board).unlock(0.1)
        emulator.refuse = {5: ExcCodes.DEVICE_FAILURE}
        await report.until(lambda: report.status("gate") == "degraded rejected")
        emulator.refuse = {}
        await report.until(lambda: report.status("gate") == "ok works")
        assert not await emulator.coil(2)
