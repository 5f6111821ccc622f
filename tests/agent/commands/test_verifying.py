"""Which messages count as commands: signatures, rotated keys, and floods of what is none."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tests.agent.collector import KEY
from tests.agent.desk import TOPIC, Clock, desk, results_of
from tests.agent.identity.api import NEXT_KEY, authority, command_keys, document
from tests.agent.kit import Gate, running, single, until
from village_agent.identity.keyring import KeyRing
from village_collector.trust.authority import Authority
from village_wire.commands import InvalidCommand, Target, Unlock, read_command, sign_command
from village_wire.events import Alarm
from village_wire.incoming import Received


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


@given(payload=st.binary(max_size=300), retained=st.booleans())
def test_whatever_comes_is_no_more_than_counted(payload: bytes, retained: bool) -> None:
    with pytest.raises(InvalidCommand):
        read_command(payload, KEY.public_key())
