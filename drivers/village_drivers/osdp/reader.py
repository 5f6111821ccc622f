"""One OSDP reader as a device: its abilities, its condition, and what it reports."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from village_drivers.abilities import Colour
from village_drivers.kit import CardRead, KeysPressed, NotConnected, Refused, Report
from village_drivers.osdp import commands
from village_drivers.osdp.commands import Command
from village_drivers.osdp.config import ReaderConfig
from village_drivers.osdp.frames import Frame
from village_drivers.osdp.panel import Card, Identity, Keys, LocalStatus, Outcome, PanelEvent
from village_drivers.osdp.session import Session
from village_wire.events import Alarm
from village_wire.points import Value
from village_wire.states import Status

#: Long enough for one repetition of a lost frame; a lock that opens later than this surprises the people at the door.
COMMAND_SECONDS = 2.0
#: Readers report tamper and power by themselves; the question is for those that do not.
STATUS_SECONDS = 30.0
#: Between readings that have not changed.
READING_SECONDS = 300.0
#: A release longer than one timer is renewed this long before the timer ends.
_RENEW_SECONDS = 5.0

_KEYS = {**{code: chr(code) for code in b"0123456789*#"}, 0x7F: "*", 0x0D: "#"}


class Reader:
    """A door reader. Abilities: `Door`, `Indicator`. The rest serves `Bus`."""

    def __init__(self, config: ReaderConfig) -> None:
        self.config = config
        self.identity: Identity | None = None
        self._session: Session | None = None
        self._report: Report | None = None
        self._wake: Callable[[], None] = _nothing
        self._lock = asyncio.Lock()
        self._local: LocalStatus | None = None
        self._answers_status = True
        self._status_due = 0.0
        self._release_until = 0.0
        self._renew_at: float | None = None
        self._stated: tuple[Status, str] | None = None
        self._read: dict[str, Value] = {}
        self._read_at = -math.inf

    async def unlock(self, seconds: float) -> None:
        """Release the lock; see `Door.unlock`. The reader holds the timer, so that the lock is secured even if the agent ends.

        A time over 25.5 s is renewed in parts: should the agent or the line end in between, the lock is secured earlier.
        """
        if not 0 < seconds < math.inf:
            raise Refused("rejected", f"a lock can't be released for {seconds} s")
        panel = self._usable().panel
        outputs = panel.items(commands.OUTPUTS)
        if self.config.output >= outputs:
            raise Refused("rejected", f"the reader has {outputs} outputs and none with the number {self.config.output}")
        self._renew_at = None
        tenths = math.ceil(seconds * 10)
        await self._command(commands.release(self.config.output, tenths))
        if tenths > commands.MAX_TENTHS:
            now = time.monotonic()
            self._release_until = now + seconds
            self._renew_at = now + commands.MAX_TENTHS / 10 - _RENEW_SECONDS

    async def indicate(self, colour: Colour, buzzer: bool, seconds: float) -> None:
        """Show a light and sound the buzzer, for 25.5 s at most; see `Indicator.indicate`. What the reader lacks is left out."""
        panel = self._usable().panel
        tenths = max(1, math.ceil(min(seconds, commands.MAX_TENTHS / 10) * 10))
        wanted = [commands.light(colour, tenths)] if panel.items(commands.LEDS) else []
        if buzzer and panel.items(commands.BUZZERS):
            wanted.append(commands.sound(tenths))
        if not wanted:
            raise Refused("rejected", "the reader has neither a light nor a buzzer that can be switched")
        for command in wanted:
            await self._command(command)

    def start(self, report: Report, session: Session, wake: Callable[[], None]) -> None:
        """Begin to work; `wake` tells the bus that the reader wants a turn at once."""
        self._report, self._session, self._wake = report, session, wake
        self._stated = None
        self._read_at = -math.inf
        self._status_due = 0.0

    def stop(self) -> None:
        """End the session; commands under way raise `NotConnected`."""
        session, self._session, self._report = self._session, None, None
        self._renew_at = None
        if session is not None:
            session.panel.close()

    @property
    def due(self) -> float:
        """When the reader wants its next turn."""
        return math.inf if self._session is None else self._session.due

    def transmit(self, now: float) -> bytes:
        """The reader's turn: return the frame to send, or nothing."""
        session = self._session
        if session is None:
            return b""
        if session.established(now):
            self._queue_own(session, now)
        else:
            self._status_due = 0.0
            self._renew_at = None
        return session.transmit(now)

    def answered(self, frame: Frame, now: float) -> None:
        """Take the answer to the last frame and report what it tells."""
        if self._session is not None and self._report is not None:
            for event in self._session.answered(frame, now):
                self._tell(event, self._report)

    def unanswered(self, now: float) -> None:
        """There was no answer to the last frame."""
        if self._session is not None:
            self._session.unanswered(now)

    def publish(self, now: float, noise: str) -> None:
        """Report condition and reading where they changed. `noise` is the evidence of a disturbed line, or empty."""
        session, report = self._session, self._report
        if session is None or report is None:
            return
        established = session.established(now)
        if established:
            identity = session.panel.identity()
            if identity != self.identity:
                self.identity = identity
                report.devices_changed()
        condition = self._condition(session, now, noise)
        if condition is not None and condition != self._stated:
            self._stated = condition
            report.state(self.config.id, *condition, self._evidence(session, condition[1], now, noise))
        if self._stated is None:
            return
        reading: dict[str, Value] = {"online": established, "secure": established and session.panel.secure}
        if self._local is not None:
            reading |= {"tamper": self._local.tamper, "power_fault": self._local.power_fault}
        if reading != self._read or now - self._read_at >= READING_SECONDS:
            self._read, self._read_at = reading, now
            report.reading(self.config.id, "reader", reading)

    def _queue_own(self, session: Session, now: float) -> None:
        if self._answers_status and now >= self._status_due:
            self._status_due = now + STATUS_SECONDS
            session.panel.submit(commands.LOCAL_STATUS, self._on_status)
        if self._renew_at is not None and now >= self._renew_at:
            rest = math.ceil((self._release_until - now) * 10)
            self._renew_at = now + commands.MAX_TENTHS / 10 - _RENEW_SECONDS if rest > commands.MAX_TENTHS else None
            session.panel.submit(commands.release(self.config.output, rest), _ignore)

    def _on_status(self, outcome: Outcome) -> None:
        if outcome == "refused":
            # libosdp ends the session at every NAK; a reader that knows no such question must not be asked again.
            self._answers_status = False

    def _tell(self, event: PanelEvent, report: Report) -> None:
        device = self.config.id
        if isinstance(event, Card):
            if event.bits:
                report.event(device, CardRead(event.bits, event.data))
        elif isinstance(event, Keys):
            digits = "".join(_KEYS.get(code, "") for code in event.data)
            if digits:
                report.event(device, KeysPressed(digits))
        else:
            before = self._local or LocalStatus(tamper=False, power_fault=False)
            self._local = event
            if event.tamper != before.tamper:
                report.event(device, Alarm(code="tamper", active=event.tamper))
            if event.power_fault != before.power_fault:
                report.event(device, Alarm(code="power_fault", active=event.power_fault))

    def _condition(self, session: Session, now: float, noise: str) -> tuple[Status, str] | None:
        """Return status and code, or None while it is not known yet whether a change lasts."""
        if session.established(now):
            if self._local is not None and self._local.tamper:
                return "degraded", "tamper"
            if self._local is not None and self._local.power_fault:
                return "degraded", "power_fault"
            return ("degraded", "noise") if noise else ("ok", "works")
        if session.silent(now):
            return "down", "no_answer"
        if session.failure is not None:
            return "down", session.failure.code
        return ("down", "noise") if session.unsettled(now) else None

    def _evidence(self, session: Session, code: str, now: float, noise: str) -> str:
        place = f"address {self.config.address}"
        if code == "no_answer":
            if session.answered_at is None:
                return f"{place}: never answered"
            return f"{place}: last answer {now - session.answered_at:.0f} s ago"
        if session.established(now):
            channel = "secure channel" if session.panel.secure else "plaintext"
            reasons = {"tamper": "the reader reports tampering; ", "power_fault": "the reader reports a power fault; "}
            return f"{reasons.get(code, '')}{noise + '; ' if code == 'noise' else ''}{place}, {channel}, firmware {self.identity}"
        if session.failure is not None:
            return f"{place}: {session.failure.evidence}"
        return f"{place}: answers, but no session comes about; {noise or 'frames are lost'}"

    def _usable(self) -> Session:
        session, now = self._session, time.monotonic()
        if session is None:
            raise NotConnected("no_answer", f"{self.config.id}: the line is not open")
        if not session.established(now):
            code = session.failure.code if session.failure is not None and not session.silent(now) else "no_answer"
            raise NotConnected(code, f"{self.config.id}: the reader is not online")
        return session

    async def _command(self, command: Command) -> None:
        """Have the reader execute a command now or never; raises as `Door.unlock`."""
        try:
            async with asyncio.timeout(COMMAND_SECONDS), self._lock:
                outcome = await self._execute(command)
        except TimeoutError:
            raise NotConnected("no_answer", f"{self.config.id}: no answer within {COMMAND_SECONDS:.0f} s") from None
        if outcome == "refused":
            raise Refused("rejected", f"{self.config.id}: the reader answered NAK")
        if outcome == "dropped":
            raise NotConnected("no_answer", f"{self.config.id}: the reader went offline")

    async def _execute(self, command: Command) -> Outcome:
        session = self._usable()
        ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        if not session.panel.submit(command, lambda outcome: None if ended.done() else ended.set_result(outcome)):
            return "dropped"
        session.due = -math.inf
        self._wake()
        outcome: Outcome | None = None
        try:
            outcome = await ended
            return outcome
        finally:
            if outcome is None and session is self._session:
                # libosdp would go on repeating the command for nine seconds.
                session.restart(time.monotonic())


def _nothing() -> None:
    """Wake nobody."""


def _ignore(outcome: Outcome) -> None:
    """Renewals have nobody who waits for them."""
