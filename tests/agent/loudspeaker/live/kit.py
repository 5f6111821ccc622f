"""A speaker: real Opus frames in signed packets."""

from __future__ import annotations

import base64
import subprocess
from functools import cache
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.peers import peer
from village_agent.loudspeaker.live.voices import LiveVoice, Voices
from village_collector.live.ogg import OpusReader
from village_wire.broadcasts import Voice
from village_wire.incoming import Received
from village_wire.live import FRAMES_PER_PACKET, Packet, encode_packet, made_ns
from village_wire.topics import LiveTopic

STREAM = UUID("0199f9f4-0000-7000-8000-000000000001")
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
TOPIC = str(LiveTopic("330110101205", STREAM))
VOICE = Voice(stream=STREAM, key=base64.b64encode(KEY.public_key().public_bytes_raw()).decode())


class Clock:
    """A monotonic clock and a dated one that go together."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.ahead = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now_ns(self) -> int:
        return made_ns(STREAM) + int((self.seconds - 1000 + self.ahead) * 1e9)


@cache
def tone(seconds: float = 2.0) -> tuple[bytes, ...]:
    """Frames of 440 Hz as the real encoder makes them."""
    command = [
        str(peer("ffmpeg")), "-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}",
        "-ac", "1", "-ar", "48000", "-c:a", "libopus", "-b:a", "24k", "-frame_duration", "20", "-application", "voip",
        "-f", "ogg", "-",
    ]  # fmt: skip
    return tuple(OpusReader().feed(subprocess.run(command, capture_output=True, check=True).stdout))


def packets(frames: tuple[bytes, ...]) -> list[Packet]:
    """As the collector sends them."""
    return [Packet(n, n * 20 + 60, frames[n : n + FRAMES_PER_PACKET]) for n in range(0, len(frames), FRAMES_PER_PACKET)]


def message(packet: Packet, *, key: Ed25519PrivateKey = KEY, stream: UUID = STREAM, retained: bool = False) -> Received:
    """As the broker gives it."""
    return Received(TOPIC, encode_packet(packet, stream, key), retained)


def expecting(clock: Clock) -> tuple[Voices, LiveVoice]:
    """An agent that was told of the voice."""
    voices = Voices(clock.now_ns, clock.monotonic)
    return voices, voices.open(VOICE)
