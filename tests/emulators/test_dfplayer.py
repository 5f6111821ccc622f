"""The emulated MP3 board against the vectors of the data sheet, and against bytes that no driver sends."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.vectors import vectors
from village_drivers.dfplayer.frames import FrameReader, Message
from village_drivers.kit import NotConnected
from village_drivers.serial_line import SerialLine
from village_emulators.dfplayer import DfPlayerEmulator, Played, frame
from village_emulators.line import Cable

ALL = vectors("dfplayer")
ERRATA = yaml.safe_load((Path(__file__).parents[1] / "vectors" / "dfplayer.yaml").read_text())[
    "errata_printed_in_datasheet"
]
STATUS = frame(0x42, 0)


def _name(vector: dict[str, Any]) -> str:
    return f"{vector['name']} {vector['param']}"


def _make(*faults: str) -> DfPlayerEmulator:
    return DfPlayerEmulator("nowhere", faults=frozenset(faults))


@pytest.mark.parametrize("vector", ALL, ids=_name)
def test_vectors_whole_and_byte_by_byte(vector: dict[str, Any]) -> None:
    whole, dripped = _make(), _make()
    answer = whole.hear(vector["frame"], 100)
    assert list(whole.heard) == [(int(str(vector["cmd"]), 16), vector["param"])]
    assert b"".join(dripped.hear(bytes([byte]), 100 + n / 1000) for n, byte in enumerate(vector["frame"])) == answer
    assert FrameReader().feed(answer)[1] == 0


@pytest.mark.parametrize("vector", ERRATA, ids=_name)
def test_misprinted_frames_are_refused_for_their_checksum(vector: dict[str, Any]) -> None:
    assert _make().hear(bytes.fromhex(vector["frame"]), 100) == frame(0x40, 4)


def test_a_frame_without_checksum_is_taken() -> None:
    board = _make()
    board.hear(bytes.fromhex("7E FF 06 0F 00 01 01 EF"), 100)
    assert board.busy


def test_a_track_takes_its_time_is_paused_and_reported() -> None:
    board = _make()
    assert board.hear(frame(0x0F, 0x0101, 1), 100) == frame(0x41, 0)
    assert board.hear(STATUS, 101) == frame(0x42, 0x0201)
    board.hear(frame(0x0E, 0), 102)
    assert board.hear(STATUS, 150) == frame(0x42, 0x0202)
    board.hear(frame(0x0D, 0), 150)
    assert board.hear(b"", 153.9) == b""
    assert board.hear(b"", 154.1) == frame(0x3D, 1)
    assert board.hear(STATUS, 155) == frame(0x42, 0x0200)
    assert list(board.played) == [Played("01", 1, 6.0, 30, True)]


def test_an_interruption_takes_no_second_from_the_track() -> None:
    board = _make()
    assert board.hear(frame(0x13, 1), 99) == frame(0x40, 7)
    board.hear(frame(0x0F, 0x0101), 100)
    board.hear(frame(0x13, 1), 102)
    assert board.hear(frame(0x4C, 0), 103) == frame(0x4C, 7)
    assert board.hear(frame(0x4C, 0), 105.5) == frame(0x3D, 7) + frame(0x4C, 1)
    board.hear(b"", 200)
    assert [(p.folder, p.seconds, p.complete) for p in board.played] == [("advert", 3.0, True), ("01", 6.0, True)]


@given(st.lists(st.tuples(st.binary(max_size=60), st.floats(0, 2)), max_size=20))
def test_whatever_comes(arrivals: list[tuple[bytes, float]]) -> None:
    board, now = _make(), 100.0
    for data, pause in arrivals:
        now += pause
        assert FrameReader().feed(board.hear(data, now))[1] == 0
    while (then := board.next_at()) is not None:
        now = max(now, then)
        board.hear(b"", now)
        if board.next_at() == then:
            pytest.fail("the emulator waits for a time that has passed")
    assert board.hear(STATUS, now + 10) == frame(0x42, 0x0200)


async def test_says_what_is_in_it_and_sees_the_line_close() -> None:
    async with Cable() as cable:
        with SerialLine.open(cable.a, 9600) as line:
            async with asyncio.timeout(5), DfPlayerEmulator(cable.b) as board:
                assert FrameReader().feed(await line.read()) == ([Message(0x3F, 2)], 0)
                cable.unplug()
                with pytest.raises(NotConnected):
                    await board.task


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_as_a_program(number: signal.Signals) -> None:
    async with Cable() as cable, asyncio.timeout(15):
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "village_emulators.dfplayer", cable.b, "--speed", "100",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            assert program.stdout
            assert program.stdin
            assert json.loads(await program.stdout.readline()) == {"event": "ready", "port": cable.b}
            for said, answer in (("dance", b"commands: card out"), ("no-finished", b"no-finished")):
                program.stdin.write(f"{said}\n".encode())
                assert (await program.stdout.readline()).startswith(answer)
            with SerialLine.open(cable.a, 9600) as line:
                await line.write(frame(0x0F, 0x0101))
                played = json.loads(await program.stdout.readline())
            assert (played["folder"], played["number"], played["complete"]) == ("01", 1, True)
            program.send_signal(number)
            assert await program.wait() == 0
        finally:
            if program.returncode is None:
                program.kill()
            await program.communicate()
