"""Lines that are cut, noisy, taken or not there, and Modbus TCP."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.drivers.modbus.kit import door_of, make_board, site, switch_of
from tests.drivers.recorder import Recorder, ended, running
from tests.peers import free_port
from village_drivers.kit import DriverError, Misconfigured, NotConnected
from village_drivers.serial_line import SerialLine
from village_emulators.line import Cable
from village_emulators.modbus_board import ModbusBoardEmulator


async def test_silent_board_is_no_answer_and_commands_fail() -> None:
    async with Cable() as cable:
        board = make_board(port=cable.a, baudrate=115200)
        async with running(board, Recorder(), may_end=True) as task:
            await asyncio.sleep(0)
            switching = asyncio.create_task(switch_of(board, "horn").switch(True))
            error = await ended(task)
            assert isinstance(error, NotConnected)
            assert (error.code, str(error)) == ("no_answer", f"{cable.a}: unit 1 does not answer")
            with pytest.raises(NotConnected):
                await switching


async def test_cut_line_is_no_answer_and_the_next_run_works() -> None:
    async with site() as (cable, _, board, report, _written):
        async with running(board, report, may_end=True) as task:
            await report.until(lambda: len(report.states) == 5)
            cable.cut(True)
            assert (await ended(task)).code == "no_answer"
        cable.cut(False)
        report.states.clear()
        async with running(board, report, may_end=True):
            await report.until(lambda: len(report.states) == 5)


async def test_command_on_a_cut_line_fails_with_what_happened() -> None:
    async with (
        site(poll_seconds=3600) as (cable, _, board, report, _written),
        running(board, report, may_end=True) as task,
    ):
        await report.until(lambda: len(report.states) == 5)
        cable.cut(True)
        with pytest.raises(NotConnected, match="does not answer"):
            await door_of(board).unlock(1)
        await ended(task)


async def test_unplugged_line_is_noticed_while_waiting_for_an_answer() -> None:
    async with Cable() as cable:
        board = make_board(port=cable.a, baudrate=300)
        with SerialLine.open(cable.b, 300) as far:
            async with running(board, Recorder(), may_end=True) as task:
                await far.read()
                far.close()
                cable.unplug()
                assert (await ended(task, 1.0)).code == "line_closed"


async def test_noise_before_answers_does_no_harm() -> None:
    async with site() as (cable, _, board, report, _written), running(board, report, may_end=True):
        await report.until(lambda: len(report.states) == 5)
        for _ in range(20):
            cable.inject(os.urandom(7), into=cable.a)
            await switch_of(board, "horn").switch(True)


async def test_nothing_but_noise_is_called_noise() -> None:
    async with Cable() as cable:
        board = make_board(port=cable.a, baudrate=115200)
        with SerialLine.open(cable.b, 115200) as far:
            async with running(board, Recorder(), may_end=True) as task:
                for _ in range(2):
                    await far.read()
                    await far.write(b"\x00\xff" * 300)
                error = await ended(task)
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
    board = make_board(port=str(make(tmp_path)))
    with pytest.raises(kind) as caught:
        await board.run(Recorder())
    assert caught.value.code == code
    with pytest.raises(NotConnected) as refused:
        await switch_of(board, "horn").switch(True)
    assert refused.value.code == code


async def test_line_of_another_program_is_not_shared() -> None:
    async with Cable() as cable:
        with SerialLine.open(cable.a, 9600), pytest.raises(NotConnected, match="in use"):
            await make_board(port=cable.a).run(Recorder())


async def test_modbus_tcp() -> None:
    port = free_port()
    report = Recorder()
    board = make_board(host="127.0.0.1", tcp_port=port)
    async with ModbusBoardEmulator(tcp_port=port) as emulator, running(board, report, may_end=True) as task:
        await report.until(lambda: len(report.states) == 5)
        await switch_of(board, "horn").switch(True)
        assert await emulator.coil(0)
        await door_of(board).unlock(0.1)
        await report.until(lambda: report.readings[-1] == ("gate", "lock", {"locked": True}))
        await emulator.__aexit__(None, None, None)
        assert (await ended(task)).code == "unreachable"


async def test_tcp_port_where_nobody_listens() -> None:
    with pytest.raises(NotConnected) as caught:
        await make_board(host="127.0.0.1", tcp_port=free_port()).run(Recorder())
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
            await make_board(host="127.0.0.1", tcp_port=port).run(Recorder())
    assert caught.value.code == "noise"
