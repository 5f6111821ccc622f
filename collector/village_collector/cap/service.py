"""From a signed alert to broadcasts: once, whoever brings it, whatever dies in between.

An alert is on disk with its broadcasts before the first is issued. Whoever keeps it sends what is not sent yet: the same commands, which
an agent carries out once.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from village_collector.audit import Audit
from village_collector.broadcasts.audio import AudioFiles
from village_collector.broadcasts.service import BadTimes, BroadcastService, NoSound
from village_collector.cap.alert import Alert, Info
from village_collector.cap.document import InvalidAlert
from village_collector.cap.mapping import Announcement, NotAired, Plan, narrowed, plan, supersedes
from village_collector.cap.reading import alert_of
from village_collector.cap.signature import Signer, verify
from village_collector.cap.sounds import first_sound
from village_collector.cap.telling import document_of, unstored
from village_collector.cap.writing import write_alert
from village_collector.commands import NotSent
from village_collector.looking import keep_looking
from village_collector.stores.broadcast_records import Nobody
from village_collector.stores.cap_records import AlertBroadcast, NewAlert, PlannedBroadcast, StoredAlert
from village_collector.stores.control import ControlStore
from village_collector.stores.control_reads import Scope
from village_wire.audit import Outcome
from village_wire.broadcasts import Audio, Category
from village_wire.commands import Broadcast, Target

_log = logging.getLogger(__name__)

ACTION, WITHDRAWAL = "broadcast.cap", "broadcast.withdraw"
#: An alert without an end may be played again by whoever kept it; so long at least it is remembered.
_REMEMBERED = timedelta(days=9)
LOOK_SECONDS = 2.0
_CATEGORIES: dict[str, Category] = {"Met": "weather", "Fire": "fire"}


class Conflict(InvalidAlert):
    """Another alert of this name is known already: it says something else."""


class NoRight(Exception):
    """It is for areas in none of which the caller may broadcast."""

    def __init__(self, area: str) -> None:
        super().__init__(area)
        self.area = area


@dataclass(frozen=True, slots=True)
class Received:
    """An alert as it is kept (or would be, of a dry run), and whether it is new."""

    alert: StoredAlert
    new: bool


class AlertService:
    """Lives in the event loop. Give `run` to the program's `TaskGroup`."""

    def __init__(
        self,
        control: ControlStore,
        broadcasts: BroadcastService,
        audio: AudioFiles,
        audit: Audit,
        signers: Sequence[Signer] = (),
        languages: Sequence[str] = ("zh", "en"),
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._control = control
        self._broadcasts = broadcasts
        self._audio = audio
        self._audit = audit
        self._signers = signers
        self._languages = languages
        self._now = now

    async def receive(
        self, content: bytes, person: str, address: str, scope: Scope, *, dry_run: bool = False
    ) -> Received:
        """Verify, keep and air an alert that a person brought, who may broadcast within `scope`.

        One that is known is answered as before. A dry run keeps and airs nothing.

        Raises:
            InvalidAlert: it is none, or (`NotSigned`) of no trusted signer, or (`Conflict`) contradicts a known one. It is in the audit log.
            NoRight: nothing was kept.
            StoreUnavailable: whether it was kept is not known; bringing it again is safe.
        """
        refused = partial(self._audit.refused, person, address, ACTION)
        try:
            alert, signer = await asyncio.to_thread(self._read, content, self._now())
        except InvalidAlert as error:
            await refused(reason=str(error))
            raise
        digest = hashlib.sha256(await asyncio.to_thread(write_alert, alert)).hexdigest()
        known = await asyncio.to_thread(self._control.alert_named, alert.reference)
        if known is not None:
            return await self._known(known, digest, refused)
        made = await self._plan(alert, scope)
        if not made.announcements and any(one.code == "no_right" for one in made.not_aired):
            raise NoRight(next(one.geocode for one in made.unmapped if "outside" in one.reason))
        new, planned = await self._prepared(alert, signer, digest, person, made, dry_run=dry_run)
        if dry_run:
            return Received(unstored(new, planned), new=True)
        taken, fresh = await asyncio.to_thread(self._control.take_alert, new, planned)
        if not fresh:
            return await self._known(taken, digest, refused)
        await self._carry_out(taken, person, address)
        kept = await asyncio.to_thread(self._control.alert, taken.id)
        return Received(kept or taken, new=True)

    async def run(self, look_seconds: float = LOOK_SECONDS) -> None:
        """Send what could not be sent, and withdraw what was taken back, until cancelled."""
        await keep_looking(self.look, look_seconds, _log, "alerts can't be looked after")

    async def look(self) -> None:
        """Do once what is due; raises `StoreUnavailable`."""
        for one in await asyncio.to_thread(self._control.claim_planned, self._now()):
            await self._air(one, one.person, "")
        for one in await asyncio.to_thread(self._control.superseded_broadcasts):
            await self._withdraw(one, one.person, "")

    async def _known(self, known: StoredAlert, digest: str, refused: Callable[..., Awaitable[None]]) -> Received:
        if known.digest != digest:
            await refused(target=str(known.reference), reason="contradicts a known alert of this name")
            raise Conflict(f"an alert {known.reference} is known that says something else")
        return Received(known, new=False)

    def _read(self, content: bytes, now: datetime) -> tuple[Alert, Signer]:
        verified = verify(content, self._signers, now)
        return alert_of(verified.root), verified.signer

    async def _plan(self, alert: Alert, scope: Scope) -> Plan:
        made = plan(alert, self._now(), self._languages)
        heard = await asyncio.to_thread(self._control.loudspeaker_areas)
        return narrowed(made, scope, heard)

    async def _prepared(
        self, alert: Alert, signer: Signer, digest: str, person: str, made: Plan, *, dry_run: bool
    ) -> tuple[NewAlert, list[PlannedBroadcast]]:
        now = self._now()
        not_aired, planned = list(made.not_aired), []
        for one in made.announcements:
            sound, reason = (None, "") if dry_run else await first_sound(one.audio, self._audio)
            if reason:
                not_aired.append(NotAired(one.info, "audio", f"its sound is not used, its text is spoken: {reason}"))
            if one.shortened:
                not_aired.append(NotAired(one.info, "shortened", "the text was too long: its end is left out"))
            content = _content(one, alert.infos[one.info - 1])
            arguments = content.model_dump(mode="json", exclude_none=True)
            planned.append(
                PlannedBroadcast(
                    str(self._broadcasts.new_id()), one.info, one.areas, arguments, sound.sha256 if sound else None
                )
            )
        ends = [alert.sent, now, *(info.expires for info in alert.infos if info.expires)]
        new = NewAlert(
            id=str(self._broadcasts.new_id()),
            reference=alert.reference,
            feed=signer.feed,
            signer=signer.subject,
            digest=digest,
            received=now,
            until=_later(max(ends)),
            person=person,
            document=document_of(alert, made, not_aired),
            replaces=alert.references if supersedes(alert) else (),
        )
        return new, planned

    async def _carry_out(self, alert: StoredAlert, person: str, address: str) -> None:
        if not alert.broadcasts and alert.document["status"] != "System":
            reason = "; ".join(item["reason"] for item in alert.document["not_aired"]) or "nothing to air"
            outcome: Outcome = "allowed" if alert.document["message_type"] == "Cancel" else "refused"
            await self._audit.record(
                person, address, ACTION, target=str(alert.reference), outcome=outcome, reason=reason
            )
        await asyncio.gather(*(self._air(one, person, address) for one in alert.broadcasts if one.state == "planned"))
        for one in await asyncio.to_thread(self._control.superseded_broadcasts):
            await self._withdraw(one, person, address)

    async def _air(self, one: AlertBroadcast, person: str, address: str) -> None:
        """Issue a broadcast that is claimed, or send the rest of it; a broker that takes nothing is tried again later."""
        broadcast = UUID(one.broadcast)
        try:
            record = await asyncio.to_thread(self._control.broadcast, one.broadcast)
            if one.superseded is not None:
                await self._withdraw(one, person, address)
                await self._settle(one, "dropped", "taken back before it was sent")
                return
            if record is None:
                sound = await self._audio.find(one.audio) if one.audio else None
                await self._broadcasts.issue(
                    broadcast,
                    [Target(area=area) for area in one.areas],
                    _restored(one.arguments, sound),
                    person,
                    partial(self._record, ACTION, one, person, address),
                )
            elif not record.sent and record.tally.end <= self._now():
                raise BadTimes("over before the broker took it")
            elif not one.problem:
                # Whoever had it ended in the middle, perhaps before it was recorded.
                await self._record(ACTION, one, person, address, reason="sent by another collector, or after a restart")
            await self._broadcasts.send_unsent(broadcast)
        except NotSent as error:
            _log.warning("broadcast %s of an alert is not sent yet: %s", one.broadcast, error)
            await asyncio.to_thread(self._control.postpone_planned, one.broadcast, str(error), self._now())
        except (BadTimes, NoSound, Nobody) as error:
            reason = f"no loudspeaker in {error}" if isinstance(error, Nobody) else str(error)
            await self._record(ACTION, one, person, address, outcome="failed", reason=reason)
            await self._settle(one, "dropped", reason)
        else:
            await self._settle(one, "aired")

    async def _settle(self, one: AlertBroadcast, state: str, problem: str = "") -> None:
        await asyncio.to_thread(self._control.settle_planned, one.broadcast, state, problem)

    async def _withdraw(self, one: AlertBroadcast, person: str, address: str) -> None:
        record = await asyncio.to_thread(self._control.broadcast, one.broadcast)
        if record is not None and record.tally.withdrawn is None and record.tally.end > self._now():
            by = await asyncio.to_thread(self._control.alert, one.superseded or "")
            reason = f"taken back by the alert {by.reference.identifier}" if by else "taken back by an alert"
            await self._record(WITHDRAWAL, one, person, address, reason=reason[:200])
            try:
                await self._broadcasts.withdraw(record, person, reason[:200])
            except NotSent as error:
                _log.warning("the withdrawal of %s is not sent yet: %s", one.broadcast, error)
        await asyncio.to_thread(self._control.mark_superseded_withdrawn, one.broadcast)

    async def _record(self, action: str, one: AlertBroadcast, person: str, address: str, **more: Any) -> None:
        await asyncio.gather(
            *(
                self._audit.record(person, address, action, target=area, area=area, command=one.broadcast, **more)
                for area in one.areas
            )
        )


def _later(time: datetime) -> datetime:
    try:
        return time + _REMEMBERED
    except OverflowError:
        return time


def _content(one: Announcement, info: Info) -> Broadcast:
    category = next((_CATEGORIES[name] for name in info.categories if name in _CATEGORIES), None)
    return Broadcast(
        rank=one.rank,
        title=one.title,
        text=one.text,
        start=one.start,
        end=one.end,
        times=one.times,
        pause=one.pause,
        category=category,
    )


def _restored(arguments: Any, sound: Audio | None) -> Broadcast:
    content = Broadcast.model_validate(arguments)
    return content if sound is None else content.model_copy(update={"text": None, "audio": sound})
