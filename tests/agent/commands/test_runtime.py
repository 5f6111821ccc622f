"""Commands: at most once, never late, never because something was retained."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tests.agent.collector import KEY
from tests.agent.desk import TOPIC, Clock, desk, results_of
from tests.agent.identity.api import NEXT_KEY, authority, command_keys, document
from tests.agent.kit import AREA, Gate, Speaker, running, single, until
from village_agent.commands import runtime as commands
from village_agent.commands.table import CommandTable
from village_agent.identity.keyring import KeyRing
from village_collector.trust.authority import Authority
from village_wire.commands import (
    Arguments,
    Broadcast,
    Command,
    InvalidCommand,
    Snapshot,
    Stop,
    SwitchTo,
    Target,
    Unlock,
    read_command,
    sign_command,
)
from village_wire.events import Alarm, CommandResult, DoorUnlocked
from village_wire.incoming import Received

TEXT = Broadcast(rank="notice", text="x", end=datetime(2030, 1, 1, tzinfo=UTC))


async def test_an_unlock_is_accepted_done_and_recorded(tmp_path: Path) -> None:
    gate = Gate()
    async with desk(tmp_path, single("gate", gate)) as one:
        command = one.command(Unlock(seconds=7), Target(agent="box", device="gate"))
        one.send(command)
        assert await one.results(command.id, 2) == [("gate", "accepted", ""), ("gate", "done", "")]
        assert gate.unlocked == [7]
        (unlocked,) = await one.parts.until("door_unlocked")
        assert unlocked.data == DoorUnlocked(seconds=7, by="command", command=command.id)


async def test_a_second_delivery_answers_the_first_results_and_executes_nothing(tmp_path: Path) -> None:
    gate = Gate()
    clock = Clock()
    async with desk(tmp_path, single("gate", gate), clock=clock) as one:
        command = one.command(Unlock())
        one.send(command)
        await one.results(command.id, 2)
        first = [event for event in one.parts.seen if isinstance(event.data, CommandResult)][-1]
        one.send(command)
        clock.now += timedelta(hours=1)
        one.send(command, retained=True)
        refused = one.command(Unlock(), Target(agent="box", device="absent"))
        one.send(refused)
        await one.results(refused.id, 1)
        assert gate.unlocked == [5]
        # The same event: whoever has it already is not told anything new.
        assert results_of(one.parts.seen, command.id)[-1][0].id == first.id
        one.send(refused)
        one.send(refused)
    async with desk(tmp_path, single("gate", gate), clock=clock) as again:
        again.send(command)
        last = again.command(Stop(), Target(agent="box", device="absent"))
        again.send(last)
        await again.results(last.id, 1)
        assert gate.unlocked == [5]


@pytest.mark.parametrize(
    ("target", "arguments", "lifetime", "late", "reason"),
    [
        (Target(agent="box", device="absent"), Unlock(), 60, 0, "no such device"),
        (Target(agent="box", device="gate"), TEXT, 60, 0, "this device can't broadcast"),
        (Target(agent="box"), TEXT, 60, 0, "no device here can broadcast"),
        (Target(agent="other", device="gate"), Unlock(), 60, 0, "meant for another agent"),
        (Target(area="330110101206"), Unlock(), 60, 0, "meant for another area"),
        (Target(area=AREA + "-g01"), Unlock(), 60, 0, "meant for another area"),
        (Target(agent="box"), Unlock(), 60, 60, "expired"),
        (Target(agent="box"), Unlock(), 3600, -3000, "clock unsure: the command was issued 0:50:00 after the agent's time"),
    ],
)  # fmt: skip
async def test_a_command_that_does_not_fit_is_refused_with_the_reason(
    tmp_path: Path, target: Target, arguments: Arguments, lifetime: float, late: float, reason: str
) -> None:
    gate = Gate()
    async with desk(tmp_path, single("gate", gate)) as one:
        command = one.command(arguments, target, lifetime)
        one.clock.now += timedelta(seconds=late)
        one.send(command)
        assert await one.results(command.id, 1) == [(None, "refused", reason)]
        assert gate.unlocked == []


async def test_a_retained_command_is_refused(tmp_path: Path) -> None:
    gate = Gate()
    async with desk(tmp_path, single("gate", gate)) as one:
        command = one.command(Unlock())
        one.send(command, retained=True)
        assert await one.results(command.id, 1) == [(None, "refused", "retained")]
        assert gate.unlocked == []


async def test_a_clock_that_was_set_back_revives_nothing(tmp_path: Path) -> None:
    gate = Gate()
    async with desk(tmp_path, single("gate", gate)) as one:
        old = one.command(Unlock(), lifetime=60)
        one.clock.now += timedelta(hours=1)
        newer = one.command(Unlock())
        one.send(newer)
        await one.results(newer.id, 2)
        one.clock.now -= timedelta(hours=1)
        one.send(old)
        assert await one.results(old.id, 1) == [(None, "refused", "expired")]
        assert gate.unlocked == [5]


async def test_a_time_that_the_collector_signed_counts_more_than_the_latest_command(tmp_path: Path) -> None:
    """Otherwise one command of a collector whose clock was ahead would make all others expired until that day."""
    gate = Gate()
    async with desk(tmp_path, single("gate", gate)) as one:
        one.clock.signed = True
        one.clock.now += timedelta(days=365)
        ahead = one.command(Unlock())
        one.send(ahead)
        await one.results(ahead.id, 2)
        one.clock.now -= timedelta(days=365)
        command = one.command(Unlock())
        one.send(command)
        assert (await one.results(command.id, 2))[-1] == ("gate", "done", "")
        one.send(ahead)
        last = one.command(Unlock())
        one.send(last)
        await one.results(last.id, 2)
        assert gate.unlocked == [5, 5, 5]


async def test_a_command_waits_for_the_time_and_is_then_judged_by_it(tmp_path: Path) -> None:
    gate = Gate()
    async with desk(tmp_path, single("gate", gate)) as one:
        good = one.command(Unlock())
        old = one.command(Unlock(), lifetime=30)
        now = one.clock.now
        one.clock.known.clear()
        one.clock.now = datetime(1970, 1, 1, tzinfo=UTC)
        one.send(good)
        one.send(old)
        await until(lambda: one.commands._messages.qsize() == 1)
        assert gate.unlocked == []
        one.clock.now = now + timedelta(seconds=45)
        one.clock.known.set()
        assert await one.results(good.id, 2) == [("gate", "accepted", ""), ("gate", "done", "")]
        assert await one.results(old.id, 1) == [(None, "refused", "expired")]


async def test_without_a_time_a_command_is_refused_once_and_never_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "CLOCK_SECONDS", 0.1)
    gate = Gate()
    clock = Clock()
    clock.known.clear()
    reason = "clock unsure: the agent does not know the time and can't judge the expiry"
    async with desk(tmp_path, single("gate", gate), clock=clock) as one:
        command = one.command(Unlock(), lifetime=600)
        one.send(command)
        assert await one.results(command.id, 1) == [(None, "refused", reason)]
        clock.known.set()
        # The collector knows the refusal; the same command must not have a second outcome.
        one.send(command)
        last = one.command(Unlock())
        one.send(last)
        await one.results(last.id, 2)
        assert len(results_of(one.parts.seen, command.id)) == 1
        assert gate.unlocked == [5]


async def test_what_a_restart_left_open_gets_its_result_once_it_can_be_dated(tmp_path: Path) -> None:
    class Hanging(Gate):
        async def unlock(self, seconds: float) -> None:
            self.unlocked.append(seconds)
            await asyncio.get_running_loop().create_future()

    gate = Hanging()
    async with desk(tmp_path, single("gate", gate)) as one:
        command = one.command(Unlock())
        one.send(command)
        await until(lambda: gate.unlocked == [5])
    clock = Clock()
    clock.known.clear()
    async with desk(tmp_path, single("gate", gate), clock=clock) as again:
        await until(lambda: again.commands._record._table is not None)
        before = [event.data for event, _ in results_of(await again.parts.events(), command.id)]
        clock.known.set()
        results = await again.results(command.id, len(before) + 1)
        assert results[-1] == ("gate", "failed", "unknown outcome: the agent restarted while executing")
        assert not any(isinstance(data, CommandResult) and data.outcome == "failed" for data in before)


async def test_a_command_from_the_future_makes_the_agent_ask_for_the_time(tmp_path: Path) -> None:
    async with desk(tmp_path, single("gate", Gate())) as one:
        command = one.command(Unlock(), lifetime=3600)
        one.clock.now -= timedelta(minutes=2)
        one.send(command)
        ((_, outcome, _),) = await one.results(command.id, 1)
        assert (outcome, one.clock.asked) == ("refused", 1)


async def test_an_area_command_reaches_every_able_device_below_it(tmp_path: Path) -> None:
    first, second = Speaker(), Speaker()
    for speaker in (first, second):
        speaker.finish.set()
    async with desk(tmp_path, single("a", first), single("b", second), single("gate", Gate())) as one:
        command = one.command(one.text("fire drill"), Target(area="330110000000"))
        one.send(command)
        results = await one.results(command.id, 4)
        assert sorted(results, key=str) == [
            ("a", "accepted", ""),
            ("a", "done", ""),
            ("b", "accepted", ""),
            ("b", "done", ""),
        ]
        await one.parts.until("receipt", lambda found: len(found) == 6)
        assert sorted(await one.receipts(), key=str) == [
            (name, stage, "") for name in ("a", "b") for stage in ("finished", "queued", "started")
        ]


async def test_a_command_that_a_later_one_overtook_is_refused(tmp_path: Path) -> None:
    class Relay:
        def __init__(self) -> None:
            self.positions: list[bool] = []

        async def switch(self, on: bool) -> None:
            self.positions.append(on)

    relay, speaker = Relay(), Speaker()
    speaker.finish.set()
    async with desk(tmp_path, single("relay", relay), single("horn", speaker)) as one:
        on, say = one.command(SwitchTo(on=True)), one.command(one.text("x"))
        one.clock.now += timedelta(seconds=1)
        off, stop = one.command(SwitchTo(on=False)), one.command(Stop())
        for command in (off, stop):
            one.send(command)
            await one.results(command.id, 2)
        one.send(on)
        one.send(say)
        assert await one.results(on.id, 1) == [
            ("relay", "refused", "overtaken by a switch that was issued later"),
        ]
        assert await one.results(say.id, 1) == [("horn", "refused", "overtaken by a stop that was issued later")]
        assert (relay.positions, speaker.said, speaker.stopped) == ([False], [], 1)
        # In the order in which they were issued both act.
        one.clock.now += timedelta(seconds=1)
        for switch in (one.command(SwitchTo(on=True)), one.command(SwitchTo(on=False))):
            one.send(switch)
            await one.results(switch.id, 2)
        assert relay.positions == [False, True, False]


async def test_one_command_on_the_own_and_on_an_area_topic_acts_once(tmp_path: Path) -> None:
    gate = Gate()
    async with desk(tmp_path, single("gate", gate)) as one:
        command = one.command(Unlock(), Target(area=AREA))
        for topic in (TOPIC, f"village/1/area/{AREA}/command", "village/1/area/330110000000/command"):
            one.commands.on_message(Received(topic, sign_command(command, KEY), retained=False))
        await one.results(command.id, 2)
        last = one.command(Stop(), Target(agent="box", device="absent"))
        one.send(last)
        await one.results(last.id, 1)
        assert gate.unlocked == [5]
        assert len({event.id for event, _ in results_of(one.parts.seen, command.id)}) == 2


async def test_a_replay_after_the_expiry_and_under_another_target_does_nothing(tmp_path: Path) -> None:
    gate = Gate()
    async with desk(tmp_path, single("gate", gate)) as one:
        command = one.command(Unlock(), lifetime=60)
        payload = sign_command(command, KEY)
        one.clock.now += timedelta(seconds=61)
        one.commands.on_message(Received(TOPIC, payload, retained=False))
        assert await one.results(command.id, 1) == [(None, "refused", "expired")]
        # The target is signed: another agent's command can't be turned into ours.
        other = json.loads(sign_command(one.command(Unlock(), Target(agent="other")), KEY))
        other["target"] = {"agent": "box"}
        one.commands.on_message(Received(TOPIC, json.dumps(other).encode(), retained=False))
        (alarm,) = await one.parts.until("alarm")
        assert isinstance(alarm.data, Alarm)
        assert "bad signature" in alarm.data.evidence
        assert gate.unlocked == []


@pytest.fixture
def signer(tmp_path: Path) -> Authority:
    return authority(tmp_path / "authority")


async def _stored(payload: bytes) -> None:
    assert payload


async def test_forged_and_malformed_messages_execute_nothing_and_alarm_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    async with desk(tmp_path, single("gate", gate)) as one:
        forged = one.command(Unlock())
        for _ in range(20):
            one.send(forged, key=Ed25519PrivateKey.generate())
            one.commands.on_message(Received(TOPIC, b"[]", retained=False))
        altered = json.loads(sign_command(one.command(Unlock()), KEY)) | {
            "arguments": {"kind": "unlock", "seconds": 60}
        }
        one.commands.on_message(Received(TOPIC, json.dumps(altered).encode(), retained=False))
        good = one.command(Unlock())
        one.send(good)
        await one.results(good.id, 2)
        assert gate.unlocked == [5]
        (alarm,) = await one.parts.until("alarm")
        assert isinstance(alarm.data, Alarm)
        assert (alarm.data.code, alarm.data.active) == ("bad_command", True)
        assert results_of(one.parts.seen, forged.id) == []
    assert len([record for record in caplog.records if "is ignored" in record.message]) == 2


async def test_both_keys_of_a_rotation_count_and_the_old_one_only_until_its_end(
    tmp_path: Path, signer: Authority
) -> None:
    gate, clock = Gate(), Clock()
    ring = KeyRing(command_keys(KEY), signer.key.public_key(), _stored)
    async with running(ring.run()), desk(tmp_path, single("gate", gate), clock=clock, keys=ring) as one:
        ring.on_message(document(signer, KEY, NEXT_KEY, number=2, until=clock.now + timedelta(days=1)))
        ring.confirmed()
        for key in (KEY, NEXT_KEY):
            good = one.command(Unlock())
            one.send(good, key=key)
            assert (await one.results(good.id, 2))[-1][1] == "done"
        clock.now += timedelta(days=1)
        late = one.command(Unlock())
        one.send(late, key=KEY)
        (alarm,) = await one.parts.until("alarm")
        assert isinstance(alarm.data, Alarm)
        assert "signed with a command key that has ended" in alarm.data.evidence
        good = one.command(Unlock())
        one.send(good, key=NEXT_KEY)
        await one.results(good.id, 2)
        assert gate.unlocked == [5, 5, 5]


async def test_a_command_waits_for_the_key_that_signed_it(tmp_path: Path, signer: Authority) -> None:
    """As after an outage: the command was queued at the broker, the document comes with the collector's answer."""
    gate, clock = Gate(), Clock()
    ring = KeyRing(command_keys(KEY), signer.key.public_key(), _stored)
    async with running(ring.run()), desk(tmp_path, single("gate", gate), clock=clock, keys=ring) as one:
        command = one.command(Unlock())
        one.send(command, key=NEXT_KEY)
        await until(one.commands._messages.empty)
        assert gate.unlocked == []
        ring.on_message(document(signer, NEXT_KEY, number=2))
        ring.confirmed()
        await one.results(command.id, 2)
        assert gate.unlocked == [5]
        # The collector has answered: whatever else is not signed with its keys is forged, and nobody waits for it.
        one.send(one.command(Unlock()), key=KEY)
        await one.parts.until("alarm", seconds=2)


async def test_a_burst_beyond_the_queue_is_dropped_and_counted(tmp_path: Path) -> None:
    async with desk(tmp_path, single("gate", Gate())) as one:
        for _ in range(150):
            one.commands.on_message(Received(TOPIC, b"", retained=False))
        good = one.command(Unlock())
        await one.parts.until("alarm")
        await until(one.commands._messages.empty)
        one.send(good)
        await one.results(good.id, 2)


async def test_an_agent_killed_between_accepted_and_done_says_that_nobody_knows(tmp_path: Path) -> None:
    class Hanging(Gate):
        async def unlock(self, seconds: float) -> None:
            self.unlocked.append(seconds)
            await asyncio.get_running_loop().create_future()

    gate = Hanging()
    async with desk(tmp_path, single("gate", gate)) as one:
        command = one.command(Unlock())
        one.send(command)
        await until(lambda: gate.unlocked == [5])
    async with desk(tmp_path, single("gate", gate)) as again:
        reason = "unknown outcome: the agent restarted while executing"
        assert (await again.results(command.id, 2))[-1] == ("gate", "failed", reason)
        again.send(command)
        last = again.command(Stop(), Target(agent="box", device="absent"))
        again.send(last)
        await again.results(last.id, 1)
        assert gate.unlocked == [5]


async def test_accepted_is_on_disk_before_anything_is_done(tmp_path: Path) -> None:
    found: list[Any] = []

    class Curious(Gate):
        async def unlock(self, seconds: float) -> None:
            found.extend(await asyncio.to_thread(self.look))

        def look(self) -> list[Any]:
            with sqlite3.connect(tmp_path / "commands.db") as table, sqlite3.connect(tmp_path / "outbox.db") as outbox:
                rows = table.execute("SELECT device, final FROM result").fetchall()
                events = outbox.execute("SELECT content FROM event").fetchall()
            table.close()
            outbox.close()
            return [*rows, *(json.loads(content)["data"]["outcome"] for (content,) in events)]

    async with desk(tmp_path, single("gate", Curious())) as one:
        command = one.command(Unlock())
        one.send(command)
        await one.results(command.id, 2)
    assert found == [("gate", 0), "accepted"]


async def test_a_result_that_did_not_reach_the_outbox_is_sent_after_the_restart(tmp_path: Path) -> None:
    gate = Gate()
    async with desk(tmp_path, single("gate", gate)) as one:
        command = one.command(Unlock())
        one.send(command)
        await one.results(command.id, 2)

    def forget() -> None:
        # As if the power had failed after the table's commit and before the outbox's.
        with sqlite3.connect(tmp_path / "commands.db") as table:
            table.execute("UPDATE result SET sent = 0")
        table.close()
        (tmp_path / "outbox.db").unlink()

    await asyncio.to_thread(forget)
    async with desk(tmp_path, single("gate", gate)) as again:
        assert await again.results(command.id, 1) == [("gate", "done", "")]


async def test_a_damaged_table_makes_older_given_unexecutable(tmp_path: Path) -> None:
    (tmp_path / "commands.db").write_bytes(b"damaged by the power cut" * 1000)
    gate = Gate()
    async with desk(tmp_path, single("gate", gate)) as one:
        await until(lambda: one.commands._settled)
        one.clock.now -= timedelta(seconds=30)
        old = one.command(Unlock(), lifetime=600)
        one.clock.now += timedelta(seconds=60)
        one.send(old)
        (result,) = await one.results(old.id, 1)
        assert result[2].startswith("the agent lost its record")
        new = one.command(Unlock())
        one.send(new)
        await one.results(new.id, 2)
        assert gate.unlocked == [5]


def test_a_clock_that_is_ahead_makes_the_table_forget_nothing(tmp_path: Path) -> None:
    table = CommandTable(tmp_path / "commands.db")
    now = datetime(2026, 11, 24, tzinfo=UTC)
    given_ = [
        Command(
            id=uuid4(),
            target=Target(agent="box"),
            arguments=Stop(),
            issuer="w",
            issued=now,
            expires=now + timedelta(minutes=1),
        )
        for _ in range(2)
    ]
    table.add(given_[0], [], now)
    table.add(given_[1], [], now + timedelta(days=365))
    assert table.known_results(given_[0].id) == []
    table.close()


def test_the_table_forgets_a_day_after_the_expiry(tmp_path: Path) -> None:
    table = CommandTable(tmp_path / "commands.db")
    ids = []
    for hours in (0, 23, 25):
        now = datetime(2026, 11, 24, tzinfo=UTC) + timedelta(hours=hours)
        command = Command(
            id=uuid4(),
            target=Target(agent="box"),
            arguments=Stop(),
            issuer="w",
            issued=now,
            expires=now + timedelta(minutes=1),
        )
        ids.append(command.id)
        table.add(command, [], now)
    assert [table.known_results(one) for one in ids] == [None, [], []]
    table.close()


@given(payload=st.binary(max_size=300), retained=st.booleans())
def test_whatever_comes_is_no_more_than_counted(payload: bytes, retained: bool) -> None:
    with pytest.raises(InvalidCommand):
        read_command(payload, KEY.public_key())


async def test_a_snapshot_needs_a_camera(tmp_path: Path) -> None:
    async with desk(tmp_path, single("gate", Gate())) as one:
        command = one.command(Snapshot(upload_url="http://127.0.0.1:1/x", upload_token="t"))
        one.send(command)
        assert await one.results(command.id, 1) == [(None, "refused", "no device here can snapshot")]
