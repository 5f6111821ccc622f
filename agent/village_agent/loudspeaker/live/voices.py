"""Live voices that this agent was told of: packets are taken from the broker, judged, and passed to the loudspeakers that listen."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from village_agent.loudspeaker.live.jitter import JitterBuffer
from village_wire.broadcasts import Voice
from village_wire.incoming import Received
from village_wire.live import MAX_DELAY_SECONDS, SILENCE_SECONDS, InvalidPacket, Packet, decode_packet, made_ns
from village_wire.signed import decode_public_key
from village_wire.topics import InvalidTopic, LiveTopic, parse_topic

_log = logging.getLogger(__name__)

#: An agent is told of one voice at a time; more are those that higher classes have interrupted.
MAX_VOICES = 8
#: The speaker waits for chime and amplifier before the first word.
FIRST_SECONDS = 20.0


@dataclass(slots=True)
class LiveVoice:
    """One voice. Counts packets: `received`, `forged` (not signed with its key, or malformed) and `stale` (held back)."""

    id: UUID
    key: Ed25519PublicKey
    made_ns: int
    opened: float
    received: int = 0
    forged: int = 0
    stale: int = 0
    #: Monotonic time of the latest packet that counts.
    latest: float | None = None
    end: int | None = None
    _buffers: list[JitterBuffer] = field(default_factory=list)

    def listen(self) -> JitterBuffer:
        """Return a buffer that gets what is said from now on; give it back to `leave`."""
        buffer = JitterBuffer()
        if self.end is not None:
            buffer.end(0)
        self._buffers.append(buffer)
        return buffer

    def leave(self, buffer: JitterBuffer) -> None:
        """Listen no more."""
        self._buffers = [one for one in self._buffers if one is not buffer]

    def silent(self, now: float) -> str:
        """Why nothing more is to be expected, "" while something is."""
        if self.latest is None:
            return f"no voice came within {FIRST_SECONDS:g} s" if now - self.opened > FIRST_SECONDS else ""
        broken = self.end is None and now - self.latest > SILENCE_SECONDS
        return f"it broke off: nothing came for {SILENCE_SECONDS:g} s" if broken else ""

    def put(self, packet: Packet, now: float) -> None:
        """Take a packet of the speaker."""
        self.received += 1
        self.latest = now
        if packet.end:
            self.end = packet.number if self.end is None else min(self.end, packet.number)
        for buffer in self._buffers:
            if packet.end:
                buffer.end(packet.number)
            else:
                buffer.put(packet.number, packet.frames, now)


class Voices:
    """All voices, by their stream. Lives in the event loop; no method blocks."""

    def __init__(self, now_ns: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        """`now_ns` is the time by which commands are judged, in nanoseconds since 1970."""
        self._now_ns = now_ns
        self.clock = clock
        self._voices: dict[UUID, LiveVoice] = {}

    def open(self, voice: Voice) -> LiveVoice:
        """Expect a voice that a verified command announced; one that is expected already is returned.

        Raises:
            ValueError: its key is none, or `MAX_VOICES` are expected already.
        """
        known = self._voices.get(voice.stream)
        if known is not None:
            return known
        if len(self._voices) >= MAX_VOICES:
            raise ValueError(f"{MAX_VOICES} live voices are expected already")
        key = decode_public_key(voice.key)
        opened = LiveVoice(voice.stream, key, made_ns(voice.stream), self.clock())
        self._voices[voice.stream] = opened
        return opened

    def close(self, stream: UUID) -> None:
        """Expect a voice no more."""
        self._voices.pop(stream, None)

    def on_message(self, message: Received) -> bool:
        """Take a message; answers whether it came on a topic of live voice. Neither blocks nor raises."""
        if "/live/" not in message.topic:
            return False
        try:
            topic = parse_topic(message.topic)
        except InvalidTopic:
            return False
        if not isinstance(topic, LiveTopic):
            return False
        voice = self._voices.get(topic.stream)
        if voice is not None and not message.retained:
            self._take(voice, message.payload)
        return True

    def _take(self, voice: LiveVoice, payload: bytes) -> None:
        try:
            packet = decode_packet(payload, voice.id, voice.key)
        except InvalidPacket as error:
            voice.forged += 1
            if voice.forged == 1:
                _log.warning("a packet of the live voice %s is ignored: %s; more are counted", voice.id, error)
            return
        delay = (self._now_ns() - voice.made_ns) / 1e9 - packet.sent / 1000
        if delay > MAX_DELAY_SECONDS:
            voice.stale += 1
            if voice.stale == 1:
                _log.warning("the live voice %s comes %.0f s after it was spoken and is not heard", voice.id, delay)
            return
        voice.put(packet, self.clock())
