"""Loudspeakers that speak MQTT themselves: one with topics of its own, one that speaks Hermes, one with a notify entity.

    python -m village_emulators.mqtt_loudspeakers --broker mqtt://127.0.0.1:1883

Standard output has a JSON line for each text or sound that begins (`said`, `played`) and ends (`silent`, with `cut` where it did
not reach its end; `overlap` where something else was begun meanwhile). Standard input takes `deaf NAME on` for a device that
ignores its commands, `off NAME on` for one whose sound is switched off, `fail NAME on` for one that can't speak.
"""

from __future__ import annotations

import io
import json
import threading
import wave
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from village_emulators.mqtt_devices import EmulatedDevice, EmulatedDevices, InvalidLine, main

SECONDS_PER_CHARACTER = 0.05


class EmulatedLoudspeaker(EmulatedDevice):
    """What the three share: one sound at a time, which lasts as long as its text is long."""

    def __init__(self, name: str, prefix: str, told: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(name, prefix, told)
        self.seconds_per_character = SECONDS_PER_CHARACTER
        #: Takes everything, and no sound comes out: it has done at once.
        self.off = False
        #: Says that it can't.
        self.fails = False
        self._timer: threading.Timer | None = None
        self._guard = threading.Lock()

    def subscriptions(self) -> list[str]:
        """Return the topics of its commands."""
        return [f"{self._base}/#"]

    def command(self, topic: str, payload: bytes) -> None:
        """Carry out a message at one of the topics."""
        raise NotImplementedError

    def die(self) -> None:
        """As `EmulatedDevice.die`; it falls silent."""
        super().die()
        self._end(cut=True)

    def stop(self) -> None:
        """As `EmulatedDevice.stop`; it falls silent."""
        super().stop()
        self._end(cut=True)

    def _sound(self, seconds: float, then: Callable[[], None], **what: Any) -> None:
        with self._guard:
            overlap = self._timer is not None
        if overlap:
            self._tell(overlap=True)
            self._end(cut=True)
        self._tell(**what)

        def end() -> None:
            # It may fire while it is cut off and the next sound begins.
            if self._end(cut=False, only=timer):
                then()

        timer = threading.Timer(0.0 if self.off else seconds, end)
        timer.daemon = True
        with self._guard:
            self._timer = timer
        timer.start()

    def _end(self, *, cut: bool, only: threading.Timer | None = None) -> bool:
        """End what sounds, or only the sound of one timer; return whether there was one."""
        with self._guard:
            timer = self._timer
            if timer is None or only not in {None, timer}:
                return False
            self._timer = None
        timer.cancel()
        self._tell(silent=True, cut=cut)
        return True

    @property
    def _sounds(self) -> bool:
        with self._guard:
            return self._timer is not None

    def _send(self, topic: str, document: object, *, retain: bool = False) -> None:
        # A connection that was lost meanwhile carries nothing more.
        with suppress(RuntimeError, ValueError):
            self._client.publish(topic, json.dumps(document), qos=1, retain=retain)

    def _connected(
        self, _client: mqtt.Client, _data: object, _flags: object, _code: ReasonCode, _properties: Properties | None
    ) -> None:
        self._client.subscribe([(topic, 1) for topic in self.subscriptions()])
        self._announce()

    def _received(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        if not message.retain and not self.deaf:
            self.command(message.topic, bytes(message.payload))


class EmulatedTopics(EmulatedLoudspeaker):
    """Takes JSON at `…/say`, `…/volume` and `…/stop`, and keeps its state at the broker."""

    volume = 100

    def __init__(self, name: str, prefix: str, told: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(name, prefix, told)
        #: It says no more whether it speaks.
        self.mute = False

    def table(self) -> dict[str, Any]:
        """Return its table of the configuration."""
        base = self._base
        return {
            "id": self.name,
            "say_topic": f"{base}/say",
            "say_payload": '{"text": "{text}", "id": "{id}"}',
            "volume_topic": f"{base}/volume",
            "loudest": 30,
            "stop_topic": f"{base}/stop",
            "state_topic": f"{base}/state",
            "state_path": "audio.state",
            "availability_topic": f"{base}/availability",
        }

    def subscriptions(self) -> list[str]:
        """As `EmulatedLoudspeaker.subscriptions`."""
        return [f"{self._base}/{name}" for name in ("say", "volume", "stop")]

    def command(self, topic: str, payload: bytes) -> None:
        """As `EmulatedLoudspeaker.command`."""
        match topic.rpartition("/")[2]:
            case "say":
                text = json.loads(payload)["text"]
                self._sound(self.seconds_per_character * len(text), self.publish_state, said=text, volume=self.volume)
            case "volume":
                self.volume = int(payload)
            case "stop":
                self._end(cut=True)
        self.publish_state()

    def state(self) -> dict[str, Any]:
        """As `EmulatedDevice.state`."""
        return {"audio": {"state": "playing" if self._sounds else "idle"}}

    def publish_state(self) -> None:
        """As `EmulatedDevice.publish_state`."""
        if not self.mute:
            self._send(f"{self._base}/state", self.state(), retain=True)

    def _announce(self) -> None:
        with suppress(RuntimeError):
            self._client.publish(f"{self._base}/availability", "online", qos=1, retain=True)
        self.publish_state()


class EmulatedHermes(EmulatedLoudspeaker):
    """A site that speaks texts and plays WAV data by the Hermes protocol; one after the other, and none can be stopped."""

    def table(self) -> dict[str, Any]:
        """Return its table of the configuration."""
        return {
            "id": self.name,
            "protocol": "hermes",
            "site": self.name,
            "availability_topic": f"{self._base}/availability",
        }

    def subscriptions(self) -> list[str]:
        """As `EmulatedLoudspeaker.subscriptions`."""
        return ["hermes/tts/say", f"hermes/audioServer/{self.name}/playBytes/#"]

    def command(self, topic: str, payload: bytes) -> None:
        """As `EmulatedLoudspeaker.command`."""
        if topic == "hermes/tts/say":
            self._say(json.loads(payload))
        else:
            self._play(topic.rpartition("/")[2], payload)

    def _say(self, asked: dict[str, Any]) -> None:
        if asked.get("siteId", "default") != self.name:
            return
        names = {"siteId": self.name, "sessionId": asked.get("sessionId")}
        if self.fails:
            self._send("hermes/error/tts", {**names, "error": "no voice", "context": asked["text"]})
            return
        ended = {**names, "id": asked.get("id")}
        seconds = self.seconds_per_character * len(asked["text"])
        self._sound(
            seconds,
            lambda: self._send("hermes/tts/sayFinished", ended),
            said=asked["text"],
            volume=asked.get("volume"),
        )

    def _play(self, identity: str, wav: bytes) -> None:
        with wave.open(io.BytesIO(wav)) as file:
            frames, rate = file.getnframes(), file.getframerate()
            samples = file.readframes(frames)
        base = f"hermes/audioServer/{self.name}"
        if self.fails:
            self._send("hermes/error/audioServer/play", {"error": "no card", "context": identity, "siteId": self.name})
        ended = {"id": identity, "siteId": self.name, "sessionId": identity}
        self._sound(
            frames / rate,
            lambda: self._send(f"{base}/playFinished", ended),
            played=frames / rate,
            rate=rate,
            samples=samples.hex(),
        )

    def _announce(self) -> None:
        with suppress(RuntimeError):
            self._client.publish(f"{self._base}/availability", "online", qos=1, retain=True)


class EmulatedPanel(EmulatedLoudspeaker):
    """A panel that announces a notify entity, speaks its texts, and tells nothing of it."""

    component = "notify"

    def config(self) -> dict[str, Any]:
        """As `EmulatedDevice.config`."""
        return {"command_topic": "~/notify", "command_template": '{"message": {{ value | tojson }}}'}

    def subscriptions(self) -> list[str]:
        """As `EmulatedLoudspeaker.subscriptions`."""
        return [f"{self._base}/notify"]

    def command(self, topic: str, payload: bytes) -> None:
        """As `EmulatedLoudspeaker.command`."""
        del topic
        text = json.loads(payload)["message"]
        self._sound(self.seconds_per_character * len(text), lambda: None, said=text)

    def publish_state(self) -> None:
        """It has none."""


class EmulatedLoudspeakers(EmulatedDevices):
    """The three loudspeakers."""

    def __init__(self, told: Callable[[dict[str, Any]], None], prefix: str = "homeassistant") -> None:
        self.topics = EmulatedTopics("emulated-topics", prefix, told)
        self.hermes = EmulatedHermes("emulated-hermes", prefix, told)
        self.panel = EmulatedPanel("emulated-panel", prefix, told)
        super().__init__(self.topics, self.hermes, self.panel)

    def obey(self, line: str) -> None:
        """As `EmulatedDevices.obey`."""
        devices = {device.name: device for device in self.devices}
        match line.split():
            case [("deaf" | "off" | "fail") as word, name, ("on" | "off") as state] if name in devices:
                setattr(devices[name], {"fail": "fails"}.get(word, word), state == "on")
            case _:
                raise InvalidLine(f"not understood: {line[:80]!r}; try: deaf emulated-hermes on")


if __name__ == "__main__":
    main(EmulatedLoudspeakers)
