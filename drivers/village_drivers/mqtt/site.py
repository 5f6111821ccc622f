"""All devices of a broker as a state machine: messages and times in, reports out. No I/O and no clock."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from village_drivers.kit import Message, Report
from village_drivers.mqtt.conditions import Conditions
from village_drivers.mqtt.discovery import parse_discovery, parse_topic
from village_drivers.mqtt.entities import DeviceInfo, Entity, Omitted
from village_drivers.mqtt.keys import InvalidDiscovery
from village_drivers.mqtt.readings import Readings
from village_drivers.mqtt.templates import read_payload
from village_drivers.mqtt.units import Announced, Unit, device_ids, slug

_log = logging.getLogger(__name__)

#: State messages of large Zigbee devices stay below 4 KB.
MAX_STATE = 64 * 1024
#: Discovery topics that are remembered; a hundred devices announce about 2,000.
MAX_SOURCES = 5000
#: Topics that are listened to.
MAX_TOPICS = 5000
#: Devices that announce themselves only when asked do it within seconds of our connection.
GRACE_SECONDS = 30.0


@dataclass(slots=True)
class _Source:
    """One discovery topic: what was last announced there."""

    digest: bytes
    identifier: str
    keys: frozenset[str]


@dataclass(frozen=True, slots=True)
class Changes:
    """What a message asks the driver to do."""

    subscribe: tuple[str, ...] = ()
    devices_changed: bool = False


@dataclass(slots=True)
class _Topics:
    """Who listens to which topic."""

    listeners: dict[str, set[str]] = field(default_factory=dict)
    subscribed: set[str] = field(default_factory=set)


class Site:
    """What is known of a broker's devices. `on_state` hears of every live state of a lock, siren or switch, by entity key."""

    def __init__(
        self,
        prefix: str,
        include: tuple[str, ...],
        max_devices: int,
        on_state: Callable[[str, bool], None],
        silent: Callable[[Entity], str] = lambda _: "no table [[devices.speaks]] names it",
    ) -> None:
        """`silent` returns why a notify entity is not used as a loudspeaker, empty if it is."""
        self._silent = silent
        self._prefix = prefix
        self._include = include
        self._max_devices = max_devices
        self._sources: dict[str, _Source] = {}
        self._announced: dict[str, Announced] = {}
        self._topics = _Topics()
        self._stale: set[str] = set()
        self._stale_until = 0.0
        self._units: dict[str, Unit] = {}
        self._units_of: dict[str, list[str]] = {}
        self._warned: set[str] = set()
        self.conditions = Conditions()
        self.readings = Readings(on_state)

    @property
    def units(self) -> Mapping[str, Unit]:
        """The devices by id."""
        return self._units

    def connected(self, now: float) -> None:
        """Forget what only the old connection knew. What is not announced again within `GRACE_SECONDS` is dropped by `tick`."""
        self._topics.subscribed.clear()
        self._stale = set(self._sources)
        self._stale_until = now + GRACE_SECONDS
        self.conditions.connected(now)
        self.readings.connected()

    def receive(self, message: Message, now: float, report: Report) -> Changes:
        """Take in one message. Never raises, whatever it holds."""
        topic = parse_topic(self._prefix, message.topic)
        if topic is None:
            self._state(message, now, report)
            return Changes()
        self._stale.discard(message.topic)
        if not message.payload:
            return self._rebuild(now, report) if self._drop(message.topic) else Changes()
        digest = hashlib.blake2b(message.payload, digest_size=16).digest()
        known = self._sources.get(message.topic)
        if known is not None and known.digest == digest:
            return self._listen(known.identifier)
        try:
            found = parse_discovery(topic, message.payload)
        except InvalidDiscovery as error:
            _log.debug("%s: %s", message.topic, error)
            return Changes()
        if known is not None:
            self._drop(message.topic)
        if found and self._accept(found[0].info):
            self._add(message.topic, digest, found)
        return self._rebuild(now, report, found[0].info.identifier if found else "")

    def tick(self, now: float, report: Report) -> Changes:
        """Let time pass: expire what is silent, drop what was not announced again. Call it every few seconds."""
        dropped = False
        if self._stale and now >= self._stale_until:
            for topic in list(self._stale):
                dropped = self._drop(topic) or dropped
            self._stale.clear()
        for name, unit in self._units.items():
            if any(entity.expire_after for entity in unit.entities):
                self.conditions.tell(name, unit, now, report)
        return self._rebuild(now, report) if dropped else Changes()

    def _state(self, message: Message, now: float, report: Report) -> None:
        listeners = self._topics.listeners.get(message.topic)
        if not listeners or len(message.payload) > MAX_STATE:
            return
        payload = read_payload(message.payload)
        for identifier in listeners:
            for name in self._units_of.get(identifier, ()):
                unit = self._units[name]
                self.conditions.hear(unit, message, payload, now)
                self.readings.hear(name, unit, message, payload, now, report)
                self.conditions.alarms(name, self.readings.active_alarms(name))
                self.conditions.tell(name, unit, now, report)

    def _accept(self, info: DeviceInfo) -> bool:
        if info.identifier in self._announced:
            return len(self._sources) < MAX_SOURCES
        if info.name and not self._included(info):
            return False
        if len(self._announced) >= self._max_devices or len(self._sources) >= MAX_SOURCES:
            self._warn_once(
                "more devices announce themselves than max_devices = %d; the others are ignored", self._max_devices
            )
            return False
        return True

    def _included(self, info: DeviceInfo) -> bool:
        words = (info.name, slug(info.name), *info.identifiers)
        return any(fnmatchcase(word, pattern) for word in words for pattern in self._include)

    def _add(self, topic: str, digest: bytes, found: list[Entity | Omitted]) -> None:
        info = found[0].info
        block = self._announced.setdefault(info.identifier, Announced(info))
        for item in found:
            reason = self._silent(item) if isinstance(item, Entity) and item.role == "speaker" else ""
            if reason:
                block.omitted[item.key] = Omitted(item.key, item.name, item.info, reason)
            elif isinstance(item, Entity):
                block.entities[item.key] = item
            elif isinstance(item, Omitted):
                block.omitted[item.key] = item
                _log.debug("%s of %s is left out: %s", item.name, info.name or info.identifier, item.reason)
        self._sources[topic] = _Source(digest, info.identifier, frozenset(item.key for item in found))
        block.refresh()

    def _drop(self, topic: str) -> bool:
        source = self._sources.pop(topic, None)
        if source is None:
            return False
        block = self._announced[source.identifier]
        for key in source.keys:
            block.entities.pop(key, None)
            block.omitted.pop(key, None)
        if block.entities or block.omitted:
            block.refresh()
        else:
            del self._announced[source.identifier]
        return True

    def _rebuild(self, now: float, report: Report, identifier: str = "") -> Changes:
        """Work out the devices anew and tell the condition of those of one block."""
        before = {name: (unit.kind, unit.name, unit.firmware, unit.actuator) for name, unit in self._units.items()}
        used = [block for block in self._announced.values() if self._included(block.info)]
        ids = device_ids(used)
        self._units, self._units_of = {}, {}
        for block in used:
            for place, unit in enumerate(block.units):
                name = ids[block.info.identifier, place]
                self._units[name] = unit
                self._units_of.setdefault(block.info.identifier, []).append(name)
        after = {name: (unit.kind, unit.name, unit.firmware, unit.actuator) for name, unit in self._units.items()}
        changed = before != after
        if changed:
            self._forget_gone()
        for name in self._units_of.get(identifier, ()):
            self.conditions.tell(name, self._units[name], now, report)
        listen = self._listen(identifier)
        return Changes(listen.subscribe, changed)

    def _listen(self, identifier: str) -> Changes:
        """Return the topics of a block that are not yet subscribed to."""
        wanted: list[str] = []
        for name in self._units_of.get(identifier, ()):
            for entity in self._units[name].entities:
                for topic in entity.topics:
                    self._topics.listeners.setdefault(topic, set()).add(identifier)
                    if topic in self._topics.subscribed:
                        continue
                    if len(self._topics.subscribed) >= MAX_TOPICS:
                        self._warn_once("more than %d topics are announced; the others are ignored", MAX_TOPICS)
                        continue
                    self._topics.subscribed.add(topic)
                    wanted.append(topic)
        return Changes(tuple(wanted))

    def _forget_gone(self) -> None:
        """Keep nothing of devices that are gone: whoever announces under ever new names must not fill the memory."""
        listeners: dict[str, set[str]] = {}
        for identifier, names in self._units_of.items():
            for name in names:
                for entity in self._units[name].entities:
                    for topic in entity.topics:
                        listeners.setdefault(topic, set()).add(identifier)
        self._topics.listeners = listeners
        keys = {entity.key for unit in self._units.values() for entity in unit.entities}
        self.readings.keep(set(self._units), keys)
        self.conditions.keep(self._units)

    def _warn_once(self, text: str, number: int) -> None:
        if text not in self._warned:
            self._warned.add(text)
            _log.warning(text, number)
