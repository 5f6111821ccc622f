"""An act is on disk before it is done, many at once share a transaction, and the log is sealed."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Delete, delete

from tests.agent.kit import running
from tests.collector.kit import T0
from village_collector.audit import Audit
from village_collector.data_dir import DataDirProblem
from village_collector.ports import StoreUnavailable
from village_collector.refusals import MAX_REFUSALS, WINDOW_SECONDS
from village_collector.stores.audit_records import Appended, Sign
from village_collector.stores.audit_tables import audit_entries, audit_seals
from village_collector.stores.control import ControlStore
from village_collector.trust.key_files import load_audit_key
from village_wire.audit import SEAL_EVERY, Act, Entry, Head, Seal, read_entry
from village_wire.audit_verification import Finding, StoredEntry, Verifier

KEY = Ed25519PrivateKey.generate()


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def _entries(control: ControlStore) -> list[Entry]:
    return [read_entry(row.text) for row in control.audit_entries(0, 100_000)]


def _findings(control: ControlStore) -> list[Finding]:
    rows = (StoredEntry(*row) for row in control.audit_entries(0, 100_000))
    return list(Verifier(KEY.public_key()).findings(rows, control.audit_seals(0, 100_000)[0]))


async def entries(control: ControlStore) -> list[Entry]:
    return await asyncio.to_thread(_entries, control)


async def findings(control: ControlStore) -> list[Finding]:
    return await asyncio.to_thread(_findings, control)


async def seals(control: ControlStore) -> list[Seal]:
    return (await asyncio.to_thread(control.audit_seals, 0, 100_000))[0]


async def sealed(control: ControlStore, number: int) -> None:
    """Return once this entry is sealed."""
    async with asyncio.timeout(5):
        while not any(seal.number >= number for seal in await seals(control)):
            await asyncio.sleep(0.01)


async def forget(control: ControlStore, what: Delete) -> None:
    """What an attacker with access to the database does."""
    await asyncio.to_thread(control._database.write, lambda connection: connection.execute(what))


async def test_an_act_is_on_disk_when_it_is_recorded(control: ControlStore) -> None:
    audit = Audit(control, KEY, now=lambda: T0)
    await audit.record("li", "10.0.0.7", "door.unlock", target="gate-1/reader", area="441900003001", command="c")
    expected = Act(T0, "li", "10.0.0.7", "door.unlock", "gate-1/reader", "441900003001", "allowed", "", "c")
    assert [entry.act for entry in await entries(control)] == [expected]


async def test_many_acts_at_once_share_transactions(control: ControlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    writes = 0
    real = ControlStore.add_audit

    def counted(self: ControlStore, acts: list[Act], sign: Sign | None, known: Head | None = None) -> Appended:
        nonlocal writes
        writes += 1
        return real(self, acts, sign, known)

    monkeypatch.setattr(ControlStore, "add_audit", counted)
    audit = Audit(control, KEY)
    await asyncio.gather(*(audit.record("li", "", "door.unlock", target=str(number)) for number in range(1200)))
    assert writes <= 4
    assert [entry.act.target for entry in await entries(control)] == [str(number) for number in range(1200)]
    assert [seal.number for seal in await seals(control)] == [SEAL_EVERY, 2 * SEAL_EVERY]
    assert await findings(control) == []


async def test_nothing_is_done_that_can_not_be_recorded(control: ControlStore) -> None:
    audit = Audit(control, KEY)
    await asyncio.to_thread(control.close)
    outcomes = await asyncio.gather(*(audit.record("li", "", "door.unlock") for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 3
    await asyncio.to_thread(control.open)
    await audit.record("li", "", "door.unlock")
    assert len(await entries(control)) == 1


async def test_who_goes_away_holds_nobody_up(control: ControlStore) -> None:
    audit = Audit(control, KEY)
    gone = asyncio.create_task(audit.record("gone", "", "door.unlock"))
    await asyncio.sleep(0)
    gone.cancel()
    await audit.record("li", "", "door.unlock")
    assert [entry.act.actor for entry in await entries(control)] == ["gone", "li"]


async def test_a_flood_of_unknown_callers_is_counted(control: ControlStore) -> None:
    clock = Clock()
    audit = Audit(control, KEY, clock=clock)
    for _ in range(MAX_REFUSALS + 40):
        await audit.refused("", "10.6.6.6", "request", target="GET /api/v1/health", reason="no login")
    await audit.refused("li", "10.0.0.7", "door.unlock", reason="lacks the right 'unlock'")
    assert len(await entries(control)) == MAX_REFUSALS + 1
    clock.seconds = WINDOW_SECONDS
    await audit.refused("", "10.6.6.6", "request")
    told, next_one = (await entries(control))[-2:]
    assert (told.act.action, told.act.outcome, told.act.address) == ("refusals", "refused", "10.6.6.6")
    assert told.act.reason.startswith("40 further refusals within ")
    assert next_one.act.action == "request"
    # One that stops is told too, and so is what is counted at the end.
    for _ in range(MAX_REFUSALS + 1):
        await audit.refused("", "", "request")
    await audit.finish()
    assert (await entries(control))[-1].act.reason.startswith("2 further refusals")
    assert await findings(control) == []


async def test_a_refusal_stands_although_it_can_not_be_recorded(
    control: ControlStore, caplog: pytest.LogCaptureFixture
) -> None:
    audit = Audit(control, KEY)
    await asyncio.to_thread(control.close)
    await audit.refused("", "10.6.6.6", "request", reason="no login")
    await audit.failed("li", "10.0.0.7", "door.unlock", reason="not sent")
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


async def test_the_end_is_sealed_at_intervals_and_at_the_end(
    control: ControlStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    audit = Audit(control, KEY)
    await audit.record("li", "", "login")
    async with running(audit.run(seal_seconds=0.02)):
        await sealed(control, 1)
        await audit.record("li", "", "logout")
        await sealed(control, 2)
    await audit.record("wang", "", "login")
    await audit.finish()
    made = await seals(control)
    assert [seal.number for seal in made] == [1, 2, 3]
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("audit sealed")]
    for seal, line in zip(made, lines, strict=True):
        assert f"number {seal.number}, hash {seal.hash}, signature {seal.signature}" in line
    assert await findings(control) == []


async def test_a_kill_between_entry_and_seal_is_harmless(control: ControlStore) -> None:
    await Audit(control, KEY).record("li", "", "login")
    again = Audit(control, KEY)
    async with running(again.run()):
        await sealed(control, 1)
    await again.record("li", "", "logout")
    assert [entry.number for entry in await entries(control)] == [1, 2]
    assert await findings(control) == []


async def test_sealing_goes_on_when_the_store_is_back(control: ControlStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    audit = Audit(control, KEY)
    await audit.record("li", "", "login")
    await asyncio.to_thread(control.close)
    async with running(audit.run(seal_seconds=0.01)), asyncio.timeout(5):
        while not caplog.records:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(control.open)
        await sealed(control, 1)
    assert len([record for record in caplog.records if "can't be sealed" in record.getMessage()]) == 1


async def test_a_cut_end_with_its_seals_shows_by_the_file_beside_the_database(
    control: ControlStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = tmp_path / "audit_seal"
    audit = Audit(control, KEY, kept)
    for name in ("li", "wang", "zhao"):
        await audit.record(name, "", "login")
    await audit.finish()
    assert kept.stat().st_mode & 0o777 == 0o600
    await forget(control, delete(audit_seals))
    await forget(control, delete(audit_entries).where(audit_entries.c.number > 1))
    assert await findings(control) == []
    async with running(Audit(control, KEY, kept).run()):
        await sealed(control, 3)
    assert Finding("cut", 3, 1) in await findings(control)
    assert any("tampered" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "nonsense", '{"number": 1, "time": "x", "hash": "", "signature": ""}']
)
async def test_a_damaged_file_is_written_anew(control: ControlStore, tmp_path: Path, content: str) -> None:
    kept = tmp_path / "audit_seal"
    kept.write_text(content)
    audit = Audit(control, KEY, kept)
    await audit.record("li", "", "login")
    async with running(audit.run()), asyncio.timeout(5):
        while kept.read_text() == content:
            await asyncio.sleep(0.01)
    document = json.loads(kept.read_text())
    restored = Seal(**{**document, "time": datetime.fromisoformat(document["time"])})
    assert await seals(control) == [restored]


async def test_tampering_while_it_runs_is_logged_and_sealed(
    control: ControlStore, caplog: pytest.LogCaptureFixture
) -> None:
    audit = Audit(control, KEY)
    await audit.record("mallory", "", "door.unlock")
    await forget(control, delete(audit_entries))
    await audit.record("li", "", "login")
    await audit.record("li", "", "logout")
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert await findings(control) == [Finding("contradicted", 1)]


def test_the_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    key = load_audit_key(tmp_path)
    assert (tmp_path / "audit_key").stat().st_mode & 0o777 == 0o600
    assert load_audit_key(tmp_path).public_key() == key.public_key()
    (tmp_path / "audit_key").chmod(0o640)
    with pytest.raises(DataDirProblem, match="seals the audit log"):
        load_audit_key(tmp_path)
    shared = tmp_path / "shared"
    shared.mkdir()
    with pytest.raises(DataDirProblem, match="copy audit_key from the first collector"):
        load_audit_key(tmp_path, shared)
