"""Which devices of a box a command means, by their tags."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.agent.desk import desk
from tests.agent.kit import AREA, Gate, Speaker, single, until
from village_agent.roster import Roster
from village_wire.commands import Stop, Target, Unlock, Withdraw

COUNTY = "330110000000"


def recorded(folder: Path) -> list[str]:
    with sqlite3.connect(folder / "commands.db") as connection:
        return [row[0] for row in connection.execute("SELECT id FROM command")]


async def test_only_loudspeakers_that_carry_one_of_the_tags_are_heard(tmp_path: Path) -> None:
    school, clinic, hall = Speaker(), Speaker(), Speaker()
    units = (single("school", school, tags=("school",)), single("clinic", clinic, tags=("clinic", "quiet")))
    async with desk(tmp_path, *units, single("hall", hall)) as one:
        wide = one.command(one.text("停课"), Target(area=COUNTY, tags=("school", "library")))
        one.send(wide)
        assert await one.results(wide.id, 2) == [("school", "accepted", ""), ("school", "done", "")]
        rest = one.command(one.text("开会"), Target(area=AREA, without=("school", "quiet")))
        one.send(rest)
        assert await one.results(rest.id, 2) == [("hall", "accepted", ""), ("hall", "done", "")]
        await until(lambda: school.said == ["停课"] and hall.said == ["开会"])
        stop = one.command(Stop(), Target(agent="box", tags=("clinic",)))
        one.send(stop)
        await one.results(stop.id, 2)
        assert (school.stopped, clinic.stopped, hall.stopped) == (0, 1, 0)
        assert not clinic.said


async def test_an_agent_without_such_a_device_ignores_an_area_and_answers_for_itself(tmp_path: Path) -> None:
    gate = Gate()
    async with desk(tmp_path, single("gate", gate, tags=("school",)), single("hall", Speaker())) as one:
        for target in (Target(area=AREA, tags=("school",)), Target(area=AREA, without=("school",))):
            one.send(one.command(Stop() if target.tags else Unlock(), target))
        ours = one.command(Stop(), Target(agent="box", tags=("school", "clinic")))
        one.send(ours)
        reason = "no device here with tag:clinic,school can stop"
        assert await one.results(ours.id, 1) == [(None, "refused", reason)]
        assert [event for event in await one.parts.events() if event.data.kind == "command_result"] == one.parts.seen
        assert recorded(tmp_path) == [str(ours.id)], "what is for others costs the card nothing"
        assert not gate.unlocked


async def test_a_withdrawal_reaches_what_waits_where_the_tag_is_gone(tmp_path: Path) -> None:
    speaker = Speaker()
    async with desk(tmp_path, single("horn", speaker, tags=("school",))) as one:
        command = one.command(one.text("停课"), Target(area=AREA, tags=("school",)))
        one.send(command)
        await one.results(command.id, 2)
        await until(speaker.speaking.is_set)
        renamed = single("horn", speaker, tags=("market",))
        one.parts.roster.units = {"horn": renamed}
        withdrawal = one.command(Withdraw(broadcast=command.id), Target(area=AREA, tags=("school",)))
        one.send(withdrawal)
        assert await one.results(withdrawal.id, 2) == [("horn", "accepted", ""), ("horn", "done", "")]
        await one.parts.until("receipt", lambda found: "withdrawn" in str(found[-1:]))


def test_an_inventory_tells_the_tags_of_a_device_and_of_its_box() -> None:
    roster = Roster({"horn": single("horn", Speaker(), tags=("school", "hall"))}, ("hall", "east"))
    assert [entry.tags for entry in roster.inventory()] == [("east", "hall", "school")]
