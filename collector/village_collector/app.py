"""Wires the collector: broker, session, ingest, stores, commands and API, in one `TaskGroup`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from village_collector.api.app import create_app
from village_collector.api.deps import Deps
from village_collector.api_certificate import ApiCertificate, api_names, public_name
from village_collector.arrivals import watch_arrivals
from village_collector.audit import Audit
from village_collector.broadcasts.audio import AudioFiles
from village_collector.broadcasts.resending import Resender
from village_collector.broadcasts.service import BroadcastService
from village_collector.broker import EmbeddedBroker
from village_collector.broker_certificate import BrokerCertificate, name_at_broker, own_address, shows_own
from village_collector.broker_link import BrokerLink
from village_collector.buffers import Buffers
from village_collector.cap.feeds import FeedWatch
from village_collector.cap.service import AlertService
from village_collector.cap.trusted import expected_feeds, trusted_signers
from village_collector.commands import CommandService
from village_collector.config import Settings, read_secret
from village_collector.data_dir import (
    load_collector_id,
    remove_addresses,
    write_addresses,
)
from village_collector.ingest import Ingest, subscriptions
from village_collector.live.recording import Recorder
from village_collector.live.service import LiveService
from village_collector.mosquitto.keeper import Keeper
from village_collector.people.service import People
from village_collector.ports import Problem, StoreUnavailable, TelemetryStore
from village_collector.retention import keep_events
from village_collector.schedules.service import ScheduleService
from village_collector.sections import EMBEDDED
from village_collector.server import ApiServer, listen, url_of
from village_collector.stores.control import ControlStore
from village_collector.stores.sqlite import SqliteStore
from village_collector.time_service import TimeService
from village_collector.time_service import subscription as time_subscription
from village_collector.trust.admission import Admission
from village_collector.trust.authority import load_authority
from village_collector.trust.enrolment import Addresses, Enrolment
from village_collector.trust.key_files import load_audit_key
from village_collector.trust.live_keys import KeysToAgents, LiveKeys
from village_wire.address import SessionSettings
from village_wire.incoming import Received
from village_wire.session import Session
from village_wire.systemd import Notifier

_log = logging.getLogger(__name__)

#: What is in hand may be stored, acknowledged and answered for so long; what is not comes again.
GRACE_SECONDS = 3.0
_CONNECT_SECONDS = 2.0
KEEP_ALIVE_SECONDS = 30


def control_store(settings: Settings) -> ControlStore:
    """Return the configured store, not opened yet.

    Raises:
        StoreUnavailable: the URL is none.
        InvalidSettings: the file with the password can't be read.
    """
    file = settings.control.password_file
    password = read_secret(file, "control.password_file") if file else None
    try:
        return ControlStore(settings.control.url or f"sqlite:///{settings.collector.data_dir / 'control.db'}", password)
    except ValueError as error:
        raise StoreUnavailable(f"control.url: {error}") from None


def read_influx_token(settings: Settings) -> str:
    """Return the token of `[telemetry]` as it is in its file now; raises `InvalidSettings`."""
    return read_secret(settings.telemetry.token_file or Path(), "telemetry.token_file")


def telemetry_store(settings: Settings) -> TelemetryStore:
    """Return the configured store, not opened yet; raises `InvalidSettings` if the token can't be read."""
    telemetry = settings.telemetry
    if telemetry.store == "influx":
        # Costs 41 MB and 0.4 s, so only those who use it pay.
        from village_collector.stores.influx import InfluxAddress, InfluxStore

        read_token = partial(read_influx_token, settings)
        place = (telemetry.url, telemetry.organisation, telemetry.bucket, read_token(), telemetry.downsampled_bucket)
        return InfluxStore(InfluxAddress(*place), read_token)
    return SqliteStore(settings.collector.data_dir / "telemetry.db", telemetry.retention_days)


async def serve(settings: Settings, stop: asyncio.Event, announce: Callable[[Mapping[str, str]], None]) -> None:
    """Run the collector until `stop`; `announce` is told where it listens, as in `addresses.json`. `data_dir` is locked by the caller.

    Raises:
        InvalidSettings, BrokerFailed, ListenFailed, DataDirProblem, StoreUnavailable: it can't start.
    """
    folder = settings.collector.data_dir
    audit_key = await asyncio.to_thread(load_audit_key, folder, settings.collector.keys_dir)
    signers = await asyncio.to_thread(trusted_signers, settings.cap)
    client_id = await asyncio.to_thread(load_collector_id, folder)
    authority = await asyncio.to_thread(
        load_authority, settings.collector.keys_folder, make=settings.collector.keys_dir is None
    )
    _log.info("the authority's certificate is SHA256:%s; `village login` shows the same", authority.shown)
    keys = LiveKeys(folder, settings.collector.keys_dir, authority)
    await asyncio.to_thread(keys.load)
    certificate = ApiCertificate(settings, authority) if settings.api.tls else None
    context = await asyncio.to_thread(certificate.load) if certificate else None
    control = await asyncio.to_thread(control_store, settings)
    telemetry = await asyncio.to_thread(telemetry_store, settings)
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(listen(settings.api.host, settings.api.port))
        await asyncio.to_thread(control.open)
        stack.push_async_callback(asyncio.to_thread, control.close)
        admission = Admission(control)
        await admission.load()
        audit = Audit(control, audit_key, folder / "audit_seal")
        stack.push_async_callback(audit.finish)
        stack.push_async_callback(telemetry.close)
        broker = await stack.enter_async_context(_embedded_broker(settings))
        address = await asyncio.to_thread(own_address, settings, broker.url if broker else settings.broker.url)
        identity = None
        if shows_own(settings.broker):
            identity = BrokerCertificate(folder, authority, name_at_broker(client_id), control.record_certificate)
            await asyncio.to_thread(identity.load)
        ingest: Ingest
        clock: TimeService

        def receive(message: Received) -> None:
            if not admission.admits(message.topic):
                return
            if message.topic.endswith("/time"):
                clock.on_message(message)
            else:
                ingest.on_message(message)

        session_settings = SessionSettings(address, client_id, keep_alive=KEEP_ALIVE_SECONDS)
        shared = authority.share_group
        wanted = (*subscriptions(shared), time_subscription(shared))
        session = Session(session_settings, wanted, receive)
        keeper = None
        if settings.broker.files_dir is not None:
            # What the broker kept of agents is given only to those whom its rules name when they subscribe.
            admitted = partial(session.replace, session_settings, wanted)
            keeper = Keeper(settings, authority, control, name_at_broker(client_id), address, admitted)
            await keeper.prepare()
        schedules = ScheduleService(control, keys.signer, session.publish)
        clock = TimeService(
            keys.signer, session.publish, control.store_events, document=keys.document, has_schedules=schedules.has
        )
        telling = KeysToAgents(keys.document, control, session.publish)
        commands = CommandService(control, keys.signer, session.publish)
        ingest = Ingest(telemetry, control, session.send, commands.results_arrived)
        link = BrokerLink(session, ingest.heard_at)
        audio = AudioFiles(
            folder / "audio",
            lambda: control.audio_in_use(datetime.now(UTC)) | control.scheduled_audio(),
            shared=control if control.shared else None,
        )
        broadcasts = BroadcastService(
            control, keys.signer, session.publish, lambda: commands.next_arrival, audio.find, doubt=link.doubt
        )

        alerts = AlertService(control, broadcasts, audio, audit, signers, settings.cap.languages)
        feeds = FeedWatch(control, commands, audit, expected_feeds(settings.cap))

        recorder = Recorder(folder / "live")
        live = LiveService(control, broadcasts, session.send, recorder, client_id, keys.signers, audit)
        await live.prepare()

        def problems() -> Sequence[Problem]:
            gone = broker.problem if broker else None
            late = keeper.problems() if keeper else ()
            return (*((gone,) if gone else link.problems()), *late, *ingest.problems(), *feeds.problems())

        public_url = settings.api.public_url or url_of(listener, tls=settings.api.tls, name=public_name(settings.api))
        enrolment = Enrolment(
            control,
            authority,
            audit,
            lambda: keys.ring.signed,
            Addresses(settings.broker.public_url or address.url, public_url),
            changed=admission.refresh,
        )
        deps = Deps(
            control,
            telemetry,
            commands,
            problems,
            public_url,
            doubt=link.doubt,
            buffers=Buffers(telemetry),
            people=People(control),
            audit=audit,
            enrolment=enrolment,
            broadcasts=broadcasts,
            audio=audio,
            live=live,
            schedules=schedules,
            alerts=alerts,
            hosts=frozenset(api_names(settings.api)),
        )
        server = ApiServer(create_app(deps), listener, context)
        addresses = {"broker": address.url, "api": url_of(listener, tls=settings.api.tls)}
        await asyncio.to_thread(write_addresses, folder, addresses)
        stack.push_async_callback(asyncio.to_thread, remove_addresses, folder)
        notifier = Notifier()
        stack.callback(notifier.close)
        async with asyncio.TaskGroup() as group:
            ending = [
                group.create_task(server.run_here(), name="api"),
                group.create_task(ingest.run(), name="ingest"),
            ]
            endless = [
                group.create_task(session.run(_connected), name="session"),
                group.create_task(link.watch(), name="broker link"),
                group.create_task(clock.run(), name="time"),
                group.create_task(audit.run(), name="audit seals"),
                group.create_task(keys.run(telling.changed), name="command keys"),
                group.create_task(telling.run(), name="command keys to agents"),
                group.create_task(admission.run(), name="admission"),
                group.create_task(schedules.run(), name="schedules"),
                group.create_task(live.run(), name="recordings of live voice"),
                group.create_task(Resender(control, broadcasts).run(), name="broadcasts to agents that were away"),
                group.create_task(alerts.run(), name="alerts"),
                group.create_task(feeds.run(), name="feeds of alerts"),
                group.create_task(_feed_watchdog(notifier, problems), name="watchdog"),
            ]
            endless.append(
                group.create_task(keep_events(control, settings.control.events_days), name="retention of events")
            )
            if identity is not None:
                endless.append(group.create_task(identity.keep(), name="broker certificate"))
            if keeper is not None:
                endless.append(group.create_task(keeper.run(), name="broker files"))
            if certificate is not None:
                endless.append(group.create_task(certificate.keep(server.use), name="API certificate"))
            if control.shared:
                endless.append(group.create_task(watch_arrivals(control, commands.results_arrived), name="arrivals"))
                endless.append(group.create_task(audio.run(), name="shared sound files"))
            if broker is not None:
                endless.append(group.create_task(broker.watch(), name="broker"))
            if isinstance(telemetry, SqliteStore):
                endless.append(group.create_task(telemetry.keep_retention(), name="retention"))
            await server.serving.wait()
            # A broker that is away is waited for no longer: the API shows that it is.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CONNECT_SECONDS):
                    await session.wait_connected()
            announce(addresses)
            notifier.ready(f"API at {addresses['api']}, broker at {addresses['broker']}")
            await stop.wait()
            _log.info("stopping")
            notifier.stopping()
            server.stop()
            ingest.stop()
            _, late = await asyncio.wait(ending, timeout=GRACE_SECONDS)
            for task in (*late, *endless):
                task.cancel()


async def _connected() -> None:
    _log.info("takes messages from the broker")


@asynccontextmanager
async def _embedded_broker(settings: Settings) -> AsyncIterator[EmbeddedBroker | None]:
    if settings.broker.url != EMBEDDED:
        yield None
        return
    broker = EmbeddedBroker(settings.collector.data_dir, settings.broker.port)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


async def _feed_watchdog(notifier: Notifier, problems: Callable[[], Sequence[Problem]]) -> None:
    period = notifier.watchdog_seconds
    while period is not None:
        notifier.alive("; ".join(problem.text for problem in problems()) or "ok")
        await asyncio.sleep(period / 3)
