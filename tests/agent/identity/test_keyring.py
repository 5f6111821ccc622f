"""Which keys count, when, and that a document is on disk before it does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.agent.identity.api import COMMAND_KEY, NEXT_KEY, authority, command_keys, document
from tests.agent.kit import running
from village_agent.identity.keyring import KeyRing, PinnedKey
from village_collector.trust.authority import Authority

UNTIL = datetime(2026, 12, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
OLD, NEXT = COMMAND_KEY.public_key(), NEXT_KEY.public_key()


class Box:
    """A ring whose disk is in the hands of the test."""

    def __init__(self, by: Authority) -> None:
        self.stored: list[bytes] = []
        self.refused: list[str] = []
        self.disk = asyncio.Event()
        self.disk.set()
        self.error: OSError | None = None
        self.ring = KeyRing(command_keys(COMMAND_KEY), by.key.public_key(), self._store, self.refused.append)

    async def _store(self, payload: bytes) -> None:
        await self.disk.wait()
        if self.error is not None:
            raise self.error
        self.stored.append(payload)

    async def idle(self) -> None:
        self.ring.confirmed()
        async with asyncio.timeout(5):
            await self.ring.settled.wait()


@pytest.fixture
def signer(tmp_path: Path) -> Authority:
    return authority(tmp_path / "authority")


@pytest.fixture
def forger(tmp_path: Path) -> Authority:
    return authority(tmp_path / "forger")


@asynccontextmanager
async def box(by: Authority) -> AsyncIterator[Box]:
    made = Box(by)
    async with running(made.ring.run()):
        yield made


async def test_a_newer_document_counts_once_it_is_on_disk(signer: Authority) -> None:
    async with box(signer) as one:
        one.disk.clear()
        payload = document(signer, COMMAND_KEY, NEXT_KEY, number=2, until=UNTIL)
        one.ring.on_message(payload)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (one.ring.number, one.ring.at(None)) == (1, (OLD,))
        one.ring.confirmed()
        assert not one.ring.settled.is_set()
        one.disk.set()
        await one.idle()
        assert (one.ring.number, one.ring.at(None)) == (2, (OLD, NEXT))
        assert one.stored == [payload]


async def test_a_key_counts_until_its_end_where_the_time_is_known(signer: Authority) -> None:
    async with box(signer) as one:
        one.ring.on_message(document(signer, COMMAND_KEY, NEXT_KEY, number=2, until=UNTIL))
        await one.idle()
        assert one.ring.at(UNTIL - SECOND) == (OLD, NEXT)
        assert one.ring.at(UNTIL) == (NEXT,)
        assert one.ring.at(None) == (OLD, NEXT)


async def test_neither_an_older_document_nor_the_same_number_changes_anything(signer: Authority) -> None:
    async with box(signer) as one:
        one.ring.on_message(document(signer, NEXT_KEY, number=5))
        await one.idle()
        for number in (1, 4, 5):
            one.ring.on_message(document(signer, COMMAND_KEY, number=number))
            await one.idle()
        assert (one.ring.number, one.ring.at(None), len(one.stored)) == (5, (NEXT,), 1)
        assert one.refused == []


async def test_forgeries_are_refused_and_told_once(
    signer: Authority, forger: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        async with box(signer) as one:
            good = document(signer, NEXT_KEY, number=3)
            for payload in (
                document(forger, NEXT_KEY, number=9),
                good.replace(b'"number":3', b'"number":9'),
                b"",
                b"[]",
                b"x" * 10_000,
            ):
                one.ring.on_message(payload)
                await one.idle()
            assert (one.ring.number, one.stored) == (1, [])
            assert one.refused == ["not signed by the collector's authority"]
    assert len(caplog.records) == 1


async def test_a_disk_that_refuses_keeps_the_old_keys_and_the_document_may_come_again(signer: Authority) -> None:
    async with box(signer) as one:
        one.error = OSError(28, "No space left on device")
        payload = document(signer, NEXT_KEY, number=2)
        one.ring.on_message(payload)
        await one.idle()
        assert (one.ring.number, one.ring.at(None)) == (1, (OLD,))
        one.error = None
        one.ring.on_message(payload)
        await one.idle()
        assert one.ring.number == 2


async def test_a_flood_does_not_pile_up(signer: Authority) -> None:
    async with box(signer) as one:
        one.disk.clear()
        for number in range(2, 100):
            one.ring.on_message(document(signer, NEXT_KEY, number=number))
        assert one.refused == ["more than 4 documents wait"]
        one.disk.set()
        await one.idle()
        assert len(one.stored) <= 5


async def test_nothing_newer_is_expected_once_the_collector_has_answered(signer: Authority) -> None:
    async with box(signer) as one:
        assert not one.ring.settled.is_set()
        one.ring.confirmed()
        assert one.ring.settled.is_set()
        one.ring.connected()
        assert not one.ring.settled.is_set()


async def test_a_pinned_key_is_not_changed_by_anybody(signer: Authority) -> None:
    ring = PinnedKey(COMMAND_KEY.public_key())
    ring.connected()
    ring.on_message(document(signer, NEXT_KEY, number=2))
    await ring.run()
    assert ring.settled.is_set()
    assert (ring.number, ring.at(None), ring.at(UNTIL)) == (None, (OLD,), (OLD,))
