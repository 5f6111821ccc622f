"""One live voice, and its packets as they leave."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from village_collector.live.overlap import Placed, topic_areas
from village_wire.address import SessionError
from village_wire.live import EXPIRY_SECONDS, FRAME_SECONDS, FRAMES_PER_PACKET, Packet, encode_packet, made_ns
from village_wire.outgoing import Publication
from village_wire.topics import LiveTopic

#: A speaker whose bytes come faster than they sound is read no faster than that; so much ahead is the unevenness of a link.
_AHEAD_SECONDS = 0.5


@dataclass(eq=False, slots=True)
class Speech:
    """A voice that this collector carries."""

    id: UUID
    person: str
    title: str
    targets: tuple[Placed, ...]
    key: Ed25519PrivateKey = field(repr=False)
    #: How much was sent.
    seconds: float = 0.0
    #: Why it is to end, "" as long as it may go on.
    cut: str = ""
    cut_off: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self, reason: str) -> None:
        """Let it end soon."""
        self.cut = self.cut or reason
        self.cut_off.set()


class Sender:
    """Makes packets of frames and sends them at the pace at which they sound."""

    def __init__(
        self,
        speech: Speech,
        send: Callable[[Sequence[Publication]], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        """`send` publishes at QoS 0 and raises `SessionError`; `clock` is monotonic."""
        self._speech = speech
        self._topics = [str(LiveTopic(area, speech.id)) for area in topic_areas(speech.targets)]
        self._send = send
        self._clock = clock
        # Another collector may have made the id, by a clock that is ahead.
        self._made = clock() - max(0, time.time_ns() - made_ns(speech.id)) / 1e9
        self._frames: list[bytes] = []
        self._number = 0
        self._begun: float | None = None
        self.packets = self.unsent = 0

    async def add(self, frames: list[bytes]) -> None:
        """Send as many whole packets as there are."""
        self._frames += frames
        if self._begun is None:
            self._begun = self._clock()
        while len(self._frames) >= FRAMES_PER_PACKET:
            part, self._frames = self._frames[:FRAMES_PER_PACKET], self._frames[FRAMES_PER_PACKET:]
            await self._publish(tuple(part))
            ahead = self._speech.seconds - (self._clock() - self._begun)
            if ahead > _AHEAD_SECONDS:
                await asyncio.sleep(ahead - _AHEAD_SECONDS)
            elif ahead < 0:
                # Frames are numbered as they come: after a pause of the link the time starts anew.
                self._begun -= ahead

    async def end(self) -> None:
        """Send what is left, and that it is over."""
        if self._frames:
            await self._publish(tuple(self._frames))
        await self._publish(())

    async def _publish(self, frames: tuple[bytes, ...]) -> None:
        sent = int(1000 * (self._clock() - self._made))
        packet = Packet(self._number, sent, frames, end=not frames)
        self._number += len(frames)
        self._speech.seconds = self._number * FRAME_SECONDS
        payload = encode_packet(packet, self._speech.id, self._speech.key)
        self.packets += 1
        try:
            await self._send([Publication(topic, payload, qos=0, expiry=EXPIRY_SECONDS) for topic in self._topics])
        except SessionError:
            # The voice goes on when the broker is there again; agents that hear nothing for too long end it by themselves.
            self.unsent += 1
