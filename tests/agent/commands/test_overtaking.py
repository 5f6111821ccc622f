"""Commands that a later one overtook on its way."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from tests.agent.desk import desk
from tests.agent.kit import Speaker, single
from village_wire.commands import Stop, SwitchTo


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
