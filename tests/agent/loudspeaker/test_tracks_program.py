"""The real program with an emulated board at the end of a serial line."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from tests.agent.collector import Collector, collector
from tests.agent.kit import until
from tests.agent.loudspeaker.test_program import TOPIC, command, stages
from tests.agent.program import agent, configuration, online
from tests.peers.mosquitto import Mosquitto
from village_emulators.dfplayer import DfPlayerEmulator
from village_emulators.line import Cable
from village_wire.broadcasts import Track
from village_wire.commands import Command, Stop, Withdraw
from village_wire.events import CommandResult, Receipt

RESUMED = (
    "from its beginning, since a track can't go on where it stopped;"
    " the agent ended while it sounded, and nobody knows how much was heard then"
)


def receipts(far: Collector, broadcast: UUID) -> list[tuple[str, str]]:
    found = sorted(far.events, key=lambda event: event.time)
    told = [event.data for event in found if isinstance(event.data, Receipt)]
    return [(one.stage, one.reason) for one in told if one.broadcast == broadcast]


def order(arguments: Stop | Withdraw) -> Command:
    wanted = command(text="x")
    return wanted.model_copy(update={"arguments": arguments})


@pytest.mark.timeout(150)
async def test_the_program_with_a_board_at_a_serial_line_killed_while_it_plays(tmp_path: Path) -> None:
    async with (
        Mosquitto(tmp_path) as broker,
        collector(broker.url) as far,
        Cable() as cable,
        DfPlayerEmulator(cable.b, speed=3) as board,
    ):
        config = configuration(
            tmp_path, broker.url, f'\n[[devices]]\nid = "horn"\ndriver = "dfplayer"\nport = "{cable.a}"\n'
        )
        music = command(track=Track(folder=2, number=1), rank="routine", category="music")
        alert = command(track=Track(number=1), rank="alert")
        async with agent(config) as process:
            await online(far)
            spoken = command(text="村民注意")
            await far.send(spoken, TOPIC)
            await until(lambda: "failed" in stages(far, spoken.id), 20)
            plain = "this loudspeaker plays only the tracks of its own card"
            assert receipts(far, spoken.id) == [("failed", plain)]
            refused = [e.data for e in far.events if isinstance(e.data, CommandResult) and e.data.command == spoken.id]
            assert ("refused", plain) in [(one.outcome, one.reason) for one in refused]
            await far.send(music, TOPIC)
            await until(lambda: "started" in stages(far, music.id), 20)
            await far.send(alert, TOPIC)
            await until(lambda: "resumed" in stages(far, music.id), 40)
            assert receipts(far, music.id)[2][1].startswith("alert goes first; it will begin again")
            assert receipts(far, alert.id) == [("queued", ""), ("started", ""), ("finished", "")]
            assert board.busy
            process.kill()
            await process.wait()
        # Nobody tells the board to be silent.
        assert board.busy
        async with agent(config):
            await online(far, 2)
            await until(lambda: stages(far, music.id).count("resumed") == 2, 40)
            assert receipts(far, music.id)[-1] == ("resumed", RESUMED)
            heard = [(one.folder, one.number, one.complete) for one in board.played]
            assert heard == [("02", 1, False), ("mp3", 1, True), ("02", 1, False), ("02", 1, False)][: len(heard)]
            await far.send(order(Withdraw(broadcast=music.id, reason="a mistake")), TOPIC)
            await until(lambda: "cancelled" in stages(far, music.id), 20)
            await until(lambda: not board.busy, 10)
            again = command(track=Track(folder=2, number=1))
            await far.send(again, TOPIC)
            await until(lambda: "started" in stages(far, again.id), 20)
            await far.send(order(Stop()), TOPIC)
            await until(lambda: receipts(far, again.id)[-1] == ("cancelled", "stopped by wang"), 20)
            await until(lambda: not board.busy, 10)
            missing = command(track=Track(folder=2, number=2))
            await far.send(missing, TOPIC)
            await until(lambda: "failed" in stages(far, missing.id), 30)
            assert "the card has no such track" in receipts(far, missing.id)[-1][1]
    assert not [one for one in board.played if one.complete and one.folder == "02"]
