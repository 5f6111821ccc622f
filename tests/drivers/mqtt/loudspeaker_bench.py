"""The three emulated loudspeakers on a real broker, and the driver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.drivers.mqtt.kit import Heard, make_driver
from tests.drivers.recorder import Recorder, running
from tests.peers.mosquitto import Mosquitto
from village_agent.site_broker import AgentServices
from village_drivers.abilities import Loudspeaker
from village_drivers.kit import BrokerPort, BrokerSettings
from village_drivers.mqtt.driver import MqttDevices
from village_emulators.mqtt_loudspeakers import EmulatedLoudspeakers

BLIND = {"id": "blind", "say_topic": "blind/say", "without_feedback": True, "seconds_per_character": 0.02}


class Bench:
    """A broker, the three emulated loudspeakers, and the driver."""

    def __init__(self, broker: Mosquitto, folder: Path, site: EmulatedLoudspeakers, heard: Heard) -> None:
        self.broker, self.site, self.heard = broker, site, heard
        self.report = Recorder()
        tables = [site.topics.table(), site.hermes.table(), BLIND]
        speaks = [{"match": "emulated-panel", "seconds_per_character": 0.06}]
        self.driver: MqttDevices = make_driver(broker, folder, loudspeakers=tables, speaks=speaks)

    def speaker(self, name: str) -> Loudspeaker:
        handle = self.driver.devices()[name].handle
        assert isinstance(handle, Loudspeaker)
        return handle

    async def say(self, name: str, text: str, volume: float | None = None) -> str:
        async with asyncio.timeout(20):
            return await self.speaker(name).say(text, volume)

    def of(self, name: str) -> list[dict[str, Any]]:
        return [change for change in self.heard.changes if change["device"] == f"emulated-{name}"]

    def said(self, name: str) -> list[str]:
        return [change["said"] for change in self.of(name) if "said" in change]

    async def ready(self) -> None:
        names = ("emulated-topics", "emulated-hermes", "emulated-panel")
        await self.report.until(lambda: all(self.report.status(name) == "ok works" for name in names), 10)


@asynccontextmanager
async def bench(folder: Path) -> AsyncIterator[Bench]:
    async with Mosquitto(folder) as broker:
        heard = Heard()
        site = EmulatedLoudspeakers(heard)
        site.start(broker.url)
        found = Bench(broker, folder, site, heard)
        try:
            async with running(found.driver, found.report, may_end=True):
                await found.ready()
                yield found
        finally:
            await asyncio.to_thread(site.stop)


@asynccontextmanager
async def listening(broker: Mosquitto, folder: Path, *topics: str) -> AsyncIterator[BrokerPort]:
    async with AgentServices("listener", folder).connect_broker(BrokerSettings(broker.url)) as port:
        for topic in topics:
            await port.subscribe(topic)
        yield port
