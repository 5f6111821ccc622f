"""What loudspeakers are told and what they tell, as signs. Pure.

Sources: Rhasspy, "Reference", MQTT API, and the messages of rhasspy-hermes (text to speech, audio server); Home Assistant, "MQTT
notify"; for topics of one's own the configuration.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar, Protocol

from village_drivers.kit import Message
from village_drivers.mqtt.loudspeaker_tables import LoudspeakerTable
from village_drivers.mqtt.payloads import PayloadTemplate, clean, parse_payload, parse_place
from village_drivers.sound.pcm import gain

#: States of audio devices stay below 4 KB.
MAX_MESSAGE = 64 * 1024
_MAX_WORDS = 200


@dataclass(frozen=True, slots=True)
class Online:
    """Whether the device is there."""

    on: bool


@dataclass(frozen=True, slots=True)
class Busy:
    """Whether it sounds. One that the broker kept (retained) may be from long ago."""

    on: bool
    retained: bool


@dataclass(frozen=True, slots=True)
class Done:
    """What was asked for as `identity` has sounded; empty where the device does not repeat it."""

    identity: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The device says why it did not sound; `identity` as in `Done`."""

    identity: str
    reason: str


Sign = Online | Busy | Done | Failed


@dataclass(frozen=True, slots=True)
class Order:
    """One message to a device."""

    topic: str
    payload: bytes


class Dialect(Protocol):
    """How one loudspeaker is spoken to."""

    @property
    def topics(self) -> tuple[str, ...]:
        """What it must be listened to at."""

    @property
    def tells_state(self) -> bool:
        """Whether it tells that it is busy or idle."""

    @property
    def tells_end(self) -> bool:
        """Whether it tells the end of what it was asked for."""

    def say(self, text: str, percent: float, identity: str) -> list[Order]:
        """Return what lets it speak a text; the last one is the text itself."""

    def stop(self) -> Order | None:
        """Return what silences it, None where nothing does."""

    def hear(self, message: Message) -> Sign | None:
        """Return what a message means, None where it means nothing. Never raises."""


class Topics:
    """Topics and payloads that the configuration names, or that a notify entity announced."""

    tells_end: ClassVar[bool] = False

    def __init__(self, table: LoudspeakerTable) -> None:
        self._table = table
        self._say = parse_payload(table.say_payload)
        self._stop = parse_payload(table.stop_payload)
        self._volume = parse_payload(table.volume_payload)
        self._place = parse_place(table.state_path)
        self.topics = tuple(topic for topic in (table.state_topic, table.availability_topic) if topic)
        self.tells_state = bool(table.state_topic)

    def say(self, text: str, percent: float, identity: str) -> list[Order]:
        """See `Dialect`."""
        level = round(percent * self._table.loudest / 100)
        orders = [Order(self._table.say_topic, self._say.fill(text, level, identity))]
        if self._table.volume_topic:
            orders.insert(0, Order(self._table.volume_topic, self._volume.fill(volume=level, identity=identity)))
        return orders

    def stop(self) -> Order | None:
        """See `Dialect`."""
        return Order(self._table.stop_topic, self._stop.fill()) if self._table.stop_topic else None

    def hear(self, message: Message) -> Sign | None:
        """See `Dialect`."""
        table = self._table
        if len(message.payload) > MAX_MESSAGE:
            return None
        if message.topic == table.availability_topic:
            said = message.payload.decode(errors="replace").strip()
            known = {table.payload_available: True, table.payload_not_available: False}
            if said in known:
                return Online(known[said])
        if message.topic == table.state_topic:
            word = self._place.read(message.payload)
            if word in table.state_busy or word in table.state_idle:
                return Busy(word in table.state_busy, message.retained)
        return None


class Notify:
    """A notify entity: it takes texts and tells nothing."""

    topics: tuple[str, ...] = ()
    tells_state = False
    tells_end = False

    def __init__(self, topic: str, template: PayloadTemplate) -> None:
        self._topic = topic
        self._template = template

    def say(self, text: str, percent: float, identity: str) -> list[Order]:
        """See `Dialect`; it knows no volume."""
        return [Order(self._topic, self._template.fill(text, round(percent), identity))]

    def stop(self) -> Order | None:
        """See `Dialect`."""
        return None

    def hear(self, message: Message) -> Sign | None:
        """See `Dialect`; whether it is online is told as of any other entity."""
        del message
        return None


class Hermes:
    """The Hermes protocol. It tells the end of each text and sound, and can silence nothing that has begun."""

    tells_state: ClassVar[bool] = False
    tells_end: ClassVar[bool] = True

    def __init__(self, table: LoudspeakerTable) -> None:
        self._table = table
        self._base = f"hermes/audioServer/{table.site}"
        own = (
            f"{self._base}/playFinished",
            "hermes/tts/sayFinished",
            "hermes/error/tts",
            "hermes/error/audioServer/play",
        )
        self.topics = (*own, *((table.availability_topic,) if table.availability_topic else ()))

    def say(self, text: str, percent: float, identity: str) -> list[Order]:
        """See `Dialect`."""
        said: dict[str, object] = {"text": clean(text), "siteId": self._table.site, "id": identity}
        # An error repeats the session and not the id.
        said |= {"sessionId": identity, "volume": round(gain(percent), 4)}
        if self._table.language:
            said["lang"] = self._table.language
        return [Order("hermes/tts/say", json.dumps(said, ensure_ascii=False).encode())]

    def play(self, wav: bytes, identity: str) -> Order:
        """Return what lets it play a WAV file."""
        return Order(f"{self._base}/playBytes/{identity}", wav)

    def stop(self) -> Order | None:
        """See `Dialect`."""
        return None

    def hear(self, message: Message) -> Sign | None:
        """See `Dialect`."""
        if len(message.payload) > MAX_MESSAGE:
            return None
        if message.topic == self._table.availability_topic:
            said = message.payload.decode(errors="replace").strip()
            return {
                self._table.payload_available: Online(True),
                self._table.payload_not_available: Online(False),
            }.get(said)
        if message.retained:
            # An end that the broker kept is none of ours.
            return None
        try:
            document = json.loads(message.payload)
        except (ValueError, RecursionError):
            return None
        if not isinstance(document, dict):
            return None
        if message.topic == f"{self._base}/playFinished":
            return Done(_word(document, "id"))
        if _word(document, "siteId") not in {"", self._table.site}:
            return None
        if message.topic == "hermes/tts/sayFinished":
            return Done(_word(document, "id"))
        reason = _word(document, "error") or "no reason told"
        if message.topic == "hermes/error/tts":
            return Failed(_word(document, "sessionId"), reason)
        if message.topic == "hermes/error/audioServer/play":
            return Failed(_word(document, "context"), reason)
        return None


def _word(document: dict[str, object], key: str) -> str:
    value = document.get(key)
    return clean(value)[:_MAX_WORDS] if isinstance(value, str) else ""
