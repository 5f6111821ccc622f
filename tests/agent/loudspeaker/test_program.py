"""The real program with a loudspeaker that writes down what is heard: killed while it plays, and without its link."""

from __future__ import annotations

import array
import asyncio
import itertools
import random
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from tests.agent.collector import Collector, collector
from tests.agent.kit import until
from tests.agent.loudspeaker.audio_server import AudioServer, audio_server
from tests.agent.loudspeaker.recorded import RISE, hertz, place, rising, write_wav
from tests.agent.program import agent, configuration, online
from tests.drivers.sound.conftest import RATE
from tests.peers.mosquitto import Mosquitto
from village_wire.broadcasts import FINAL, Audio
from village_wire.commands import Broadcast, Command, Target
from village_wire.events import Receipt

TOPIC = "village/1/agent/box/command"
#: What a kill may take back: a second between two notes, and what the file took while the last was written.
MAX_REPEATED = 1.3


@pytest.fixture
def server() -> Iterator[AudioServer]:
    with audio_server() as found:
        yield found


def horn(folder: Path, broker: str, server: AudioServer) -> Path:
    """A box whose loudspeaker is the file `heard.wav`."""
    speaker = f'\n[[devices]]\nid = "horn"\ndriver = "sound"\noutput = "file:{folder}/heard.wav"\n'
    config = configuration(folder, broker, f"{speaker}\n[outbox]\ndrain_spread_seconds = 0\n")
    config.write_text(config.read_text().replace("[collector]\n", f'[collector]\napi = "{server.url}"\n'))
    return config


def heard(folder: Path) -> array.array[int]:
    """The samples so far; the head of the file may lag behind."""
    path = folder / "heard.wav"
    content = path.read_bytes()[44:] if path.exists() else b""
    samples = array.array("h")
    samples.frombytes(content[: len(content) // 2 * 2])
    return samples


def tone(folder: Path, server: AudioServer, seconds: float) -> Audio:
    samples = rising(seconds)
    path = folder / "tone"
    digest = write_wav(path, samples).sha256
    return server.add((folder / digest).read_bytes(), seconds)


def command(**fields: object) -> Command:
    now = datetime.now(UTC)
    wanted = Broadcast.model_validate({"rank": "notice", "chime": False, "end": now + timedelta(minutes=2), **fields})
    return Command(
        id=uuid4(),
        target=Target(agent="box", device="horn"),
        arguments=wanted,
        issuer="wang",
        issued=now,
        expires=wanted.end,
    )


def stages(far: Collector, broadcast: UUID) -> list[str]:
    """What was told of a broadcast, in the order of its events' times."""
    found = sorted(far.events, key=lambda event: event.time)
    return [
        event.data.stage for event in found if isinstance(event.data, Receipt) and event.data.broadcast == broadcast
    ]


@pytest.mark.timeout(120)
async def test_killed_again_and_again_a_sound_goes_on_and_ends_once(tmp_path: Path, server: AudioServer) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    wanted = command(audio=tone(tmp_path, server, 9))
    async with Mosquitto(tmp_path) as broker, collector(broker.url) as far:
        config = horn(tmp_path, broker.url, server)
        for run in range(3):
            async with agent(config) as process:
                await online(far, run + 1)
                if run == 0:
                    await far.send(wanted, TOPIC)
                before = len(heard(tmp_path))
                await until(lambda: len(heard(tmp_path)) > before + RATE, 20)  # noqa: B023
                await asyncio.sleep(chance.uniform(0, 1.2))
                process.kill()
                await process.wait()
        async with agent(config):
            await until(lambda: "finished" in stages(far, wanted.id), 40)
    found = stages(far, wanted.id)
    assert found[:2] == ["queued", "fetched"]
    assert found[-1] == "finished"
    assert len([stage for stage in found if stage in FINAL]) == 1
    assert found.count("started") == 1
    samples = heard(tmp_path)
    # Every tenth of a second of what was heard, as a place in the tone: it never begins anew, and nothing is left out.
    window = RATE // 10
    places = [place(samples, at, window) for at in range(0, len(samples) - window, window)]
    steps = [after - before for before, after in itertools.pairwise(places)]
    # A window with a cut in it shows no place.
    assert min(places) > -0.5
    assert sum(step < -0.2 for step in steps) <= 2 * 3
    assert len(samples) / RATE <= 9 + 3 * MAX_REPEATED
    assert len(samples) / RATE >= 9 - 0.05
    seen = {round(at, 1) for at in places}
    missing = [tenth / 10 for tenth in range(2, 88) if not {tenth / 10, round(tenth / 10 + 0.1, 1)} & seen]
    assert not missing
    assert hertz(samples, len(samples) - RATE // 20, len(samples)) == pytest.approx(400 + RISE * 9, abs=15)


@pytest.mark.timeout(90)
async def test_broadcasts_are_heard_while_the_link_is_down_and_told_when_it_is_back(
    tmp_path: Path, server: AudioServer
) -> None:
    async with Mosquitto(tmp_path) as broker, AsyncExitStack() as stack:
        async with collector(broker.url) as far:
            await stack.enter_async_context(agent(horn(tmp_path, broker.url, server)))
            await online(far)
            start = datetime.now(UTC) + timedelta(seconds=6)
            during, planned = command(audio=tone(tmp_path, server, 4)), command(text="村民注意", start=start)
            for one in (during, planned):
                await far.send(one, TOPIC)
            await until(lambda: "started" in stages(far, during.id) and "queued" in stages(far, planned.id), 20)
        await broker.kill()
        assert len(heard(tmp_path)) < 4 * RATE
        # Both end while nobody listens: the text takes a second and is heard after the file.
        await until(lambda: len(heard(tmp_path)) > 4.7 * RATE, 20)
        assert "finished" not in stages(far, during.id)
        await broker.start()
        async with collector(broker.url) as again:
            again.stored |= far.stored
            await until(lambda: all("finished" in stages(again, one.id) for one in (during, planned)), 60)
            assert stages(again, during.id) == ["queued", "fetched", "started", "finished"]
            assert stages(again, planned.id) == ["queued", "started", "finished"]


async def test_a_file_that_can_t_be_fetched_fails_with_the_reason_at_its_end(
    tmp_path: Path, server: AudioServer
) -> None:
    audio = tone(tmp_path, server, 2)
    server.status = 404
    async with Mosquitto(tmp_path) as broker, collector(broker.url) as far, agent(horn(tmp_path, broker.url, server)):
        await online(far)
        wanted = command(audio=audio, end=datetime.now(UTC) + timedelta(seconds=4))
        await far.send(wanted, TOPIC)
        await until(lambda: "failed" in stages(far, wanted.id), 20)
        (failed,) = [
            event.data for event in far.events if isinstance(event.data, Receipt) and event.data.stage == "failed"
        ]
        assert failed.reason == "expired: the sound file can't be fetched: the collector answers 404 Not Found"
        assert not heard(tmp_path)
