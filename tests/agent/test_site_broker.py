"""The broker that the agent lends to drivers, against a real one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.peers.mosquitto import Mosquitto
from village_agent.site_broker import AgentServices
from village_drivers.kit import BrokerSettings, Message, Misconfigured, NotConnected


async def test_messages_go_both_ways_and_a_lost_broker_is_not_connected(tmp_path: Path) -> None:
    services = AgentServices("box-zigbee", tmp_path)
    assert services.state_dir == tmp_path
    async with Mosquitto(tmp_path) as broker:
        with pytest.raises(NotConnected) as caught:
            async with services.connect_broker(BrokerSettings(broker.url)) as port:
                await port.publish("site/kept", b"1", retain=True)
                await port.subscribe("site/#")
                messages = port.messages()
                assert await anext(messages) == Message("site/kept", b"1", retained=True)
                await port.publish("site/now", b"2")
                assert await anext(messages) == Message("site/now", b"2", retained=False)
                await broker.kill()
                await anext(messages)
        assert caught.value.code == "broker_lost"


async def test_a_broker_that_is_away_a_wrong_password_and_a_wrong_url(tmp_path: Path) -> None:
    services = AgentServices("box-zigbee", tmp_path)
    with pytest.raises(NotConnected) as away:
        async with services.connect_broker(BrokerSettings("mqtt://127.0.0.1:1")):
            pass
    assert away.value.code == "broker_lost"
    with pytest.raises(Misconfigured) as wrong_url:
        async with services.connect_broker(BrokerSettings("http://127.0.0.1:1")):
            pass
    assert wrong_url.value.code == "misconfigured"
    async with Mosquitto(tmp_path, "allow_anonymous false\n") as broker:
        with pytest.raises(Misconfigured) as refused:
            async with services.connect_broker(BrokerSettings(broker.url, "u", "secret")):
                pass
    assert refused.value.code == "unauthorised"
    assert "secret" not in str(refused.value)


async def test_leaving_the_block_disconnects(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path) as broker:
        for _ in range(2):
            async with AgentServices("same-id", tmp_path).connect_broker(BrokerSettings(broker.url)) as port:
                await port.publish("a", b"")
        await asyncio.sleep(0)


async def test_publishing_tells_whether_anybody_listens(tmp_path: Path) -> None:
    async with (
        Mosquitto(tmp_path) as broker,
        AgentServices("box-near", tmp_path).connect_broker(BrokerSettings(broker.url)) as port,
    ):
        assert not await port.publish("horn/say", b"hello")
        await port.subscribe("horn/say")
        assert await port.publish("horn/say", b"hello")
        assert not await port.publish("horn/volume", b"3")
