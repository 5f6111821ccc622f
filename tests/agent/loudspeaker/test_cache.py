"""Sound files on their way to the box: resumed, verified, bounded, the urgent ones first."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.agent.kit import running, until
from tests.agent.loudspeaker.audio_server import TOKEN, AudioServer, audio_server
from village_agent.loudspeaker import cache as caching
from village_agent.loudspeaker.cache import AudioCache, Source
from village_agent.loudspeaker.folder import NoRoom, SoundFolder

CONTENT = os.urandom(300_000)


@pytest.fixture
def server() -> Iterator[AudioServer]:
    with audio_server() as found:
        yield found


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching, "_RETRY_BASE", 0.01)
    monkeypatch.setattr(caching, "_RETRY_CAP", 0.05)


@asynccontextmanager
async def cache(folder: Path, server: AudioServer, max_bytes: int = 1_000_000) -> AsyncIterator[AudioCache]:
    found = AudioCache(SoundFolder(folder / "sounds", max_bytes), Source(server.url))
    async with running(found.run()):
        yield found


async def test_a_file_is_fetched_once_with_its_token(tmp_path: Path, server: AudioServer) -> None:
    audio = server.add(CONTENT)
    async with cache(tmp_path, server) as one:
        paths = await asyncio.gather(one.get(audio, "notice"), one.get(audio, "alert"))
        assert [path.read_bytes() for path in paths] == [CONTENT] * 2
        assert (await one.get(audio, "notice")).name == audio.sha256
    assert server.requests == [(f"/api/v1/audio/{audio.sha256}", "")]


async def test_a_download_that_breaks_off_goes_on_where_it_broke_also_after_a_kill(
    tmp_path: Path, server: AudioServer
) -> None:
    audio = server.add(CONTENT)
    server.cut = 100_000
    async with cache(tmp_path, server) as one:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await one.get(audio, "notice")
        waiting = asyncio.create_task(one.get(audio, "notice"))
        await until(lambda: len(server.requests) >= 2)
        waiting.cancel()
        await asyncio.wait([waiting])
    server.cut = None
    async with cache(tmp_path, server) as one:
        assert (await one.get(audio, "notice")).read_bytes() == CONTENT
    ranges = [wanted for _, wanted in server.requests]
    assert ranges[0] == ""
    assert "bytes=100000-" in ranges


async def test_a_server_that_knows_no_ranges_is_no_trouble(tmp_path: Path, server: AudioServer) -> None:
    audio = server.add(CONTENT)
    (tmp_path / "sounds").mkdir()
    (tmp_path / "sounds" / f"{audio.sha256}.part").write_bytes(b"x" * 1000)
    server.whole = True
    async with cache(tmp_path, server) as one:
        assert (await one.get(audio, "notice")).read_bytes() == CONTENT


@pytest.mark.parametrize("kept", [b"x" * 1000, b"x" * 400_000, CONTENT[:-1] + b"x"])
async def test_wrong_bytes_of_an_earlier_try_are_found_out_and_fetched_anew(
    tmp_path: Path, server: AudioServer, kept: bytes
) -> None:
    audio = server.add(CONTENT)
    (tmp_path / "sounds").mkdir()
    (tmp_path / "sounds" / f"{audio.sha256}.part").write_bytes(kept)
    async with cache(tmp_path, server) as one:
        assert (await one.get(audio, "notice")).read_bytes() == CONTENT


async def test_a_file_that_rots_on_the_card_is_fetched_again(tmp_path: Path, server: AudioServer) -> None:
    audio = server.add(CONTENT)
    async with cache(tmp_path, server) as one:
        path = await one.get(audio, "notice")
        path.write_bytes(CONTENT[:-1])
        assert (await one.get(audio, "notice")).read_bytes() == CONTENT
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("status", "content", "problem"),
    [
        (404, CONTENT, "the collector answers 404 Not Found"),
        (401, CONTENT, "the collector answers 401 Unauthorized"),
        (302, CONTENT, "the collector answers 302 Found"),
        (0, CONTENT + b"x", "longer than the 300000 bytes"),
        (0, bytes(len(CONTENT)), "its SHA-256 differs"),
        (0, CONTENT[:-5], "the connection ended after 299995 of 300000 bytes"),
    ],
)
async def test_what_can_t_be_had_is_told_and_tried_again(
    tmp_path: Path, server: AudioServer, status: int, content: bytes, problem: str
) -> None:
    audio = server.add(CONTENT)
    server.files[audio.sha256] = content
    server.status = status
    async with cache(tmp_path, server) as one:
        waiting = asyncio.create_task(one.get(audio, "notice"))
        await until(lambda: problem in one.problem(audio))
        assert TOKEN not in one.problem(audio)
        server.status, server.files[audio.sha256] = 0, CONTENT
        assert (await waiting).read_bytes() == CONTENT


async def test_a_collector_that_is_away_is_named(tmp_path: Path) -> None:
    gone = AudioServer("http://127.0.0.1:9")
    audio = gone.add(CONTENT)
    async with cache(tmp_path, gone) as one:
        waiting = asyncio.create_task(one.get(audio, "notice"))
        await until(lambda: "127.0.0.1:9: Connection refused" in one.problem(audio))
        waiting.cancel()
        await asyncio.wait([waiting])


async def test_an_emergencys_file_does_not_wait_behind_music(tmp_path: Path, server: AudioServer) -> None:
    music, flood = server.add(os.urandom(300_000)), server.add(os.urandom(1000))
    async with cache(tmp_path, server) as one:
        server.status = 503
        later = asyncio.create_task(one.get(music, "background"))
        await until(lambda: bool(server.requests))
        urgent = asyncio.create_task(one.get(flood, "emergency"))
        await until(lambda: f"/api/v1/audio/{flood.sha256}" in [path for path, _ in server.requests])
        server.status = 0
        await urgent
        assert (await later).stat().st_size == 300_000


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 50)), max_size=30), st.sets(st.integers(0, 9), max_size=4))
def test_the_folder_stays_within_its_bound_and_what_is_queued_stays(
    tmp_path_factory: pytest.TempPathFactory, puts: list[tuple[int, int]], pinned: set[int]
) -> None:
    path = tmp_path_factory.mktemp("folder")
    folder = SoundFolder(path / "sounds", 100)
    for number in pinned:
        folder.pin(str(number))
    kept: dict[str, int] = {}
    used: list[str] = []
    for step, (number, size) in enumerate(puts):
        name = str(number)
        try:
            folder.make_room(name, size)
        except NoRoom:
            held = sum(length for other, length in kept.items() if other != name and int(other) in pinned)
            assert held + size > 100
            continue
        folder.part(name).write_bytes(bytes(size))
        folder.keep(name)
        os.utime(folder.path(name), (step, step))
        kept[name] = size
        used = [other for other in used if other != name] + [name]
        there = {file.name for file in (path / "sounds").iterdir()}
        gone = set(kept) - there
        assert sum(file.stat().st_size for file in (path / "sounds").iterdir()) <= 100
        assert not gone & {str(one) for one in pinned}
        # Nothing that was used later went before something that could go too.
        rest = [other for other in used if other in there and int(other) not in pinned and other != name]
        assert all(used.index(lost) < used.index(other) for lost in gone for other in rest)
        kept = {other: length for other, length in kept.items() if other in there}
        used = [other for other in used if other in there]
