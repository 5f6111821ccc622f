"""Pre-emption and resumption as they are heard: a real agent's commands, the sound driver, PulseAudio, and a recording."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.agent.desk import Clock, Desk, desk
from tests.agent.kit import until
from tests.agent.loudspeaker.recorded import Tape, hertz, place, rising, segments, steady, taping, write_wav
from tests.drivers.recorder import NoServices
from tests.drivers.sound.conftest import RATE, Pulse, pulse
from tests.peers import absent, peer
from village_agent.loudspeaker.cache import Source
from village_agent.loudspeaker.settings import LoudspeakersTable
from village_agent.roster import Unit
from village_drivers.sound.driver import Sound, SoundConfig
from village_wire.broadcasts import Audio, Class
from village_wire.commands import Broadcast, Stop
from village_wire.events import Receipt

__all__ = ["pulse"]

#: What the design asks for.
MAX_PREEMPT_SECONDS = 0.3
MAX_RESUME_ERROR_SECONDS = 0.05


class WallClock(Clock):
    """The real time."""

    @property
    def now(self) -> datetime:
        return datetime.now(UTC)

    @now.setter
    def now(self, _: datetime) -> None:
        return


@pytest.fixture(params=["pulse:horn", "alsa:pulse"])
def output(request: pytest.FixtureRequest) -> str:
    text: str = request.param
    if text.startswith("alsa"):
        peer("aplay")
        if not Path("/usr/share/alsa/alsa.conf.d/50-pulseaudio.conf").exists():
            absent("ALSA's PulseAudio plug-in is absent: apt-get install libasound2-plugins")
    return text


def horn(output: str) -> Unit:
    config = SoundConfig(id="horn", driver="sound", output=output)
    return Unit(config, Sound(config, NoServices()))


def broadcast(rank: Class, audio: Audio | None = None, text: str | None = None, *, chime: bool = False) -> Broadcast:
    return Broadcast(rank=rank, audio=audio, text=text, chime=chime, end=datetime.now(UTC) + timedelta(minutes=2))


async def preempted(one: Desk, tape: Tape, low: Broadcast, high: Broadcast, after: float) -> tuple[float, float]:
    """Let one broadcast interrupt another; return how long that took, and by how much the other goes on elsewhere."""
    begun = len(tape.samples)
    playing, urgent = one.command(low), one.command(high)
    one.send(playing)
    await until(lambda: len(segments(tape.samples[begun:])) == 1)
    await asyncio.sleep(after)
    called = time.monotonic()
    one.send(urgent)

    async def finished() -> bool:
        found = [event.data for event in await one.parts.events() if isinstance(event.data, Receipt)]
        return {playing.id, urgent.id} <= {data.broadcast for data in found if data.stage == "finished"}

    async with asyncio.timeout(60):
        while not await finished():
            await asyncio.sleep(0.1)
    parts = [(begin + begun, end + begun) for begin, end in segments(tape.samples[begun:])]
    # A busy machine leaves gaps in a sound; which of the two a part belongs to is known by its tone.
    urgent_parts = [part for part in parts if hertz(tape.samples, *part) > 2000]
    first, last = urgent_parts[0][0], urgent_parts[-1][1]
    cut = max(end for _, end in parts if end <= first)
    again = min(begin for begin, _ in parts if begin >= last)
    # The last block of a sound that was cut off may be half empty.
    stopped = place(tape.samples, cut - RATE // 100, -RATE // 20) + 0.01
    resumed = place(tape.samples, again + RATE // 100) - 0.01
    assert stopped > after
    return tape.moment(first) - called, resumed - stopped


async def test_an_emergency_is_heard_at_once_and_the_rest_goes_on_at_the_sample(
    pulse: Pulse, tmp_path: Path, output: str
) -> None:
    folder = tmp_path / "sounds"
    folder.mkdir()
    low = write_wav(folder / "low", rising(3.5))
    high = write_wav(folder / "high", steady(0.8, 2500))
    source = Source("http://127.0.0.1:9")
    async with desk(tmp_path, horn(output), clock=WallClock(), source=source) as one, taping(pulse) as tape:
        measured = []
        for after in (1.3, 0.8, 1.93):
            low_one, high_one = broadcast("routine", audio=low), broadcast("emergency", audio=high)
            measured.append(await preempted(one, tape, low_one, high_one, after))
        print("preempt_s and resume_error_s", [(round(took, 3), round(error, 4)) for took, error in measured])
        # Others use the processor too; what the agent itself needs is the least.
        assert min(took for took, _ in measured) <= MAX_PREEMPT_SECONDS
        assert min(abs(error) for _, error in measured) <= MAX_RESUME_ERROR_SECONDS
        assert max(abs(error) for _, error in measured) <= 2 * MAX_RESUME_ERROR_SECONDS


async def test_a_spoken_emergency_with_its_chime_is_as_quick(pulse: Pulse, tmp_path: Path) -> None:
    folder = tmp_path / "sounds"
    folder.mkdir()
    low = write_wav(folder / "low", rising(8))
    source, table = Source("http://127.0.0.1:9"), LoudspeakersTable()
    text = "紧急通知。山洪将至，请马上转移到高处。" * 20
    async with (
        desk(tmp_path, horn("pulse:horn"), clock=WallClock(), source=source, table=table) as one,
        taping(pulse) as tape,
    ):
        await until((folder / "chime-emergency.wav").exists)
        took = []
        for _ in range(3):
            begun = len(tape.samples)
            one.send(one.command(broadcast("routine", audio=low)))
            await until(lambda: bool(segments(tape.samples[begun:])))  # noqa: B023
            await asyncio.sleep(0.5)
            called = time.monotonic()
            one.send(one.command(broadcast("emergency", text=text, chime=True)))

            def bell(since: int = begun) -> list[int]:
                """Where a part begins that is higher than the first second of the rising tone."""
                parts = [(begin + since, end + since) for begin, end in segments(tape.samples[since:])]
                long = [begin for begin, end in parts if end - begin > RATE // 10]
                return [begin for begin in long if hertz(tape.samples, begin, begin + RATE // 10) > 650]

            await until(lambda: bool(bell()))
            took.append(tape.moment(bell()[0]) - called)
            one.send(one.command(Stop()))
            await until(lambda: not one.commands._loudspeakers._stations["horn"].stored)
            await asyncio.sleep(0.3)
        print("preempt_s", [round(seconds, 3) for seconds in took], f"for {len(text)} characters with a chime")
        assert min(took) <= MAX_PREEMPT_SECONDS
