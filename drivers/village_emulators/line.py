"""A serial cable without hardware: two pseudo-terminals joined by a relay.

    python -m village_emulators.line /tmp/agent-end /tmp/device-end

makes two links; open one as the agent's `port` and give the other to an emulator.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import tty
from pathlib import Path
from types import TracebackType
from typing import Self

#: One read of the relay; a serial line is never faster than a pty.
_CHUNK = 4096


class Cable:
    """Two joined pseudo-terminals. `a` and `b` are the paths of their ends; use it as an asynchronous context.

    Each end stays open while the cable lives, so that a program may close and open its end as with a real adapter.
    """

    def __init__(self) -> None:
        self._masters: list[int] = []
        self._slaves: list[int] = []
        self._cut = False
        self.a = self._open()
        self.b = self._open()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        first, second = self._masters
        loop.add_reader(first, self._relay, first, second)
        loop.add_reader(second, self._relay, second, first)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unplug()

    def inject(self, data: bytes, *, into: str) -> int:
        """Put bytes on the wire that nobody sent, to be read at end `into` (`self.a` or `self.b`).

        Returns how many the wire took: fewer than given when nobody reads there, 0 when its buffer is full.
        """
        try:
            return os.write(self._masters[0 if into == self.a else 1], data)
        except BlockingIOError:
            return 0

    def cut(self, cut: bool) -> None:
        """Lose every byte from now on, or no longer: a broken wire. The ends stay open."""
        self._cut = cut

    def unplug(self) -> None:
        """Remove both ends: whoever has one open sees the line close. Doing it twice is harmless."""
        loop = asyncio.get_running_loop()
        for master in self._masters:
            loop.remove_reader(master)
        for handle in self._masters + self._slaves:
            os.close(handle)
        self._masters, self._slaves = [], []

    def _open(self) -> str:
        master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        self._masters.append(master)
        self._slaves.append(slave)
        return os.ttyname(slave)

    def _relay(self, source: int, target: int) -> None:
        try:
            data = os.read(source, _CHUNK)
            if data and not self._cut:
                os.write(target, data)
        except BlockingIOError:
            # Nobody reads at the far end and its buffer is full: a real line loses the bytes too.
            return


async def _serve(a: Path, b: Path) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with Cable() as cable:
        try:
            for link, end in ((a, cable.a), (b, cable.b)):
                if link.is_symlink():
                    link.unlink()
                link.symlink_to(end)
            print(f"{a} <-> {b}", flush=True)
            await stop.wait()
        finally:
            for link, end in ((a, cable.a), (b, cable.b)):
                if link.is_symlink() and str(link.readlink()) == end:
                    link.unlink()


def main() -> None:
    """Join two pseudo-terminals until stopped."""
    parser = argparse.ArgumentParser(
        description="Join two pseudo-terminals like a serial cable. 用两个伪终端模拟一根串口线。"
    )
    parser.add_argument("a", type=Path, help="link to the first end, e.g. /tmp/agent-end")
    parser.add_argument("b", type=Path, help="link to the second end, e.g. /tmp/device-end")
    options = parser.parse_args()
    try:
        asyncio.run(_serve(options.a, options.b))
    except FileExistsError as error:
        parser.exit(
            1, f"{error.filename2} exists and is no link; it is left as it is. 文件已存在且不是链接，未改动。\n"
        )


if __name__ == "__main__":
    main()
