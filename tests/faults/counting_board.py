"""A relay board whose input register 0 counts: each reading of it gets the next number, so that a lost or doubled reading shows.

Standard output tells, with the time, every number that was given (`counted`) and every coil that was written.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import time
from typing import TYPE_CHECKING

from village_emulators.modbus_board import ModbusBoardEmulator

if TYPE_CHECKING:
    from pymodbus.constants import ExcCodes

_READ_INPUT_REGISTERS = 4
#: Registers have 16 bits.
_WRAP = 0x10000


class CountingBoard(ModbusBoardEmulator):
    """See the module."""

    _count = 0

    async def _access(
        self,
        function: int,
        _start: int,
        address: int,
        _count: int,
        _registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        if function == _READ_INPUT_REGISTERS and values is None and address == 0:
            self._count = (self._count + 1) % _WRAP
            _registers[0] = self._count
            _tell({"counted": self._count})
        return await super()._access(function, _start, address, _count, _registers, values)


def _tell(report: dict[str, object]) -> None:
    print(json.dumps(report | {"time": time.time()}), flush=True)


async def _serve(port: str, relays: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    written = lambda coil, on: _tell({"coil": coil, "on": on})  # noqa: E731
    async with CountingBoard(path=port, relays=relays, written=written):
        await stop.wait()


def main() -> None:
    """Run the board until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port")
    parser.add_argument("--relays", type=int, default=8)
    options = parser.parse_args()
    logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)
    asyncio.run(_serve(options.port, options.relays))


if __name__ == "__main__":
    main()
