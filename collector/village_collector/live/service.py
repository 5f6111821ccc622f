"""Live voices: one speaker for each place, whose words are signed, sent to the agents and recorded.

What can't be recorded is not sent.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from village_collector.audit import Audit
from village_collector.broadcasts.service import BroadcastService
from village_collector.live.ogg import BadStream, OpusReader
from village_collector.live.overlap import Placed
from village_collector.live.places import FIRST_SECONDS, Places
from village_collector.live.recording import Recorder, Recording
from village_collector.live.shared_recordings import SharedRecordings
from village_collector.live.speech import Sender, Speech
from village_collector.live.voice_keys import public_half, voice_key
from village_collector.ports import StoreUnavailable
from village_collector.stores.control import ControlStore
from village_collector.stores.speech_records import SpeechRecord
from village_wire.broadcasts import MAX_LIVE_SECONDS, Category, Class, Voice
from village_wire.commands import Broadcast
from village_wire.live import FRAMES_PER_PACKET, SILENCE_SECONDS
from village_wire.outgoing import Publication

_log = logging.getLogger(__name__)

_FORGET_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What a speaker wants."""

    rank: Class
    title: str = ""
    volume: float | None = None
    chime: bool = True
    category: Category | None = None


@dataclass(frozen=True, slots=True)
class Spoken:
    """What became of a live voice. `unsent` packets were not taken by the broker; `reason` is why it ended, "" by the speaker's own will."""

    seconds: float
    packets: int
    unsent: int
    reason: str


class LiveService:
    """Lives in the event loop. Voices may be announced at one collector and spoken to another one on the same store."""

    def __init__(
        self,
        control: ControlStore,
        broadcasts: BroadcastService,
        send: Callable[[Sequence[Publication]], Awaitable[None]],
        recorder: Recorder,
        collector: str,
        command_keys: Callable[[], Sequence[Ed25519PrivateKey]],
        audit: Audit,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`send` publishes at QoS 0 and raises `SessionError`; `command_keys` are those that sign or did a moment ago, the present one first."""
        self._control = control
        self._broadcasts = broadcasts
        self._send = send
        self.recorder = recorder
        self._command_keys = command_keys
        self._audit = audit
        self._now = now
        self._clock = clock
        self._places = Places(control, collector, command_keys, self._broken_off, now=now, clock=clock)
        self._shared = SharedRecordings(recorder.folder, control) if control.shared else None

    async def prepare(self) -> None:
        """Tell of voices that broke off when this collector was killed. Comes before anything else; raises `StoreUnavailable`."""
        await self._places.prepare()

    async def run(self) -> None:
        """Look after voices and recordings, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._places.run(), name="places of live voices")
            group.create_task(self._forget(), name="old recordings")
            if self._shared is not None:
                group.create_task(self._shared.run(), name="shared recordings")

    async def announce(
        self,
        targets: Sequence[Placed],
        wish: Wish,
        person: str,
        before_sending: Callable[[UUID], Awaitable[None]],
    ) -> UUID:
        """Let the agents expect a voice; return its broadcast once the broker has the command.

        What `before_sending` raises is passed on, and nothing is sent. A voice of a lower class that sounds there is ended.

        Raises:
            Taken, TooManySpeakers: nothing was sent.
            Nobody, NotSent, StoreUnavailable: see `BroadcastService.issue`.
        """
        identity = self._broadcasts.new_id()
        key = public_half(voice_key(self._command_keys()[0], identity))
        speech = SpeechRecord(str(identity), person, wish.rank, wish.title, tuple(targets), key)
        ended = await self._places.take(speech)
        try:
            content = Broadcast(
                rank=wish.rank,
                title=wish.title,
                live=Voice(stream=identity, key=key),
                end=self._now() + timedelta(seconds=MAX_LIVE_SECONDS),
                volume=wish.volume,
                chime=wish.chime,
                category=wish.category,
            )
            await self._broadcasts.issue(
                identity, [placed.target for placed in targets], content, person, lambda: before_sending(identity)
            )
        except BaseException:
            await self._places.drop(speech)
            raise
        await self._places.expect(speech, ended)
        return identity

    async def cut(self, broadcast: UUID, reason: str) -> None:
        """End a voice wherever it is carried; one that is not there is no error. Raises `StoreUnavailable`."""
        await self._places.cut(broadcast, reason)

    async def find(self, broadcast: UUID, person: str) -> Speech:
        """Return a voice that this person announced, at whichever collector, and that nobody else gets; `speak` comes next.

        Raises:
            NotAnnounced: none is expected, or it has begun already.
            StoreUnavailable: nothing is known.
        """
        return await self._places.claim(broadcast, person)

    async def has_recording(self, broadcast: UUID) -> bool:
        """Tell whether anything was recorded; raises `StoreUnavailable`."""
        here = await asyncio.to_thread(self.recorder.path(broadcast).is_file)
        return here or (self._shared is not None and await self._shared.has(broadcast))

    async def recording(self, broadcast: UUID) -> tuple[Path, bool] | None:
        """Return the file of a recording, and whether it is a copy which the caller removes; None if there is none.

        Raises:
            StoreUnavailable, OSError: it is with another collector, and can't be had.
        """
        path = self.recorder.path(broadcast)
        if await asyncio.to_thread(path.is_file):
            return path, False
        copy = None if self._shared is None else await self._shared.copy(broadcast)
        return None if copy is None else (copy, True)

    async def speak(self, speech: Speech, parts: AsyncIterator[bytes]) -> Spoken:
        """Send what comes in, an Ogg Opus stream, until its end; `parts` ends, or raises `ConnectionError` when the speaker is gone.

        Raises:
            BadStream: it is something else; what came before was sent.
            OSError: it can't be recorded, so nothing was sent.
        """
        reader = OpusReader()
        sender = Sender(speech, self._send, self._clock)
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
                    if self._shared is not None:
                        self._shared.begun(speech.id)
                # A speaker who is faster than sound is cut off within what they sent.
                for at in range(0, len(frames), FRAMES_PER_PACKET):
                    if speech.cut:
                        break
                    recording.add(frames[at : at + FRAMES_PER_PACKET])
                    await sender.add(frames[at : at + FRAMES_PER_PACKET])
                if recording.failed or speech.seconds > MAX_LIVE_SECONDS:
                    reason = recording.failed or f"nobody speaks for more than {MAX_LIVE_SECONDS / 3600:g} hours"
                    break
        except BadStream as error:
            reason = str(error)
            raise
        except OSError as error:
            reason = f"it can't be recorded: {error.strerror}"
            raise
        finally:
            await sender.end()
            if recording is not None:
                await recording.close()
                if self._shared is not None:
                    self._shared.ended(speech.id)
            await self._places.release(speech, reason)
            _log.info("live voice %s of %s ends after %.1f s: %s", speech.id, speech.person, speech.seconds, reason)
        return Spoken(speech.seconds, sender.packets, sender.unsent, reason)

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

    async def _broken_off(self, lost: SpeechRecord) -> None:
        for target, area in lost.targets:
            await self._audit.failed(
                lost.person,
                "",
                "broadcast.live_end",
                target=str(target),
                area=area,
                reason=f"at least {lost.seconds:.1f} s spoken; {lost.reason}",
                command=lost.broadcast,
            )

    async def _forget(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self._control.forget_speeches)
                if self._shared is not None:
                    await asyncio.to_thread(self._control.forget_recorded)
                removed = await asyncio.to_thread(
                    self.recorder.forget, lambda broadcast: self._control.broadcast(str(broadcast)) is not None
                )
                if removed:
                    _log.info("%d recordings of live voice are removed with their broadcasts", removed)
            except (StoreUnavailable, OSError) as error:
                _log.warning("old recordings can't be looked at: %s", error)
            await asyncio.sleep(_FORGET_SECONDS)
