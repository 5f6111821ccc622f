"""The driver on a real broker, with emulated devices behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.peers.mosquitto import Mosquitto
from village_agent.site_broker import AgentServices
from village_drivers.mqtt.config import MqttConfig
from village_drivers.mqtt.driver import MqttDevices
from village_emulators.mqtt_devices import EmulatedSite


class Heard:
    """What the emulated devices did, collected from their threads."""

    def __init__(self) -> None:
        self.changes: list[dict[str, Any]] = []
        self._loop = asyncio.get_running_loop()
        self._new = asyncio.Event()

    def __call__(self, change: dict[str, Any]) -> None:
        self.changes.append(change)
        self._loop.call_soon_threadsafe(self._new.set)

    async def until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                self._new.clear()
                await self._new.wait()


def make_driver(broker: Mosquitto, folder: Path, **more: Any) -> MqttDevices:
    config = MqttConfig.model_validate({"id": "site", "driver": "mqtt", "broker": broker.url, **more})
    return MqttDevices(config, AgentServices("driver-under-test", folder))


@asynccontextmanager
async def emulators(broker: Mosquitto) -> AsyncIterator[tuple[EmulatedSite, Heard]]:
    heard = Heard()
    site = EmulatedSite(heard)
    site.start(broker.url)
    try:
        yield site, heard
    finally:
        await asyncio.to_thread(site.stop)
