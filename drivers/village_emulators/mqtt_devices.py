"""A lock, a siren and a thermometer that announce themselves on an MQTT broker by Home Assistant discovery.

    python -m village_emulators.mqtt_devices --broker mqtt://127.0.0.1:1883

Standard output has a JSON line for each change: `{"device": "emulated-lock", "locked": false}`, `{"device": "emulated-siren",
"on": true}`. Standard input takes `temperature 21.5`, and `deaf emulated-lock on` for a device that ignores its commands.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from village_emulators.console import lines

#: Where the password of the broker is looked for: it must not stand in the list of processes.
VARIABLE = "VILLAGE_MQTT_PASSWORD"
_KEEP_ALIVE = 10


class InvalidLine(ValueError):
    """The text is not a command of the emulator."""


class EmulatedDevice:
    """One device with a connection and a last will of its own. `told` hears of every change, on the connection's thread."""

    component = ""

    def __init__(self, name: str, prefix: str, told: Callable[[dict[str, Any]], None]) -> None:
        self.name = name
        self.deaf = False
        self._prefix = prefix
        self._told = told
        self._base = f"village-emulator/{name}"
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, f"emulator-{name}", protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_connect = self._connected
        self._client.on_message = self._received
        self._client.will_set(f"{self._base}/availability", "offline", qos=1, retain=True)

    def start(self, broker: str, username: str | None = None, password: str | None = None) -> None:
        """Connect, and again whenever the connection is lost; does not wait for it."""
        parts = urlsplit(broker)
        if username is not None:
            self._client.username_pw_set(username, password)
        self._client.connect_async(parts.hostname or "127.0.0.1", parts.port or 1883, _KEEP_ALIVE)
        self._client.loop_start()

    def stop(self) -> None:
        """Say goodbye and disconnect."""
        if self._client.is_connected():
            # paho raises RuntimeError where the connection is lost meanwhile: then the last will says it.
            with suppress(RuntimeError):
                self._client.publish(f"{self._base}/availability", "offline", qos=1, retain=True).wait_for_publish(2)
        self._client.disconnect()
        self._client.loop_stop()

    def die(self) -> None:
        """Vanish without a word, as in a power cut: the broker sends the last will."""
        self._client.loop_stop()
        connection = self._client.socket()
        if connection is not None:
            connection.close()

    def config(self) -> dict[str, Any]:
        """Return the announcement's keys that are the device's own."""
        return {}

    def state(self) -> dict[str, Any]:
        """Return the state message."""
        return {}

    def obey(self, command: str) -> None:
        """Carry out a command that came from the broker."""

    def publish_state(self) -> None:
        """Send the state, kept by the broker."""
        self._client.publish(f"{self._base}/state", json.dumps(self.state()), qos=1, retain=True)

    def _announce(self) -> None:
        device = {"identifiers": [self.name], "name": self.name, "manufacturer": "Village Edge", "sw_version": "1.0"}
        shared = {"~": self._base, "unique_id": self.name, "device": device, "state_topic": "~/state"}
        config = {**shared, "availability_topic": "~/availability", **self.config()}
        topic = f"{self._prefix}/{self.component}/{self.name}/config"
        self._client.publish(topic, json.dumps(config), qos=1, retain=True)
        self._client.publish(f"{self._base}/availability", "online", qos=1, retain=True)
        self.publish_state()

    def _connected(
        self, _client: mqtt.Client, _data: object, _flags: object, _code: ReasonCode, _properties: Properties | None
    ) -> None:
        self._client.subscribe([(f"{self._base}/set", 1), (f"{self._prefix}/status", 1)])
        self._announce()

    def _received(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        if message.topic == f"{self._prefix}/status":
            if message.payload == b"online":
                self._announce()
        elif not message.retain and not self.deaf:
            self.obey(message.payload.decode(errors="replace"))
            self.publish_state()

    def _tell(self, **change: Any) -> None:
        self._told({"device": self.name, **change})


class EmulatedLock(EmulatedDevice):
    """A door lock with a battery."""

    component = "lock"
    locked = True

    def config(self) -> dict[str, Any]:
        """As `EmulatedDevice.config`."""
        return {"command_topic": "~/set", "value_template": "{{ value_json.state }}"}

    def state(self) -> dict[str, Any]:
        """As `EmulatedDevice.state`."""
        return {"state": "LOCKED" if self.locked else "UNLOCKED"}

    def obey(self, command: str) -> None:
        """As `EmulatedDevice.obey`."""
        if command in {"LOCK", "UNLOCK"}:
            self.locked = command == "LOCK"
            self._tell(locked=self.locked)


class EmulatedSiren(EmulatedDevice):
    """A siren."""

    component = "siren"
    on = False

    def config(self) -> dict[str, Any]:
        """As `EmulatedDevice.config`."""
        return {"command_topic": "~/set", "command_template": "{{ value }}"}

    def state(self) -> dict[str, Any]:
        """As `EmulatedDevice.state`."""
        return {"state": "ON" if self.on else "OFF"}

    def obey(self, command: str) -> None:
        """As `EmulatedDevice.obey`."""
        if command in {"ON", "OFF"}:
            self.on = command == "ON"
            self._tell(on=self.on)


class EmulatedThermometer(EmulatedDevice):
    """A thermometer."""

    component = "sensor"
    temperature = 20.0

    def config(self) -> dict[str, Any]:
        """As `EmulatedDevice.config`."""
        return {
            "device_class": "temperature",
            "unit_of_measurement": "°C",
            "value_template": "{{ value_json.temperature }}",
        }

    def state(self) -> dict[str, Any]:
        """As `EmulatedDevice.state`."""
        return {"temperature": self.temperature}

    def measure(self, temperature: float) -> None:
        """Show a temperature and send it."""
        self.temperature = temperature
        self.publish_state()


class EmulatedDevices:
    """Devices that come and go together."""

    def __init__(self, *devices: EmulatedDevice) -> None:
        self.devices = devices

    def start(self, broker: str, username: str | None = None, password: str | None = None) -> None:
        """Connect all devices."""
        for device in self.devices:
            device.start(broker, username, password)

    def stop(self) -> None:
        """Disconnect all devices."""
        for device in self.devices:
            device.stop()

    def obey(self, line: str) -> None:
        """Carry out one line of standard input; raises `InvalidLine`."""
        raise NotImplementedError


class EmulatedSite(EmulatedDevices):
    """The three devices."""

    def __init__(self, told: Callable[[dict[str, Any]], None], prefix: str = "homeassistant") -> None:
        self.lock = EmulatedLock("emulated-lock", prefix, told)
        self.siren = EmulatedSiren("emulated-siren", prefix, told)
        self.thermometer = EmulatedThermometer("emulated-thermometer", prefix, told)
        super().__init__(self.lock, self.siren, self.thermometer)

    def obey(self, line: str) -> None:
        """As `EmulatedDevices.obey`."""
        match line.split():
            case ["temperature", text] if _is_number(text):
                self.thermometer.measure(float(text))
            case ["deaf", name, ("on" | "off") as state] if name in {device.name for device in self.devices}:
                next(device for device in self.devices if device.name == name).deaf = state == "on"
            case _:
                raise InvalidLine(f"not understood: {line[:80]!r}; try: temperature 21.5 | deaf emulated-lock on")


def _is_number(text: str) -> bool:
    return text.removeprefix("-").replace(".", "", 1).isdecimal() and len(text) < 10


def _print(change: dict[str, Any]) -> None:
    print(json.dumps(change), flush=True)


async def _serve(site: EmulatedDevices, broker: str, username: str | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    site.start(broker, username, os.environ.get(VARIABLE))
    try:
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(_obey_lines(site), name="standard input")
            await stop.wait()
            reading.cancel()
    finally:
        await asyncio.to_thread(site.stop)


async def _obey_lines(site: EmulatedDevices) -> None:
    async for line in lines():
        try:
            site.obey(line)
        except InvalidLine as error:
            print(error, file=sys.stderr, flush=True)


def main(make: Callable[[Callable[[dict[str, Any]], None], str], EmulatedDevices] = EmulatedSite) -> None:
    """Run the devices until stopped. `make` gets who is to be told of changes, and the prefix of discovery topics."""
    parser = argparse.ArgumentParser(description="Emulate devices that speak MQTT. 模拟 MQTT 设备。")
    parser.add_argument("--broker", required=True, help="e.g. mqtt://127.0.0.1:1883")
    parser.add_argument("--username", help=f"user name at the broker; the password is taken from {VARIABLE}")
    parser.add_argument("--prefix", default="homeassistant", help="first part of the discovery topics")
    options = parser.parse_args()
    asyncio.run(_serve(make(_print, options.prefix), options.broker, options.username))


if __name__ == "__main__":
    main()
