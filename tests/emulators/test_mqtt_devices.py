from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from tests.peers.mosquitto import Mosquitto
from village_agent.site_broker import AgentServices
from village_drivers.kit import BrokerSettings
from village_drivers.mqtt.discovery import DiscoveryTopic, parse_discovery
from village_drivers.mqtt.entities import Entity
from village_emulators.mqtt_devices import EmulatedLock, EmulatedSite, InvalidLine


async def test_program_announces_obeys_and_tells(tmp_path: Path) -> None:
    async with (
        Mosquitto(tmp_path) as broker,
        AgentServices("listener", tmp_path).connect_broker(BrokerSettings(broker.url)) as port,
    ):
        await port.subscribe("homeassistant/+/+/config")
        await port.subscribe("village-emulator/#")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-m", "village_emulators.mqtt_devices", "--broker", broker.url),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdin
        assert process.stdout
        assert process.stderr
        announced, states = set(), {}
        async with asyncio.timeout(20):
            async for message in port.messages():
                if message.topic.startswith("homeassistant/"):
                    _, component, name, _ = message.topic.split("/")
                    (found,) = parse_discovery(DiscoveryTopic(component, "", name), message.payload)
                    assert isinstance(found, Entity), found
                    announced.add(found.role)
                elif message.topic.endswith("/state"):
                    states[message.topic] = json.loads(message.payload)
                if len(announced) == 3 and len(states) == 3:
                    break
            assert announced == {"lock", "siren", "measure"}
            await port.publish("village-emulator/emulated-lock/set", b"UNLOCK")
            assert json.loads(await process.stdout.readline()) == {"device": "emulated-lock", "locked": False}
            await port.publish("village-emulator/emulated-siren/set", b"ON")
            assert json.loads(await process.stdout.readline()) == {"device": "emulated-siren", "on": True}
            process.stdin.write(b"temperature 33.5\nnonsense\n")
            assert b"not understood: 'nonsense'" in await process.stderr.readline()
            async for message in port.messages():
                if message.topic == "village-emulator/emulated-thermometer/state" and b"33.5" in message.payload:
                    break
            process.terminate()
            async for message in port.messages():
                if message.topic == "village-emulator/emulated-lock/availability" and message.payload == b"offline":
                    break
            await process.communicate()
        assert process.returncode == 0


def test_lock_ignores_what_is_no_command() -> None:
    changes: list[dict[str, object]] = []
    lock = EmulatedLock("lock", "homeassistant", changes.append)
    lock.obey("OPEN SESAME")
    assert lock.locked
    assert changes == []


@pytest.mark.parametrize(
    "line", ["", "temperature", "temperature x", "temperature 1e999", "deaf nobody on", "deaf emulated-lock"]
)
def test_wrong_lines_are_refused(line: str) -> None:
    with pytest.raises(InvalidLine):
        EmulatedSite(lambda _: None).obey(line)


async def test_program_with_loudspeakers_speaks(tmp_path: Path) -> None:
    async with (
        Mosquitto(tmp_path) as broker,
        AgentServices("listener", tmp_path).connect_broker(BrokerSettings(broker.url)) as port,
    ):
        await port.subscribe("village-emulator/+/availability")
        await port.subscribe("hermes/tts/sayFinished")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-m", "village_emulators.mqtt_loudspeakers", "--broker", broker.url),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdin.write(b"nonsense\n")
        assert b"not understood: 'nonsense'" in await process.stderr.readline()
        online = set()
        async with asyncio.timeout(20):
            async for message in port.messages():
                online.add(message.topic)
                if len(online) == 3:
                    break
            asked = {"text": "hello", "siteId": "emulated-hermes", "id": "7", "sessionId": "7"}
            await port.publish("hermes/tts/say", json.dumps(asked).encode())
            message = await anext(port.messages())
            assert json.loads(message.payload) == {"siteId": "emulated-hermes", "id": "7", "sessionId": "7"}
            said = json.loads(await process.stdout.readline())
            assert said == {"device": "emulated-hermes", "said": "hello", "volume": None}
            process.terminate()
            await process.communicate()
        assert process.returncode == 0
