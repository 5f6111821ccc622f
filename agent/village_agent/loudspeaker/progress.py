"""How broadcasts get on at one loudspeaker: each step is told in a receipt and noted on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from village_agent.loudspeaker.announcer import LOUD_AT_NIGHT, Entry, Told
from village_agent.loudspeaker.instep import next_due
from village_agent.loudspeaker.item import Item, Patience
from village_agent.loudspeaker.lineup import Lineup
from village_agent.loudspeaker.scripts import Script
from village_agent.loudspeaker.sounding import Sounding, is_hopeless, reason_of
from village_agent.loudspeaker.store import Stored
from village_agent.loudspeaker.surroundings import Surroundings
from village_agent.loudspeaker.telling import Teller
from village_drivers.kit import Misconfigured, NotConnected
from village_wire.broadcasts import Stage


@dataclass(frozen=True, slots=True)
class Progress:
    """Shares `items`, which are not over, by their ids, and the other parts with its station. `is_quiet` tells of quiet hours, by Unix time."""

    items: dict[str, Item]
    lineup: Lineup
    teller: Teller
    patience: Patience
    around: Surroundings
    is_quiet: Callable[[float], bool]

    def started(self, item: Item, resumed: bool, entry: Entry, quiet: bool, time_ns: int) -> None:
        """The first sample is out; `quiet` tells whether in quiet hours."""
        if item.id not in self.items:
            return
        item.heard, item.fault = True, ""
        if resumed:
            at = item.at(entry.position)
            self.teller.tell(item.stored, "resumed", play=entry.played + 1, at=at, time_ns=time_ns)
        else:
            self.teller.tell(item.stored, "started", play=entry.played + 1, overrode=quiet, time_ns=time_ns)

    def ready(self, item: Item, reason: str, evidence: str) -> None:
        """A live voice may begin."""
        if item.id in self.items and not item.heard:
            item.ready, item.fault = True, ""
            self.teller.tell(item.stored, "ready", reason, evidence)

    def interrupted(self, item: Item, position: float, reason: str) -> None:
        """It was silenced at a position, to go on later."""
        self.teller.silent(item.stored.id)
        entry = self.lineup.entry(item.id)
        self.lineup.announcer.paused(position)
        if item.heard:
            self.teller.tell(item.stored, "paused", reason, play=entry.played + 1, at=item.at(position))
        elif item.ready:
            self.teller.tell(item.stored, "queued", reason)
        item.ready = False
        self.around.notes.put(self._snapshot(item))

    def finished(self, item: Item, evidence: str) -> None:
        """A play came to its end by itself."""
        play, now = self.lineup.entry(item.id).played + 1, self._now()
        if item.prepared is not None:
            due = next_due(self.around.find(item.stored.device), item.prepared.script, item.stored, play, now)
            now = due - item.stored.broadcast.pause
        evidence = item.ended(evidence)
        told = self.lineup.announcer.finished(now)
        item.heard, item.tries = False, 0
        if told is None:
            self.around.notes.put(self._snapshot(item))
        else:
            self.end(item, told.stage, told.reason, evidence, play=play)

    def failed(self, item: Item, sounding: Sounding, error: Exception) -> None:
        """A try failed: another one follows, or it is over."""
        entry, reason = self.lineup.entry(item.id), reason_of(error)
        at, play = item.at(sounding.position), entry.played + 1
        went_on = sounding.position > entry.position
        item.ready = False
        is_away = isinstance(error, NotConnected | Misconfigured)
        if is_hopeless(error) or not self.patience.failed(item, is_away=is_away, went_on=went_on):
            self.lineup.announcer.failed(reason)
            self.end(item, "failed", reason, play=play, at=at if item.heard else None)
            return
        self.lineup.announcer.paused(sounding.position)
        if item.heard and (went_on or not item.fault):
            self.teller.tell(item.stored, "paused", reason, play=play, at=at)
        elif not item.fault:
            self.teller.tell(item.stored, "queued", f"waits for the loudspeaker: {reason}")
        item.fault = reason
        self.around.notes.put(self._snapshot(item))

    def expired(self, told: Told) -> None:
        """Its time ended."""
        item = self.items[told.id]
        stage, reason = told.stage, told.reason
        if item.fault and stage in {"preempted", "skipped"}:
            # Nothing but the loudspeaker kept it from being heard.
            stage, reason = "failed", f"expired: {item.fault}"
        elif stage == "skipped" and self.is_quiet(self._now()) and item.stored.broadcast.rank not in LOUD_AT_NIGHT:
            reason = f"{reason} in quiet hours"
        self.end(item, stage, reason, at=item.at(told.position) if item.heard else None)

    def end(
        self,
        item: Item,
        stage: Stage,
        reason: str,
        evidence: str = "",
        *,
        play: int | None = None,
        at: tuple[Script, float] | None = None,
    ) -> None:
        """It is over: one transaction forgets it and remembers the receipt."""
        if self.items.pop(item.id, None) is None:
            return
        item.close()
        self.around.contents.release(item.stored)
        stage, reason = item.judged(stage, reason)
        self.teller.tell(item.stored, stage, reason, evidence, play=play, at=at)
        self.around.notes.drop(item.stored.key)

    def _snapshot(self, item: Item) -> Stored:
        # Whatever is told here of an item, it is silent by then.
        return item.snapshot(self.lineup.find(item.id), sounding=False)

    def _now(self) -> float:
        return self.around.now_ns() / 1e9
