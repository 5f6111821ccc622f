"""Which schedules count, and where they are kept."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.agent.loudspeaker.programmes import VILLAGE, Box, programme
from village_agent.identity.keyring import PinnedKey
from village_agent.loudspeaker.schedules import FILE
from village_wire.commands import Target
from village_wire.schedules import digest_of


async def test_which_schedules_count(boxes: Callable[..., Box]) -> None:
    box = boxes()
    await box.begin()
    thief = Ed25519PrivateKey.generate()
    refused: list[str] = []
    box.schedules.on_refused = refused.append
    await box.take(programme(), key=thief)
    assert refused == ["not signed with the collector's command key"]
    await box.take(programme(), target=Target(area="441900004001"))
    await box.take(programme(), target=Target(agent="other"))
    assert not box.schedules.current
    await box.take(programme("a"), number=5)
    await box.take(programme("b"), number=5)
    await box.take(programme("c"), number=4)
    await box.take(programme("box"), number=1, target=Target(agent="lin"))
    ids = {key: [one.id for one in known.schedule.programmes] for key, known in box.schedules.current.items()}
    assert ids == {VILLAGE: ["a"], "agent/lin": ["box"]}
    assert box.schedules.digest() == digest_of(known.held for known in box.schedules.current.values())


async def test_a_thief_s_great_number_does_not_outlast_the_key(boxes: Callable[..., Box]) -> None:
    box = boxes()
    await box.begin()
    await box.take(programme("theirs"), number=2**53 - 1)
    fresh = Ed25519PrivateKey.generate()
    box.addressee.keys = PinnedKey(fresh.public_key())
    await box.take(programme("replayed"), number=2**53 - 1)
    assert [one.id for one in box.schedules.current[VILLAGE].schedule.programmes] == ["theirs"], (
        "plays on until it is replaced"
    )
    await box.take(programme("ours"), number=7, key=fresh)
    await box.take(programme("older"), number=6, key=fresh)
    assert [one.id for one in box.schedules.current[VILLAGE].schedule.programmes] == ["ours"]


async def test_schedules_outlive_a_restart_and_follow_a_move(boxes: Callable[..., Box]) -> None:
    first = boxes()
    await first.begin()
    assert first.schedules.digest() == digest_of([])
    await first.take(programme())
    again = boxes()
    assert again.schedules.digest() is None, "what is not read yet must not be asked for"
    await again.begin()
    assert again.schedules.digest() == first.schedules.digest() != digest_of([])
    again.addressee.area = "441900004001"
    assert not again.schedules.current
    assert again.schedules.digest() == digest_of([])


async def test_a_schedule_that_the_disk_refuses_does_not_count(
    boxes: Callable[..., Box], monkeypatch: pytest.MonkeyPatch
) -> None:
    box = boxes()
    await box.begin()

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("disk full")

    monkeypatch.setattr("village_agent.loudspeaker.schedule_file.ScheduleFile.keep", full)
    await box.take(programme())
    assert not box.schedules.current


async def test_a_damaged_file_is_put_aside(boxes: Callable[..., Box], tmp_path: Path) -> None:
    await asyncio.to_thread((tmp_path / FILE).write_bytes, b"no database at all" * 500)
    box = boxes()
    await box.begin()
    await box.take(programme())
    assert await asyncio.to_thread((tmp_path / f"{FILE}.damaged").exists)
    assert box.schedules.current
