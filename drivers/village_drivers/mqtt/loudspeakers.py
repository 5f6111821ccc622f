"""All loudspeakers of one broker: those of the configuration, and notify entities that the configuration lets speak."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from fnmatch import fnmatchcase

from village_drivers.kit import BrokerPort, Device, DriverError, Message, NotConnected, Report
from village_drivers.mqtt.dialects import Dialect, Hermes, Notify, Order, Topics
from village_drivers.mqtt.entities import DeviceInfo, Entity
from village_drivers.mqtt.hermes_player import HermesPlayer
from village_drivers.mqtt.loudspeaker_tables import LoudspeakerTable, SpeaksTable
from village_drivers.mqtt.manners import Manners
from village_drivers.mqtt.speaker import Speaker

#: Unchanged readings are repeated this often, so that their absence means something.
REPEAT_SECONDS = 300.0
#: One for each of the loudspeakers that a broker may have.
MAX_POSTED = 200
#: How long the loudspeakers may hold up the driver's end.
_HUSH_SECONDS = 2.0


class _Link:
    """See `turns.Link`."""

    def __init__(self, desk: Loudspeakers, name: str) -> None:
        self._desk = desk
        self._name = name

    async def send(self, order: Order) -> bool:
        return await self._desk.send(order)

    def post(self, order: Order) -> None:
        self._desk.post(order)

    def changed(self) -> None:
        self._desk.tell(self._name)


class Loudspeakers:
    """Every message of the broker is given to `hear`, the beginning and end of a connection to `connected` and `lost`."""

    def __init__(self, tables: Iterable[LoudspeakerTable], speaks: Iterable[SpeaksTable], lost: DriverError) -> None:
        self._speaks = tuple(speaks)
        self._own: dict[str, Speaker] = {}
        self._names: dict[str, str] = {}
        self._listeners: dict[str, list[Speaker]] = {}
        for table in tables:
            speaker = _speaker(table, _Link(self, table.id))
            self._own[table.id], self._names[table.id] = speaker, table.name
            for topic in speaker.dialect.topics:
                self._listeners.setdefault(topic, []).append(speaker)
        #: Those of announced entities, by the entity's key; kept while it says the same.
        self._announced: dict[str, tuple[Entity, Speaker]] = {}
        self._lost = lost
        self._port: BrokerPort | None = None
        #: What is to be sent as soon as possible; an older one than these silences nothing any more.
        self._posted: deque[Order] = deque(maxlen=MAX_POSTED)
        self._anything = asyncio.Event()
        self._report: Report | None = None
        self._told: dict[str, tuple[tuple[bool, float], float]] = {}

    def devices(self) -> dict[str, Device]:
        """Those of the configuration, which are there whether or not they have been heard."""
        return {name: Device("loudspeaker", speaker, self._names[name]) for name, speaker in self._own.items()}

    @property
    def topics(self) -> tuple[str, ...]:
        """What to subscribe to for those of the configuration."""
        return tuple(self._listeners)

    def table_for(self, info: DeviceInfo) -> SpeaksTable | None:
        """Return the table that lets an announced device speak, None if it shall not."""
        words = (info.name, info.name.lower().replace(" ", "-"), *info.identifiers)
        return next((table for table in self._speaks if any(fnmatchcase(word, table.match) for word in words)), None)

    def why_silent(self, entity: Entity) -> str:
        """Return why an announced notify entity is not used as a loudspeaker, empty if it is."""
        table = self.table_for(entity.info)
        if table is None:
            return "a notify entity; it is used where a table [[devices.speaks]] names it"
        if not (entity.availability or table.without_feedback):
            return "nothing would tell whether it is there; set without_feedback"
        return ""

    def of_entity(self, name: str, entity: Entity, online: Callable[[], bool | None]) -> Speaker | None:
        """Return the loudspeaker of an announced notify entity, None if it may not be used as one."""
        table = self.table_for(entity.info)
        if entity.say is None or table is None or self.why_silent(entity):
            return None
        known = self._announced.get(entity.key)
        if known is not None and known[0] == entity and known[1].name == name:
            return known[1]
        manners = Manners(
            100.0,
            table.seconds_per_character,
            table.max_text_bytes,
            bool(entity.availability),
            table.without_feedback,
        )
        speaker = Speaker(name, Notify(entity.command_topic, entity.say), manners, _Link(self, name), online)
        self._announced[entity.key] = (entity, speaker)
        return speaker

    def keep(self, keys: set[str]) -> None:
        """Forget the loudspeakers of entities other than these; what they speak ends."""
        for key in [key for key in self._announced if key not in keys]:
            self._announced.pop(key)[1].lost(NotConnected("device_offline", "it is not announced any more"))

    def connected(self, port: BrokerPort, report: Report) -> None:
        """A connection has begun."""
        self._port, self._report = port, report
        self._told.clear()
        for name in self._own:
            self.tell(name)

    def lost(self, error: DriverError) -> None:
        """The connection is gone."""
        self._lost = error
        self._port = self._report = None
        self._posted.clear()
        for speaker in self._all():
            speaker.lost(error)

    async def hush(self, port: BrokerPort) -> None:
        """Silence what sounds before the connection is given up: nobody will ask for proof any more."""
        orders = [order for speaker in self._all() if (order := speaker.last_words()) is not None]
        with suppress(DriverError, TimeoutError):
            async with asyncio.timeout(_HUSH_SECONDS):
                for order in orders:
                    await port.publish(order.topic, order.payload)

    def hear(self, message: Message) -> None:
        """Take in one message that may be a loudspeaker's. Never raises."""
        for speaker in self._listeners.get(message.topic, ()):
            sign = speaker.dialect.hear(message)
            if sign is not None:
                speaker.hear(sign)
        for _, speaker in self._announced.values():
            speaker.wake()

    async def send(self, order: Order) -> bool:
        """See `turns.Link`."""
        if self._port is None:
            raise self._lost
        await self._flush(self._port)
        # Never retained: the broker would have it spoken again after every reconnection of the device.
        return await self._port.publish(order.topic, order.payload)

    def post(self, order: Order) -> None:
        """See `turns.Link`."""
        if self._port is not None:
            self._posted.append(order)
            self._anything.set()

    async def run(self, port: BrokerPort) -> None:
        """Send what is posted; give it to a task that lives as long as the connection."""
        while True:
            await self._anything.wait()
            self._anything.clear()
            await self._flush(port)

    def tell(self, name: str) -> None:
        """Report the condition of a loudspeaker of the configuration, and whether it is busy where it tells that."""
        speaker = self._own.get(name)
        if self._report is None or speaker is None:
            return
        self._report.state(name, *speaker.condition())
        if speaker.dialect.tells_state and speaker.busy is not None:
            now = asyncio.get_running_loop().time()
            present, last = (speaker.busy, speaker.volume), self._told.get(name)
            if last is None or last[0] != present or now - last[1] >= REPEAT_SECONDS:
                self._told[name] = (present, now)
                self._report.reading(name, "loudspeaker", {"busy": present[0], "volume_percent": present[1]})

    def tick(self) -> None:
        """Let time pass; call it every few seconds."""
        for name in self._own:
            self.tell(name)

    async def _flush(self, port: BrokerPort) -> None:
        while self._posted:
            order = self._posted.popleft()
            await port.publish(order.topic, order.payload)

    def _all(self) -> list[Speaker]:
        return [*self._own.values(), *(speaker for _, speaker in self._announced.values())]


def _speaker(table: LoudspeakerTable, link: _Link) -> Speaker:
    manners = Manners(
        table.volume,
        table.seconds_per_character,
        table.max_text_bytes,
        bool(table.availability_topic),
        table.without_feedback,
    )
    if table.protocol == "hermes":
        return HermesPlayer(table.id, Hermes(table), manners, link, own_voice=table.own_voice)
    dialect: Dialect = Topics(table)
    return Speaker(table.id, dialect, manners, link)
