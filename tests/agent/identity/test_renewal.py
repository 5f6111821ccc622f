"""The running agent renews by itself: with a real child process, against a server that speaks the contract."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_csr

from tests.agent.identity.api import NEXT_KEY, Api, api, document
from tests.agent.kit import running, until
from village_agent.disk import DiskThread
from village_agent.identity import renewal as module
from village_agent.identity.enrolment import enrol
from village_agent.identity.folder import Identity, read_identity, read_key, write_command_keys
from village_agent.identity.renewal import Renewal
from village_wire.states import Status

DAY = timedelta(days=1)


class Clock:
    def __init__(self, now: datetime) -> None:
        self.known = asyncio.Event()
        self.time = now

    def now(self) -> datetime:
        return self.time


class Box:
    """A renewal, and what it told."""

    def __init__(self, identity: Identity, state: Path, disk: DiskThread, days: float) -> None:
        self.clock = Clock(datetime.now(UTC) + days * DAY)
        self.first = identity
        self.state = state
        self.told: list[tuple[Status, str, str]] = []
        self.renewed: list[Identity] = []
        self.renewal = Renewal(
            identity, state, disk, self.clock, lambda *condition: self.told.append(condition), self.renewed.append
        )

    async def present(self) -> Identity:
        found = await asyncio.to_thread(read_identity, self.state)
        assert found is not None
        return found


def public_key(request: str) -> bytes:
    key = load_pem_x509_csr(request.encode()).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def it(tmp_path: Path) -> Iterator[Api]:
    with api(tmp_path) as made:
        yield made


@asynccontextmanager
async def box(folder: Path, it: Api, days: float, *, known: bool = True) -> AsyncIterator[Box]:
    state = folder / "state"
    await asyncio.to_thread(state.mkdir, 0o700)
    identity = await asyncio.to_thread(enrol, it.url, it.token, state)
    disk = DiskThread()
    made = Box(identity, state, disk, days)
    if known:
        made.clock.known.set()
    try:
        async with running(made.renewal.run()):
            yield made
    finally:
        await disk.close()


async def test_nothing_happens_before_half_of_the_life_or_before_the_time_is_known(tmp_path: Path, it: Api) -> None:
    async with box(tmp_path, it, days=180) as one:
        await until(lambda: bool(one.told))
        assert one.told[0][:2] == ("ok", "works")
    two = tmp_path / "two"
    await asyncio.to_thread(two.mkdir)
    async with box(two, it, days=300, known=False) as one:
        await asyncio.sleep(0.05)
        assert one.told == []
    assert it.renewals == []


async def test_after_half_of_the_life_a_new_certificate_takes_the_place_of_the_old_one(tmp_path: Path, it: Api) -> None:
    async with box(tmp_path, it, days=210) as one:
        old_key = await asyncio.to_thread(one.first.key_file.read_bytes)
        it.now = lambda: datetime.now(UTC) + 210 * DAY
        it.broker, it.number = "mqtts://127.0.0.1:2", 3
        await until(lambda: bool(one.renewed))
        (new,) = one.renewed
        assert new.expires - one.first.expires > 209 * DAY
        assert new.record.broker == "mqtts://127.0.0.1:2"
        assert new.command_keys.number == 3
        assert new.record == (await one.present()).record
        assert await asyncio.to_thread(new.key_file.read_bytes) != old_key
        assert await asyncio.to_thread(read_key, one.state) is None
        assert one.told[-1][:2] == ("ok", "works")
        # Once, and not again at once.
        await asyncio.sleep(0.1)
        assert len(it.renewals) == 1


async def test_command_keys_that_came_meanwhile_are_not_replaced_by_older_ones(tmp_path: Path, it: Api) -> None:
    async with box(tmp_path, it, days=210, known=False) as one:
        await asyncio.to_thread(write_command_keys, one.state, document(it.authority, NEXT_KEY, number=9))
        one.clock.known.set()
        await until(lambda: bool(one.renewed))
        assert one.renewed[0].command_keys.number == (await one.present()).command_keys.number == 9


@pytest.mark.parametrize(
    ("days", "expected"),
    [(210, ("ok", "works")), (350, ("degraded", "certificate_ending")), (400, ("degraded", "certificate_ended"))],
)
async def test_what_can_not_be_renewed_is_tried_again_and_told_near_the_end(
    tmp_path: Path,
    it: Api,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    days: float,
    expected: tuple[str, str],
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    with caplog.at_level(logging.WARNING):
        async with box(tmp_path, it, days, known=False) as one:
            it.reply["/api/v1/renewals"] = (403, {}, b'{"detail": "this agent was revoked"}')
            one.clock.known.set()
            await until(lambda: len(one.told) >= 3, 20)
            status, code, evidence = one.told[-1]
            assert (status, code) == expected
            assert ("this agent was revoked" in evidence) == (status != "ok")
            assert (await one.present()).record == one.first.record
            del it.reply["/api/v1/renewals"]
            await until(lambda: bool(one.renewed), 20)
        assert len([record for record in caplog.records if "is not renewed" in record.message]) == 1


async def test_a_lost_answer_is_asked_for_again_with_the_same_key(
    tmp_path: Path, it: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    async with box(tmp_path, it, days=210, known=False) as one:
        it.lose = 2
        one.clock.known.set()
        await until(lambda: bool(one.renewed), 20)
    keys = {public_key(one.request) for one in it.renewals}
    assert (len(it.renewals), len(keys)) == (3, 1)


async def test_a_renewal_that_hangs_is_given_up_and_leaves_no_process(
    tmp_path: Path, it: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHILD_SECONDS", 0.05)
    async with box(tmp_path, it, days=350) as one:
        await until(lambda: bool(one.told) and "did not answer within" in one.told[-1][2])
    assert it.renewals == []
