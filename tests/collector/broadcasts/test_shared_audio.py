"""Two collectors on one PostgreSQL: a sound file that one took in is there for both, and forgotten by both."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from tests.collector.broadcasts.sounds import parts
from tests.peers.postgres import PASSWORD, PostgresServer
from village_collector.broadcasts.audio import AudioFiles, FolderFull
from village_collector.ports import StoreUnavailable
from village_collector.stores.audio_records import PART_BYTES
from village_collector.stores.control import ControlStore
from village_collector.stores.sound_tables import audio_files, audio_parts
from village_wire.broadcasts import Audio

NEEDED: set[str] = set()


async def _copied(source: Path, target: Path) -> float:
    # What ffmpeg does is another test's.
    await asyncio.to_thread(shutil.copyfile, source, target)
    return 4.0


def files(folder: Path, control: ControlStore, used: set[str] | None = None, max_bytes: int = 10**9) -> AudioFiles:
    needed = NEEDED if used is None else used
    return AudioFiles(folder, lambda: needed, _copied, max_bytes, shared=control)


async def taken(store: AudioFiles, content: bytes) -> Audio:
    return await store.take_in(parts(content))


@pytest.fixture
def stores(postgres: PostgresServer) -> Iterator[tuple[ControlStore, ControlStore]]:
    url = postgres.make_database()
    both = ControlStore(url, PASSWORD), ControlStore(url, PASSWORD)
    for store in both:
        store.open()
    yield both
    for store in both:
        store.close()


def _age(control: ControlStore) -> None:
    past = datetime.now(UTC) - timedelta(hours=2)
    control._database.write(lambda connection: connection.execute(update(audio_files).values(used=past)))
    control._database.write(lambda connection: connection.execute(update(audio_parts).values(added=past)))


def _parts(control: ControlStore) -> int:
    with control._database.read() as connection:
        return connection.scalar(select(func.count()).select_from(audio_parts)) or 0


async def test_what_one_took_in_the_other_serves(tmp_path: Path, stores: tuple[ControlStore, ControlStore]) -> None:
    content = os.urandom(3 * PART_BYTES + 17)
    one, two = files(tmp_path / "one", stores[0]), files(tmp_path / "two", stores[1])
    audio = await taken(one, content)
    assert await two.find(audio.sha256) == audio
    assert await two.open_for(audio.sha256, "another token") is None
    assert not (tmp_path / "two").exists()
    # All loudspeakers of a county at once: one fetch.
    paths = await asyncio.gather(*(two.open_for(audio.sha256, audio.token) for _ in range(50)))
    assert set(paths) == {tmp_path / "two" / f"{audio.sha256}.ogg"}
    assert await asyncio.to_thread((tmp_path / "two" / f"{audio.sha256}.ogg").read_bytes) == content
    assert len(list((tmp_path / "two").iterdir())) == 2
    # From then on without the store.
    await asyncio.to_thread(stores[1].close)
    assert await two.open_for(audio.sha256, audio.token) is not None


async def test_two_that_take_the_same_sound_in_agree_on_its_token(
    tmp_path: Path, stores: tuple[ControlStore, ControlStore]
) -> None:
    content = os.urandom(2 * PART_BYTES)
    both = [files(tmp_path / name, store) for name, store in zip(("one", "two"), stores, strict=True)]
    first, second = await asyncio.gather(*(taken(store, content) for store in both))
    assert first == second
    for store in both:
        assert await store.open_for(first.sha256, first.token) is not None
    assert await asyncio.to_thread(_parts, stores[0]) == 2


async def test_bytes_that_were_changed_are_not_served(
    tmp_path: Path, stores: tuple[ControlStore, ControlStore], caplog: pytest.LogCaptureFixture
) -> None:
    one, two = files(tmp_path / "one", stores[0]), files(tmp_path / "two", stores[1])
    audio = await taken(one, os.urandom(PART_BYTES + 5))
    statement = update(audio_parts).where(audio_parts.c.number == 1).values(content=b"other")
    await asyncio.to_thread(stores[0]._database.write, lambda connection: connection.execute(statement))
    assert await two.open_for(audio.sha256, audio.token) is None
    assert "another hash" in caplog.text
    assert list((tmp_path / "two").iterdir()) == []


async def test_a_killed_upload_leaves_nothing_that_counts_and_is_completed_by_the_next(
    tmp_path: Path, stores: tuple[ControlStore, ControlStore]
) -> None:
    content = os.urandom(3 * PART_BYTES)
    two = files(tmp_path / "two", stores[1])
    sha256 = (await taken(files(tmp_path / "alone", stores[0]), content)).sha256
    before = datetime.now(UTC) + timedelta(hours=1)
    assert await asyncio.to_thread(stores[0].forget_audio, sha256, before)
    # As a kill leaves it: parts, and no row.
    assert await asyncio.to_thread(_parts, stores[0]) == 3
    assert await two.find(sha256) is None
    audio = await taken(two, content)
    await asyncio.to_thread(_age, stores[0])
    await asyncio.to_thread(stores[0].remove_audio_parts, before)
    assert await files(tmp_path / "three", stores[0]).open_for(sha256, audio.token) is not None
    assert await asyncio.to_thread(stores[0].forget_audio, sha256, before)
    await asyncio.to_thread(stores[0].remove_audio_parts, before)
    assert await asyncio.to_thread(_parts, stores[0]) == 0


async def test_the_store_is_bounded_and_keeps_what_any_collector_needs(
    tmp_path: Path, stores: tuple[ControlStore, ControlStore]
) -> None:
    needed: set[str] = set()
    one = files(tmp_path / "one", stores[0], needed, 2500)
    two = files(tmp_path / "two", stores[1], needed, 2500)
    first, second = await taken(one, os.urandom(1000)), await taken(two, os.urandom(1000))
    # What was uploaded a moment ago is about to be used.
    with pytest.raises(FolderFull):
        await taken(two, os.urandom(1000))
    await asyncio.to_thread(_age, stores[0])
    needed.add(first.sha256)
    third = await taken(two, os.urandom(1000))
    assert await two.find(first.sha256) == first
    assert await one.find(third.sha256) == third
    assert await asyncio.to_thread(stores[0].audio_file, second.sha256) is None
    # Whoever means to broadcast one that another collector forgot, brings it back while its own folder has it, and room is there.
    with pytest.raises(FolderFull):
        await two.find(second.sha256)


async def test_files_of_a_time_before_the_store_was_shared_are_given_to_it(
    tmp_path: Path, stores: tuple[ControlStore, ControlStore]
) -> None:
    alone = AudioFiles(tmp_path / "one", frozenset, _copied)
    needed = await taken(alone, b"needed" * 1000)
    unneeded = await taken(alone, b"unneeded" * 1000)
    one = files(tmp_path / "one", stores[0], {needed.sha256})
    sharing = asyncio.create_task(one.run())
    two = files(tmp_path / "two", stores[1])
    async with asyncio.timeout(10):
        while await two.open_for(needed.sha256, needed.token) is None:
            await asyncio.sleep(0.02)
    sharing.cancel()
    assert await two.find(unneeded.sha256) is None
    assert await one.find(unneeded.sha256) == unneeded
    assert await two.find(unneeded.sha256) == unneeded


async def test_without_the_store_a_file_of_another_collector_is_told_as_not_to_be_had(
    tmp_path: Path, stores: tuple[ControlStore, ControlStore]
) -> None:
    audio = await taken(files(tmp_path / "one", stores[0]), b"sound" * 1000)
    await asyncio.to_thread(stores[1].close)
    with pytest.raises(StoreUnavailable):
        await files(tmp_path / "two", stores[1]).open_for(audio.sha256, audio.token)
