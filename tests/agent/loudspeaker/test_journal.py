"""What a kill at any line leaves: states and receipts of one transaction, and a disk that refuses."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.agent.kit import Site, make_event, running, site, until
from village_agent.loudspeaker.announcer import Entry
from village_agent.loudspeaker.journal import Journal
from village_agent.loudspeaker.store import Stored, StoreFile
from village_wire.broadcasts import CLASSES, Audio
from village_wire.commands import Broadcast
from village_wire.events import Event, Receipt

NOW = datetime(2026, 11, 24, tzinfo=UTC)
TEXT = Broadcast(rank="notice", text="台风", end=NOW + timedelta(days=1))
AUDIO = Audio(sha256="0" * 64, bytes=5, seconds=2.5, token="secret")


def stored(number: int = 1, **more: object) -> Stored:
    return replace(Stored("horn", uuid4(), number, TEXT, NOW.timestamp()), **more)  # type: ignore[arg-type]


def receipt(identity: UUID) -> Event:
    return make_event("horn", Receipt(broadcast=identity, stage="finished"))


@st.composite
def anything(draw: st.DrawFn) -> Stored:
    audio = draw(st.booleans())
    wanted = Broadcast(
        rank=draw(st.sampled_from(CLASSES)),
        text=None if audio else draw(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)),
        audio=AUDIO if audio else None,
        end=NOW + timedelta(seconds=draw(st.integers(1, 10**6))),
        times=draw(st.integers(1, 100)),
        volume=draw(st.none() | st.floats(0, 100)),
        chime=draw(st.booleans()),
    )
    one = Stored("horn", uuid4(), draw(st.integers(0, 2**62)), wanted, draw(st.floats(0, 4e9)), draw(st.booleans()))
    if draw(st.booleans()):
        return one
    entry = Entry(
        one.announcement,
        draw(st.integers(0, 1000)),
        draw(st.floats(0, 4e9)),
        draw(st.integers(0, 99)),
        draw(st.floats(0, 1e5)),
        draw(st.booleans()),
    )
    return replace(
        one, entry=entry, script=draw(st.sampled_from(["seconds", "sentences"])), sounding=draw(st.booleans())
    )


@given(st.lists(anything(), max_size=5))
def test_what_was_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, wanted: list[Stored]) -> None:
    path = tmp_path_factory.mktemp("store") / "loudspeaker.db"
    file = StoreFile(path)
    file.apply({one.key: one for one in wanted}, sync=False)
    file.close()
    again = StoreFile(path)
    assert again.load() == sorted(wanted, key=lambda one: one.number)
    again.apply({one.key: None for one in wanted}, sync=False)
    assert again.load() == []
    again.close()


@asynccontextmanager
async def journal(folder: Path, parts: Site) -> AsyncIterator[tuple[Journal, list[Stored]]]:
    found: list[Stored] = []
    one = Journal(folder / "loudspeaker.db", parts.disk, parts.hub.sink)
    one.on_loaded = lambda stored, _: found.extend(stored)
    async with running(one.run()):
        await until(lambda: one.problem != "" or one._file is not None)
        yield one, found
    await one.close()


async def test_what_is_over_is_forgotten_once_its_receipt_is_in_the_outbox(tmp_path: Path) -> None:
    async with site(tmp_path) as parts:
        over, waiting = stored(1), stored(2)
        async with journal(tmp_path, parts) as (one, _):
            one.put(over)
            one.put(waiting)
            assert await one.saved()
            one.tell(receipt(over.id))
            one.drop(over.key)
            await parts.until("receipt")
        async with journal(tmp_path, parts) as (_, found):
            assert found == [waiting]
        assert len(await parts.events()) == 1


async def test_a_receipt_that_a_kill_kept_from_the_outbox_follows_with_the_same_id(tmp_path: Path) -> None:
    lost = receipt(uuid4())

    def leave() -> None:
        file = StoreFile(tmp_path / "loudspeaker.db")
        file.apply({}, [lost])
        file.close()

    await asyncio.to_thread(leave)
    async with site(tmp_path) as parts:
        for _ in range(2):
            async with journal(tmp_path, parts) as (one, _found):
                one.tell(receipt(uuid4()))
                await one.saved()
        await parts.until("receipt", lambda found: len(found) == 3)
        assert [event.id for event in await parts.events()].count(lost.id) == 1


async def test_while_the_disk_refuses_all_is_in_memory_and_written_when_it_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("village_agent.loudspeaker.journal._RETRY_SECONDS", 0.05)
    refusing = True
    apply = StoreFile.apply

    def refuse(self: StoreFile, *arguments: object, **options: object) -> None:
        if refusing:
            raise sqlite3.OperationalError("database or disk is full")
        apply(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(StoreFile, "apply", refuse)
    async with site(tmp_path) as parts:
        waiting = stored()
        async with journal(tmp_path, parts) as (one, _):
            one.put(waiting)
            one.tell(receipt(waiting.id))
            assert not await one.saved()
            # The receipt does not wait for that disk.
            await parts.until("receipt")
            assert "disk is full" in one.problem
            refusing = False
            await until(lambda: not one.problem)
        async with journal(tmp_path, parts) as (_, found):
            assert found == [waiting]


async def test_a_damaged_file_is_put_aside_and_what_is_in_memory_written_anew(tmp_path: Path) -> None:
    (tmp_path / "loudspeaker.db").write_bytes(b"no database at all" * 1000)
    async with site(tmp_path) as parts:
        waiting = stored()
        async with journal(tmp_path, parts) as (one, _):
            one.put(waiting)
            assert await one.saved()
        assert (tmp_path / "loudspeaker.db.damaged").exists()
        async with journal(tmp_path, parts) as (_, found):
            assert found == [waiting]


async def test_positions_are_noted_without_flushing_the_card_each_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bool] = []
    apply = StoreFile.apply

    def watch(self: StoreFile, *arguments: object, **options: object) -> None:
        synced.append(bool(options["sync"]))
        apply(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(StoreFile, "apply", watch)
    async with site(tmp_path) as parts, journal(tmp_path, parts) as (one, _):
        playing = stored()
        one.put(playing)
        assert await one.saved()
        for _ in range(5):
            one.note(playing)
            count = len(synced)
            await until(lambda: len(synced) > count)  # noqa: B023
        assert synced == [True, *[False] * 5]
        await asyncio.sleep(0)
