"""One speaker for each place, whichever collector carries the voice.

The control store says who speaks where. Who carries a voice says so every second, and looks four times a second whether it is to end;
packets never wait for that. A collector that can't reach the store goes on: nobody else can be given the place by it either, and loudspeakers
go by class.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from village_collector.live.overlap import overlap
from village_collector.live.speech import Speech
from village_collector.live.voice_keys import find_voice_key
from village_collector.ports import StoreUnavailable
from village_collector.stores.control import ControlStore
from village_collector.stores.speech_records import SpeechRecord
from village_wire.broadcasts import CLASSES

_log = logging.getLogger(__name__)

#: Nobody who announced a voice and does not speak keeps others from speaking for longer; meanwhile loudspeakers make ready.
FIRST_SECONDS = 20.0
#: At a time, in all areas together: each costs a packet for every area 17 times a second.
MAX_SPEAKERS = 16
#: How soon a voice ends that is cut off at another collector, and what that costs: a look at an index.
LOOK_SECONDS = 0.25
BEAT_SECONDS = 1.0
#: A collector that said nothing for so long has lost its voices. Several beats may be late; loudspeakers end it after 2 s of silence by themselves.
LOST_SECONDS = 5.0
_BROKEN_OFF = "broken off"


class Taken(Exception):
    """Somebody speaks there; the text says who."""


class TooManySpeakers(Exception):
    """`MAX_SPEAKERS` speak already."""


class NotAnnounced(Exception):
    """No voice is expected under this id from this person, or it has begun already; the text says more, if there is more to say."""


class Places:
    """Lives in the event loop. What waits for the store raises `StoreUnavailable`."""

    def __init__(
        self,
        control: ControlStore,
        collector: str,
        command_keys: Callable[[], Sequence[Ed25519PrivateKey]],
        broken_off: Callable[[SpeechRecord], Awaitable[None]],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`command_keys` are those that sign or did a moment ago; `broken_off` is called for each voice that a collector lost."""
        self._control = control
        self._collector = collector
        self._command_keys = command_keys
        self._broken_off = broken_off
        self._now = now
        self._clock = clock
        self._carried: dict[UUID, Speech] = {}
        self._carrying = asyncio.Event()
        self._unkept: dict[UUID, tuple[Speech, str]] = {}
        # What says that a voice goes on must not wait behind uploads.
        self._threads = ThreadPoolExecutor(1, "live voice")

    async def prepare(self) -> None:
        """End what this collector carried when it was killed. Comes before anything else."""
        reason = f"{_BROKEN_OFF}: the collector ended while it carried it"
        for lost in await asyncio.to_thread(self._control.end_speeches_of, self._collector, self._now(), reason):
            await self._broken_off(lost)

    async def run(self) -> None:
        """Look after the voices of all collectors on the store, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(), name="live voices that are carried")
                group.create_task(self._sweep(), name="live voices that are lost")
        finally:
            self._threads.shutdown(wait=False)

    async def take(self, speech: SpeechRecord) -> list[str]:
        """Let a voice be the one that is expected at its targets; return the voices of lower classes that are to be ended there.

        Raises:
            Taken, TooManySpeakers: nothing was changed.
        """
        ended: list[str] = []

        def check(active: Sequence[SpeechRecord]) -> None:
            others = [one for one in active if overlap(speech.targets, one.targets)]
            for one in others:
                if CLASSES.index(one.rank) <= CLASSES.index(speech.rank):
                    raise Taken(f"{one.person} speaks there at class {one.rank}")
            if len(active) - len(others) >= MAX_SPEAKERS:
                raise TooManySpeakers(f"{MAX_SPEAKERS} people speak already")
            ended[:] = [one.broadcast for one in others]

        await self._end_lost()
        await asyncio.to_thread(self._control.add_speech, speech, self._now(), timedelta(seconds=FIRST_SECONDS), check)
        return ended

    async def expect(self, speech: SpeechRecord, ended: Sequence[str]) -> None:
        """Let the voice begin from this moment on, since the broker has its command, and end the others."""
        reason = f"{speech.person} speaks at class {speech.rank}"
        for broadcast in ended:
            self._end_here(UUID(broadcast), reason)
        await asyncio.to_thread(self._control.cut_speeches, ended, reason)
        patience = timedelta(seconds=FIRST_SECONDS)
        await asyncio.to_thread(self._control.expect_speech, speech.broadcast, self._now(), patience)

    async def drop(self, speech: SpeechRecord) -> None:
        """Give the place of a voice back that was not announced; if the store is away, time does it."""
        try:
            await asyncio.to_thread(self._control.drop_speech, speech.broadcast)
        except StoreUnavailable as error:
            _log.info("the place of a voice that was not announced stays taken for a while: %s", error)

    async def claim(self, broadcast: UUID, person: str) -> Speech:
        """Carry a voice that this person announced, at whichever collector; give it back with `release`. Raises `NotAnnounced`."""
        found = await asyncio.to_thread(self._control.speech, str(broadcast))
        if found is None or found.person != person:
            raise NotAnnounced
        key = find_voice_key(self._command_keys(), broadcast, found.key)
        if key is None:
            raise NotAnnounced("it was announced with another command key than this collector has")
        found = await asyncio.to_thread(
            self._control.begin_speech, str(broadcast), person, self._collector, self._now()
        )
        if found is None:
            raise NotAnnounced
        speech = Speech(broadcast, person, found.title, found.targets, key)
        if found.cut:
            speech.end(found.cut)
        self._carried[broadcast] = speech
        self._carrying.set()
        return speech

    async def release(self, speech: Speech, reason: str) -> None:
        """Keep how a voice ended, or do so when the store is there again."""
        self._carried.pop(speech.id, None)
        try:
            await self._keep_end(speech, reason)
        except StoreUnavailable as error:
            self._unkept[speech.id] = speech, reason
            _log.warning("the end of the live voice %s is not kept yet: %s", speech.id, error)

    async def cut(self, broadcast: UUID, reason: str) -> None:
        """End a voice wherever it is carried; one that is not there is no error."""
        self._end_here(broadcast, reason)
        await asyncio.to_thread(self._control.withdraw_speech, str(broadcast), reason, self._now())

    def _end_here(self, broadcast: UUID, reason: str) -> None:
        speech = self._carried.get(broadcast)
        if speech is not None:
            speech.end(reason)

    async def _carry(self) -> None:
        if not self._control.shared:
            # Nobody else cuts off a voice, and none is lost without this collector's own end.
            return
        loop, said, away = asyncio.get_running_loop(), 0.0, False
        while True:
            if not self._carried:
                self._carrying.clear()
            await self._carrying.wait()
            await asyncio.sleep(LOOK_SECONDS)
            carried = {str(speech.id): speech.seconds for speech in self._carried.values()}
            try:
                if self._clock() - said >= BEAT_SECONDS:
                    said = self._clock()
                    await loop.run_in_executor(
                        self._threads, self._control.carry_speeches, carried, self._collector, self._now()
                    )
                cuts = await loop.run_in_executor(self._threads, self._control.cuts, list(carried))
            except StoreUnavailable as error:
                if not away:
                    _log.warning("live voices go on, and can't be cut off by other collectors: %s", error)
                away = True
                continue
            away = False
            for broadcast, reason in cuts.items():
                self._end_here(UUID(broadcast), reason)

    async def _sweep(self) -> None:
        while self._control.shared:
            try:
                await self._end_lost()
            except StoreUnavailable as error:
                _log.debug("looking for lost voices: %s", error)
            await asyncio.sleep(BEAT_SECONDS)

    async def _keep_end(self, speech: Speech, reason: str) -> None:
        await asyncio.to_thread(self._control.end_speech, str(speech.id), reason, speech.seconds, self._now())

    async def _end_lost(self) -> None:
        for identity, (speech, why) in list(self._unkept.items()):
            await self._keep_end(speech, why)
            self._unkept.pop(identity, None)
        silence = timedelta(seconds=LOST_SECONDS) if self._control.shared else None
        reason = f"{_BROKEN_OFF}: the collector that carried it said nothing for {LOST_SECONDS:g} s"
        for lost in await asyncio.to_thread(self._control.end_lost_speeches, self._now(), silence, reason):
            _log.warning("live voice %s of %s is %s", lost.broadcast, lost.person, lost.reason)
            await self._broken_off(lost)
