"""Texts and chimes as files: whole, loud enough, made once, and still heard where the disk is full."""

from __future__ import annotations

import io
import math
import struct
import wave
from pathlib import Path

import pytest

from tests.peers import peer
from village_agent.loudspeaker.chimes import PEAK, chime
from village_agent.loudspeaker.folder import SoundFolder
from village_agent.loudspeaker.sounds import Sounds, Voice
from village_drivers.kit import Refused
from village_wire.broadcasts import CLASSES, Class

TEXT = "村民请注意，台风来了。"


@pytest.mark.parametrize("rank", CLASSES)
def test_a_chime_is_short_as_loud_as_speech_and_begins_and_ends_in_silence(rank: Class) -> None:
    with wave.open(io.BytesIO(chime(rank)), "rb") as file:
        count = file.getnframes()
        values = struct.unpack(f"<{count}h", file.readframes(count))
        assert 0.3 < count / file.getframerate() < 2.5
    assert max(map(abs, values)) / 32767 == pytest.approx(PEAK, abs=0.01)
    assert abs(values[0]) < 100
    assert abs(values[-1]) < 100
    assert math.sqrt(sum(value * value for value in values) / count) / 32767 > 0.05


def test_each_class_has_a_chime_of_its_own() -> None:
    assert len({chime(rank) for rank in CLASSES}) == len(CLASSES)


async def test_a_text_is_rendered_once_and_a_broken_file_anew(tmp_path: Path) -> None:
    peer("espeak-ng")
    folder = SoundFolder(tmp_path / "sounds", 10_000_000)
    sounds = Sounds(folder)
    seconds = await sounds.render(TEXT, Voice())
    path = folder.path(sounds.name(TEXT, Voice()))
    with wave.open(str(path), "rb") as file:
        assert seconds == pytest.approx(file.getnframes() / file.getframerate())
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    assert await Sounds(folder).render(TEXT, Voice()) == seconds
    assert path.read_bytes() == content
    assert sounds.name(TEXT, Voice(words_per_minute=200)) != path.name


async def test_what_can_t_be_rendered_is_known_before(tmp_path: Path) -> None:
    sounds = Sounds(SoundFolder(tmp_path / "sounds", 1000))
    with pytest.raises(Refused, match="nothing to speak"):
        await sounds.check("……", Voice())
    with pytest.raises(OSError, match="cache_bytes"):
        await sounds.check(TEXT, Voice())
    assert await sounds.chime("alert") is None


async def test_a_chime_is_made_once_and_for_good(tmp_path: Path) -> None:
    folder = SoundFolder(tmp_path / "sounds", 1_000_000)
    path = await Sounds(folder).chime("alert")
    assert path is not None
    assert path.read_bytes() == chime("alert")
    before = path.stat().st_ino
    assert await Sounds(folder).chime("alert") == path
    assert path.stat().st_ino == before
