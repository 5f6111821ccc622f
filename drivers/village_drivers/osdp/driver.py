"""Driver of OSDP door readers on one RS-485 line. Each reader is a device: `Door` through its output, `Indicator` through LED and buzzer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import ClassVar

from village_drivers.kit import Device, DriverConfig, Report, Services
from village_drivers.osdp.bus import Bus
from village_drivers.osdp.config import BusConfig
from village_drivers.osdp.reader import Reader
from village_drivers.osdp.session import Session
from village_drivers.serial_line import SerialLine


class OsdpBus:
    """One line with its readers. A reader is never re-keyed, and with `secure` never spoken to with the default key."""

    Config: ClassVar[type[DriverConfig]] = BusConfig

    def __init__(self, config: BusConfig, _services: Services) -> None:
        self._config = config
        self._readers = [Reader(reader) for reader in config.readers]

    def devices(self) -> Mapping[str, Device]:
        """The readers, of kind `door_reader`; their firmware is known once they have been online."""
        return {
            reader.config.id: Device(
                "door_reader", reader, reader.config.name, str(reader.identity) if reader.identity else ""
            )
            for reader in self._readers
        }

    async def run(self, report: Report) -> None:
        """See `Driver.run`. Raises `NotConnected` when the line is gone; a reader that is gone is reported as its state."""
        # Key files may lie on a card or a mounted disk.
        keys = await asyncio.to_thread(lambda: [reader.config.load_key() for reader in self._readers])
        with SerialLine.open(self._config.port, self._config.baudrate) as line:
            bus = Bus(line, self._config.baudrate, self._readers)
            try:
                for reader, key in zip(self._readers, keys, strict=True):
                    reader.start(report, Session(reader.config.address, key, time.monotonic()), bus.wake)
                await bus.serve()
            finally:
                for reader in self._readers:
                    reader.stop()
