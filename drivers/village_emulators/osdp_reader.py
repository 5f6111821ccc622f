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
from typing import Any, Final, Protocol, Self, cast

import osdp_sys  # type: ignore[import-not-found]

from village_drivers.kit import DriverError
from village_drivers.serial_line import SerialLine
from village_emulators import console

#: libosdp wants to be called at least every 50 ms, to give up half a frame.
_REFRESH_SECONDS = 0.04
_QUIET = 0
_KEYS = {"*": 0x7F, "#": 0x0D}
_COLOURS: Mapping[int, str] = {
    osdp_sys.LED_COLOR_NONE: "off",
    osdp_sys.LED_COLOR_RED: "red",
    osdp_sys.LED_COLOR_GREEN: "green",
    osdp_sys.LED_COLOR_AMBER: "amber",
    osdp_sys.LED_COLOR_BLUE: "blue",
}
#: What each reader can do: capability, level, number.
_CAPABILITIES = [
    {"function_code": code, "compliance_level": level, "num_items": items}
    for code, level, items in (
        (osdp_sys.CAP_OUTPUT_CONTROL, 1, 2),
        (osdp_sys.CAP_CARD_DATA_FORMAT, 1, 0),
        (osdp_sys.CAP_READER_LED_CONTROL, 1, 1),
        (osdp_sys.CAP_READER_AUDIBLE_OUTPUT, 1, 1),
        (osdp_sys.CAP_COMMUNICATION_SECURITY, 1, 1),
    )
]


def _local_status(tamper: bool, power_fault: bool) -> dict[str, Any]:
    # The binding of libosdp 3.2.9 takes no report for a status command, so that every answer would say "all well". The bytes are
    # laid where it looks for them (`report` begins four bytes after the manufacturer's data) by another command's translation.
    data = bytes(4) + bytes([tamper, power_fault])
    return {"command": osdp_sys.CMD_MFG, "vendor_code": 0, "data": data}


#: Answers to a status command. They live as long as the program, because libosdp releases one reference too many.
_STATUS: Final = {(tamper, power): _local_status(tamper, power) for tamper in (False, True) for power in (False, True)}

Told = dict[str, Any]


class _PeripheralDevice(Protocol):
    """`osdp_sys.PeripheralDevice` as used here."""

    def refresh(self) -> None: ...
    def is_online(self) -> bool: ...
    def is_sc_active(self) -> bool: ...
    def submit_event(self, event: Mapping[str, Any]) -> bool: ...
    def set_command_callback(self, callback: Callable[[Mapping[str, Any]], tuple[int, object]]) -> None: ...


class _Channel:
    """One reader's ear and mouth on the shared line."""

    id = 1

    def __init__(self) -> None:
        self.incoming = b""
        self.outgoing = b""

    def read(self, limit: int) -> bytes:
        data, self.incoming = self.incoming[:limit], self.incoming[limit:]
        return data

    def write(self, data: bytes) -> int:
        self.outgoing += data
        return len(data)

    def flush(self) -> None:
        self.incoming = b""


class EmulatedReader:
    """One reader. `told` gets what the panel tells it; the methods are what people do at the door."""

    def __init__(
        self, address: int, key: bytes | None, told: Callable[[Told], None], *, enforce_secure: bool = True
    ) -> None:
        self.address = address
        #: The secure channel base key, None in install mode; a change takes effect with `online`.
        self.key = key
        self._told = told
        self._enforce = enforce_secure
        self._tamper = self._power_fault = False
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._secure: bool | None = None
        self.channel = _Channel()
        self._device: _PeripheralDevice | None = None
        self.online()

    def card(self, bits: int, data: bytes) -> None:
        """Hold a card to the reader: `bits` significant bits, left-aligned in `data`."""
        self._submit(
            event=osdp_sys.EVENT_CARDREAD,
            reader_no=0,
            format=osdp_sys.CARD_FMT_RAW_WIEGAND,
            direction=0,
            length=bits,
            data=data,
        )

    def keys(self, digits: str) -> None:
        """Type digits, * or #."""
        data = bytes(_KEYS.get(digit, ord(digit)) for digit in digits)
        self._submit(event=osdp_sys.EVENT_KEYPRESS, reader_no=0, data=data)

    def tamper(self, on: bool) -> None:
        """Open or close the housing."""
        self._tamper = on
        self._submit_status()

    def power(self, on: bool) -> None:
        """Begin or end a power fault."""
        self._power_fault = on
        self._submit_status()

    def offline(self) -> None:
        """Take the power away: the reader forgets its session and what it had to tell."""
        self._device = None
        self._tell_online(None)

    def online(self) -> None:
        """Give the power back."""
        osdp_sys.set_loglevel(_QUIET)
        settings = {
            "name": f"reader {self.address}",
            "address": self.address,
            "flags": osdp_sys.FLAG_ENFORCE_SECURE if self._enforce and self.key else 0,
            "scbk": self.key,
            "channel": self.channel,
            "version": 1,
            "model": 1,
            "vendor_code": 0x00CAFE01,
            "serial_number": 0x01020304 + self.address,
            "firmware_version": 0x0B0C0D,
        }
        self.channel.incoming = self.channel.outgoing = b""
        device = cast("_PeripheralDevice", osdp_sys.PeripheralDevice(settings, capabilities=_CAPABILITIES))
        device.set_command_callback(self._on_command)
        self._device = device

    def hear(self, data: bytes) -> bytes:
        """Take bytes of the line, none to let time pass; return what the reader answers."""
        if self._device is None:
            return b""
        self.channel.incoming += data
        while True:
            before = len(self.channel.incoming)
            self._device.refresh()
            if not self.channel.incoming or len(self.channel.incoming) == before:
                break
        self._tell_online(self._device.is_sc_active() if self._device.is_online() else None)
        answer, self.channel.outgoing = self.channel.outgoing, b""
        return answer

    def close(self) -> None:
        """End all timers."""
        self._device = None
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _submit(self, **event: object) -> None:
        if self._device is not None:
            self._device.submit_event(event)

    def _submit_status(self) -> None:
        report = bytes([self._tamper, self._power_fault])
        self._submit(event=osdp_sys.EVENT_STATUS, type=osdp_sys.STATUS_REPORT_LOCAL, report=report)

    def _tell_online(self, secure: bool | None) -> None:
        if secure != self._secure:
            self._secure = secure
            self._told(
                {"event": "session", "reader": self.address, "online": secure is not None, "secure": bool(secure)}
            )

    def _on_command(self, command: Mapping[str, Any]) -> tuple[int, object]:
        kind = command["command"]
        answer: object = None
        if kind == osdp_sys.CMD_STATUS:
            answer = _STATUS[self._tamper, self._power_fault]
        elif kind == osdp_sys.CMD_OUTPUT:
            self._switch(command["output_no"], command["control_code"], command["timer_count"] / 10)
        elif kind == osdp_sys.CMD_LED:
            colour = _COLOURS.get(command["on_color"], "other")
            self._told(
                {
                    "event": "led",
                    "reader": self.address,
                    "colour": colour,
                    "seconds": command.get("timer_count", 0) / 10,
                }
            )
        elif kind == osdp_sys.CMD_BUZZER:
            period = command["on_count"] + command["off_count"]
            self._told({"event": "buzzer", "reader": self.address, "seconds": command["rep_count"] * period / 10})
        elif kind == osdp_sys.CMD_KEYSET:
            self._told({"event": "key", "reader": self.address})
        # A new tuple each time: libosdp does not release it but one reference to what it holds.
        return (0, answer)

    def _switch(self, output: int, code: int, seconds: float) -> None:
        timer = self._timers.pop(output, None)
        if timer is not None:
            timer.cancel()
        on = code in {2, 4, 5}
        temporary = code in {5, 6}
        self._tell_output(output, on, seconds if temporary else 0.0)
        if temporary:
            later = asyncio.get_running_loop().call_later
            self._timers[output] = later(seconds, self._tell_output, output, not on, 0.0)

    def _tell_output(self, output: int, on: bool, seconds: float) -> None:
        self._told({"event": "output", "reader": self.address, "output": output, "on": on, "seconds": seconds})


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
