"""One loudspeaker that listens to a live voice: what `LivePlayer.play_live` reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from village_agent.loudspeaker.live.jitter import Turn
from village_agent.loudspeaker.live.opus import Decoder, InvalidFrame, blend
from village_agent.loudspeaker.live.voices import LiveVoice
from village_wire.live import FRAME_SAMPLES, FRAME_SECONDS

_SILENCE = bytes(2 * FRAME_SAMPLES)


class Coder(Protocol):
    """What is needed of a `Decoder`."""

    def set_gain(self, factor: float) -> None:
        """Make all that follows louder or softer."""

    def decode(self, frame: bytes) -> bytes:
        """Return the sound of a frame; raises `InvalidFrame`."""

    def conceal(self) -> bytes:
        """Return something in place of a frame that is missing."""

    def close(self) -> None:
        """Free what it holds."""


class Listening:
    """A `LiveSource`, and the evidence of what it gave. `close` it."""

    def __init__(self, voice: LiveVoice, clock: Callable[[], float], decoder: Callable[[], Coder] = Decoder) -> None:
        """Raises `Misconfigured` where libopus is missing."""
        self._decoder = decoder()
        self._voice = voice
        self._clock = clock
        self._buffer = voice.listen()
        self._concealed = 0
        #: Seconds of sound that were given before the voice's first frame; None until then.
        self.before: float | None = None
        self._given = 0.0
        self._broken = ""
        self._latest_lag = 0.0

    @property
    def heard_seconds(self) -> float:
        """How much of the voice was given out."""
        return self._buffer.heard * FRAME_SECONDS

    @property
    def given_seconds(self) -> float:
        """How much was given out, silence included."""
        return self._given

    @property
    def since_told(self) -> float:
        """Seconds since the voice was announced here."""
        return self._clock() - self._voice.opened

    @property
    def problem(self) -> str:
        """Why the voice did not end by itself, "" if it did."""
        return self._broken

    @property
    def evidence(self) -> str:
        """What was heard, in words."""
        buffer = self._buffer
        parts = [f"{self.heard_seconds:.2f} s of live voice", f"{self._voice.received} packets"]
        for count, what in (
            (buffer.lost, "lost"),
            (buffer.skipped, "skipped to catch up"),
            (self._concealed, "filled in"),
        ):
            if count:
                parts.append(f"{count * FRAME_SECONDS:.2f} s {what}")
        for count, what in ((self._voice.forged, "forged"), (self._voice.stale, "held back")):
            if count:
                parts.append(f"{count} packets {what}")
        parts.append(f"{self._latest_lag:.2f} s behind the fastest packet")
        if self._broken:
            parts.append(self._broken)
        return ", ".join(parts)

    def read(self, gain: float) -> bytes:
        """Return the next 20 ms; see `abilities.LiveSource`."""
        now = self._clock()
        silent = self._voice.silent(now)
        if silent and not self._broken:
            self._broken = silent
            self._buffer.cut()
        turn = self._buffer.take(now)
        if turn.kind == "end":
            return b""
        self._decoder.set_gain(gain)
        sound = self._sound(turn)
        if self.before is None and turn.frames:
            self.before = self._given
        if turn.frames:
            self._latest_lag = self._buffer.lag(now)
        self._given += FRAME_SECONDS
        return sound

    def close(self) -> None:
        """Listen no more."""
        self._voice.leave(self._buffer)
        self._decoder.close()

    def _sound(self, turn: Turn) -> bytes:
        if turn.kind == "before":
            return _SILENCE
        if not turn.frames:
            self._concealed += 1
            return self._decoder.conceal()
        try:
            sounds = [self._decoder.decode(frame) for frame in turn.frames]
        except InvalidFrame:
            # The collector signs what the speaker sent; it looks at frames, but does not decode them.
            self._concealed += 1
            return self._decoder.conceal()
        return sounds[0] if len(sounds) == 1 else blend(sounds[0], sounds[1])
