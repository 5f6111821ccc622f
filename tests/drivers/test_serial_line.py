"""The serial line against real devices, files and errors of the operating system."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from village_drivers.kit import DriverError, Misconfigured, NotConnected
from village_drivers.serial_line import MAX_READ, SerialLine
from village_emulators.line import Cable


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def refused(path: str, baudrate: int = 9600) -> tuple[type[DriverError], str]:
    """Try to open a path; return how that failed, and check that no file is left open."""
    before = open_files()
    with pytest.raises(DriverError) as caught:
        SerialLine.open(path, baudrate)
    assert path in str(caught.value)
    assert open_files() == before
    return type(caught.value), caught.value.code


def test_missing_device(tmp_path: Path) -> None:
    assert refused(str(tmp_path / "ttyUSB7")) == (NotConnected, "line_missing")


def test_path_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert refused(str(tmp_path / "file" / "tty")) == (NotConnected, "line_missing")


def test_dangling_link(tmp_path: Path) -> None:
    (tmp_path / "tty").symlink_to(tmp_path / "gone")
    assert refused(str(tmp_path / "tty")) == (NotConnected, "line_missing")


def test_folder(tmp_path: Path) -> None:
    assert refused(str(tmp_path)) == (Misconfigured, "misconfigured")


def test_plain_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert refused(str(tmp_path / "file")) == (Misconfigured, "misconfigured")


def test_device_that_is_no_line() -> None:
    assert refused("/dev/null") == (Misconfigured, "misconfigured")


def test_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert refused(str(tmp_path / "pipe")) == (Misconfigured, "misconfigured")


def test_path_with_a_null_byte() -> None:
    assert refused("/dev/tty\0S0") == (Misconfigured, "misconfigured")


@contextlib.contextmanager
def common_user() -> Iterator[None]:
    """Give up root's rights for a moment."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


async def test_no_permission() -> None:
    async with Cable() as cable:
        Path(cable.a).chmod(0)
        with common_user():
            assert refused(cable.a) == (Misconfigured, "no_permission")


@pytest.mark.parametrize("baudrate", [-1, 2**40])
async def test_impossible_baud_rate(baudrate: int) -> None:
    async with Cable() as cable:
        assert refused(cable.a, baudrate) == (Misconfigured, "misconfigured")


async def test_in_use_by_another_program() -> None:
    async with Cable() as cable:
        with SerialLine.open(cable.a, 9600):
            assert refused(cable.a) == (NotConnected, "line_busy")
        with SerialLine.open(cable.a, 9600):
            pass


async def test_far_end_gone_before_opening() -> None:
    async with Cable() as cable:
        path = cable.a
    assert refused(path)[0] is NotConnected


async def test_bytes_arrive_unchanged() -> None:
    every = bytes(range(256)) * 4
    async with Cable() as cable:
        with SerialLine.open(cable.a, 9600) as near, SerialLine.open(cable.b, 9600) as far:
            await near.write(every)
            assert await _read(far, len(every)) == every
            await far.write(every)
            assert await _read(near, len(every)) == every


async def test_opening_forgets_old_input() -> None:
    async with Cable() as cable:
        cable.inject(b"old", into=cable.a)
        with SerialLine.open(cable.a, 9600) as line:
            assert line.read_now() == b""


async def test_idle_line_is_not_a_closed_line() -> None:
    async with Cable() as cable:
        with SerialLine.open(cable.a, 9600) as line:
            assert line.read_now() == b""
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await line.read()
            cable.inject(b"x", into=cable.a)
            async with asyncio.timeout(2):
                assert await line.read() == b"x"


async def test_cancelled_read_loses_nothing() -> None:
    async with Cable() as cable:
        with SerialLine.open(cable.a, 9600) as line:
            for number in range(50):
                reading = asyncio.create_task(line.read())
                await asyncio.sleep(0)
                cable.inject(bytes([number]), into=cable.a)
                reading.cancel()
                got = b""
                with contextlib.suppress(asyncio.CancelledError):
                    got = await reading
                async with asyncio.timeout(2):
                    got = got or await line.read()
                assert got == bytes([number])


async def test_read_takes_no_more_than_asked() -> None:
    async with Cable() as cable:
        with SerialLine.open(cable.a, 9600) as line:
            cable.inject(b"abc", into=cable.a)
            async with asyncio.timeout(2):
                assert await line.read(2) == b"ab"
                assert await line.read(2) == b"c"


async def test_write_waits_for_a_slow_reader() -> None:
    """64 KiB do not fit into the kernel's buffer; the writer waits and the loop goes on."""
    master, slave = os.openpty()
    try:
        os.set_blocking(master, False)
        with SerialLine.open(os.ttyname(slave), 9600) as line:
            data = os.urandom(64 * 1024)
            async with asyncio.timeout(10), asyncio.TaskGroup() as group:
                writing = group.create_task(line.write(data))
                await asyncio.sleep(0)
                assert not writing.done()
                received = bytearray()
                while len(received) < len(data):
                    with contextlib.suppress(BlockingIOError):
                        received += os.read(master, 8192)
                    await asyncio.sleep(0)
            assert received == data
    finally:
        os.close(master)
        os.close(slave)


async def test_full_line_takes_nothing_now() -> None:
    master, slave = os.openpty()
    try:
        with SerialLine.open(os.ttyname(slave), 9600) as line:
            taken = 0
            while (written := line.write_now(bytes(4096))) and taken < 1024 * 1024:
                taken += written
            assert taken < 1024 * 1024
    finally:
        os.close(master)
        os.close(slave)


async def test_discard_input() -> None:
    async with Cable() as cable:
        with SerialLine.open(cable.a, 9600) as line:
            cable.inject(b"noise" * 100, into=cable.a)
            async with asyncio.timeout(2):
                assert await line.read(1) == b"n"
            line.discard_input()
            assert line.read_now() == b""


async def test_burst_is_read_in_bounded_parts() -> None:
    burst = os.urandom(64 * 1024)
    async with Cable() as cable:
        with SerialLine.open(cable.a, 9600) as line:
            rest, received = memoryview(burst), bytearray()
            async with asyncio.timeout(5):
                while len(received) < len(burst):
                    rest = rest[cable.inject(bytes(rest), into=cable.a) :]
                    part = await line.read()
                    assert len(part) <= MAX_READ
                    received += part
            assert received == burst


@pytest.mark.parametrize(
    "use",
    [
        lambda line: line.read(),
        lambda line: line.write(b"x"),
        lambda line: asyncio.to_thread(line.read_now),
        lambda line: asyncio.to_thread(line.write_now, b"x"),
        lambda line: asyncio.to_thread(line.discard_input),
    ],
    ids=["read", "write", "read_now", "write_now", "discard_input"],
)
async def test_unplugged(use: Callable[[SerialLine], asyncio.Future[object]]) -> None:
    async with Cable() as cable:
        with SerialLine.open(cable.a, 9600) as line:
            cable.unplug()
            with pytest.raises(NotConnected) as caught:
                await use(line)
    assert caught.value.code == "line_closed"


async def test_unplugged_while_reading() -> None:
    async with Cable() as cable:
        with SerialLine.open(cable.a, 9600) as line:
            reading = asyncio.create_task(line.read())
            await asyncio.sleep(0)
            cable.unplug()
            with pytest.raises(NotConnected):
                async with asyncio.timeout(2):
                    await reading


async def test_unplugged_while_writing() -> None:
    master, slave = os.openpty()
    with SerialLine.open(os.ttyname(slave), 9600) as line:
        os.close(slave)
        writing = asyncio.create_task(line.write(bytes(1024 * 1024)))
        await asyncio.sleep(0)
        os.close(master)
        with pytest.raises(NotConnected):
            async with asyncio.timeout(2):
                await writing


async def test_close_ends_a_waiting_read() -> None:
    before = open_files()
    async with Cable() as cable:
        line = SerialLine.open(cable.a, 9600)
        reading = asyncio.create_task(line.read())
        await asyncio.sleep(0)
        line.close()
        line.close()
        with pytest.raises(NotConnected):
            async with asyncio.timeout(2):
                await reading
    assert open_files() == before


async def test_closed_line_never_touches_the_next_file() -> None:
    """The system gives the number of a closed file to the next one that is opened."""
    async with Cable() as cable:
        line = SerialLine.open(cable.a, 9600)
        line.close()
        source, target = os.pipe()
        try:
            os.write(target, b"of somebody else")
            with pytest.raises(NotConnected):
                line.read_now()
            with pytest.raises(NotConnected):
                line.write_now(b"x")
            with pytest.raises(NotConnected):
                await line.read()
            assert os.read(source, 100) == b"of somebody else"
        finally:
            os.close(source)
            os.close(target)


async def _read(line: SerialLine, size: int) -> bytes:
    received = bytearray()
    async with asyncio.timeout(2):
        while len(received) < size:
            received += await line.read()
    return bytes(received)
