"""The emulated cable: what goes in comes out, and a cut or an unplugged cable looks like a real one."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from village_drivers.kit import NotConnected
from village_drivers.serial_line import SerialLine
from village_emulators.line import Cable


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_both_directions_at_once() -> None:
    forth, back = os.urandom(2000), os.urandom(2000)
    async with Cable() as cable:
        with SerialLine.open(cable.a, 9600) as a, SerialLine.open(cable.b, 9600) as b:
            async with asyncio.timeout(2), asyncio.TaskGroup() as group:
                group.create_task(a.write(forth))
                group.create_task(b.write(back))
                at_b = group.create_task(_read(b, len(forth)))
                at_a = group.create_task(_read(a, len(back)))
            assert (at_b.result(), at_a.result()) == (forth, back)


async def test_inject_reaches_only_the_end_it_names() -> None:
    async with Cable() as cable:
        with SerialLine.open(cable.a, 9600) as a, SerialLine.open(cable.b, 9600) as b:
            assert cable.inject(b"to a", into=cable.a) == 4
            assert cable.inject(b"to b", into=cable.b) == 4
            async with asyncio.timeout(2):
                assert await a.read() == b"to a"
                assert await b.read() == b"to b"


async def test_inject_tells_what_a_full_end_takes() -> None:
    taken = 0
    async with Cable() as cable:
        while part := cable.inject(bytes(4096), into=cable.a):
            taken += part
    assert 0 < taken < 1024 * 1024


async def test_cut_loses_bytes_and_mending_does_not_bring_them_back() -> None:
    async with Cable() as cable:
        with SerialLine.open(cable.a, 9600) as a, SerialLine.open(cable.b, 9600) as b:
            cable.cut(True)
            await a.write(b"lost")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await b.read()
            cable.cut(False)
            await a.write(b"found")
            async with asyncio.timeout(2):
                assert await b.read() == b"found"


async def test_ends_may_be_opened_again_and_again() -> None:
    async with Cable() as cable:
        with SerialLine.open(cable.b, 9600) as b:
            for number in range(3):
                with SerialLine.open(cable.a, 9600) as a:
                    await a.write(bytes([number]))
                    async with asyncio.timeout(2):
                        assert await b.read() == bytes([number])


async def test_sender_survives_a_far_end_where_nobody_reads() -> None:
    async with Cable() as cable:
        with SerialLine.open(cable.a, 9600) as a:
            async with asyncio.timeout(5):
                for _ in range(64):
                    await a.write(bytes(4096))


async def test_unplug_closes_both_ends_and_every_file() -> None:
    before = open_files()
    async with Cable() as cable:
        with SerialLine.open(cable.a, 9600) as a, SerialLine.open(cable.b, 9600) as b:
            cable.unplug()
            cable.unplug()
            for line in (a, b):
                with pytest.raises(NotConnected):
                    await line.read()
        assert not Path(cable.a).exists()
    assert open_files() == before


@asynccontextmanager
async def cable_program(a: Path, b: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "village_emulators.line",
        str(a),
        str(b),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield program
    finally:
        if program.returncode is None:
            program.kill()
        await program.communicate()


async def test_as_a_program(tmp_path: Path) -> None:
    near, far = tmp_path / "near", tmp_path / "far"
    near.symlink_to(tmp_path / "left over by a crash")
    async with asyncio.timeout(10), cable_program(near, far) as program:
        assert program.stdout
        assert b"<->" in await program.stdout.readline()
        with SerialLine.open(str(near), 9600) as a, SerialLine.open(str(far), 9600) as b:
            await a.write(b"hello")
            assert await b.read() == b"hello"
            program.send_signal(signal.SIGTERM)
            assert await program.wait() == 0
            with pytest.raises(NotConnected):
                await a.read()
    assert list(tmp_path.iterdir()) == []


async def test_program_leaves_files_alone_that_are_no_links(tmp_path: Path) -> None:
    near, file = tmp_path / "near", tmp_path / "diary"
    file.write_text("dear diary")
    async with asyncio.timeout(10), cable_program(near, file) as program:
        _, complaint = await program.communicate()
        assert program.returncode == 1
        assert str(file) in complaint.decode()
    assert file.read_text() == "dear diary"
    assert list(tmp_path.iterdir()) == [file]


async def _read(line: SerialLine, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        received += await line.read()
    return bytes(received)
