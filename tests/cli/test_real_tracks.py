"""From the operator's command to a board at a serial line: the real collector, broker, agent and CLI; the board alone is emulated."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.agent.kit import AREA, until
from tests.agent.program import agent
from tests.bench import rig
from tests.bench.rig import RunningCollector
from tests.cli.collector import PROGRAM, ROOT, environment
from tests.peers.mosquitto import Mosquitto
from village_agent.commands.table import CommandTable
from village_emulators.dfplayer import DfPlayerEmulator
from village_emulators.line import Cable
from village_wire.commands import Broadcast, Command, Target
from village_wire.events import CommandResult, Event

UNKNOWN = "unknown outcome: the agent restarted while executing"


class Village:
    """What an operator types."""

    def __init__(self, running: RunningCollector) -> None:
        self._environment = environment(running.api, {"VILLAGE_TOKEN": running.token})
        self._running = running

    async def __call__(self, *words: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *PROGRAM, *words, env=self._environment, cwd=ROOT, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        async with asyncio.timeout(60):
            output, _ = await process.communicate()
        return process.returncode or 0, output.decode()

    async def sent(self, *words: str) -> str:
        """Send a broadcast and do not wait; return its id."""
        code, output = await self("broadcast", *words, "--to", AREA, "--until", "60s", "--no-wait", "--json")
        assert code == 0, output
        return str(json.loads(output)["id"])

    async def standing(self, identity: str) -> dict[str, Any]:
        async with self._running.client() as client:
            found: dict[str, Any] = (await client.get(f"/broadcasts/{identity}")).json()["loudspeakers"][0]
            return found

    async def stands(self, identity: str, standing: str) -> None:
        async with asyncio.timeout(30):
            while (await self.standing(identity))["standing"] != standing:
                await asyncio.sleep(0.2)


def configuration(folder: Path, broker: str, running: RunningCollector, port: str) -> Path:
    path = folder / "agent.toml"
    path.write_text(
        f'[agent]\nid = "box"\narea = "{AREA}"\nstate_dir = "state"\n'
        f'[collector]\nbroker = "{broker}"\ncommand_key = "{running.command_key}"\n'
        f'[loudspeakers]\nchime = ["alert"]\n[[loudspeakers.devices]]\nid = "horn"\nvolumes = {{ alert = 90 }}\n'
        f'[[devices]]\nid = "horn"\ndriver = "dfplayer"\nport = "{port}"\n'
    )
    return path


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[tuple[Village, DfPlayerEmulator, Path]]:
    async with (
        Mosquitto(folder) as broker,
        rig.collector(folder / "collector", broker.url) as running,
        Cable() as cable,
        DfPlayerEmulator(cable.b, speed=4) as board,
    ):
        yield Village(running), board, configuration(folder, broker.url, running, cable.a)


def left_accepted(file: Path, broadcast: str) -> None:
    """As after a kill between the record that a command was accepted and its queueing."""
    now = datetime.now(UTC)
    end = now + timedelta(seconds=60)
    wanted = Broadcast(rank="notice", text="x", end=end)
    command = Command(
        id=UUID(broadcast), target=Target(area=AREA), arguments=wanted, issuer="li", issued=now, expires=end
    )
    accepted = CommandResult(command=command.id, outcome="accepted")
    table = CommandTable(file)
    table.add(command, [Event(id=uuid4(), time=now, device="horn", data=accepted)], now)
    table.close()


@pytest.mark.timeout(180)
async def test_a_track_is_ordered_heard_withdrawn_and_stopped(tmp_path: Path) -> None:
    async with site(tmp_path) as (village, board, config):
        async with agent(config) as process:
            async with asyncio.timeout(30):
                while "horn" not in (await village("devices", "--json"))[1]:
                    await asyncio.sleep(0.3)
            code, output = await village("broadcast", "track", "2/300", "--to", AREA, "--class", "alert")
            assert code == 0, output
            assert "1 of 1 loudspeakers sounded (100 %)" in output
            assert [(one.folder, one.number, one.volume, one.complete) for one in board.played] == [
                ("02", 300, 27, True)
            ]

            code, output = await village("broadcast", "say", "村民注意", "--to", AREA)
            assert code == 2
            assert "it plays only tracks of its own card" in output
            code, output = await village("broadcast", "track", "9", "--to", "box/horn")
            assert code == 2
            assert "the card has no such track" in output
            code, output = await village("--lang", "zh", "broadcast", "track", "9", "--to", "box/horn")
            assert code == 2
            assert "box/horn  播放失败  文件夹 mp3 的曲目 9：播放模块返回错误 6：存储卡上没有该曲目" in output

            long = await village.sent("track", "2/1", "--class", "routine")
            await village.stands(long, "sounding")
            assert "(track 2/1 of the card)" in (await village("broadcast", "show", long))[1]
            assert "(track 2/1 of the card)" in (await village("broadcast", "list"))[1]
            assert (await village("broadcast", "withdraw", long))[0] == 0
            await village.stands(long, "failed")
            await until(lambda: not board.busy, 10)

            again = await village.sent("track", "2/1")
            await village.stands(again, "sounding")
            code, output = await village("broadcast", "stop", "--to", AREA)
            assert code == 0, output
            await until(lambda: not board.busy, 10)
            await village.stands(again, "failed")
            process.kill()
            await process.wait()
        lost = await village.sent("track", "2/1")
        await asyncio.to_thread(left_accepted, tmp_path / "state" / "commands.db", lost)
        async with agent(config):
            await village.stands(lost, "failed")
            assert (await village.standing(lost))["reason"] == UNKNOWN
            code, output = await village("broadcast", "show", lost)
            assert code == 2
            assert f"not carried out {UNKNOWN}" in " ".join(output.split())
            code, output = await village("--lang", "zh", "broadcast", "show", lost)
            assert "未执行 结果未知：执行时代理重启" in " ".join(output.split())
            assert not board.busy
