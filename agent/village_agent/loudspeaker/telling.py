"""Receipts of one loudspeaker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from uuid import UUID

from village_agent.loudspeaker.scripts import Script, SpokenScript, TrackScript
from village_agent.loudspeaker.store import Stored
from village_agent.report import make_event
from village_wire.broadcasts import FINAL, Stage
from village_wire.events import Event, Receipt

_log = logging.getLogger(__name__)
_MAX_TEXT = 1000


class Teller:
    """Makes receipts and hands them over."""

    def __init__(self, device: str, tell: Callable[[Event], None], now_ns: Callable[[], int]) -> None:
        self._device = device
        self._tell = tell
        self._now_ns = now_ns
        #: Seconds for which each broadcast was heard, and the time of the event loop, which nobody sets, since when it sounds.
        self._heard: dict[UUID, float] = {}
        self._since: dict[UUID, float] = {}
        #: Tracks that an earlier run of the agent did not see to their end.
        self._cut_off: set[UUID] = set()

    def restore(self, stored: Stored) -> None:
        """An earlier run of the agent let a broadcast be heard in part: never count more of that than was heard."""
        entry, audio = stored.entry, stored.broadcast.audio
        if stored.script == "track" and stored.sounding:
            self._cut_off.add(stored.id)
        if entry is not None and stored.script == "seconds":
            whole = entry.played * audio.seconds if audio is not None else 0.0
            self._heard[stored.id] = whole + entry.position

    def silent(self, broadcast: UUID) -> None:
        """What sounded does so no longer."""
        since = self._since.pop(broadcast, None)
        if since is not None:
            self._heard[broadcast] = self._heard.get(broadcast, 0.0) + asyncio.get_running_loop().time() - since

    def tell(
        self,
        stored: Stored,
        stage: Stage,
        reason: str = "",
        evidence: str = "",
        *,
        play: int | None = None,
        at: tuple[Script, float] | None = None,
        overrode: bool = False,
        time_ns: int | None = None,
    ) -> None:
        """`at` is a position in a script; `time_ns` is when it happened, now if None."""
        moment = self._now_ns() if time_ns is None else time_ns
        if stage in {"started", "resumed"}:
            self._since[stored.id] = asyncio.get_running_loop().time() - (self._now_ns() - moment) / 1e9
        category, heard = stored.broadcast.category, None
        if stage in FINAL:
            self.silent(stored.id)
            seconds = round(self._heard.pop(stored.id, 0.0), 1)
            heard = seconds if category is not None else None
        position = None
        cut_off = stored.id in self._cut_off
        if at is not None:
            script, found = at
            if isinstance(script, SpokenScript):
                place = f"after {found:.0f} of {len(script.sentences)} sentences"
                reason = f"{reason}, {place}" if reason else place
            elif not isinstance(script, TrackScript):
                position = round(found, 3)
            elif stage == "paused":
                reason = f"{reason or 'interrupted'}; it will begin again, since a track can't go on where it stopped"
            elif stage == "resumed":
                reason = "from its beginning, since a track can't go on where it stopped"
        if cut_off and (stage == "resumed" or stage in FINAL):
            self._cut_off.discard(stored.id)
            if stage == "preempted":
                # Others had no part in it.
                reason = "its time ended"
            unknown = "the agent ended while it sounded, and nobody knows how much was heard then"
            reason = f"{reason}; {unknown}" if reason else unknown
        receipt = Receipt(
            broadcast=stored.id,
            stage=stage,
            reason=reason[:_MAX_TEXT],
            evidence=evidence[:_MAX_TEXT],
            play=play,
            position=position,
            overrode=overrode or None,
            category=category,
            heard=heard,
        )
        _log.info("broadcast %s on %s: %s %s", stored.id, self._device, stage, receipt.reason or receipt.evidence)
        self._tell(make_event(self._device, receipt, moment))
