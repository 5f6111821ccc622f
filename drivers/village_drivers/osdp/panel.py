"""libosdp in control panel role for one reader. With `commands.py` the only module that knows libosdp.

Each reader has a control panel of its own and `bus.py` gives them the line in turn, because of what libosdp 3.2.9 does with
several readers in one: a silent reader is retried nine times in nine seconds and then left alone for 300 s, as is one with
another key, and a command that waits for its answer can't be withdrawn. A panel of one reader can be thrown away with all
that it holds, and no other reader loses its session.

libosdp measures time by the wall clock; when that is set back it has nothing to say until the old time comes again.
"""

from __future__ import annotations

import ctypes
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

import osdp_sys  # type: ignore[import-not-found]

from village_drivers.osdp.channel import Channel
from village_drivers.osdp.commands import Command
from village_drivers.osdp.frames import Frame

#: How a command ended: acknowledged, answered by NAK, or not answered and withdrawn.
Outcome = Literal["done", "refused", "dropped"]

_COMPLETION_OK, _COMPLETION_FAILED = 0, 1
#: `set_loglevel` names the lowest level that exists: what is left are lines about a fault in libosdp itself, on standard error.
_QUIET = 0
_libc = ctypes.CDLL(None)


class _ControlPanel(Protocol):
    """`osdp_sys.ControlPanel` with one reader, as used here."""

    def refresh(self) -> None: ...
    def status(self) -> int: ...
    def sc_status(self) -> int: ...
    def submit_command(self, reader: int, command: Command) -> bool: ...
    def flush_commands(self, reader: int) -> int: ...
    def get_pd_id(self, reader: int) -> dict[str, int]: ...
    def check_capability(self, reader: int, capability: int) -> tuple[int, int]: ...
    def disable_pd(self, reader: int) -> bool: ...
    def enable_pd(self, reader: int) -> bool: ...
    def is_pd_enabled(self, reader: int) -> bool: ...
    def set_event_callback(self, callback: Callable[[int, dict[str, Any]], int]) -> None: ...
    def set_command_completion_callback(self, callback: Callable[[int, object, int], None]) -> None: ...


@dataclass(frozen=True, slots=True)
class Card:
    """A card that was read."""

    bits: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys as the reader sends them: ASCII digits, 7F for *, 0D for #."""

    data: bytes


@dataclass(frozen=True, slots=True)
class LocalStatus:
    """The reader's own tamper and power status."""

    tamper: bool
    power_fault: bool


PanelEvent = Card | Keys | LocalStatus


@dataclass(frozen=True, slots=True)
class Identity:
    """What the reader says of itself."""

    vendor: int
    model: int
    version: int
    serial: int
    firmware: int

    def __str__(self) -> str:
        parts = ".".join(str(self.firmware >> shift & 0xFF) for shift in (16, 8, 0))
        return f"{parts} (vendor {self.vendor:06x}, model {self.model}.{self.version}, serial {self.serial:08x})"


class Panel:
    """The session with one reader. Not tied to a line: `transmit` gives the next frame, `receive` takes its answer."""

    def __init__(self, address: int, key: bytes | None) -> None:
        self._settings = {
            "address": address,
            # libosdp re-keys a reader by itself unless the secure channel is enforced.
            "flags": (osdp_sys.FLAG_ENFORCE_SECURE if key else 0) | osdp_sys.FLAG_IGN_UNSOLICITED,
            "scbk": key,
        }
        # One for all control panels that follow each other: libosdp never releases it.
        self._channel = Channel()
        self._events: list[PanelEvent] = []
        self._waiting: deque[Callable[[Outcome], None]] = deque()
        self._expecting = False
        self._refused = False
        self._control: _ControlPanel | None = None

    @property
    def online(self) -> bool:
        """The reader has answered all that a session needs. Stays so for seconds after it has fallen silent."""
        return self._control is not None and bool(self._control.status() & 1)

    @property
    def secure(self) -> bool:
        """A secure channel is open."""
        return self._control is not None and bool(self._control.sc_status() & 1)

    def identity(self) -> Identity:
        """What the reader said of itself; zeros before it is online."""
        said = self._opened().get_pd_id(0)
        serial = said["serial_number"] & 0xFFFFFFFF
        return Identity(
            said["vendor_code"] & 0xFFFFFF, said["model"], said["version"], serial, said["firmware_version"]
        )

    def items(self, capability: int) -> int:
        """How many of something the reader has; 0 before it is online."""
        level, items = self._opened().check_capability(0, capability)
        return items if level else 0

    def open(self) -> _ControlPanel:
        """Begin a session from the start; commands of an older one are dropped."""
        self.close()
        osdp_sys.set_loglevel(_QUIET)
        control = cast(
            "_ControlPanel", osdp_sys.ControlPanel([{**self._settings, "name": "reader", "channel": self._channel}])
        )
        control.set_event_callback(self._on_event)
        control.set_command_completion_callback(self._on_completion)
        self._control = control
        return control

    def close(self) -> None:
        """End the session; commands that have no answer yet are dropped and will never be sent. Doing it twice is harmless."""
        # libosdp's object and its callbacks refer to each other and no collector sees it: only this assignment frees them.
        self._control = None
        self._channel.outgoing = self._channel.incoming = b""
        self._expecting = False
        while self._waiting:
            self._waiting.popleft()("dropped")

    def submit(self, command: Command, ended: Callable[[Outcome], None]) -> bool:
        """Queue a command for the next `transmit`; `ended` is called once. False, and no call, unless the reader is online."""
        if not self._opened().submit_command(0, command):
            return False
        self._waiting.append(ended)
        return True

    def transmit(self) -> bytes:
        """Return the next frame for the reader, or nothing if there is none."""
        control = self._opened()
        self._channel.incoming = b""
        if not control.is_pd_enabled(0):
            control.enable_pd(0)
        # The first call decides on a command, the second builds its frame.
        for _ in range(2):
            self._refresh(control)
            if self._channel.outgoing:
                break
        frame, self._channel.outgoing = self._channel.outgoing, b""
        self._expecting = bool(frame)
        return frame

    def receive(self, frame: Frame | None) -> list[PanelEvent]:
        """Take the answer to the frame that `transmit` gave, or None when there is none in time; return what the reader tells."""
        control = self._control
        if control is None or not self._expecting:
            return []
        self._expecting = False
        self._refused = frame is not None and frame.nak
        self._channel.incoming = frame.raw if frame is not None else b""
        self._refresh(control)
        if not self.online:
            # Left in the queue they would be sent when the reader is back, perhaps hours later.
            control.flush_commands(0)
        events, self._events = self._events, []
        return events

    def begin_again(self) -> None:
        """Ask the reader for its identity anew, instead of after the 300 s that libosdp waits."""
        control = self._opened()
        control.disable_pd(0)
        self._refresh(control)
        if not control.is_pd_enabled(0):
            control.enable_pd(0)
            self._refresh(control)

    def _opened(self) -> _ControlPanel:
        return self._control if self._control is not None else self.open()

    def _refresh(self, control: _ControlPanel) -> None:
        if not control.sc_status() & 1:
            # libosdp takes its challenge from rand() and never seeds it: after each start the same challenges would follow, and a
            # recorded session could be played back to the panel.
            _libc.srand(int.from_bytes(os.urandom(4), "little"))
        control.refresh()

    def _on_event(self, _reader: int, event: dict[str, Any]) -> int:
        kind = event["event"]
        if kind == osdp_sys.EVENT_CARDREAD:
            self._events.append(Card(event.get("length", 8 * len(event["data"])), event["data"]))
        elif kind == osdp_sys.EVENT_KEYPRESS:
            self._events.append(Keys(event["data"]))
        elif kind == osdp_sys.EVENT_STATUS and event["type"] == osdp_sys.STATUS_REPORT_LOCAL:
            report = event["report"]
            self._events.append(LocalStatus(bool(report[0]), bool(report[1])))
        # libosdp never releases the dictionary; emptied it costs 64 bytes.
        event.clear()
        return 0

    def _on_completion(self, _reader: int, _command: object, status: int) -> None:
        if self._waiting:
            refused = status == _COMPLETION_FAILED and self._refused
            outcome: Outcome = "done" if status == _COMPLETION_OK else "refused" if refused else "dropped"
            self._waiting.popleft()(outcome)
