"""Live voice over HTTP: announced, spoken by real Opus, recorded, refused."""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tests.collector.api.conftest import Collector
from tests.collector.kit import VILLAGE
from tests.collector.live.test_ogg import speech
from village_collector.live.ogg import OpusReader
from village_collector.live.overlap import Placed
from village_collector.live.service import Wish
from village_collector.ports import StoreUnavailable
from village_collector.stores.control import ControlStore
from village_wire.commands import Broadcast, Target, read_command
from village_wire.live import Packet, decode_packet
from village_wire.topics import LiveTopic


@pytest.fixture
def control(each_control: ControlStore) -> ControlStore:
    return each_control


@cache
def ogg(seconds: float = 1.0) -> bytes:
    return speech(seconds=seconds)


def sent(collector: Collector) -> list[Packet]:
    """All packets, each proved by the key that stands in the command."""
    key, stream = announced(collector)
    live = [message for message in collector.outbox.sent if "/live/" in message.topic]
    assert all((message.qos, message.retain, message.expiry) == (0, False, 2) for message in live)
    return [decode_packet(message.payload, stream, key) for message in live]


def announced(collector: Collector) -> tuple[Ed25519PublicKey, UUID]:
    message = [message for message in collector.outbox.sent if message.topic.endswith("/command")][-1]
    content = read_command(message.payload, collector.outbox.key.public_key()).arguments
    assert isinstance(content, Broadcast)
    assert content.live is not None
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(content.live.key)), content.live.stream


async def announce(client: httpx.AsyncClient, **more: Any) -> str:
    answer = await client.post("/live", json={"targets": [{"area": VILLAGE}], **more})
    assert answer.status_code == 202, answer.text
    found: str = answer.json()["id"]
    return found


async def pieces(content: bytes, size: int = 700) -> AsyncIterator[bytes]:
    for at in range(0, len(content), size):
        yield content[at : at + size]
        await asyncio.sleep(0)


async def test_a_voice_is_announced_sent_signed_and_recorded(client: httpx.AsyncClient, collector: Collector) -> None:
    identity = await announce(client, rank="alert", title="防汛", chime=False)
    answer = await client.post(f"/live/{identity}/voice", content=pieces(ogg()))
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert document["reason"] == ""
    assert document["seconds"] == pytest.approx(1.0, abs=0.05)
    packets = sent(collector)
    assert collector.outbox.sent[-1].topic == str(LiveTopic(VILLAGE, UUID(identity)))
    frames = list(itertools.chain.from_iterable(packet.frames for packet in packets))
    assert frames == OpusReader().feed(ogg())
    assert [packet.end for packet in packets] == [False] * (len(packets) - 1) + [True]
    assert packets[-1].number == len(frames)
    recording = await client.get(f"/live/{identity}/recording")
    assert recording.headers["content-type"] == "audio/ogg"
    assert OpusReader().feed(recording.content) == frames
    shown = (await client.get(f"/broadcasts/{identity}")).json()
    assert shown["content"]["live"]["stream"] == identity
    assert shown["content"]["title"] == "防汛"
    entries = (await client.get("/audit", params={"limit": 50})).json()["entries"]
    acts = [entry["action"] for entry in entries if entry["action"].startswith("broadcast")]
    assert sorted(acts) == ["broadcast.live", "broadcast.live_end", "broadcast.recording"]


async def test_it_is_over_for_agents_that_come_back(client: httpx.AsyncClient, collector: Collector) -> None:
    identity = await announce(client)
    before = datetime.fromisoformat((await client.get(f"/broadcasts/{identity}")).json()["end"])
    collector.now += timedelta(seconds=15)
    await client.post(f"/live/{identity}/voice", content=pieces(ogg()))
    after = datetime.fromisoformat((await client.get(f"/broadcasts/{identity}")).json()["end"])
    assert after == collector.now < before


async def test_two_cannot_speak_at_one_place_unless_it_is_more_urgent(
    client: httpx.AsyncClient, collector: Collector
) -> None:
    first = await announce(client, rank="notice")
    begun = asyncio.Event()

    async def talk() -> AsyncIterator[bytes]:
        async for part in pieces(ogg()):
            yield part
        begun.set()
        await asyncio.sleep(30)
        yield b""

    speaking = asyncio.create_task(client.post(f"/live/{first}/voice", content=talk()))
    await begun.wait()
    for rank in ("routine", "notice"):
        answer = await client.post("/live", json={"targets": [{"agent": "gate-1", "device": "speaker"}], "rank": rank})
        assert answer.status_code == 409
        assert "speaks there at class notice" in answer.json()["detail"]
    second = await announce(client, rank="emergency")
    ended = (await speaking).json()
    assert "speaks at class emergency" in ended["reason"]
    assert ended["seconds"] == pytest.approx(1.0, abs=0.05)
    answer = await client.post(f"/live/{second}/voice", content=pieces(ogg()))
    assert answer.json()["reason"] == ""


async def test_a_withdrawn_voice_ends(client: httpx.AsyncClient) -> None:
    identity = await announce(client)
    begun = asyncio.Event()

    async def talk() -> AsyncIterator[bytes]:
        yield ogg()
        begun.set()
        await asyncio.sleep(30)

    speaking = asyncio.create_task(client.post(f"/live/{identity}/voice", content=talk()))
    await begun.wait()
    await client.post(f"/broadcasts/{identity}/withdraw")
    assert "withdrawn" in (await speaking).json()["reason"]


async def test_a_silent_speaker_is_cut_off(
    client: httpx.AsyncClient, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("village_collector.live.service.SILENCE_SECONDS", 0.05)
    identity = await announce(client)

    async def talk() -> AsyncIterator[bytes]:
        yield ogg()
        await asyncio.sleep(30)

    answer = await client.post(f"/live/{identity}/voice", content=talk())
    assert "nothing came" in answer.json()["reason"]
    assert sent(collector)[-1].end


async def test_only_who_announced_it_speaks_and_once(client: httpx.AsyncClient, collector: Collector) -> None:
    answer = await client.post(f"/live/{UUID(int=7)}/voice", content=ogg())
    assert answer.status_code == 404

    async def nothing(_: UUID) -> None:
        pass

    other = await collector.live.announce([Placed(Target(area=VILLAGE), VILLAGE)], Wish("notice"), "somebody", nothing)
    assert (await client.post(f"/live/{other}/voice", content=ogg())).status_code == 404
    assert not [message for message in collector.outbox.sent if "/live/" in message.topic]


async def test_another_form_is_refused_with_what_to_do(client: httpx.AsyncClient, collector: Collector) -> None:
    identity = await announce(client)
    answer = await client.post(f"/live/{identity}/voice", content=b"RIFF" + bytes(60))
    assert answer.status_code == 422
    assert "Ogg" in answer.json()["detail"]
    assert [packet.end for packet in sent(collector)] == [True]
    # The place is free again.
    await announce(client)


async def test_what_cannot_be_recorded_is_not_sent(client: httpx.AsyncClient, collector: Collector) -> None:
    identity = await announce(client)
    collector.live.recorder._folder.parent.joinpath("live").write_text("not a folder")
    answer = await client.post(f"/live/{identity}/voice", content=pieces(ogg()))
    assert answer.status_code == 503
    assert [packet.end for packet in sent(collector)] == [True]


async def test_a_speaker_who_is_faster_than_sound_is_held_back(client: httpx.AsyncClient, collector: Collector) -> None:
    identity = await announce(client)
    loop = asyncio.get_running_loop()
    started = loop.time()
    await client.post(f"/live/{identity}/voice", content=pieces(ogg(1.5)))
    assert loop.time() - started > 0.9


async def test_a_broker_that_takes_nothing_does_not_end_the_voice(
    client: httpx.AsyncClient, collector: Collector
) -> None:
    identity = await announce(client)
    collector.outbox.broken = "not connected"
    document = (await client.post(f"/live/{identity}/voice", content=pieces(ogg()))).json()
    assert document["unsent"] == document["packets"]


async def test_a_voice_of_a_killed_collector_is_told_as_broken_off_when_it_starts_again(
    client: httpx.AsyncClient, collector: Collector
) -> None:
    identity = await announce(client)
    assert (await client.get(f"/broadcasts/{identity}")).json()["voice"]["state"] == "expected"
    await collector.live.find(UUID(identity), "chief")
    assert (await client.get(f"/broadcasts/{identity}")).json()["voice"]["state"] == "speaking"
    assert (await client.post("/live", json={"targets": [{"area": VILLAGE}]})).status_code == 409
    await collector.live.prepare()
    voice = (await client.get(f"/broadcasts/{identity}")).json()["voice"]
    assert voice["state"] == "over"
    assert voice["reason"].startswith("broken off")
    (entry,) = [
        entry
        for entry in (await client.get("/audit", params={"limit": 50})).json()["entries"]
        if entry["action"] == "broadcast.live_end"
    ]
    assert (entry["outcome"], entry["actor"], entry["command"], entry["area"]) == ("failed", "chief", identity, VILLAGE)
    # The place is free again.
    await announce(client)


async def test_a_voice_whose_end_the_store_did_not_take_frees_its_place_when_it_is_back(
    client: httpx.AsyncClient, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = await announce(client)

    def away(*_: object) -> None:
        raise StoreUnavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(collector.control, "end_speech", away)
        spoken = await collector.live.speak(await collector.live.find(UUID(identity), "chief"), pieces(ogg()))
    assert spoken.reason == ""
    await announce(client)
    voice = (await client.get(f"/broadcasts/{identity}")).json()["voice"]
    assert (voice["state"], voice["reason"], voice["seconds"]) == ("over", "", pytest.approx(1.0, abs=0.05))


async def test_a_voice_of_another_command_key_is_not_taken(
    client: httpx.AsyncClient, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = await announce(client)
    monkeypatch.setattr(collector.outbox, "key", Ed25519PrivateKey.generate())
    answer = await client.post(f"/live/{identity}/voice", content=ogg())
    assert (answer.status_code, "another command key" in answer.json()["detail"]) == (404, True)
