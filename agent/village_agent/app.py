"""Wires the agent together: one `TaskGroup` from start to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

from village_agent.clock.system import boot_id, synchronised_ns
from village_agent.clock.timekeeper import Timekeeper
from village_agent.commands.addressing import Addressee
from village_agent.commands.runtime import CommandRuntime
from village_agent.config import Settings
from village_agent.disk import KEPT_BYTES, DiskThread
from village_agent.door.runtime import DoorRuntime
from village_agent.health import feed_watchdog, report_disk, report_losses, report_self
from village_agent.identity.keyring import KeyRing, PinnedKey
from village_agent.loudspeaker.cache import Source
from village_agent.loudspeaker.calendar import Calendar
from village_agent.loudspeaker.stations import Stations
from village_agent.outbox.outbox import Outbox, OutboxUnavailable
from village_agent.own_state import OwnState, watch_clock
from village_agent.pace import Pace
from village_agent.presence import Presence
from village_agent.recorder import Recorder
from village_agent.report import Hub
from village_agent.roster import Roster
from village_agent.states import StateTable
from village_agent.steadiness import Holds
from village_agent.supervisor import Supervisor
from village_agent.uplink import Uplink
from village_wire import __version__
from village_wire.address import BrokerAddress, SessionSettings, Subscription
from village_wire.events import AgentStarted, Alarm
from village_wire.incoming import Received
from village_wire.outgoing import Publication
from village_wire.session import Session
from village_wire.systemd import Notifier
from village_wire.topics import AgentTopic, agent_subscriptions

if TYPE_CHECKING:
    from village_agent.identity.folder import Identity
    from village_agent.identity.renewal import Renewal

_log = logging.getLogger(__name__)

#: What is under way when the agent is stopped may go on for so long.
GRACE_SECONDS = 5.0
#: Never: the broker keeps commands for an agent that is away, and each has an expiry of its own. With any other value mosquitto 2.0.11
#: reads freed memory, and ends, some time after it was told to read its rules anew while the agent was away.
SESSION_EXPIRY_SECONDS = 0xFFFF_FFFF
#: Part of the configured space that undated readings and events may fill; as much again is left for their database's log.
UNDATED_SHARE = 10


class Agent:
    """One run of the agent."""

    def __init__(self, settings: Settings, roster: Roster) -> None:
        """The state directory exists and is locked by the caller."""
        self._settings = settings
        self._roster = roster
        self._agent = settings.agent_id
        self.session_id = uuid4().hex
        self._disk = DiskThread()
        self._keys = self._make_keys(settings)
        self._timekeeper = Timekeeper(
            self._agent,
            self._keys,
            self._publish,
            session=self.session_id,
            trust_system=settings.agent.trust_system_clock,
        )
        outbox = settings.outbox
        self._outbox = Outbox(
            settings.state_dir / "outbox.db",
            outbox.max_bytes - 2 * (outbox.max_bytes // UNDATED_SHARE) - 3 * KEPT_BYTES,
            self._disk,
            outbox.write_seconds,
            self._timekeeper.now_ns,
        )
        self._recorder = Recorder(
            self._timekeeper.clock,
            self._outbox,
            settings.state_dir / "undated.db",
            boot_id(),
            outbox.max_bytes // UNDATED_SHARE,
            self._disk,
        )
        self._hub = Hub(
            self._agent,
            self.session_id,
            self._recorder,
            StateTable(Holds(settings.agent.fault_seconds, settings.agent.recovery_seconds)),
            self._timekeeper.now_ns,
            self._timekeeper.dated,
        )
        self._own_state = OwnState(self._hub)
        self._supervisor = Supervisor(roster, self._hub)
        self._doors = DoorRuntime(settings.doors, roster, self._hub)
        self._addressee = Addressee(self._agent, settings.area, self._keys)
        self._presence = Presence(
            self.session_id, settings.version, self._addressee, roster, self._timekeeper, self._publish
        )
        self._loudspeakers = Stations(
            settings.loudspeakers,
            settings.state_dir,
            self._disk,
            roster,
            self._hub,
            self._timekeeper,
            Source(settings.api, settings.ca_file, self._judges_time),
        )
        self._calendar = Calendar(
            self._addressee,
            settings.state_dir,
            self._disk,
            self._loudspeakers,
            self._hub,
            self._timekeeper,
            self._own_state,
        )
        self._commands = CommandRuntime(
            self._addressee,
            settings.state_dir / "commands.db",
            self._disk,
            self._outbox,
            roster,
            self._hub,
            self._timekeeper,
            self._loudspeakers,
            settings.ca_file,
            self._judges_time,
        )
        self._session = Session(self._session_settings(settings.address), self._subscriptions(), self._on_message)
        self._renewal = self._make_renewal(settings)
        pace = Pace(outbox.send_seconds, outbox.drain_bytes_per_second, outbox.drain_spread_seconds)
        self._uplink = Uplink(self._agent, self._outbox, self._session, pace=pace)
        self._ack_topic = str(AgentTopic(self._agent, "ack"))
        self._status_topic = str(AgentTopic(self._agent, "status"))
        self._keys_topic = str(AgentTopic(self._agent, "keys"))
        self._schedule_topic = str(AgentTopic(self._agent, "schedule"))
        self._clock_topic = str(AgentTopic(self._agent, "clock"))
        self._outbox.on_condition = partial(report_disk, self._own_state)
        self._timekeeper.on_change = self._clock_changed
        self._recorder.on_restored = self._timekeeper.restored
        self._hub.on_card = self._doors.on_card
        self._hub.on_devices_changed = self._presence.devices_changed

    def _clock_changed(self) -> None:
        self._recorder.clock_changed()
        self._loudspeakers.clock_changed()
        self._calendar.clock_changed()

    def _make_keys(self, settings: Settings) -> PinnedKey | KeyRing:
        identity = settings.identity
        if identity is not None:
            from village_agent.identity.folder import write_command_keys

            return KeyRing(
                identity.command_keys,
                identity.authority,
                lambda document: self._disk.run(partial(write_command_keys, settings.state_dir, document)),
                self._on_refused_keys,
            )
        if settings.command_key is None:
            raise ValueError("settings have either an identity or a command key")
        return PinnedKey(settings.command_key)

    def _make_renewal(self, settings: Settings) -> Renewal | None:
        if settings.identity is None:
            return None
        from village_agent.identity.renewal import Renewal

        tell = partial(self._own_state.set, "certificate")
        return Renewal(settings.identity, settings.state_dir, self._disk, self._timekeeper, tell, self._on_renewed)

    def _judges_time(self) -> bool:
        """Whether this box has a clock by which certificates can be judged; asks the system."""
        return self._settings.agent.trust_system_clock and synchronised_ns() is not None

    def _session_settings(self, address: BrokerAddress) -> SessionSettings:
        return SessionSettings(
            address,
            f"agent-{self._agent}",
            self._presence.next_will,
            self._settings.collector.keep_alive_seconds,
            SESSION_EXPIRY_SECONDS,
            self._judges_time,
        )

    def _subscriptions(self) -> list[Subscription]:
        return [Subscription(topic, retained=False) for topic in agent_subscriptions(self._agent, self._addressee.area)]

    def _on_renewed(self, identity: Identity) -> None:
        """Connect anew with the new certificate, and to where the collector says that this agent belongs."""
        if identity.record.area != self._addressee.area:
            _log.warning(
                "the collector moves this agent from area %s to %s", self._addressee.area, identity.record.area
            )
            if self._settings.agent.area is not None:
                _log.error("[agent] area says otherwise: remove it before the next start, which will refuse it")
            self._addressee.area = identity.record.area
        self._session.replace(self._session_settings(identity.address), self._subscriptions())

    def _on_refused_keys(self, reason: str) -> None:
        self._hub.post(
            None, Alarm(code="bad_command", active=True, evidence=f"document of command keys: {reason}"[:1000])
        )

    async def run(self, stop: asyncio.Event, notifier: Notifier) -> None:
        """Serve until `stop` is set; then finish what is under way within the grace, say goodbye and close."""
        settings = self._settings
        self._hub.post(None, AgentStarted(session=self.session_id, version=__version__))
        await self._calendar.load()
        writer = asyncio.create_task(self._write(), name="outbox")
        try:
            async with asyncio.TaskGroup() as group:
                work = {
                    "supervisor": self._supervisor.run(),
                    "doors": self._doors.run(),
                    "loudspeakers": self._loudspeakers.run(),
                    "calendar": self._calendar.run(),
                    "clock": self._timekeeper.run(),
                    "commands": self._commands.run(),
                    "uplink": self._uplink.run(),
                    "session": self._session.run(self._announce),
                    "inventory": self._presence.tell_changes(self._supervisor.refresh),
                    "greeting": self._presence.greet_again(),
                    "health": report_self(self._hub, self._outbox, self._supervisor, self._session.traffic),
                    "losses": report_losses(self._outbox, self._hub),
                    "clock watch": watch_clock(
                        self._own_state, self._timekeeper.known, lambda: self._session.connected
                    ),
                    "command keys": self._keys.run(),
                    "watchdog": feed_watchdog(notifier, self._disk, self._supervisor),
                }
                if self._renewal is not None:
                    work["renewal"] = self._renewal.run()
                tasks = [group.create_task(job, name=name) for name, job in work.items()]
                _log.info(
                    "agent %s started with %d drivers, session %s", self._agent, len(settings.devices), self.session_id
                )
                notifier.ready(f"{len(settings.devices)} drivers")
                await self._stopped(stop, writer)
                notifier.stopping()
                await self._finish()
                for task in tasks:
                    task.cancel()
        finally:
            await self._loudspeakers.close()
            await self._calendar.close()
            writer.cancel()
            await asyncio.wait([writer])
            await self._commands.close()
            await self._recorder.close()
            await self._outbox.close()
            await self._disk.close()
            _log.info("agent %s stopped", self._agent)

    async def _stopped(self, stop: asyncio.Event, writer: asyncio.Task[None]) -> None:
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            await asyncio.wait([stopping, writer], return_when=asyncio.FIRST_COMPLETED)
            if writer.done():
                # A fault of the program; systemd starts us again.
                writer.result()
        finally:
            stopping.cancel()

    async def _finish(self) -> None:
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await self._commands.drain()
        except TimeoutError:
            _log.warning("commands are still under way after %.0f s; they end without a result", GRACE_SECONDS)
        await self._presence.leave()

    def _on_message(self, message: Received) -> None:
        if message.topic == self._ack_topic:
            self._uplink.on_ack(message.payload)
        elif message.topic == self._status_topic:
            self._presence.on_status(message.payload)
        elif message.topic == self._clock_topic:
            self._timekeeper.on_answer(message.payload)
        elif message.topic == self._keys_topic:
            self._keys.on_message(message.payload)
        elif message.topic == self._schedule_topic:
            self._calendar.on_message(message.payload)
        elif not self._loudspeakers.on_message(message):
            self._commands.on_message(message)

    async def _write(self) -> None:
        """Write both files until cancelled; each is closed by whoever started this."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._outbox.run(), name="outbox")
            group.create_task(self._recorder.run(), name="recorder")

    async def _publish(self, message: Publication) -> None:
        await self._session.publish(message)

    async def _announce(self) -> None:
        self._timekeeper.connected()
        # Whoever sees us online may rely on the events of our start, even if we are killed now.
        with contextlib.suppress(OutboxUnavailable):
            await self._recorder.add_events([])
        await self._presence.greet()
        self._uplink.connected()
