"""What an agent tells of itself, as a collector behind a real broker hears it."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.agent.collector import collector
from tests.agent.kit import until
from tests.agent.program import agent, configuration, online
from tests.peers.mosquitto import Mosquitto
from village_wire.address import BrokerAddress, SessionSettings
from village_wire.connection import connect
from village_wire.events import AgentStarted
from village_wire.outgoing import Publication
from village_wire.presence import encode_message


async def test_a_killed_agent_leaves_its_will_and_keeps_its_outbox(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path) as broker, collector(broker.url) as far:
        config = configuration(tmp_path, broker.url)
        async with agent(config) as process:
            await online(far)
            process.kill()
            await process.wait()
        await until(lambda: not far.statuses[-1].online)
        assert far.statuses[-1].session == far.statuses[0].session
        async with agent(config) as process:
            await online(far, 2)
            assert far.statuses[-1].session != far.statuses[0].session
            await until(lambda: len([e for e in far.events if isinstance(e.data, AgentStarted)]) == 2)
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0


async def test_a_stale_will_that_the_broker_keeps_is_corrected_by_the_living_agent(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path) as broker, collector(broker.url) as far:
        async with agent(configuration(tmp_path, broker.url)) as process:
            await online(far)
            greeting = far.statuses[0]
            assert greeting.connection == 1
            will = greeting.model_copy(update={"online": False})
            assert far.session is not None
            await far.session.publish(Publication("village/1/agent/box/status", encode_message(will), retain=True))
            await online(far, 2)
            # Meanwhile the agent may have been told since when it runs.
            assert [(s.online, s.session, s.connection) for s in far.statuses] == [
                (online, greeting.session, 1) for online in (True, False, True)
            ]
            process.send_signal(signal.SIGTERM)
            await process.wait()
            await until(lambda: not far.statuses[-1].online)
        assert len(far.statuses) == 4


async def test_connections_are_numbered_and_a_will_has_the_number_of_its_own(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path) as broker, collector(broker.url) as far:
        async with agent(configuration(tmp_path, broker.url)) as process:
            await online(far)
            # Another client with the same id: the broker ends the agent's connection and publishes its will.
            async with connect(SessionSettings(BrokerAddress(broker.url), "agent-box")):
                await until(lambda: len(far.statuses) == 2)
            await online(far, 2)
            process.kill()
            await process.wait()
            await until(lambda: len(far.statuses) == 4)
        assert [(status.online, status.connection) for status in far.statuses] == [
            (True, 1),
            (False, 1),
            (True, far.statuses[2].connection),
            (False, far.statuses[2].connection),
        ]
        assert (far.statuses[2].connection or 0) > 1


async def test_a_device_that_announces_itself_joins_the_inventory(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path) as broker, collector(broker.url) as far:
        zigbee = f'\n[[devices]]\nid = "zigbee"\ndriver = "mqtt"\nbroker = "{broker.url}"\n'
        async with agent(configuration(tmp_path, broker.url, zigbee)):
            await online(far)
            await until(lambda: bool(far.inventories))
            assert {device.driver for device in far.inventories[0].devices} <= {"host", "mqtt"}
            before = len(far.inventories)
            announcement = {
                "name": "Pump",
                "unique_id": "pump-1",
                "command_topic": "pump/set",
                "state_topic": "pump/state",
                "device": {"identifiers": ["pump-1"], "name": "Pump"},
            }
            assert far.session is not None
            await far.session.publish(
                Publication("homeassistant/switch/pump-1/config", json.dumps(announcement).encode(), retain=True)
            )
            await until(lambda: len(far.inventories) > before, 15)
            assert [device.abilities for device in far.inventories[-1].devices if "pump" in device.id] == [("switch",)]
            await until(lambda: any(event.device and "pump" in event.device for event in far.events))
