"""The program itself: a box is enrolled, keys are rotated beside it while it runs, and the box is declared lost."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey, generate_private_key
from cryptography.x509 import load_pem_x509_certificate

from tests.collector.kit import SITE, VILLAGE, inventory, signing_request, status
from tests.collector.people import api_client
from tests.collector.test_run import Program, line, program
from village_wire import signed
from village_wire.address import BrokerAddress, SessionSettings, Subscription
from village_wire.command_keys import CommandKeys, read_command_keys
from village_wire.commands import Command, read_command
from village_wire.connection import Connection, connect
from village_wire.incoming import Received
from village_wire.outgoing import Publication
from village_wire.points import CONTENT_LINES
from village_wire.presence import encode_message
from village_wire.time_answer import TimeRequest, encode_time_request, read_time_answer
from village_wire.topics import AgentTopic, agent_subscriptions

BOX = "gate-1"


class Site:
    """A running collector, a person who administers it, and a box that is connected to its broker."""

    def __init__(self, it: Program, people: httpx.AsyncClient, connection: Connection) -> None:
        self.it = it
        self.people = people
        self.connection = connection
        self.received: dict[str, list[Received]] = {}
        self.authority: EllipticCurvePublicKey | None = None
        self.keys: CommandKeys | None = None

    async def listen(self) -> None:
        async for message in self.connection.messages():
            self.received.setdefault(message.topic.rpartition("/")[2], []).append(message)

    async def next(self, channel: str) -> Received:
        async with asyncio.timeout(10):
            while not self.received.get(channel):
                await asyncio.sleep(0.01)
        return self.received[channel].pop(0)

    async def say(self, channel: Any, payload: bytes, **more: Any) -> None:
        await self.connection.publish(Publication(str(AgentTopic(BOX, channel)), payload, **more))

    async def post(self, path: str, body: dict[str, Any], code: int) -> dict[str, Any]:
        response = await self.people.post(path, json=body)
        assert response.status_code == code, response.text
        found: dict[str, Any] = response.json()
        return found

    def take(self, document: bytes) -> None:
        """Take a document of command keys as an agent does."""
        assert self.authority is not None
        keys = read_command_keys(document, self.authority)
        assert self.keys is None or keys.number > self.keys.number
        self.keys = keys

    async def enrol(self) -> None:
        token = (await self.post("/agents", {"agent": BOX, "area": VILLAGE}, 201))["token"]
        request = signing_request(generate_private_key(SECP256R1()))
        given = await self.post("/enrolments", {"token": token, "request": request}, 201)
        authority = load_pem_x509_certificate(given["authority"].encode())
        load_pem_x509_certificate(given["certificate"].encode()).verify_directly_issued_by(authority)
        public = authority.public_key()
        assert isinstance(public, EllipticCurvePublicKey)
        self.authority = public
        self.take(signed.encode(given["command_keys"]))
        await self.say("status", encode_message(status(True)), retain=True)
        await self.say("inventory", encode_message(inventory(BOX, *SITE)), retain=True)
        async with asyncio.timeout(10):
            while not (await self.it.get("/agents"))["agents"][0]["devices"]:  # type: ignore[index]
                await asyncio.sleep(0.05)

    async def unlock(self) -> Command:
        """A command as it reaches the box, verified with the keys that the box has."""
        assert self.keys is not None
        target = {"agent": BOX, "device": "reader"}
        await self.post("/commands", {"target": target, "arguments": {"kind": "unlock"}}, 202)
        return read_command((await self.next("command")).payload, *(key.public for key in self.keys.keys))

    async def rotate(self, *options: str) -> None:
        command = (sys.executable, "-m", "village_collector.cli", "command-key", "rotate")
        process = await asyncio.create_subprocess_exec(*command, "--data-dir", str(self.it.folder), *options)
        assert await process.wait() == 0

    async def stored(self) -> int:
        def count() -> int:
            with closing(sqlite3.connect(self.it.folder / "telemetry.db")) as database:
                found: int = database.execute("SELECT count(*) FROM samples").fetchone()[0]
                return found

        return await asyncio.to_thread(count)


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[Site]:
    async with program(folder) as it:
        await it.ready()
        people = await asyncio.to_thread(api_client, folder, it.addresses["api"])
        settings = SessionSettings(BrokerAddress(it.addresses["broker"]), "box")
        async with people, connect(settings) as connection:
            await connection.subscribe([Subscription(topic) for topic in agent_subscriptions(BOX, VILLAGE)])
            made = Site(it, people, connection)
            listening = asyncio.create_task(made.listen(), name="box")
            try:
                yield made
            finally:
                listening.cancel()
                await asyncio.wait([listening])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


async def test_keys_are_rotated_beside_a_running_collector(folder: Path) -> None:
    async with site(folder) as one:
        await one.enrol()
        assert (await one.unlock()).issuer == "chief"
        await one.rotate("--overlap", "7d")
        one.take((await one.next("keys")).payload)
        assert one.keys is not None
        assert len(one.keys.keys) == 2
        await one.unlock()
        await one.rotate("--compromised")
        one.take((await one.next("keys")).payload)
        assert len(one.keys.keys) == 1
        await one.unlock()


async def test_a_box_that_was_away_learns_the_keys_with_the_time(folder: Path) -> None:
    async with site(folder) as one:
        await one.enrol()
        await one.rotate("--compromised")
        await one.next("keys")
        nonce = "5e" * 16
        await one.say("time", encode_time_request(TimeRequest(nonce=nonce, keys=1)), qos=0)
        one.take((await one.next("keys")).payload)
        assert one.keys is not None
        answer = read_time_answer((await one.next("clock")).payload, BOX, *(key.public for key in one.keys.keys))
        assert answer.nonce == nonce


async def test_what_a_lost_box_sends_is_neither_stored_nor_acknowledged(folder: Path) -> None:
    async with site(folder) as one:
        await one.enrol()
        own = {"response_topic": str(AgentTopic(BOX, "ack")), "content_type": CONTENT_LINES}
        await one.say("telemetry", line(1.0, BOX), **own, correlation=b"a" * 32)
        await one.next("ack")
        assert await one.stored() == 1
        found = await one.post(f"/agents/{BOX}/revoke", {}, 200)
        assert found["revoked"]
        # The embedded broker knows no certificates: the box is still connected and says what it likes.
        await one.say("telemetry", line(2.0, BOX), **own, correlation=b"b" * 32)
        other = str(AgentTopic("gate-2", "telemetry"))
        await one.connection.publish(Publication(other, line(3.0, "gate-2"), content_type=CONTENT_LINES))
        async with asyncio.timeout(10):
            while await one.stored() < 2:
                await asyncio.sleep(0.05)
        assert not one.received.get("ack")
        assert await one.stored() == 2
        one.it.process.terminate()
        code, log = await one.it.ended()
    assert code == 0
    assert log.count(f"agent {BOX} is revoked and still sends") == 1
