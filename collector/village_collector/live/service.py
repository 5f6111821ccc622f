"""Live voices: one speaker for each place, whose words are signed, sent to the agents and recorded.

The signing key of a voice is made for it, lives in memory only, and is gone with it. What can't be recorded is not sent.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from village_collector.broadcasts.service import BroadcastService
from village_collector.live.ogg import BadStream, OpusReader
from village_collector.live.overlap import Placed, overlap, topic_areas
from village_collector.live.recording import Recorder, Recording
from village_collector.ports import StoreUnavailable
from village_collector.stores.control import ControlStore
from village_wire.broadcasts import CLASSES, MAX_LIVE_SECONDS, Category, Class, Voice
from village_wire.commands import Broadcast
from village_wire.live import (
    EXPIRY_SECONDS,
    FRAME_SECONDS,
    FRAMES_PER_PACKET,
    SILENCE_SECONDS,
    Packet,
    encode_packet,
)
from village_wire.session import Publication, SessionError
from village_wire.topics import LiveTopic

_log = logging.getLogger(__name__)

#: The speaker waits so long before the first word: for the command on its way, the amplifier, and the chime.
READY_SECONDS, CHIME_SECONDS = 2.5, 2.0
#: Nobody who announced a voice and does not speak keeps others from speaking for longer.
FIRST_SECONDS = 20.0
#: At a time, in all areas together: each costs a packet for every area 17 times a second.
MAX_SPEAKERS = 16
#: A speaker whose bytes come faster than they sound is read no faster than that; so much ahead is the unevenness of a link.
_AHEAD_SECONDS = 0.5
_FORGET_SECONDS = 3600.0


class Taken(Exception):
    """Somebody speaks there; the text says who."""


class TooManySpeakers(Exception):
    """`MAX_SPEAKERS` speak already."""


class NotAnnounced(Exception):
    """No voice is expected under this id from this person, or it has begun already."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a speaker wants."""

    rank: Class
    title: str = ""
    volume: float | None = None
    chime: bool = True
    category: Category | None = None


@dataclass(eq=False, slots=True)
class Speech:
    """One live voice, from its announcement to its end. `announced` and `until`, when it is to begin at the latest, are monotonic."""

    id: UUID
    person: str
    rank: Class
    title: str
    targets: tuple[Placed, ...]
    key: Ed25519PrivateKey
    announced: float
    until: float
    speaking: bool = False
    #: Why it is to end, "" as long as it may go on.
    cut: str = ""
    cut_off: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self, reason: str) -> None:
        """Let it end soon."""
        self.cut = self.cut or reason
        self.cut_off.set()


@dataclass(frozen=True, slots=True)
class Spoken:
    """What became of a live voice. `unsent` packets were not taken by the broker; `reason` is why it ended, "" by the speaker's own will."""

    seconds: float
    packets: int
    unsent: int
    reason: str


class LiveService:
    """Lives in the event loop. What other collectors on the same database let sound is not known here; agents then go by class."""

    def __init__(
        self,
        control: ControlStore,
        broadcasts: BroadcastService,
        send: Callable[[Sequence[Publication]], Awaitable[None]],
        recorder: Recorder,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`send` publishes at QoS 0 and raises `SessionError`."""
        self._control = control
        self._broadcasts = broadcasts
        self._send = send
        self.recorder = recorder
        self._now = now
        self._clock = clock
        self._speeches: dict[UUID, Speech] = {}

    async def run(self) -> None:
        """Forget recordings of broadcasts that are forgotten, until cancelled."""
        while True:
            try:
                removed = await asyncio.to_thread(
                    self.recorder.forget, lambda broadcast: self._control.broadcast(str(broadcast)) is not None
                )
                if removed:
                    _log.info("%d recordings of live voice are removed with their broadcasts", removed)
            except (StoreUnavailable, OSError) as error:
                _log.warning("old recordings can't be looked at: %s", error)
            await asyncio.sleep(_FORGET_SECONDS)

    async def announce(
        self,
        targets: Sequence[Placed],
        wish: Wish,
        person: str,
        before_sending: Callable[[UUID], Awaitable[None]],
    ) -> Speech:
        """Let the agents expect a voice; return it once the broker has the command.

        What `before_sending` raises is passed on, and nothing is sent. A voice of a lower class that sounds there is ended.

        Raises:
            Taken, TooManySpeakers: nothing was sent.
            Nobody, NotSent, StoreUnavailable: see `BroadcastService.issue`.
        """
        self._forget_silent()
        others = [speech for speech in self._speeches.values() if overlap(targets, speech.targets)]
        for speech in others:
            if CLASSES.index(speech.rank) <= CLASSES.index(wish.rank):
                raise Taken(f"{speech.person} speaks there at class {speech.rank}")
        if len(self._speeches) - len(others) >= MAX_SPEAKERS:
            raise TooManySpeakers(f"{MAX_SPEAKERS} people speak already")
        key = Ed25519PrivateKey.generate()
        identity = self._broadcasts.new_id()
        now = self._clock()
        speech = Speech(identity, person, wish.rank, wish.title, tuple(targets), key, now, now + FIRST_SECONDS)
        self._speeches[identity] = speech
        try:
            public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
            content = Broadcast(
                rank=wish.rank,
                title=wish.title,
                live=Voice(stream=identity, key=public),
                end=self._now() + timedelta(seconds=MAX_LIVE_SECONDS),
                volume=wish.volume,
                chime=wish.chime,
                category=wish.category,
            )
            await self._broadcasts.issue(
                identity, [placed.target for placed in targets], content, person, lambda: before_sending(identity)
            )
        except BaseException:
            self._speeches.pop(identity, None)
            raise
        for other in others:
            other.end(f"{person} speaks at class {wish.rank}")
        speech.until = self._clock() + FIRST_SECONDS
        return speech

    def cut(self, broadcast: UUID, reason: str) -> None:
        """End a voice; one that is not there is no error."""
        speech = self._speeches.get(broadcast)
        if speech is not None:
            speech.end(reason)
            if not speech.speaking:
                del self._speeches[broadcast]

    def find(self, broadcast: UUID, person: str) -> Speech:
        """Return a voice that was announced by this person and is yet to begin; raises `NotAnnounced`."""
        self._forget_silent()
        speech = self._speeches.get(broadcast)
        if speech is None or speech.speaking or speech.person != person:
            raise NotAnnounced
        return speech

    async def speak(self, speech: Speech, parts: AsyncIterator[bytes]) -> Spoken:
        """Send what comes in, an Ogg Opus stream, until its end; `parts` ends, or raises `ConnectionError` when the speaker is gone.

        Raises:
            BadStream: it is something else; what came before was sent.
            OSError: it can't be recorded, so nothing was sent.
        """
        speech.speaking = True
        reader = OpusReader()
        sender = _Sender(speech, self._send, self._clock)
        recording: Recording | None = None
        reason = ""
        try:
            while True:
                part, reason = await self._next(speech, parts, FIRST_SECONDS if recording is None else SILENCE_SECONDS)
                if part is None:
                    break
                frames = reader.feed(part)
                if not frames:
                    continue
                if recording is None:
                    recording = await self.recorder.open(speech.id, reader.skip, speech.title)
                recording.add(frames)
                await sender.add(frames)
                if recording.failed or sender.seconds > MAX_LIVE_SECONDS:
                    reason = recording.failed or f"nobody speaks for more than {MAX_LIVE_SECONDS / 3600:g} hours"
                    break
        except BadStream as error:
            reason = str(error)
            raise
        finally:
            self._speeches.pop(speech.id, None)
            await sender.end()
            if recording is not None:
                await recording.close()
            await self._over(speech.id)
            _log.info("live voice %s of %s ends after %.1f s: %s", speech.id, speech.person, sender.seconds, reason)
        return Spoken(sender.seconds, sender.packets, sender.unsent, reason)

    async def _next(self, speech: Speech, parts: AsyncIterator[bytes], patience: float) -> tuple[bytes | None, str]:
        coming = asyncio.ensure_future(anext(parts, None))
        cut = asyncio.create_task(speech.cut_off.wait(), name="end of a live voice")
        try:
            await asyncio.wait([coming, cut], timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if speech.cut:
                return None, speech.cut
            if not coming.done():
                return None, f"nothing came from the speaker for {patience:g} s"
            return coming.result(), ""
        except ConnectionError:
            return None, "the link to the speaker broke"
        finally:
            cut.cancel()
            if not coming.done():
                coming.cancel()
                await asyncio.wait([coming])

    async def _over(self, broadcast: UUID) -> None:
        try:
            await asyncio.to_thread(self._control.end_broadcast, str(broadcast), self._now())
        except StoreUnavailable as error:
            _log.warning("the end of the live voice %s is not kept: %s", broadcast, error)

    def _forget_silent(self) -> None:
        now = self._clock()
        for speech in list(self._speeches.values()):
            if not speech.speaking and now > speech.until:
                del self._speeches[speech.id]


class _Sender:
    """Makes packets of frames and sends them at the pace at which they sound."""

    def __init__(
        self,
        speech: Speech,
        send: Callable[[Sequence[Publication]], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        self._speech = speech
        self._topics = [str(LiveTopic(area, speech.id)) for area in topic_areas(speech.targets)]
        self._send = send
        self._clock = clock
        self._frames: list[bytes] = []
        self._number = 0
        self._begun: float | None = None
        self.packets = self.unsent = 0

    @property
    def seconds(self) -> float:
        """How much was sent."""
        return self._number * FRAME_SECONDS

    async def add(self, frames: list[bytes]) -> None:
        """Send as many whole packets as there are."""
        self._frames += frames
        if self._begun is None:
            self._begun = self._clock()
        while len(self._frames) >= FRAMES_PER_PACKET:
            part, self._frames = self._frames[:FRAMES_PER_PACKET], self._frames[FRAMES_PER_PACKET:]
            await self._publish(tuple(part))
            ahead = self.seconds - (self._clock() - self._begun)
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
        sent = int(1000 * (self._clock() - self._speech.announced))
        packet = Packet(self._number, sent, frames, end=not frames)
        self._number += len(frames)
        payload = encode_packet(packet, self._speech.id, self._speech.key)
        self.packets += 1
        try:
            await self._send([Publication(topic, payload, qos=0, expiry=EXPIRY_SECONDS) for topic in self._topics])
        except SessionError:
            # The voice goes on when the broker is there again; agents that hear nothing for too long end it by themselves.
            self.unsent += 1
