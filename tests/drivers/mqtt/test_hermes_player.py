"""Files on a loudspeaker that takes them in pieces."""

from __future__ import annotations

import array
import asyncio
import wave
from pathlib import Path
from typing import cast

import pytest

from tests.drivers.mqtt.loudspeaker_bench import bench
from village_drivers.abilities import FilePlayer
from village_drivers.kit import Refused
from village_drivers.mqtt.hermes_player import FORM, cut, pieces


def tone(path: Path, seconds: float, rate: int = 48_000) -> Path:
    """A sound whose samples rise, with a quiet place at 2.5 s."""
    samples = array.array("h", (1000 + at % 20_000 for at in range(round(seconds * rate))))
    for at in range(round(2.48 * rate), min(len(samples), round(2.52 * rate))):
        samples[at] = 0
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return path


async def test_hermes_plays_a_file_piece_by_piece(tmp_path: Path) -> None:
    path = await asyncio.to_thread(tone, tmp_path / "tone.wav", 5.0)
    async with bench(tmp_path) as found:
        player = found.driver.devices()["emulated-hermes"].handle
        assert isinstance(player, FilePlayer)
        evidence = await player.play_from(str(path), 100, 0.0)
        assert evidence == "device reported the end of each of 2 pieces of the sound, 5.0 s"
        assert player.position_seconds == pytest.approx(5.0, abs=0.02)
        played = [change for change in found.of("hermes") if "played" in change]
        assert [round(change["played"], 1) for change in played] == [2.5, 2.5]
        assert {change["rate"] for change in played} == {16_000}
        whole = b"".join(bytes.fromhex(change["samples"]) for change in played)
        assert len(whole) == pytest.approx(5.0 * FORM.bytes_per_second, abs=64)
        assert await player.play_from(str(path), 100, 4.0) == "device reported the end of 1 piece of the sound, 1.0 s"


async def test_interrupted_file_goes_on_where_the_device_confirmed_it(tmp_path: Path) -> None:
    path = await asyncio.to_thread(tone, tmp_path / "tone.wav", 8.0)
    async with bench(tmp_path) as found:
        player = cast("FilePlayer", found.driver.devices()["emulated-hermes"].handle)
        playing = asyncio.create_task(player.play_from(str(path), None, 0.0))
        await found.heard.until(lambda: bool(found.of("hermes")))
        assert player.position_seconds == 0.0
        playing.cancel()
        await asyncio.wait([playing])
        assert player.position_seconds == pytest.approx(2.5, abs=0.03)
        assert found.of("hermes")[-1] == {"device": "emulated-hermes", "silent": True, "cut": False}
        await found.say("emulated-hermes", "emergency")
        await player.play_from(str(path), None, player.position_seconds)
        played = [change["played"] for change in found.of("hermes") if "played" in change]
        assert sum(played) == pytest.approx(8.0, abs=0.05)
        assert not [change for change in found.of("hermes") if "overlap" in change]


async def test_file_on_a_device_that_is_switched_off(tmp_path: Path) -> None:
    path = await asyncio.to_thread(tone, tmp_path / "tone.wav", 1.0)
    async with bench(tmp_path) as found:
        player = cast("FilePlayer", found.driver.devices()["emulated-hermes"].handle)
        found.site.obey("off emulated-hermes on")
        with pytest.raises(Refused, match="is it switched off"):
            await player.play_from(str(path), None, 0.0)
        assert player.position_seconds == 0.0


class _Samples:
    def __init__(self, blocks: list[bytes]) -> None:
        self._blocks = blocks

    async def read(self) -> bytes:
        return self._blocks.pop(0) if self._blocks else b""


@pytest.mark.parametrize("count", [0, 1, 149, 150, 151, 199, 200, 201, 1000])
async def test_pieces_are_the_sound(count: int) -> None:
    blocks = [bytes([at % 251]) * FORM.block_bytes for at in range(count)]
    found = [piece async for piece in pieces(_Samples(list(blocks)))]
    assert b"".join(found) == b"".join(blocks)
    assert all(len(piece) <= 3 * FORM.bytes_per_second for piece in found)
    assert all(len(piece) >= FORM.bytes_per_second for piece in found[:-1])


def test_cut_is_at_the_quietest_place() -> None:
    loud, quiet = b"\x00\x40" * 320, b"\0\0" * 320
    assert cut([loud] * 120 + [quiet] + [loud] * 29, 50) == 121
    assert cut([loud] * 150, 50) == 150
    assert cut([quiet] + [loud] * 149, 50) == 150
