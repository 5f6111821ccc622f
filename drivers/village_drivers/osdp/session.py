"""The course of one reader's session: when it is its turn on the line, whether it answers, and why it does not work."""

from __future__ import annotations

from dataclasses import dataclass

from village_drivers.osdp import frames
from village_drivers.osdp.frames import Frame
from village_drivers.osdp.panel import Panel, PanelEvent

#: libosdp polls a reader 50 ms after its last answer.
POLL_SECONDS = 0.051
#: libosdp repeats an unanswered frame 0.8 s after it gave up waiting.
RETRY_SECONDS = 0.81
#: Three frames without an answer; also the pause between attempts at a reader that is away or refuses, each of which
#: holds the line for 0.2 s.
SILENT_SECONDS = PROBE_SECONDS = 3.0
#: Without an answer and without a repetition for so long, libosdp has put the reader aside.
_ASIDE_SECONDS = 1.3
#: Nothing to send for so long while it is the reader's turn: libosdp is stuck, see `panel.py` on its clock.
_STUCK_SECONDS = 1.5
_SOON = 0.005

#: NAK reasons (IEC 60839-11-5, table of error codes).
_NAK_SECURITY_UNSUPPORTED, _NAK_SECURITY_NEEDED = 5, 6


@dataclass(frozen=True, slots=True)
class Failure:
    """Why no session comes about; `code` as in `village_wire.states.ADVICE`."""

    code: str
    evidence: str


class Session:
    """One reader's turns. All times are monotonic seconds."""

    def __init__(self, address: int, key: bytes | None, now: float) -> None:
        self.address = address
        self.panel = Panel(address, key)
        self.panel.open()
        #: When the reader wants its next turn.
        self.due = now
        #: When the reader last answered; None if never.
        self.answered_at: float | None = None
        self.failure: Failure | None = None
        self._started = now
        #: When a session last worked or, if later, the reader began to answer again.
        self._hopeful_since = now
        self._key_given = key is not None
        self._established = False
        self._sent = 0
        self._sent_at = now
        self._reply: Frame | None = None
        self._idle_since: float | None = None

    def established(self, now: float) -> bool:
        """The reader has answered within this session, and lately."""
        return self._established and self.panel.online and not self.silent(now)

    def silent(self, now: float) -> bool:
        """The reader has not answered for `SILENT_SECONDS`."""
        return now - (self.answered_at if self.answered_at is not None else self._started) > SILENT_SECONDS

    def unsettled(self, now: float) -> bool:
        """The reader has answered for `SILENT_SECONDS` without a working session."""
        return now - self._hopeful_since > SILENT_SECONDS

    def restart(self, now: float) -> None:
        """Drop the session with all commands in it and begin a new one."""
        self.panel.open()
        self._established = False
        self._idle_since = None
        self.due = now

    def transmit(self, now: float) -> bytes:
        """Return the frame for this turn, or nothing; sets when the next turn is due."""
        frame = self.panel.transmit()
        if not frame and not self.panel.online:
            frame = self._recover(now)
        if frame:
            self._sent, self._sent_at = frames.command_code(frame), now
            self._idle_since = None
        elif self.due <= now:
            self.due = now + _SOON
            if self._idle_since is None:
                self._idle_since = now
            elif now - self._idle_since > _STUCK_SECONDS:
                self.restart(now)
        return frame

    def answered(self, frame: Frame, now: float) -> list[PanelEvent]:
        """Take the reader's answer; return what it tells."""
        if self.silent(now):
            self._hopeful_since = now
        self.answered_at = now
        self._reply = frame
        before = self.panel.online
        events = self.panel.receive(frame)
        if self.panel.online:
            self.due = now + POLL_SECONDS
            if before:
                self._established = True
                self._hopeful_since = now
                self.failure = None
        else:
            self.due = now
        return events

    def unanswered(self, now: float) -> None:
        """The reader did not answer in time."""
        self._reply = None
        self.panel.receive(None)
        self.due = now + (PROBE_SECONDS if self.silent(now) else RETRY_SECONDS)

    def _recover(self, now: float) -> bytes:
        """Act on silence of libosdp itself: it has put the reader aside, or waits to repeat a frame."""
        if self._reply is None:
            if now - self._sent_at < _ASIDE_SECONDS:
                return b""
        elif not self._established:
            self.failure = self._explain(self._reply) or self.failure
            self._reply = None
            # The reader answers, so that the next attempt would fail in the same way.
            self._sent_at = now
            self._idle_since = None
            self.due = now + PROBE_SECONDS
            return b""
        self._established = False
        self.panel.begin_again()
        return self.panel.transmit()

    def _explain(self, reply: Frame) -> Failure | None:
        reason = "" if reply.nak_reason is None else f" (NAK {reply.nak_reason})"
        if self._sent == frames.CHALLENGE:
            if reply.nak:
                return Failure("rejected", f"the reader refuses a secure channel{reason}")
            return Failure("wrong_key", "the reader holds another key: its cryptogram does not match")
        if self._sent == frames.SERVER_CRYPTOGRAM:
            return Failure("wrong_key", f"the reader holds another key: it refuses the cryptogram{reason}")
        if self._sent == frames.CAPABILITIES and not reply.nak:
            return Failure("rejected", "the reader offers no secure channel")
        if reply.nak_reason in {_NAK_SECURITY_UNSUPPORTED, _NAK_SECURITY_NEEDED} and not self._key_given:
            return Failure("wrong_key", f"the reader demands a secure channel and no key is configured{reason}")
        if reply.nak:
            return Failure("rejected", f"the reader refuses command {self._sent:02x}{reason}")
        return None
