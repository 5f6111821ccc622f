"""One emulated OSDP reader: libosdp in the role of the peripheral device, without a line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, cast

import osdp_sys  # type: ignore[import-not-found]

from village_drivers.osdp.channel import Channel

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

#: What a reader was told to do, or what became of its session; `event` names it.
Told = dict[str, Any]


class _PeripheralDevice(Protocol):
    """`osdp_sys.PeripheralDevice` as used here."""

    def refresh(self) -> None: ...
    def is_online(self) -> bool: ...
    def is_sc_active(self) -> bool: ...
    def submit_event(self, event: Mapping[str, Any]) -> bool: ...
    def set_command_callback(self, callback: Callable[[Mapping[str, Any]], tuple[int, object]]) -> None: ...


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
        self.channel = Channel()
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
