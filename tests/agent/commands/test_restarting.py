"""Commands and agents that are killed: what was begun is on disk, and nothing is done twice."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.agent.desk import desk
from tests.agent.kit import Gate, HangingGate, single, until
from village_wire.commands import Stop, Target, Unlock


async def test_an_agent_killed_between_accepted_and_done_says_that_nobody_knows(tmp_path: Path) -> None:
    gate = HangingGate()
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
