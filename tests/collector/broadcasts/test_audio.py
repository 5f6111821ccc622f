"""Any sound file becomes the same quiet thing; a hostile one becomes a refusal, and nothing else."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path

import pytest

from tests.collector.broadcasts.sounds import converted, loudness, parts, streams, tone
from village_collector.broadcasts.audio import MAX_AT_ONCE, AudioFiles, FolderFull, TooLarge, TooManyAtOnce
from village_collector.broadcasts.normalising import BadAudio, normalise, ogg_seconds
from village_wire.broadcasts import MAX_AUDIO_BYTES, Audio

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg: apt install ffmpeg")


def files(folder: Path, used: frozenset[str] = frozenset(), max_bytes: int = 10**9) -> AudioFiles:
    return AudioFiles(folder, lambda: used, max_bytes=max_bytes)


async def taken(store: AudioFiles, content: bytes) -> Audio:
    return await store.take_in(parts(content))


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.flac", "a.m4a", "a.ogg", "a.aac", "a.mka", "a.aiff"])
def test_every_format_becomes_mono_opus_of_one_loudness(tmp_path: Path, name: str) -> None:
    source = tone(tmp_path / "tone.wav", peak=0.02)
    if name != "a.wav":
        source = converted(source, tmp_path / name)
    seconds = asyncio.run(normalise(source, tmp_path / "out.ogg"))
    assert streams(tmp_path / "out.ogg") == "opus,48000,1"
    assert seconds == pytest.approx(4.0, abs=0.15)
    assert loudness(tmp_path / "out.ogg") == pytest.approx(-16, abs=1.0)


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000, 96_000])
def test_every_sampling_rate_is_taken(tmp_path: Path, rate: int) -> None:
    source = tone(tmp_path / "tone.wav", seconds=1.0, peak=0.3, rate=rate)
    assert asyncio.run(normalise(source, tmp_path / "out.ogg")) == pytest.approx(1.0, abs=0.05)
    assert streams(tmp_path / "out.ogg") == "opus,48000,1"


@pytest.mark.parametrize("peak", [0.002, 0.9])
def test_loud_and_quiet_ones_sound_alike(tmp_path: Path, peak: float) -> None:
    asyncio.run(normalise(tone(tmp_path / "tone.wav", peak=peak), tmp_path / "out.ogg"))
    assert loudness(tmp_path / "out.ogg") == pytest.approx(-16, abs=1.0)


def test_a_film_gives_its_sound_and_a_click_is_long_enough(tmp_path: Path) -> None:
    sound = tone(tmp_path / "tone.wav")
    film = tmp_path / "film.mp4"
    converted(sound, film, "-f", "lavfi", "-i", "color=size=64x64:duration=4", "-shortest")
    asyncio.run(normalise(film, tmp_path / "out.ogg"))
    assert streams(tmp_path / "out.ogg") == "opus,48000,1"
    click = tone(tmp_path / "click.wav", seconds=0.2)
    assert asyncio.run(normalise(click, tmp_path / "click.ogg")) == pytest.approx(0.2, abs=0.05)


def _hostile(folder: Path) -> dict[str, tuple[bytes, str]]:
    secret = tone(folder / "secret.wav").read_bytes()
    good = (folder / "secret.wav").as_uri()
    wav = bytearray(secret)
    wav[4:8] = wav[40:44] = b"\xff\xff\xff\xff"
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{good}\n#EXT-X-ENDLIST\n"
    return {
        "nothing": (b"", "no sound file"),
        "noise": (os.urandom(100_000), "no sound file"),
        "text": ("请注意".encode() * 1000, "no sound file"),
        "a playlist that names a file": (playlist.encode(), "no sound file"),
        "a list of the concat demuxer": (
            f"ffconcat version 1.0\nfile '{folder}/secret.wav'\n".encode(),
            "no sound file",
        ),
        "a manifest with an address": (
            b'<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>http://127.0.0.1:1/</BaseURL></MPD>',
            "no sound file",
        ),
        "a session description": (
            b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
            "no sound file",
        ),
        "silence": (_silence(folder), "silent"),
        "a picture": (b"\xff\xd8\xff\xe0" + os.urandom(2000), "no sound file"),
        "half a header": (secret[:30], "no sound"),
        "a header without samples": (secret[:44], "silent"),
    }


def _silence(folder: Path) -> bytes:
    return tone(folder / "silence.wav", peak=0.0).read_bytes()


def test_hostile_files_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    store = files(tmp_path / "audio")
    for name, (content, why) in _hostile(tmp_path).items():
        try:
            told = str(asyncio.run(taken(store, content)))
        except BadAudio as error:
            told = str(error)
        assert why in told, name
        assert list((tmp_path / "audio").iterdir()) == [], name


def test_a_header_that_lies_about_its_length_gives_what_is_there(tmp_path: Path) -> None:
    content = bytearray(tone(tmp_path / "tone.wav").read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    audio = asyncio.run(taken(files(tmp_path / "audio"), bytes(content)))
    assert audio.seconds == pytest.approx(4.0, abs=0.1)


def test_a_film_that_names_another_file_gets_nothing_of_it(tmp_path: Path) -> None:
    # QuickTime may keep its samples in another file ("alis" and "url " data references).
    inside = converted(tone(tmp_path / "tone.wav"), tmp_path / "film.mov")
    content = bytearray(inside.read_bytes())
    place = content.find(b"url ")
    assert place > 0
    content[place : place + 8] = b"alis\0\0\0\0"
    try:
        audio = asyncio.run(taken(files(tmp_path / "audio"), bytes(content)))
    except BadAudio:
        return
    assert audio.seconds <= 4.2


def test_what_takes_too_long_is_ended_with_all_its_processes(tmp_path: Path) -> None:
    source = tone(tmp_path / "tone.wav", seconds=30)
    with pytest.raises(BadAudio, match="more than"):
        asyncio.run(normalise(source, tmp_path / "out.ogg", limit_seconds=0.01))
    assert not [line for line in _processes() if str(source) in line]


def _processes() -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found.append((folder / "cmdline").read_text())
        except OSError:
            continue
    return found


def test_what_ends_no_ogg_is_told(tmp_path: Path) -> None:
    for content in (b"", b"OggS", b"OggS" + bytes(100), os.urandom(200_000)):
        (tmp_path / "a.ogg").write_bytes(content)
        with pytest.raises(BadAudio):
            ogg_seconds(tmp_path / "a.ogg")


async def test_the_same_sound_is_one_file_with_one_token(tmp_path: Path) -> None:
    content = (await asyncio.to_thread(tone, tmp_path / "tone.wav")).read_bytes()
    store = files(tmp_path / "audio")
    first = await taken(store, content)
    again = await taken(files(tmp_path / "audio"), content)
    assert first == again
    assert await store.find(first.sha256) == first
    assert len(list((tmp_path / "audio").iterdir())) == 2
    assert "token" not in repr(first)
    assert await store.open_for(first.sha256, first.token) == tmp_path / "audio" / f"{first.sha256}.ogg"
    assert await store.open_for(first.sha256, "x") is None
    assert await store.open_for("0" * 64, first.token) is None
    for path in (tmp_path / "audio").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    assert (tmp_path / "audio").stat().st_mode & 0o077 == 0


async def test_a_file_without_its_description_is_none_and_comes_back(tmp_path: Path) -> None:
    content = (await asyncio.to_thread(tone, tmp_path / "tone.wav")).read_bytes()
    store = files(tmp_path / "audio")
    first = await taken(store, content)
    # As a kill between the two leaves it.
    (tmp_path / "audio" / f"{first.sha256}.json").unlink()
    assert await store.find(first.sha256) is None
    assert (await taken(store, content)).sha256 == first.sha256
    assert await store.find(first.sha256) is not None


async def test_the_folder_is_bounded_and_keeps_what_is_needed(tmp_path: Path) -> None:
    folder = tmp_path / "audio"
    needed: set[str] = set()
    sounds = [
        (await asyncio.to_thread(tone, tmp_path / f"{number}.wav", 1.0 + number)).read_bytes() for number in range(4)
    ]
    first = await taken(files(folder), sounds[0])
    second = await taken(files(folder), sounds[1])
    needed.add(first.sha256)
    store = AudioFiles(folder, lambda: needed, max_bytes=first.bytes + second.bytes + 100)
    # What was uploaded a moment ago is about to be used.
    with pytest.raises(FolderFull):
        await taken(store, sounds[2])
    for path in folder.glob("*.ogg"):
        os.utime(path, (time.time() - 7200, time.time() - 7200))
    with pytest.raises(FolderFull):
        await taken(store, sounds[3])
    assert await store.find(first.sha256) == first
    assert await store.find(second.sha256) is None
    assert not list(folder.glob(".incoming*"))


async def test_too_much_and_too_many_are_refused(tmp_path: Path) -> None:
    store = files(tmp_path / "audio")
    with pytest.raises(TooLarge):
        await store.take_in(parts(bytes(MAX_AUDIO_BYTES + 1), 1 << 20))
    release = asyncio.Event()

    async def slow(source: Path, target: Path) -> float:
        await release.wait()
        raise BadAudio("enough")

    slow_store = AudioFiles(tmp_path / "audio", frozenset, slow)
    under_way = [asyncio.create_task(taken(slow_store, b"x")) for _ in range(MAX_AT_ONCE)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyAtOnce):
        await taken(slow_store, b"x")
    release.set()
    assert all(isinstance(end, BadAudio) for end in await asyncio.gather(*under_way, return_exceptions=True))
