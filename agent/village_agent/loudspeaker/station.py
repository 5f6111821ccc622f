"""One loudspeaker: lets it be heard what its announcer chooses."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from functools import partial
from uuid import UUID

from village_agent.loudspeaker.announcer import LOUD_AT_NIGHT, Entry
from village_agent.loudspeaker.instep import Sharpening, heard_at, lead_seconds, moments
from village_agent.loudspeaker.item import Item, Patience
from village_agent.loudspeaker.lineup import Lineup
from village_agent.loudspeaker.policy import Profile
from village_agent.loudspeaker.progress import Progress
from village_agent.loudspeaker.scripts import FileScript
from village_agent.loudspeaker.sounding import Plan, Sounding, reason_of
from village_agent.loudspeaker.store import Stored
from village_agent.loudspeaker.supply import Supply
from village_agent.loudspeaker.surroundings import Surroundings
from village_agent.loudspeaker.telling import Teller
from village_drivers.kit import DriverError
from village_wire.broadcasts import Stage

#: A record on disk before the sound is worth so long a silence, but no longer one: a slow card delays no emergency.
RECORD_SECONDS = 0.05
#: How often the position is noted while it sounds.
NOTE_SECONDS = 1.0
#: How often it is looked whether quiet hours begin or end, and whether somebody has set the clock.
_LOOK_SECONDS = 60.0
#: What is left of a sound and shorter is its end: decoders find nothing there.
_REST_SECONDS = 0.1


class Station:
    """Give `run` to a task and call `close` after it has ended. The other methods neither block nor raise."""

    def __init__(self, device: str, profile: Profile, around: Surroundings) -> None:
        self.device = device
        self._profile = profile
        self._around = around
        self._teller = Teller(device, around.notes.tell, around.now_ns)
        self._lineup = Lineup()
        self._supply = Supply(device, profile, around.power)
        self._sharpening = Sharpening(around.sharpen)
        self._items: dict[str, Item] = {}
        self._changed = asyncio.Event()
        self._sounding: Sounding | None = None
        self._task: asyncio.Task[str] | None = None
        self._patience = Patience(around.jitter)
        self._progress = Progress(self._items, self._lineup, self._teller, self._patience, around, self._is_quiet)

    @property
    def stored(self) -> list[Stored]:
        """All that is not over, as it should stand on disk."""
        return [self._snapshot(item) for item in self._items.values()]

    def has(self, identity: UUID) -> bool:
        """Whether a broadcast waits or sounds here."""
        return str(identity) in self._items

    def take(self, stored: Stored, reason: str = "") -> None:
        """Queue a new broadcast; `reason` goes into its receipt."""
        self._around.notes.put(stored)
        self._teller.tell(stored, "queued", reason)
        self._add(Item(stored))
        # Whoever orders it may know that the loudspeaker is there again.
        self._patience.reset()

    def restore(self, stored: Stored) -> None:
        """Go on with what an earlier run of the agent left."""
        item = Item(stored, heard=stored.entry is not None and stored.entry.begun)
        if stored.sounding and stored.script == "sentences":
            self._items[str(stored.id)] = item
            reason = "the agent ended while it was spoken; nobody knows how much was heard"
            self._progress.end(item, "failed", reason, play=stored.entry.played + 1 if stored.entry else None)
            return
        if stored.entry is not None:
            self._lineup.reserve(stored.entry.arrival)
            self._teller.restore(stored)
        self._add(item)

    def cancel(self, identity: UUID, reason: str, stage: Stage = "cancelled") -> bool:
        """Take a broadcast away, also while it sounds; return whether it was there."""
        item = self._items.get(str(identity))
        if item is None:
            return False
        at, play = None, None
        if self._sounding is not None and self._sounding.id == str(identity):
            at = item.at(self._sounding.position)
            play = self._lineup.entry(item.id).played + 1
        self._lineup.announcer.cancel(str(identity), reason)
        self._progress.end(item, stage, reason, at=at, play=play)
        self._changed.set()
        return True

    def cancel_all(self, reason: str, stage: Stage = "cancelled") -> int:
        """Take everything away; return how much there was."""
        return sum(self.cancel(item.stored.id, reason, stage) for item in list(self._items.values()))

    def is_busy(self) -> None:
        """The device says that it speaks."""
        if self._sounding is not None:
            self._sounding.busy.set()

    def wake(self) -> None:
        """The clock was set, or something else may have changed."""
        self._changed.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            self._changed.clear()
            await self._step()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._idle_seconds()):
                    await self._changed.wait()

    async def close(self) -> None:
        """Fall silent, and note where."""
        for item in self._items.values():
            item.close()
        self._supply.close()
        await self._halt("the agent was stopped")

    async def _step(self) -> None:
        now = self._now()
        self._lineup.follow_clock(now, asyncio.get_running_loop().time())
        if self._task is not None and self._task.done():
            self._reap(self._task)
        for item in list(self._items.values()):
            if item.prepared is None and now >= item.stored.announcement.end:
                problem = self._around.contents.problem(item.stored) or "its sound was not there in time"
                self._progress.end(item, "failed", f"expired: {problem}")
        wanted, over = self._lineup.announcer.choose(now, quiet=self._is_quiet(self._heard_at(now)))
        for told in over:
            self._progress.expired(told)
        if self._sounding is not None and (wanted is None or wanted.announcement.id != self._sounding.id):
            await self._halt(f"{wanted.announcement.rank} goes first" if wanted else "")
        if self._sounding is not None:
            self._note(self._sounding)
        elif wanted is not None and not self._patience.seconds:
            await self._start(wanted)
        if self._sounding is None:
            self._supply.look(now, self._due(now))
        self._sharpening.look(now, self._beginnings())

    def _add(self, item: Item) -> None:
        self._items[item.id] = item
        item.preparing = asyncio.create_task(self._prepare(item), name=f"prepare {item.stored.id}")
        self._changed.set()

    async def _prepare(self, item: Item) -> None:
        """Get the sound; from then on the announcer knows of the broadcast."""
        wanted = item.stored.broadcast
        chime = self._profile.has_chime(wanted.rank, asked=wanted.chime)
        try:
            prepared = await self._around.contents.prepare(item.stored, chime=chime)
        except (DriverError, OSError) as error:
            self._progress.end(item, "failed", str(error))
            return
        # The outermost edge of a broadcast: it must end with a receipt.
        except Exception as error:  # noqa: BLE001
            self._progress.end(item, "failed", reason_of(error))
            return
        item.prepared = prepared
        if wanted.audio is not None and not item.stored.fetched:
            self._teller.tell(item.stored, "fetched")
        known = item.stored.entry
        item.stored = replace(item.stored, fetched=wanted.audio is not None, script=prepared.script.kind)
        if known is not None:
            self._lineup.restore(known)
        else:
            lead = lead_seconds(self._around.find(self.device), prepared.script, wanted.start, item.chime_seconds)
            ahead = replace(item.stored.announcement, start=item.stored.start - lead)
            told = self._lineup.add(ahead, self._now(), item.stored.number)
            if told.stage != "queued":
                self._progress.end(item, told.stage, told.reason)
                return
        self._around.notes.put(self._snapshot(item))
        self._changed.set()

    async def _start(self, entry: Entry) -> None:
        identity = entry.announcement.id
        item = self._items[identity]
        prepared = item.prepared
        if prepared is None:
            raise RuntimeError("the announcer knows of a sound that is not there")
        now = self._now()
        self._lineup.announcer.started(identity)
        script = prepared.script
        if isinstance(script, FileScript) and script.seconds - entry.position < min(_REST_SECONDS, script.seconds):
            self._progress.finished(item, "it was interrupted at its very end")
            self._changed.set()
            return
        opens = entry.played == 0 and entry.position == 0 and not item.heard
        first = partial(
            self._progress.started, item, item.heard, entry, self._is_quiet(heard_at(now, item.stored, entry))
        )
        wanted = item.stored.broadcast
        handle = self._around.find(self.device)
        plan = Plan(
            script,
            entry.position,
            self._profile.volume(wanted.rank, wanted.volume),
            prepared.chime if opens else None,
            self._supply.begin(),
            moments(handle, script, item.stored, entry, item.chime_seconds if opens else 0.0, now),
            item.watched(self._around.witnesses, self._profile, script),
        )
        self._sounding = Sounding(
            identity, handle, plan, self._around.now_ns, first, partial(self._progress.ready, item)
        )
        self._around.notes.put(self._snapshot(item))
        with suppress(TimeoutError):
            async with asyncio.timeout(RECORD_SECONDS):
                await self._around.notes.saved()
        self._task = asyncio.create_task(self._sounding.run(), name=f"{self.device} sounds")
        self._task.add_done_callback(lambda _: self._changed.set())

    def _note(self, sounding: Sounding) -> None:
        item = self._items[sounding.id]
        self._lineup.announcer.heard(sounding.position)
        self._around.notes.note(self._snapshot(item))

    async def _halt(self, reason: str) -> None:
        """Silence what sounds; it is paused, unless it was taken away or just came to its end."""
        sounding, task = self._sounding, self._task
        if sounding is None:
            return
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled() and task.exception() is None:
                self._reap(task)
                return
        self._sounding = self._task = None
        item = self._items.get(sounding.id)
        if item is None:
            return
        self._progress.interrupted(item, sounding.position, reason)

    def _reap(self, task: asyncio.Task[str]) -> None:
        """What sounded has ended by itself."""
        sounding = self._sounding
        self._sounding = self._task = None
        error = None if task.cancelled() else task.exception()
        item = self._items.get(sounding.id) if sounding is not None else None
        if item is None or sounding is None:
            return
        self._teller.silent(item.stored.id)
        if isinstance(error, Exception):
            self._progress.failed(item, sounding, error)
        elif task.cancelled():
            self._lineup.announcer.paused(sounding.position)
        else:
            self._patience.worked()
            self._progress.finished(item, task.result())

    def _idle_seconds(self) -> float | None:
        """How long nothing changes by itself; None for ever."""
        if not self._items and self._sounding is None:
            return None
        now = self._now()
        times = [now + _LOOK_SECONDS, now - now % 60 + 60 if self._profile.quiet else now + _LOOK_SECONDS]
        times += [item.stored.announcement.end for item in self._items.values() if item.prepared is None]
        change = self._lineup.announcer.next_change(now)
        if change is not None:
            times.append(change)
        times += self._supply.changes(self._due(now)) + self._sharpening.changes(self._beginnings())
        if self._sounding is not None:
            times.append(now + NOTE_SECONDS)
        if self._patience.seconds:
            times.append(now + self._patience.seconds)
        return min((time - now for time in times if time > now), default=_LOOK_SECONDS)

    def _due(self, now: float) -> list[float]:
        """When each of what waits may begin, leaving aside what is held back by quiet hours."""
        return [
            entry.due
            for entry in self._lineup.announcer.entries
            if entry.announcement.rank in LOUD_AT_NIGHT
            or not self._is_quiet(heard_at(now, self._items[entry.announcement.id].stored, entry))
        ]

    def _beginnings(self) -> list[float]:
        """When each of what is to begin in step is taken up."""
        handle, found = self._around.find(self.device), []
        for entry in self._lineup.announcer.entries:
            item = self._items[entry.announcement.id]
            if item.prepared is not None and lead_seconds(
                handle, item.prepared.script, item.stored.broadcast.start, 0.0
            ):
                found.append(entry.due)
        return found

    def _heard_at(self, now: float) -> float:
        """When that is heard which is taken up now ahead of its start; else now."""
        entries = [entry for entry in self._lineup.announcer.entries if entry.due <= now]
        return max((heard_at(now, self._items[entry.announcement.id].stored, entry) for entry in entries), default=now)

    def _snapshot(self, item: Item) -> Stored:
        sounding = self._sounding is not None and self._sounding.id == item.id
        return item.snapshot(self._lineup.find(item.id), sounding=sounding)

    def _is_quiet(self, now: float) -> bool:
        return self._profile.is_quiet(self._around.local(now))

    def _now(self) -> float:
        return self._around.now_ns() / 1e9
