"""OSDP door readers without hardware: libosdp in the role of one or several readers on one line.

    python -m village_emulators.osdp_reader /dev/pts/5 --address 1 --address 2 --scbk 000102030405060708090a0b0c0d0e0f

Standard input takes one command a line; READER is an address:

    card READER BITS HEX      keys READER 1234#      tamper READER on|off      power READER on|off
    offline READER            online READER

Standard output tells as JSON lines what the readers were told to do.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from village_drivers.kit import DriverError
from village_drivers.serial_line import SerialLine
from village_emulators import console
from village_emulators.osdp_device import EmulatedReader, Told

#: libosdp wants to be called at least every 50 ms, to give up half a frame.
_REFRESH_SECONDS = 0.04


class OsdpReaders:
    """Readers on one line, as an asynchronous context. `told` holds everything that they were told, oldest first."""

    def __init__(
        self,
        port: str,
        addresses: Sequence[int],
        key: bytes | None,
        *,
        baudrate: int = 9600,
        enforce_secure: bool = True,
        tell: Callable[[Told], None] | None = None,
    ) -> None:
        self.told: list[Told] = []
        self.changed = asyncio.Event()
        self._tell = tell
        self._port, self._baudrate = port, baudrate
        self.readers = {
            address: EmulatedReader(address, key, self._on_told, enforce_secure=enforce_secure) for address in addresses
        }
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.serve(), name=f"OSDP readers on {self._port}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError, DriverError):
                await self._task

    async def serve(self) -> None:
        """Answer until cancelled; raises `NotConnected` when the line is gone."""
        with SerialLine.open(self._port, self._baudrate) as line:
            # What the panel sent while nobody was here was never heard.
            line.discard_input()
            try:
                while True:
                    data = b""
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_REFRESH_SECONDS):
                            data = await line.read()
                    for reader in self.readers.values():
                        answer = reader.hear(data)
                        if answer:
                            await line.write(answer)
            finally:
                for reader in self.readers.values():
                    reader.close()

    async def until(self, wanted: Callable[[Told], bool], seconds: float = 10) -> Told:
        """Wait until something was told for which `wanted` holds, and return it."""
        async with asyncio.timeout(seconds):
            while True:
                for told in self.told:
                    if wanted(told):
                        return told
                self.changed.clear()
                await self.changed.wait()

    def _on_told(self, told: Told) -> None:
        self.told.append(told)
        self.changed.set()
        if self._tell is not None:
            self._tell(told)


def obey(readers: Mapping[int, EmulatedReader], line: str) -> None:
    """Do what one line of standard input says; raise `ValueError` if it says nothing that can be done."""
    match line.split():
        case ["card", address, bits, data]:
            readers[_number(address, readers)].card(int(bits), bytes.fromhex(data))
        case ["keys", address, digits] if set(digits) <= set("0123456789*#"):
            readers[_number(address, readers)].keys(digits)
        case [("tamper" | "power") as what, address, ("on" | "off") as on]:
            reader = readers[_number(address, readers)]
            (reader.tamper if what == "tamper" else reader.power)(on == "on")
        case ["offline", address]:
            readers[_number(address, readers)].offline()
        case ["online", address]:
            readers[_number(address, readers)].online()
        case _:
            raise ValueError(f"unknown command: {line[:80]!r}")


def _number(address: str, readers: Mapping[int, EmulatedReader]) -> int:
    if not address.isdecimal() or int(address) not in readers:
        raise ValueError(f"no reader has the address {address[:20]!r}")
    return int(address)


def _print(told: Told) -> None:
    print(json.dumps(told), flush=True)


async def _serve(options: argparse.Namespace) -> None:
    key = None if options.install_mode else options.scbk
    bus = OsdpReaders(options.port, options.address or [1], key, baudrate=options.baudrate, tell=_print)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(bus.serve(), name="readers"),
            group.create_task(_obey_input(bus), name="standard input"),
        ]
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, lambda: [task.cancel() for task in tasks])


async def _obey_input(bus: OsdpReaders) -> None:
    async for line in console.lines():
        try:
            obey(bus.readers, line)
        except ValueError as error:
            _print({"event": "error", "text": str(error)})


def main() -> None:
    """Run readers until stopped."""
    parser = argparse.ArgumentParser(description="Emulated OSDP door readers. 模拟 OSDP 门禁读卡器。")
    parser.add_argument("port", help="serial device or end of an emulated line")
    parser.add_argument(
        "--address", type=int, action="append", help="address of a reader; repeat it for several; default 1"
    )
    keys = parser.add_mutually_exclusive_group(required=True)
    keys.add_argument("--scbk", type=bytes.fromhex, help="secure channel key, 32 hexadecimal digits")
    keys.add_argument("--install-mode", action="store_true", help="without a key of its own, as delivered")
    parser.add_argument("--baudrate", type=int, default=9600)
    options = parser.parse_args()
    try:
        asyncio.run(_serve(options))
    except ExceptionGroup as errors:
        if isinstance(errors.exceptions[0], DriverError):
            raise SystemExit(str(errors.exceptions[0])) from None
        raise


if __name__ == "__main__":
    main()
