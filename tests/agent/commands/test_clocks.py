"""Commands and the time: one that was set back, is not known yet, or differs from the collector's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.agent.desk import Clock, desk, results_of
from tests.agent.kit import Gate, HangingGate, single, until
from village_agent.commands import runtime as commands
from village_wire.commands import Unlock
from village_wire.events import CommandResult


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
    gate = HangingGate()
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
