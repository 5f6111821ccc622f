"""Receipts with evidence: real drivers, a meter on Modbus TCP, PulseAudio's monitors as microphones."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio

from tests.agent.desk import Desk, desk
from tests.agent.kit import running, until
from tests.agent.loudspeaker.recorded import steady, write_wav
from tests.agent.loudspeaker.test_hearing import noise, record
from tests.agent.loudspeaker.test_sound_card import WallClock
from tests.drivers.recorder import NoServices, Recorder
from tests.peers import free_port, peer
from tests.peers.pulseaudio import PulseAudio
from village_agent.loudspeaker.cache import Source
from village_agent.loudspeaker.heard_levels import FILE
from village_agent.loudspeaker.settings import LoudspeakersTable
from village_agent.roster import Unit
from village_drivers.microphone.driver import Microphone, MicrophoneConfig
from village_drivers.modbus.driver import ModbusBoard
from village_drivers.sound.driver import Sound, SoundConfig
from village_emulators.modbus_board import AmplifierCurrent, ModbusBoardEmulator
from village_wire.broadcasts import FINAL, Audio
from village_wire.commands import Broadcast
from village_wire.events import Receipt


def loudspeaker(output: str) -> Unit:
    config = SoundConfig(id="horn", driver="sound", output=output)
    return Unit(config, Sound(config, NoServices()))


def board(port: int) -> Unit:
    config = cast("Any", ModbusBoard.Config).model_validate(
        {
            "id": "board", "driver": "modbus", "host": "127.0.0.1", "tcp_port": port, "poll_seconds": 3600,
            "relays": [{"id": "amplifier", "coil": 0}],
            "registers": [{"id": "current", "register": 4, "scale": 0.01}],
        }
    )  # fmt: skip
    return Unit(config, ModbusBoard(config, NoServices()))


def table(**own: object) -> LoudspeakersTable:
    return LoudspeakersTable.model_validate({"lead_in_seconds": 0.6, "devices": [{"id": "horn", **own}]})


async def outcome(one: Desk, audio: Audio, *, chime: bool = False, times: int = 1) -> Receipt:
    """Broadcast a file and return the last receipt."""
    end = datetime.now(UTC) + timedelta(minutes=2)
    command = one.command(Broadcast(rank="alert", audio=audio, chime=chime, end=end, times=times, pause=1))
    one.send(command)
    async with asyncio.timeout(30):
        while True:
            told = [event.data for event in await one.parts.events() if isinstance(event.data, Receipt)]
            for receipt in told:
                if receipt.broadcast == command.id and receipt.stage in FINAL:
                    return receipt
            await asyncio.sleep(0.05)


@dataclass
class Site:
    one: Desk
    audio: Audio
    emulator: ModbusBoardEmulator
    board: asyncio.Task[None]


@asynccontextmanager
async def metered(folder: Path) -> AsyncIterator[Site]:
    """A loudspeaker behind an amplifier whose current is measured; its emulator is told when the loudspeaker sounds."""
    (folder / "sounds").mkdir()
    audio = write_wav(folder / "sounds" / "sound", steady(1.6, 600))
    horn, port, current = loudspeaker(f"file:{folder / 'horn.wav'}"), free_port(), AmplifierCurrent(4, 0)

    async def follow() -> None:
        while True:
            current.sounds = cast("Sound", horn.driver).position_seconds > 0 and cast("Sound", horn.driver)._player.busy
            await asyncio.sleep(0.01)

    async with ModbusBoardEmulator(tcp_port=port, current=current) as emulator:
        meter, report = board(port), Recorder()
        wanted = table(amplifier="amplifier", current="current")
        source = Source("http://127.0.0.1:9")
        driver = asyncio.create_task(meter.driver.run(report))
        async with (
            running(follow()),
            desk(folder, horn, meter, clock=WallClock(), table=wanted, source=source) as one,
        ):
            await until(lambda: len(report.history) >= 2)
            try:
                yield Site(one, audio, emulator, driver)
            finally:
                driver.cancel()
                await asyncio.wait([driver])


async def test_the_receipt_tells_what_the_amplifier_drew(tmp_path: Path) -> None:
    async with metered(tmp_path) as site:
        receipt = await outcome(site.one, site.audio)
        assert (receipt.stage, receipt.reason) == ("finished", "")
        assert "amplifier drew 0.82 A, 0.05 A idle" in receipt.evidence


async def test_an_amplifier_without_power_makes_it_failed_and_is_played_to_its_end(tmp_path: Path) -> None:
    async with metered(tmp_path) as site:
        await site.emulator.obey("power off")
        receipt = await outcome(site.one, site.audio)
        assert receipt.stage == "failed"
        assert receipt.reason == "amplifier drew only 0.00 A, 0.00 A idle: a sound takes 0.3 A more"
        assert "played 1.6" in receipt.evidence
        assert await site.emulator.coil(0)
        # Once the fuse is changed the next one is heard, and of one that is repeated one time that was heard counts.
        await site.emulator.obey("power on")
        assert (await outcome(site.one, site.audio)).stage == "finished"


async def test_one_time_of_several_that_was_heard_is_enough(tmp_path: Path) -> None:
    async with metered(tmp_path) as site:
        await site.emulator.obey("power off")
        waiting = asyncio.create_task(outcome(site.one, site.audio, times=2))
        sound = cast("Sound", site.one.parts.roster.units["horn"].driver)
        await until(lambda: sound._player.busy)
        await until(lambda: not sound._player.busy)
        await site.emulator.obey("power on")
        receipt = await waiting
        assert receipt.stage == "finished"
        assert "not heard each time: amplifier drew only 0.00 A" in receipt.reason


async def test_a_meter_that_does_not_answer_silences_nothing(tmp_path: Path) -> None:
    async with metered(tmp_path) as site:
        site.board.cancel()
        await asyncio.wait([site.board])
        receipt = await outcome(site.one, site.audio)
        assert receipt.stage == "finished"
        assert "amplifier current not known: the driver was stopped" in receipt.evidence


@pytest_asyncio.fixture
async def sinks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PulseAudio]:
    async with PulseAudio(tmp_path / "pulse", ["horn", "far"]) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@asynccontextmanager
async def surroundings(level: float, *names: str) -> AsyncIterator[None]:
    """What sounds at places beside the loudspeaker: noise."""
    ground = record(noise(random.Random(4), 8000 * 20, level))
    async with AsyncExitStack() as stack:
        for name in names:
            player = await asyncio.create_subprocess_exec(
                str(peer("pacat")), f"--device={name}", "--raw", "--format=s16le", "--rate=8000", "--channels=1",
                stdin=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert player.stdin is not None
            player.stdin.write(ground)
            stack.push_async_callback(player.wait)
            stack.callback(player.kill)
        yield


@asynccontextmanager
async def heard_by(folder: Path, source: str) -> AsyncIterator[tuple[Desk, Audio]]:
    (folder / "sounds").mkdir(exist_ok=True)
    audio = write_wav(folder / "sounds" / "sound", steady(1.0, 600))
    config = MicrophoneConfig(id="ear", driver="microphone", input=source)
    ear = Unit(config, Microphone(config, NoServices()))
    async with desk(
        folder,
        loudspeaker("pulse:horn"),
        ear,
        clock=WallClock(),
        table=table(microphone="ear"),
        source=Source("http://127.0.0.1:9"),
    ) as one:
        await until((folder / "sounds" / "chime-alert.wav").exists)
        yield one, audio


async def pactl(*words: str) -> None:
    done = await asyncio.create_subprocess_exec(str(peer("pactl")), *words)
    assert await done.wait() == 0


async def test_a_chime_is_heard_and_missed_once_the_horn_is_dead(sinks: PulseAudio, tmp_path: Path) -> None:
    peer("pactl")
    async with heard_by(tmp_path, "pulse:horn.monitor") as (one, audio), surroundings(0.003, "horn", "far"):
        heard = await outcome(one, audio, chime=True)
        assert heard.stage == "finished"
        assert "chime heard, " in heard.evidence
        assert (tmp_path / FILE).exists()
        # A broadcast without chime says nothing of it.
        assert "chime" not in (await outcome(one, audio)).evidence
    # After a restart the box still knows how strong it was. Its horn is dead: what it plays is not heard where the microphone is.
    async with heard_by(tmp_path, "pulse:far.monitor") as (one, audio), surroundings(0.003, "far"):
        dead = await outcome(one, audio, chime=True)
        assert dead.stage == "failed"
        assert dead.reason.startswith("chime not heard though the microphone would hear it")
    # In a loud market it might have been: nobody can tell.
    async with heard_by(tmp_path, "pulse:far.monitor") as (one, audio), surroundings(0.9, "far"):
        loud = await outcome(one, audio, chime=True)
        assert loud.stage == "finished"
        assert "too noisy to tell" in loud.evidence


async def test_a_muted_loudspeaker_is_not_heard(sinks: PulseAudio, tmp_path: Path) -> None:
    await pactl("set-sink-mute", "horn", "1")
    async with heard_by(tmp_path, "pulse:horn.monitor") as (one, audio):
        silent = await outcome(one, audio, chime=True)
        assert silent.stage == "finished"
        assert "the microphone hears nothing at all, so it can't tell" in silent.evidence
    async with heard_by(tmp_path, "pulse:far.monitor") as (one, audio), surroundings(0.003, "far"):
        unknown = await outcome(one, audio, chime=True)
        assert unknown.stage == "finished"
        assert "nor ever before by this microphone" in unknown.evidence


async def test_a_microphone_that_is_gone_silences_nothing(sinks: PulseAudio, tmp_path: Path) -> None:
    async with heard_by(tmp_path, "pulse:gone") as (one, audio):
        receipt = await outcome(one, audio, chime=True)
        assert receipt.stage == "finished"
        assert "chime not listened to: pulse:gone: " in receipt.evidence
    # No recording is left anywhere.
    left = {path.name for path in tmp_path.rglob("*") if path.is_file() and "pulse" not in path.parts}
    assert not [name for name in left if name.endswith((".raw", ".part"))]
