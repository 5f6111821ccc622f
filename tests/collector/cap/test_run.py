"""The program itself: an alert that comes while the broker is away, a kill, and a source that goes quiet."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.collector.cap.kit import Sender, rainstorm
from tests.collector.kit import VILLAGE, add_site
from tests.collector.people import api_client
from tests.collector.test_run import Program, program
from tests.peers.mosquitto import Mosquitto
from village_collector.cap.alert import Alert
from village_collector.stores.control import ControlStore
from village_collector.trust.command_keys import load_command_key
from village_wire.address import BrokerAddress, SessionSettings, Subscription
from village_wire.commands import Broadcast, read_command
from village_wire.connection import connect

TOPIC = f"village/1/area/{VILLAGE}/command"


def alert(now: datetime, **more: Any) -> Alert:
    return rainstorm({"expires": now + timedelta(hours=1)}, sent=now.replace(microsecond=0), **more)


async def bring(it: Program, content: bytes) -> tuple[int, dict[str, Any]]:
    async with await asyncio.to_thread(api_client, it.folder, it.addresses["api"]) as client:
        answer = await client.post("/cap", content=content)
        return answer.status_code, answer.json()


def prepare(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    store = ControlStore(f"sqlite:///{folder / 'control.db'}")
    store.open()
    add_site(store)
    store.close()


async def test_an_alert_outlives_a_kill_and_a_broker_that_is_away(tmp_path: Path) -> None:
    folder, now = tmp_path / "data", datetime.now(UTC)
    sender = Sender(begin=now - timedelta(days=1), end=now + timedelta(days=1))
    (tmp_path / "province.pem").write_bytes(sender.pem)
    await asyncio.to_thread(prepare, folder)
    mosquitto = Mosquitto(tmp_path)
    feed = '[[cap.feeds]]\nname = "province"\ntrusted_certificates = ["province.pem"]\nquiet_minutes = 0.01'
    broker = f'url = "{mosquitto.url}"\n{feed}'
    content = sender.sign(alert(now))
    async with program(folder, broker=broker) as it:
        await it.ready()
        status, first = await bring(it, content)
        (planned,) = first["broadcasts"]
        assert (status, planned["state"], planned["counts"]["expected"]) == (202, "planned", 1)
        it.process.kill()
        await it.process.wait()
    async with mosquitto, connect(SessionSettings(BrokerAddress(mosquitto.url), f"agent-{uuid4().hex[:8]}")) as agent:
        await agent.subscribe([Subscription(TOPIC)])
        async with program(folder, broker=broker) as it:
            await it.ready()
            heard = agent.messages()
            async with asyncio.timeout(20):
                message = await anext(heard)
                # Silence is told meanwhile.
                while (await it.get("/health"))["collector"]["code"] != "feed_quiet":  # type: ignore[index]
                    await asyncio.sleep(0.1)
            key = await asyncio.to_thread(load_command_key, folder)
            command = read_command(message.payload, key.public_key())
            assert isinstance(command.arguments, Broadcast)
            assert (str(command.id), command.arguments.rank) == (planned["broadcast"], "emergency")
            status, again = await bring(it, content)
            assert (status, again["id"], again["broadcasts"][0]["state"]) == (200, first["id"], "aired")
            status, later = await bring(it, sender.sign(alert(now, identifier="second")))
            assert status == 202
            async with asyncio.timeout(10):
                second = read_command((await anext(heard)).payload, key.public_key())
            # Nothing came between them.
            assert str(second.id) == later["broadcasts"][0]["broadcast"]
