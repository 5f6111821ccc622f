"""The control store: agents, devices and their states, events, commands and refused messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, or_, select, update

from village_collector.links import Known, judge
from village_collector.ports import DeadLetter, ReceivedEvents
from village_collector.stores.audio_records import AudioRecords
from village_collector.stores.audit_records import AuditRecords
from village_collector.stores.broadcast_records import BroadcastRecords
from village_collector.stores.cap_records import CapRecords
from village_collector.stores.command_records import CommandRecords
from village_collector.stores.control_reads import ControlReads
from village_collector.stores.database import Database
from village_collector.stores.feed_records import FeedRecords
from village_collector.stores.identity_records import IdentityRecords, area_of
from village_collector.stores.ledger_records import merge_ledger
from village_collector.stores.link_records import note_connection, note_link_loss, read_link
from village_collector.stores.merging import chunks, merge_results, merge_states
from village_collector.stores.people_records import PeopleRecords
from village_collector.stores.publicity_records import PublicityRecords, merge_publicity
from village_collector.stores.receipt_merging import merge_receipts
from village_collector.stores.recording_records import RecordingRecords
from village_collector.stores.schedule_records import ScheduleRecords
from village_collector.stores.speech_records import SpeechRecords
from village_collector.stores.tables import agents, dead_letters, devices, events, states
from village_collector.stores.token_records import TokenRecords
from village_wire.events import Event
from village_wire.presence import MAX_DEVICES, AgentStatus, Inventory

#: Enough to see what is wrong with a site for days; at most 40 MB on disk.
MAX_DEAD_LETTERS = 10_000
#: What is kept of a refused message, as `DeadLetter` promises.
MAX_DEAD_CONTENT = 4096
#: Devices of one agent that were removed and are still shown; an inventory has at most as many.
MAX_REMOVED = MAX_DEVICES
#: For so long after their receipt the states of a session are kept although the agent has another one.
_STATES_KEPT = timedelta(hours=1)
#: Deleting so many takes some milliseconds; ingest waits as long.
_PURGED_AT_ONCE = 2000


class ControlStore(
    ControlReads,
    CommandRecords,
    BroadcastRecords,
    CapRecords,
    FeedRecords,
    ScheduleRecords,
    PublicityRecords,
    IdentityRecords,
    AuditRecords,
    PeopleRecords,
    TokenRecords,
    AudioRecords,
    RecordingRecords,
    SpeechRecords,
):
    """Implements `village_collector.ports.ControlSink`. Every method blocks on the disk: call it in a thread.

    All methods raise `StoreUnavailable`, and then nothing of the call was stored.
    """

    def __init__(self, url: str, password: str | None = None) -> None:
        """`url` as for SQLAlchemy, such as `sqlite:////var/lib/village/control.db`; raises `ValueError`."""
        super().__init__(Database(url, password))

    @property
    def shared(self) -> bool:
        """Whether other collectors may write to it too."""
        return self._database.shared

    def open(self) -> None:
        """Connect and make the tables; `SchemaTooNew` if a newer version of this program wrote them."""
        self._database.open()

    def close(self) -> None:
        """Close all connections; what was stored is on disk."""
        self._database.close()

    def store_events(self, batches: Sequence[ReceivedEvents]) -> None:
        """Store events, once per event id, and update device states, command results and receipts of broadcasts, in one transaction."""
        self._database.write(lambda connection: _store_events(connection, batches))

    def store_status(self, agent: str, status: AgentStatus, received: datetime) -> None:
        """Keep an agent's status; one of a connection that is over, such as a late will, changes nothing (see `links`)."""
        self._database.write(lambda connection: _store_status(connection, agent, status, received))

    def store_inventory(self, inventory: Inventory, received: datetime) -> None:
        """Keep an agent's inventory; devices that are no longer in it are marked as removed."""
        self._database.write(lambda connection: _store_inventory(connection, inventory, received))

    def store_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Keep refused messages; the oldest beyond `MAX_DEAD_LETTERS` are forgotten."""
        if letters:
            self._database.write(lambda connection: _store_dead_letters(connection, letters))

    def touch(self, seen: Mapping[str, datetime]) -> None:
        """Note when each agent was last heard of. An earlier time than the known one changes nothing."""
        if seen:
            self._database.write(lambda connection: _touch(connection, seen))

    def purge_events(self, before: datetime) -> int:
        """Forget events that were received before that time, and commands and broadcasts that ended before it; return the number of events.

        Device states stay. An event that is delivered again after it was purged is stored again; states don't change by that.
        """
        purged, more = 0, True
        while more:
            gone, more = self.purge_slice(before)
            purged += gone
        return purged

    def purge_slice(self, before: datetime) -> tuple[int, bool]:
        """A part of `purge_events` that takes some milliseconds; return the number of events, and whether there may be more."""
        oldest = select(events.c.number).where(events.c.received < before).limit(_PURGED_AT_ONCE).scalar_subquery()

        def work(connection: Connection) -> tuple[int, bool]:
            more = self._purge_commands(connection, before)
            more = self._purge_broadcasts(connection, before) or more
            more = self._purge_alerts(connection, before) or more
            gone = connection.execute(delete(events).where(events.c.number.in_(oldest))).rowcount
            return gone, more or gone >= _PURGED_AT_ONCE

        return self._database.write(work)


def _store_events(connection: Connection, batches: Sequence[ReceivedEvents]) -> None:
    offered: dict[str, tuple[ReceivedEvents, Event]] = {}
    for batch in batches:
        for event in batch.events:
            offered.setdefault(str(event.id), (batch, event))
    for part in chunks(list(offered)):
        for known in connection.scalars(select(events.c.id).where(events.c.id.in_(part))):
            del offered[known]
    if not offered:
        return
    heard: dict[str, datetime] = {}
    for batch, _ in offered.values():
        heard[batch.agent] = max(batch.received, heard.get(batch.agent, batch.received))
    _touch(connection, heard)
    areas: dict[str, str] = {}
    for part in chunks(heard):
        found = connection.execute(select(agents.c.agent, agents.c.area).where(agents.c.agent.in_(part)))
        areas.update({row.agent: row.area for row in found})
    connection.execute(
        insert(events),
        [
            {
                "id": event_id,
                "time": event.time,
                "received": batch.received,
                "agent": batch.agent,
                "area": areas.get(batch.agent, ""),
                "device": event.device,
                "kind": event.data.kind,
                "data": event.data.model_dump(mode="json", exclude={"kind"}),
            }
            for event_id, (batch, event) in offered.items()
        ],
    )
    news = [(batch.agent, event) for batch, event in offered.values()]
    merge_states(connection, news)
    merge_results(connection, news)
    merge_receipts(connection, news)
    merge_publicity(connection, [(batch.agent, areas.get(batch.agent, ""), event) for batch, event in offered.values()])
    merge_ledger(connection, [(batch.agent, event, batch.received) for batch, event in offered.values()])


def _store_status(connection: Connection, agent: str, status: AgentStatus, received: datetime) -> None:
    known = read_link(connection, agent)
    if known is None:
        connection.execute(insert(agents).values(agent=agent))
        known = Known()
    verdict = judge(known, status)
    if not status.online and (verdict == "new" or (verdict == "stale" and status.session in known.connections)):
        note_link_loss(connection, agent, status, received)
    if verdict == "stale":
        return
    if status.session not in known.connections or known.connections[status.session] != status.connection:
        note_connection(connection, agent, status)
    if verdict == "same":
        # Delivered again, as a retained message is at every connection: the condition began earlier.
        connection.execute(update(agents).where(agents.c.agent == agent).values(version=status.version))
        return
    connection.execute(
        update(agents)
        .where(agents.c.agent == agent)
        .values(online=status.online, session=status.session, version=status.version, status_received=received)
    )
    # States of the new session may already be here. Those of another one count no more, but may again: a collector that was held up
    # brings an older status after a newer one, and then the newer one once more.
    recent = select(events.c.id).where(events.c.id == states.c.event, events.c.received >= received - _STATES_KEPT)
    connection.execute(
        delete(states).where(states.c.agent == agent, states.c.session != status.session, ~recent.exists())
    )


def _store_inventory(connection: Connection, inventory: Inventory, received: datetime) -> None:
    agent = inventory.agent
    values = {"area": area_of(connection, agent, inventory.area), "config_version": inventory.config_version}
    if connection.execute(update(agents).where(agents.c.agent == agent).values(values)).rowcount == 0:
        connection.execute(insert(agents).values(agent=agent, **values))
    known = {
        row["device"]: dict(row)
        for row in connection.execute(select(devices).where(devices.c.agent == agent)).mappings()
    }
    present: set[str] = set()
    for entry in inventory.devices:
        if entry.id in present:
            continue
        present.add(entry.id)
        row: dict[str, Any] = {
            "agent": agent,
            "device": entry.id,
            "driver": entry.driver,
            "kind": entry.kind,
            "abilities": "".join(f" {ability} " for ability in entry.abilities if ability and " " not in ability),
            "tags": "".join(f" {tag} " for tag in entry.tags),
            "name": entry.name,
            "firmware": entry.firmware,
            "removed": None,
        }
        if entry.id not in known:
            connection.execute(insert(devices).values(row))
        elif row != known[entry.id]:
            connection.execute(
                update(devices).where(devices.c.agent == agent, devices.c.device == entry.id).values(row)
            )
    gone = [device for device, row in known.items() if device not in present and row["removed"] is None]
    for part in chunks(gone):
        connection.execute(
            update(devices).where(devices.c.agent == agent, devices.c.device.in_(part)).values(removed=received)
        )
    if len(known) > MAX_REMOVED:
        _forget_removed(connection, agent)


def _forget_removed(connection: Connection, agent: str) -> None:
    mine = (devices.c.agent == agent) & devices.c.removed.is_not(None)
    order = (devices.c.removed.desc(), devices.c.device)
    late = connection.scalars(select(devices.c.device).where(mine).order_by(*order).offset(MAX_REMOVED)).all()
    for part in chunks(late):
        connection.execute(delete(devices).where(mine, devices.c.device.in_(part)))


def _store_dead_letters(connection: Connection, letters: Sequence[DeadLetter]) -> None:
    rows = [
        {
            "agent": letter.agent,
            "topic": letter.topic,
            "received": letter.received,
            "reason": letter.reason,
            "content": letter.content[:MAX_DEAD_CONTENT],
        }
        for letter in letters[-MAX_DEAD_LETTERS:]
    ]
    connection.execute(insert(dead_letters), rows)
    newest = connection.scalar(select(func.max(dead_letters.c.number))) or 0
    connection.execute(delete(dead_letters).where(dead_letters.c.number <= newest - MAX_DEAD_LETTERS))


_SEEN_UPDATE = (
    update(agents)
    .where(
        agents.c.agent == bindparam("key"), or_(agents.c.last_seen.is_(None), agents.c.last_seen < bindparam("seen"))
    )
    .values(last_seen=bindparam("seen"))
)


def _touch(connection: Connection, seen: Mapping[str, datetime]) -> None:
    known: set[str] = set()
    for part in chunks(seen):
        known.update(connection.scalars(select(agents.c.agent).where(agents.c.agent.in_(part))))
    added = [{"agent": agent, "last_seen": time} for agent, time in seen.items() if agent not in known]
    if added:
        connection.execute(insert(agents), added)
    if known:
        connection.execute(_SEEN_UPDATE, [{"key": agent, "seen": seen[agent]} for agent in sorted(known)])
