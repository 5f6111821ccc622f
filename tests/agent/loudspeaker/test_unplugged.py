"""A sound card that is unplugged in the middle of a broadcast, and plugged in again or not: what is heard, and what is told."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.agent.desk import Desk, desk
from tests.agent.kit import until
from tests.agent.loudspeaker.live.kit import packets, tone
from tests.agent.loudspeaker.recorded import Tape, place, rising, segments, taping, write_wav
from tests.agent.loudspeaker.test_sound_card import MAX_RESUME_ERROR_SECONDS, WallClock, horn, output
from tests.drivers.sound.conftest import RATE, Pulse, pulse
from village_agent.loudspeaker.cache import Source
from village_wire.broadcasts import FINAL, Voice
from village_wire.commands import Broadcast
from village_wire.events import Receipt
from village_wire.ids import uuid7
from village_wire.incoming import Received
from village_wire.live import Packet, encode_packet
from village_wire.topics import LiveTopic

__all__ = ["output", "pulse"]

#: Each is how a card goes, how it comes back, and which outputs can know of it.
Way = tuple[Callable[[Pulse], Awaitable[None]], Callable[[Pulse], Awaitable[None]]]
#: Of a file; the card goes in its first half.
LENGTH = 4.0
UNPLUGGED: Way = (lambda pulse: pulse.unload("horn"), lambda pulse: pulse.load("horn"))
KILLED: Way = (lambda pulse: pulse.kill(), lambda pulse: pulse.start())


async def told(one: Desk, broadcast: UUID) -> list[Receipt]:
    """All receipts of a broadcast."""
    found = [event.data for event in await one.parts.events() if isinstance(event.data, Receipt)]
    return [data for data in found if data.broadcast == broadcast]


async def reached(one: Desk, broadcast: UUID, *stages: str, within: float = 60) -> Receipt:
    """Wait for a receipt."""
    async with asyncio.timeout(within):
        while True:
            for receipt in reversed(await told(one, broadcast)):
                if receipt.stage in stages:
                    return receipt
                assert receipt.stage not in FINAL, receipt
            await asyncio.sleep(0.05)


def ends_at(tape: Tape) -> float:
    """The place in the rising tone at which the sound on a tape breaks off."""
    _, end = segments(tape.samples)[-1]
    return place(tape.samples, end - RATE // 100, -RATE // 20) + 0.01


def begins_at(tape: Tape) -> float:
    """The place at which it goes on."""
    begin, _ = segments(tape.samples)[0]
    return place(tape.samples, begin + RATE // 100) - 0.01


@pytest.mark.parametrize("way", [UNPLUGGED, KILLED], ids=["unplugged", "killed"])
async def test_a_file_goes_on_at_the_sample_when_the_card_is_back(
    pulse: Pulse, tmp_path: Path, output: str, way: Way
) -> None:
    lose, restore = way
    folder = tmp_path / "sounds"
    folder.mkdir()
    audio = write_wav(folder / "tone", rising(LENGTH))
    async with desk(tmp_path, horn(output), clock=WallClock(), source=Source("http://127.0.0.1:9")) as one:
        wanted = one.command(
            Broadcast(rank="notice", audio=audio, chime=False, end=datetime.now(UTC) + timedelta(minutes=2))
        )
        async with taping(pulse) as before:
            one.send(wanted)
            await until(lambda: len(before.samples) > 0 and bool(segments(before.samples)))
            await asyncio.sleep(1.3)
            await lose(pulse)
            paused = await reached(one, wanted.id, "paused", within=3)
        stopped = ends_at(before)
        assert paused.reason
        assert paused.position == pytest.approx(stopped, abs=0.15)
        await asyncio.sleep(0.5)
        await restore(pulse)
        async with taping(pulse) as after:
            await reached(one, wanted.id, "finished")
        print("resume_error_s", round(begins_at(after) - stopped, 4), paused.reason)
        # A card that is torn out takes with it what lay in its buffer.
        assert abs(begins_at(after) - stopped) <= 2 * MAX_RESUME_ERROR_SECONDS
        assert ends_at(after) == pytest.approx(LENGTH, abs=0.1)
        assert [one.stage for one in await told(one, wanted.id)][-2:] == ["resumed", "finished"]


async def test_a_file_whose_card_stays_away_has_failed_with_the_reason(pulse: Pulse, tmp_path: Path) -> None:
    await pulse.load("other")
    folder = tmp_path / "sounds"
    folder.mkdir()
    audio = write_wav(folder / "tone", rising(8))
    async with desk(tmp_path, horn("pulse:horn"), clock=WallClock(), source=Source("http://127.0.0.1:9")) as one:
        end = datetime.now(UTC) + timedelta(seconds=5)
        wanted = one.command(Broadcast(rank="notice", audio=audio, chime=False, end=end))
        one.send(wanted)
        await reached(one, wanted.id, "started")
        await asyncio.sleep(1.5)
        await pulse.unload("horn")
        paused = await reached(one, wanted.id, "paused", within=3)
        assert paused.reason.startswith("pulse:horn is gone: PulseAudio plays on other instead")
        failed = await reached(one, wanted.id, "failed", within=30)
        assert failed.reason.startswith("expired: ")
        assert failed.position == pytest.approx(paused.position, abs=0.01)


@pytest.mark.parametrize("way", [UNPLUGGED, KILLED], ids=["unplugged", "killed"])
async def test_a_live_voice_goes_on_with_what_is_said_when_the_card_is_back(
    pulse: Pulse, tmp_path: Path, output: str, way: Way
) -> None:
    lose, restore = way
    frames = await asyncio.to_thread(tone, 20.0)
    async with desk(tmp_path, horn(output), clock=WallClock()) as one:
        stream, key = uuid7(time.time_ns() // 1_000_000), Ed25519PrivateKey.generate()
        voice = Voice(stream=stream, key=base64.b64encode(key.public_key().public_bytes_raw()).decode())
        end = datetime.now(UTC) + timedelta(minutes=2)
        wanted = one.command(Broadcast(rank="notice", live=voice, chime=False, end=end))
        one.send(wanted)
        await reached(one, wanted.id, "ready", within=5)

        def say(packet: Packet) -> None:
            sent = int(time.time() * 1000) - (stream.int >> 80)
            payload = encode_packet(Packet(packet.number, sent, packet.frames, packet.end), stream, key)
            topic = str(LiveTopic("330110101205", stream))
            assert one.commands._loudspeakers.on_message(Received(topic, payload, retained=False))

        silence = asyncio.Event()

        async def speak() -> None:
            begun = time.monotonic()
            following = 0
            for packet in packets(frames):
                await asyncio.sleep(begun + packet.number * 0.02 - time.monotonic())
                if silence.is_set():
                    break
                say(packet)
                following = packet.number + len(packet.frames)
            say(Packet(following, 0, end=True))

        speaking = asyncio.create_task(speak())
        await reached(one, wanted.id, "started", within=5)
        await asyncio.sleep(2)
        await lose(pulse)
        paused = await reached(one, wanted.id, "paused", within=3)
        assert paused.position == pytest.approx(2.2, abs=0.5)
        await asyncio.sleep(1)
        await restore(pulse)
        await reached(one, wanted.id, "resumed", within=20)
        async with taping(pulse) as after:
            await until(lambda: len(after.samples) > RATE and bool(segments(after.samples[-RATE // 4 :])), 20)
            silence.set()
            await speaking
            finished = await reached(one, wanted.id, "finished", within=20)
        assert "before it was interrupted" in finished.evidence
        assert segments(after.samples)
