"""What the table of commands forgets, and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from village_agent.commands.table import CommandTable
from village_wire.commands import Command, Stop, Target


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
