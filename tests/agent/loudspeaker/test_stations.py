"""Commands at the loudspeakers of a box, over restarts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.agent.desk import Clock, desk
from tests.agent.kit import Speaker, make_event, single, until
from village_agent.commands.table import CommandTable
from village_agent.loudspeaker import stations
from village_agent.loudspeaker.settings import LoudspeakersTable
from village_agent.loudspeaker.store import Stored, StoreFile
from village_wire.broadcasts import Audio
from village_wire.commands import Broadcast, Command, Target
from village_wire.events import CommandResult


class Player(Speaker):
    """Plays files too."""

    position_seconds = 0.0

    async def play_from(self, path: str, volume: float | None, start_seconds: float) -> str:
        return await self.say(path, volume)


class Relay:
    """Remembers how it was switched."""

    def __init__(self) -> None:
        self.switched: list[bool] = []

    async def switch(self, on: bool) -> None:
        self.switched.append(on)


async def test_without_an_address_a_sound_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    async with desk(tmp_path, single("horn", Player())) as one:
        audio = Audio(sha256="0" * 64, bytes=1, seconds=1, token="t")
        command = one.command(one.audio(audio))
        one.send(command)
        reason = "this agent knows no address to fetch sound files from; set [collector] api"
        assert (await one.results(command.id, 2))[-1] == ("horn", "refused", reason)


async def test_more_than_a_loudspeaker_can_keep_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stations, "MAX_QUEUED", 2)
    async with desk(tmp_path, single("horn", Speaker())) as one:
        commands = [one.command(one.text(text)) for text in ("one", "two", "three")]
        for command in commands:
            one.send(command)
            results = await one.results(command.id, 2)
        assert results[-1] == ("horn", "refused", "2 broadcasts wait at this loudspeaker")


async def test_what_waited_is_heard_after_a_restart_and_its_command_was_not_lost(tmp_path: Path) -> None:
    clock = Clock()
    speaker = Speaker()
    speaker.finish.set()

    def left(command: Command, entry: Stored) -> None:
        """The agent was killed after it had queued the broadcast, and before it told so."""
        table = CommandTable(tmp_path / "commands.db")
        accepted = make_event("horn", CommandResult(command=command.id, outcome="accepted"))
        table.add(command, [accepted], clock.now)
        table.close()
        file = StoreFile(tmp_path / "loudspeaker.db")
        file.apply({entry.key: entry}, [], {"power": True})
        file.close()

    async with desk(tmp_path, single("horn", speaker), clock=clock) as before:
        command = before.command(before.text("台风"), Target(agent="box", device="horn"))
    assert isinstance(command.arguments, Broadcast)
    entry = Stored("horn", command.id, 1, command.arguments, clock.now.timestamp())
    await asyncio.to_thread(left, command, entry)
    relay = Relay()
    table = LoudspeakersTable(amplifier_off_seconds=0)
    async with desk(tmp_path, single("horn", speaker), single("power", relay), clock=clock, table=table) as one:
        assert (await one.results(command.id, 2))[-1][1:] == ("done", "")
        await until(lambda: speaker.said == ["台风"])
        # The amplifier that the kill left on.
        await until(lambda: relay.switched == [False])
        await until(lambda: not one.commands._loudspeakers._stations["horn"].stored)
    async with desk(tmp_path, single("horn", speaker), clock=clock) as again:
        again.send(command)
        last = again.command(again.text("结束"))
        again.send(last)
        speaker.finish.set()
        await until(lambda: "结束" in speaker.said)
    assert speaker.said == ["台风", "结束"]


async def test_a_broken_station_drops_what_it_has_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stations, "_FAULT_SECONDS", 0.01)
    speaker = Speaker()
    speaker.finish.set()
    async with desk(tmp_path, single("horn", speaker)) as one:
        station = one.commands._loudspeakers._station("horn")
        with monkeypatch.context() as patch:
            patch.setattr(station, "_idle_seconds", lambda: 1 / 0)
            first = one.command(one.text("one"))
            one.send(first)
            await one.parts.until("receipt", lambda found: len(found) >= 2)
        (_, stage, reason) = (await one.receipts())[-1]
        assert stage == "failed"
        assert reason.startswith("fault of the program: ZeroDivisionError")
        second = one.command(one.text("two"))
        one.send(second)
        await until(lambda: "two" in speaker.said)
