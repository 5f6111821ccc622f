"""Two collectors behind one address: either serves a sound file, takes a voice, ends one that the other carries, and has its recording."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.collector.broadcasts.sounds import tone
from tests.collector.kit import VILLAGE, add_site
from tests.collector.live.test_ogg import speech
from tests.faults.collectors import CollectorProgram, Stores, collector_program, shared_stores
from tests.peers.mosquitto import Mosquitto
from village_collector.live.ogg import OpusReader
from village_collector.live.places import LOST_SECONDS
from village_wire.address import BrokerAddress, SessionSettings, Subscription
from village_wire.commands import Broadcast, read_command
from village_wire.incoming import Received
from village_wire.live import decode_packet
from village_wire.session import Session

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg: apt install ffmpeg")

PLACE = {"targets": [{"area": VILLAGE}], "chime": False}


@cache
def ogg(seconds: float) -> bytes:
    return speech(seconds=seconds)


class Ear:
    """Hears what loudspeakers would: packets that the key in the signed command proves."""

    def __init__(self, url: str, stores: Stores) -> None:
        self.frames: dict[UUID, list[bytes]] = {}
        self.over: set[UUID] = set()
        self._keys: dict[UUID, Ed25519PublicKey] = {}
        self._stores = stores
        wanted = [Subscription(f"village/1/area/{VILLAGE}/{topic}") for topic in ("command", "live/#")]
        self.session = Session(SessionSettings(BrokerAddress(url), "ear"), wanted, self._hear)

    def _hear(self, message: Received) -> None:
        if message.topic.endswith("/command"):
            content = read_command(message.payload, self._stores.key).arguments
            if isinstance(content, Broadcast) and content.live is not None:
                self._keys[content.live.stream] = Ed25519PublicKey.from_public_bytes(base64.b64decode(content.live.key))
            return
        stream = UUID(message.topic.rpartition("/")[2])
        packet = decode_packet(message.payload, stream, self._keys[stream])
        self.frames.setdefault(stream, []).extend(packet.frames)
        if packet.end:
            self.over.add(stream)

    async def hears(self, stream: UUID, frames: int) -> None:
        async with asyncio.timeout(20):
            while len(self.frames.get(stream, [])) < frames:
                await asyncio.sleep(0.02)


class Site:
    """Two collectors and an ear on their broker."""

    def __init__(self, one: CollectorProgram, two: CollectorProgram, ear: Ear) -> None:
        self.one, self.two, self.ear = one, two, ear


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    with shared_stores(tmp_path) as made:
        yield made


@asynccontextmanager
async def site_of(folder: Path, stores: Stores) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(Mosquitto(folder))
        async with stores.control() as control:
            await asyncio.to_thread(add_site, control)
        one, two = [
            await stack.enter_async_context(collector_program(name, broker.url, stores)) for name in ("one", "two")
        ]
        ear = Ear(broker.url, stores)
        listening = asyncio.create_task(ear.session.run(_nothing), name="ear")
        stack.push_async_callback(asyncio.wait, [listening])
        stack.callback(listening.cancel)
        await ear.session.wait_connected()
        yield Site(one, two, ear)


async def _nothing() -> None:
    return


async def announce(program: CollectorProgram, rank: str = "notice") -> httpx.Response:
    async with program.client() as client:
        return await client.post("/live", json={**PLACE, "rank": rank})


async def announced(program: CollectorProgram, rank: str = "notice") -> UUID:
    answer = await announce(program, rank)
    assert answer.status_code == 202, answer.text
    return UUID(answer.json()["id"])


async def speak(program: CollectorProgram, voice: UUID, seconds: float, then: float = 0.0) -> dict[str, Any]:
    """Speak for so long, go on without a word for `then`, and return the answer."""

    async def words() -> AsyncIterator[bytes]:
        content = ogg(seconds)
        for at in range(0, len(content), 700):
            yield content[at : at + 700]
        await asyncio.sleep(then)

    async with program.client() as client:
        answer = await client.post(f"/live/{voice}/voice", content=words())
    found: dict[str, Any] = {**answer.json(), "status": answer.status_code}
    return found


async def recorded(program: CollectorProgram, voice: UUID) -> list[bytes]:
    async with program.client() as client:
        answer = await client.get(f"/live/{voice}/recording")
    assert answer.status_code in {200, 404}, answer.text
    return OpusReader().feed(answer.content) if answer.status_code == 200 else []


@pytest.mark.timeout(120)
async def test_a_file_that_one_took_in_is_served_by_the_other(tmp_path: Path, stores: Stores) -> None:
    async with site_of(tmp_path, stores) as site:
        sound = await asyncio.to_thread((await asyncio.to_thread(tone, tmp_path / "tone.wav", 20.0)).read_bytes)
        async with site.one.client() as client:
            taken = await client.put("/audio", content=sound)
        assert taken.status_code == 200, taken.text
        sha256, size = taken.json()["sha256"], taken.json()["bytes"]
        kept = site.one.folder / "audio" / f"{sha256}.ogg"
        whole = await asyncio.to_thread(kept.read_bytes)
        token = json.loads(await asyncio.to_thread(kept.with_suffix(".json").read_text))["token"]
        await site.one.kill()
        right = {"Authorization": f"Bearer {token}"}
        async with site.two.client() as client:
            refused = await client.get(f"/audio/{sha256}", headers={"Authorization": "Bearer another"})
            assert refused.status_code == 403
            first = await client.get(f"/audio/{sha256}", headers={**right, "Range": f"bytes=0-{size // 2 - 1}"})
        assert (first.status_code, first.headers["content-range"]) == (206, f"bytes 0-{size // 2 - 1}/{size}")
        # Broken off in the middle, and resumed at a collector that has never had the file on its disk.
        await site.two.kill()
        await asyncio.to_thread(shutil.rmtree, site.two.folder / "audio")
        await site.two.start()
        async with site.two.client() as client:
            rest = await client.get(f"/audio/{sha256}", headers={**right, "Range": f"bytes={size // 2}-"})
            assert rest.status_code == 206
            assert first.content + rest.content == whole
            request = {"targets": [{"area": VILLAGE}], "audio": sha256}
            assert (await client.post("/broadcasts", json=request)).status_code == 202


@pytest.mark.timeout(180)
async def test_a_voice_goes_through_whichever_collector(tmp_path: Path, stores: Stores) -> None:
    async with site_of(tmp_path, stores) as site:
        # Announced at one, spoken to the other.
        voice = await announced(site.one)
        answer = await speak(site.two, voice, 2.0)
        assert (answer["status"], answer["reason"]) == (200, "")
        assert answer["seconds"] == pytest.approx(2.0, abs=0.1)
        async with asyncio.timeout(10):
            while voice not in site.ear.over:
                await asyncio.sleep(0.02)
        said = OpusReader().feed(ogg(2.0))
        assert site.ear.frames[voice] == said
        assert (await speak(site.one, voice, 2.0))["status"] == 404
        async with asyncio.timeout(10):
            while await recorded(site.one, voice) != said:
                await asyncio.sleep(0.1)

        # One speaker for each place, wherever both are.
        voice = await announced(site.one)
        speaking = asyncio.create_task(speak(site.two, voice, 30.0))
        await site.ear.hears(voice, 20)
        for program in (site.one, site.two):
            refused = await announce(program)
            assert (refused.status_code, "speaks there at class notice" in refused.text) == (409, True), refused.text
        urgent = await announced(site.one, "emergency")
        ended = await asyncio.wait_for(speaking, 3)
        assert "speaks at class emergency" in ended["reason"]
        assert (await speak(site.two, urgent, 1.0))["reason"] == ""

        # Withdrawn at the one that does not carry it.
        voice = await announced(site.two)
        speaking = asyncio.create_task(speak(site.two, voice, 30.0))
        await site.ear.hears(voice, 20)
        await site.one.ask("POST", f"/broadcasts/{voice}/withdraw", {})
        assert "withdrawn" in (await asyncio.wait_for(speaking, 3))["reason"]


@pytest.mark.timeout(180)
async def test_a_collector_that_is_killed_loses_its_voice_and_nobody_the_place(tmp_path: Path, stores: Stores) -> None:
    loop = asyncio.get_running_loop()
    async with site_of(tmp_path, stores) as site:
        voice = await announced(site.one)
        speaking = asyncio.create_task(speak(site.two, voice, 30.0))
        await site.ear.hears(voice, 400)
        await site.two.kill()
        killed = loop.time()
        with contextlib.suppress(httpx.TransportError):
            await speaking
        while (answer := await announce(site.one)).status_code == 409:
            await asyncio.sleep(0.1)
        assert answer.status_code == 202, answer.text
        assert LOST_SECONDS - 1.5 < loop.time() - killed < LOST_SECONDS + 3
        entries = (await site.one.ask("GET", "/audit?limit=50"))["entries"]
        ends = [entry for entry in entries if entry["action"] == "broadcast.live_end"]
        assert [(entry["outcome"], entry["command"]) for entry in ends] == [("failed", str(voice))]
        assert "broken off: the collector that carried it" in ends[0]["reason"]
        shown = await site.one.ask("GET", f"/broadcasts/{voice}")
        assert shown["voice"]["state"] == "over"
        assert shown["voice"]["reason"].startswith("broken off")
        assert shown["voice"]["seconds"] > 5
        # What was recorded until a few seconds before is with the other; the rest comes with the killed one's disk.
        heard = site.ear.frames[voice]
        early = await recorded(site.one, voice)
        assert len(early) > 100
        assert early == heard[: len(early)]
        await site.two.start()
        async with asyncio.timeout(20):
            while len(late := await recorded(site.one, voice)) < len(heard) - 60:
                await asyncio.sleep(0.2)
        assert late[: len(heard)] == heard[: len(late)]


@pytest.mark.timeout(180)
async def test_a_collector_that_was_held_up_gives_its_voice_up(tmp_path: Path, stores: Stores) -> None:
    async with site_of(tmp_path, stores) as site:
        voice = await announced(site.two)
        speaking = asyncio.create_task(speak(site.two, voice, 30.0))
        await site.ear.hears(voice, 50)
        site.two.freeze()
        while (answer := await announce(site.one)).status_code == 409:
            await asyncio.sleep(0.1)
        assert answer.status_code == 202, answer.text
        site.two.thaw()
        assert "broken off" in (await asyncio.wait_for(speaking, 5))["reason"]
        assert (await speak(site.one, UUID(answer.json()["id"]), 1.0))["reason"] == ""
