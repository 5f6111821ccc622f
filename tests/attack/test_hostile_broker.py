"""The broker belongs to an attacker, who saw genuine messages and can send anything to anybody.

A real agent with a real bus: an OSDP reader's lock and a speech chip, emulated at the far end of their lines. What those report is what
happened. The collector is genuine, and its messages go through the attacker's hands.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.agent.collector import KEY, Collector, collector
from tests.agent.identity.api import NEXT_KEY, authority, document
from tests.agent.kit import AREA, until
from tests.agent.program import agent
from tests.peers.mosquitto import Mosquitto
from village_agent.identity.certificates import load_key, make_key, pem, signing_request
from village_agent.identity.folder import AUTHORITY, CERTIFICATE, Record, write_identity
from village_agent.identity.folder import KEY as KEY_FILE
from village_collector.trust.authority import Authority
from village_emulators.line import Cable
from village_emulators.osdp_reader import OsdpReaders
from village_emulators.syn6288 import Syn6288Emulator
from village_wire.address import BrokerAddress, SessionSettings, Subscription
from village_wire.commands import Arguments, Broadcast, Command, Target, Unlock, sign_command
from village_wire.connection import Connection, connect
from village_wire.outgoing import Publication
from village_wire.time_answer import TimeAnswer, sign_time_answer

SCBK = bytes(range(16))
OWN = "village/1/agent/box/"
COMMAND, KEYS, CLOCK = OWN + "command", OWN + "keys", OWN + "clock"
AREA_COMMAND = f"village/1/area/{AREA}/command"
THIEF = Ed25519PrivateKey.from_private_bytes(bytes(32))


@dataclass
class Village:
    """The site, the genuine collector, and the attacker's connection, which may do everything."""

    readers: OsdpReaders
    chip: Syn6288Emulator
    far: Collector
    attacker: Connection
    authority: Authority
    config: Path

    @property
    def opened(self) -> int:
        """How often the lock was released, by the reader's own account."""
        return len([told for told in self.readers.told if told["event"] == "output" and told["on"]])

    @property
    def heard(self) -> list[str]:
        """What sounded, by the chip's own account."""
        return [spoken.text for spoken in self.chip.spoken]

    @asynccontextmanager
    async def running(self, greeting: str) -> AsyncIterator[None]:
        """Start the agent; it knows its devices and the time once it has spoken."""
        began = len(self.readers.told)
        async with agent(self.config):
            await until(lambda: any(told.get("secure") for told in self.readers.told[began:]), 30)
            await until(lambda: bool(self.far.statuses) and self.far.statuses[-1].online, 30)
            await self.works(greeting)
            yield

    async def send(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        await self.attacker.publish(Publication(topic, payload, qos=qos, retain=retain))

    async def genuine(self, payload: bytes, topic: str = COMMAND) -> None:
        """What the collector sends arrives as it is."""
        await self.send(topic, payload)

    async def works(self, text: str, key: Ed25519PrivateKey = KEY) -> None:
        """A genuine text sounds; whatever came before it was looked at."""
        await self.genuine(sign_command(command(spoken(text)), key))
        await until(lambda: text in self.heard, 20)


def command(
    arguments: Arguments,
    target: Target | None = None,
    *,
    issued: datetime | None = None,
    seconds: float = 60,
    identity: UUID | None = None,
) -> Command:
    issued = issued or datetime.now(UTC)
    return Command(
        id=identity or uuid4(),
        target=target or Target(agent="box"),
        arguments=arguments,
        issuer="wang",
        issued=issued,
        expires=issued + timedelta(seconds=seconds),
    )


def spoken(text: str) -> Broadcast:
    return Broadcast(rank="notice", text=text, end=datetime.now(UTC) + timedelta(seconds=60), chime=False)


def enrol(state: Path, broker: str, by: Authority) -> None:
    """As `village-agent enroll` leaves a box behind."""
    key = make_key()
    issued = by.issue_agent(pem(signing_request(load_key(key))), "box", datetime.now(UTC))
    point = by.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    record = Record(
        agent="box",
        area=AREA,
        broker=broker,
        api="https://127.0.0.1:1",
        issued=issued.not_before,
        expires=issued.not_after,
        authority_key=base64.b64encode(point).decode(),
    )
    files = {KEY_FILE: key, CERTIFICATE: issued.pem.encode(), AUTHORITY: by.certificate_pem.encode()}
    state.mkdir(mode=0o700)
    write_identity(state, record, files, document(by, KEY))


@asynccontextmanager
async def village(folder: Path) -> AsyncIterator[Village]:
    by = await asyncio.to_thread(authority, folder / "authority")
    async with (
        Cable() as bus,
        Cable() as line,
        OsdpReaders(bus.b, (1,), SCBK) as readers,
        Syn6288Emulator(line.b, speed=50) as chip,
        Mosquitto(folder) as broker,
        collector(broker.url) as far,
        connect(SessionSettings(BrokerAddress(broker.url), "attacker")) as attacker,
    ):
        await asyncio.to_thread(enrol, folder / "state", broker.url, by)
        config = folder / "agent.toml"
        config.write_text(
            '[agent]\nstate_dir = "state"\n\n[[devices]]\nid = "bus"\ndriver = "osdp"\n'
            f'port = "{bus.a}"\n[[devices.readers]]\nid = "gate"\naddress = 1\nscbk = "{SCBK.hex()}"\n\n'
            f'[[devices]]\nid = "horn"\ndriver = "syn6288"\nport = "{line.a}"\n'
        )
        yield Village(readers, chip, far, attacker, by, config)


async def opens_once(it: Village, key: Ed25519PrivateKey = KEY) -> bytes:
    """A genuine command to open the lock, which the attacker has seen."""
    before = it.opened
    async with asyncio.timeout(30):
        while True:
            payload = unlock(key)
            await it.genuine(payload)
            while it.opened == before and not failed(it.far, UUID(json.loads(payload)["id"])):
                await asyncio.sleep(0.01)
            if it.opened > before:
                assert it.opened == before + 1
                return payload


def failed(far: Collector, number: UUID) -> bool:
    """The bus has just begun, and the reader is not online yet."""
    return any(outcome == "failed" for _, outcome, _ in far.results(number))


def variants(payload: bytes) -> list[bytes]:
    """The genuine command with a changed field or another form, the signature kept."""
    message: dict[str, Any] = json.loads(payload)
    soon = (datetime.now(UTC) + timedelta(minutes=5)).isoformat().replace("+00:00", "Z")
    changes: list[dict[str, Any]] = [
        {"id": str(uuid4())},
        {"id": message["id"].upper()},
        {"id": message["id"].replace("-", "")},
        {"id": "{" + message["id"] + "}"},
        {"id": f"urn:uuid:{message['id']}"},
        {"expires": soon},
        {"issued": soon},
        {"issuer": "somebody"},
        {"arguments": {"kind": "unlock", "seconds": 60}},
        {"arguments": spoken("假的").model_dump(mode="json", exclude_none=True)},
        {"target": {"area": AREA}},
        {"target": {"agent": "box"}},
        {"more": 1},
        {"signature": ""},
        {"signature": base64.b64encode(bytes(64)).decode()},
        {"signature": message["signature"] + "\n"},
        {"signature": [message["signature"]]},
    ]
    made = [json.dumps(message | change).encode() for change in changes]
    # Other bytes, the same canonical form: genuine, and seen before.
    made += [
        json.dumps(message, indent=2).encode(),
        json.dumps(dict(reversed(message.items()))).encode(),
        payload.replace(b'"id"', b'"\\u0069d"'),
        payload.replace(b"{", b'{"id":"' + str(uuid4()).encode() + b'",', 1),
        payload[:-1] + b',"id":"' + str(uuid4()).encode() + b'"}',
        b"\xef\xbb\xbf" + payload,
        payload + b" ",
        payload + payload,
        b"[" + payload + b"]",
        payload.decode().encode("utf-16"),
        payload[:-2],
    ]
    return made


@pytest.mark.timeout(120)
async def test_a_genuine_command_opens_once_whatever_the_broker_does_with_it(tmp_path: Path) -> None:
    async with village(tmp_path) as it:
        async with it.running("第一次"):
            payload = await opens_once(it)
            said = sign_command(command(spoken("只说一遍")), KEY)
            await it.genuine(said)
            for genuine in (payload, said):
                for topic in (COMMAND, AREA_COMMAND, "village/1/area/330000000000/command"):
                    for qos in (0, 1, 2):
                        await it.send(topic, genuine, qos=qos)
                    await it.send(topic, genuine, retain=True)
            await it.works("重放之后")
            for made in variants(payload):
                await it.send(COMMAND, made)
                await it.send(AREA_COMMAND, made)
            await it.works("篡改之后")
            assert it.opened == 1
        async with it.running("第二次"):
            await it.send(COMMAND, payload)
            await it.works("结束")
            assert it.opened == 1
            await opens_once(it)
        assert it.heard == ["第一次", "只说一遍", "重放之后", "篡改之后", "第二次", "结束"]


@pytest.mark.timeout(120)
async def test_a_kept_command_opens_nothing(tmp_path: Path) -> None:
    async with village(tmp_path) as it:
        for topic in (COMMAND, AREA_COMMAND):
            await it.send(topic, unlock(), retain=True)
        async with it.running("开始"):
            assert it.opened == 0
            await opens_once(it)


@pytest.mark.timeout(120)
async def test_a_command_for_others_does_nothing_here(tmp_path: Path) -> None:
    async with village(tmp_path) as it, it.running("开始"):
        for target in (
            Target(agent="shan", device="gate"),
            Target(agent="shan"),
            Target(area="330110101206"),
            Target(area="330110101205-g01"),
            Target(area="110000000000"),
            Target(agent="box", device="other"),
        ):
            for arguments in (Unlock(), spoken("不是给你的")):
                payload = sign_command(command(arguments, target), KEY)
                for topic in (COMMAND, AREA_COMMAND, "village/1/area/330000000000/command", KEYS, CLOCK, OWN + "ack"):
                    await it.send(topic, payload)
        # Genuine and ours, on a channel of another meaning.
        for topic in (KEYS, CLOCK, OWN + "ack"):
            await it.send(topic, unlock())
        await it.works("结束")
        assert (it.opened, it.heard) == (0, ["开始", "结束"])
        await opens_once(it)


@pytest.mark.timeout(120)
async def test_a_command_that_was_held_back_does_nothing_whatever_time_the_broker_tells(tmp_path: Path) -> None:
    async with village(tmp_path) as it:
        await it.attacker.subscribe([Subscription(CLOCK)])
        async with it.running("开始"):
            seen = await first(it.attacker)
            held = command(Unlock(), Target(agent="box", device="gate"), seconds=1.5)
            late = sign_command(held, KEY)
            past = held.issued
            # The wait is the attack.
            await asyncio.sleep(max(0.0, (held.expires - datetime.now(UTC)).total_seconds()) + 0.5)
            nonce = json.loads(seen)["nonce"]
            for forged in (
                seen,
                sign_time_answer(TimeAnswer(agent="box", nonce=nonce, time=past), THIEF),
                sign_time_answer(TimeAnswer(agent="box", nonce=uuid4().hex, time=past), THIEF),
                json.dumps(json.loads(seen) | {"time": past.isoformat()}).encode(),
                # Genuine, and the answer to a question that nobody asks now.
                sign_time_answer(TimeAnswer(agent="box", nonce=nonce, time=past), KEY),
                sign_time_answer(TimeAnswer(agent="shan", nonce=nonce, time=past), KEY),
                sign_time_answer(TimeAnswer(agent="box", nonce=uuid4().hex, time=past), KEY),
            ):
                await it.send(CLOCK, forged)
                await it.send(COMMAND, late)
            await it.works("结束")
            await until(lambda: bool(it.far.results(held.id)), 20)
            assert {outcome for _, outcome, _ in it.far.results(held.id)} == {"refused"}
        # After a restart the agent asks for the time anew, and is told nothing but what the attacker has.
        it.far.time = None
        await it.send(CLOCK, seen, retain=True)
        before = it.opened
        async with agent(it.config):
            count = len(it.far.statuses)
            await until(lambda: len(it.far.statuses) >= count and it.far.statuses[-1].online, 30)
            for _ in range(3):
                await it.send(CLOCK, seen)
                await it.send(COMMAND, late)
            it.far.time = lambda: datetime.now(UTC)
            await it.works("还活着")
            assert it.opened == before == 0
            await opens_once(it)


@pytest.mark.timeout(120)
async def test_the_broker_names_no_key(tmp_path: Path) -> None:
    async with village(tmp_path) as it, it.running("开始"):
        other = await asyncio.to_thread(authority, tmp_path / "other")
        genuine: dict[str, Any] = json.loads(document(it.authority, KEY))
        theirs: dict[str, Any] = json.loads(document(other, THIEF, number=9))
        for made in (
            document(other, THIEF, number=2),
            json.dumps(genuine | {"number": 2}).encode(),
            json.dumps(genuine | {"number": 2, "keys": theirs["keys"]}).encode(),
            json.dumps(theirs | {"signature": genuine["signature"]}).encode(),
            b"",
            b"{}",
        ):
            await it.send(KEYS, made)
            await it.send(COMMAND, sign_command(command(Unlock()), THIEF))
        await it.works("结束")
        assert it.opened == 0
        await opens_once(it)


@pytest.mark.timeout(120)
async def test_an_old_document_brings_no_old_key_back(tmp_path: Path) -> None:
    async with village(tmp_path) as it:
        first_document = document(it.authority, KEY)
        # Genuine, never expired, and held back until its key is out.
        held = sign_command(command(Unlock(), Target(agent="box", device="gate"), seconds=3000), KEY)
        async with it.running("开始"):
            await it.genuine(document(it.authority, NEXT_KEY, number=2), KEYS)
            await it.works("新钥匙", NEXT_KEY)
            for _ in range(3):
                await it.send(KEYS, first_document)
                await it.send(COMMAND, held)
            await it.works("结束", NEXT_KEY)
            assert it.opened == 0
            await it.send(KEYS, first_document, retain=True)
            await it.send(COMMAND, held, retain=True)
        # The time is signed with the old key too, which counts no more: the agent believes none of it.
        began = len(it.readers.told)
        async with agent(it.config):
            await until(lambda: any(told.get("secure") for told in it.readers.told[began:]), 30)
            await until(lambda: it.far.statuses[-1].online, 30)
            await it.send(COMMAND, held)
            await it.works("重启之后", NEXT_KEY)
            assert it.opened == 0
            await opens_once(it, NEXT_KEY)


def unlock(key: Ed25519PrivateKey = KEY) -> bytes:
    """A genuine command that the agent has not seen."""
    return sign_command(command(Unlock(seconds=1), Target(agent="box", device="gate")), key)


async def first(connection: Connection) -> bytes:
    async with asyncio.timeout(10):
        async for message in connection.messages():
            return message.payload
    raise AssertionError("unreachable")
