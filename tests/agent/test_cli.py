"""The program itself, started for real."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from tests.agent.collector import KEY, Collector, collector
from tests.agent.kit import AREA, until
from tests.peers import free_port
from tests.peers.mosquitto import Mosquitto
from village_wire.address import BrokerAddress, SessionSettings
from village_wire.commands import Command, Stop, Target
from village_wire.connection import connect
from village_wire.events import AgentStarted, StateChanged
from village_wire.outgoing import Publication
from village_wire.presence import encode_message
from village_wire.signed import encode_public_key

PROGRAM = [sys.executable, "-m", "village_agent.cli"]


def configuration(folder: Path, broker: str, devices: str = "") -> Path:
    path = folder / "agent.toml"
    path.write_text(
        f'[agent]\nid = "box"\narea = "{AREA}"\nstate_dir = "state"\n\n[collector]\nbroker = "{broker}"\n'
        f'command_key = "{encode_public_key(KEY.public_key())}"\n\n'
        f'[[devices]]\nid = "machine"\ndriver = "host"\n{devices}'
    )
    return path


SPEAKER = '\n[[devices]]\nid = "speaker"\ndriver = "syn6288"\nport = "/dev/absent"\n'


def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env=os.environ | {"COLUMNS": "200"} | environment,
    )


@asynccontextmanager
async def agent(config: Path) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(*PROGRAM, "run", "--config", str(config), stderr=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def online(far: Collector, count: int = 1) -> None:
    await until(lambda: len([status for status in far.statuses if status.online]) == count, 15)


async def test_the_agent_announces_itself_reports_obeys_and_says_goodbye(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path) as broker, collector(broker.url) as far:
        config = configuration(tmp_path, broker.url, SPEAKER)
        async with agent(config) as process:
            await online(far)
            await until(lambda: bool(far.inventories) and bool(far.lines))
            assert [(device.id, device.driver) for device in far.inventories[0].devices] == [
                ("machine", "host"),
                ("speaker", "syn6288"),
            ]
            assert far.inventories[0].devices[1].abilities == ("loudspeaker",)
            states = {event.device: event.data for event in far.events if isinstance(event.data, StateChanged)}
            await until(
                lambda: any(isinstance(e.data, StateChanged) and e.data.code == "line_missing" for e in far.events)
            )
            assert set(states) >= {"machine"}
            (started,) = [event.data for event in far.events if isinstance(event.data, AgentStarted)]
            assert started.session == far.statuses[0].session
            now = datetime.now(UTC)
            command = Command(
                id=uuid4(),
                target=Target(area=AREA),
                arguments=Stop(),
                issuer="wang",
                issued=now,
                expires=now + timedelta(minutes=1),
            )
            await far.send(command, f"village/1/area/{AREA}/command")
            await until(lambda: len(far.results(command.id)) == 2)
            assert far.results(command.id)[0] == ("speaker", "accepted", "")
            assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(6):
                _, log = await process.communicate()
            assert process.returncode == 0, log.decode()
            await until(lambda: not far.statuses[-1].online)
            assert far.statuses[-1].session == started.session
        lines = log.decode().splitlines()
        assert all(line[:2] == "20" for line in lines), log.decode()
        assert len([line for line in lines if "device speaker is down" in line]) == 1


async def test_a_killed_agent_leaves_its_will_and_keeps_its_outbox(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path) as broker, collector(broker.url) as far:
        config = configuration(tmp_path, broker.url)
        async with agent(config) as process:
            await online(far)
            process.kill()
            await process.wait()
        await until(lambda: not far.statuses[-1].online)
        assert far.statuses[-1].session == far.statuses[0].session
        async with agent(config) as process:
            await online(far, 2)
            assert far.statuses[-1].session != far.statuses[0].session
            await until(lambda: len([e for e in far.events if isinstance(e.data, AgentStarted)]) == 2)
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0


async def test_a_stale_will_that_the_broker_keeps_is_corrected_by_the_living_agent(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path) as broker, collector(broker.url) as far:
        async with agent(configuration(tmp_path, broker.url)) as process:
            await online(far)
            greeting = far.statuses[0]
            assert greeting.connection == 1
            will = greeting.model_copy(update={"online": False})
            assert far.session is not None
            await far.session.publish(Publication("village/1/agent/box/status", encode_message(will), retain=True))
            await online(far, 2)
            # Meanwhile the agent may have been told since when it runs.
            assert [(s.online, s.session, s.connection) for s in far.statuses] == [
                (online, greeting.session, 1) for online in (True, False, True)
            ]
            process.send_signal(signal.SIGTERM)
            await process.wait()
            await until(lambda: not far.statuses[-1].online)
        assert len(far.statuses) == 4


async def test_connections_are_numbered_and_a_will_has_the_number_of_its_own(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path) as broker, collector(broker.url) as far:
        async with agent(configuration(tmp_path, broker.url)) as process:
            await online(far)
            # Another client with the same id: the broker ends the agent's connection and publishes its will.
            async with connect(SessionSettings(BrokerAddress(broker.url), "agent-box")):
                await until(lambda: len(far.statuses) == 2)
            await online(far, 2)
            process.kill()
            await process.wait()
            await until(lambda: len(far.statuses) == 4)
        assert [(status.online, status.connection) for status in far.statuses] == [
            (True, 1),
            (False, 1),
            (True, far.statuses[2].connection),
            (False, far.statuses[2].connection),
        ]
        assert (far.statuses[2].connection or 0) > 1


async def test_the_agent_ends_in_time_without_a_broker(tmp_path: Path) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Takes the connection and never answers.
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, agent(configuration(tmp_path, f"mqtt://127.0.0.1:{port}")) as process:
        assert process.stderr is not None
        while b"started with" not in await process.stderr.readline():
            pass
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(12):
            await process.communicate()
        assert process.returncode == 0


async def test_a_second_agent_on_the_same_state_is_refused(tmp_path: Path) -> None:
    config = configuration(tmp_path, f"mqtt://127.0.0.1:{free_port()}")
    async with agent(config) as process:
        assert process.stderr is not None
        while b"started with" not in await process.stderr.readline():
            pass
        second = await asyncio.to_thread(call, "run", "--config", str(config))
        assert second.returncode == 4
        assert "another village-agent runs with the state directory" in second.stderr


def test_a_wrong_configuration_is_told_by_run_and_check(tmp_path: Path) -> None:
    config = configuration(tmp_path, "mqtt://127.0.0.1:1", SPEAKER + "colour = 5\n")
    for arguments in (["run"], ["check"]):
        done = call(*arguments, "--config", str(config))
        assert done.returncode == 3
        assert f"{config}, line 18: devices.1.colour: unknown key" in done.stderr
        assert "Traceback" not in done.stderr
    done = call("check", "--json", "--config", str(config))
    assert done.returncode == 3
    (problem,) = json.loads(done.stdout)["problems"]
    assert problem == {"file": str(config), "line": 18, "key": "devices.1.colour", "reason": "unknown key"}
    assert not (tmp_path / "state").exists()


def test_check_tells_what_answers_and_what_to_do(tmp_path: Path) -> None:
    config = configuration(tmp_path, f"mqtt://127.0.0.1:{free_port()}", SPEAKER)
    done = call("check", "--config", str(config), "--seconds", "5", VILLAGE_LANG="zh")
    assert done.returncode == 2
    assert "/dev/absent does not exist" in done.stdout
    assert "请插好串口适配器" in done.stdout
    assert done.stderr == ""
    done = call("check", "--config", str(config), "--json", "--seconds", "5")
    answer = json.loads(done.stdout)
    assert (answer["schema"], answer["status"]) == ("village-agent.check/1", "down")
    rows = {row["device"]: row for row in answer["rows"]}
    assert (rows["machine"]["status"], rows["speaker"]["code"]) == ("ok", "line_missing")
    assert (rows[""]["kind"], rows[""]["code"]) == ("collector", "collector_lost")
    assert rows["speaker"]["advice"]["en"].startswith("Plug the serial adapter in")


async def test_check_is_content_when_all_answer(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path) as broker:
        config = configuration(tmp_path, broker.url)
        began = time.monotonic()
        done = await asyncio.to_thread(call, "check", "--config", str(config), "--seconds", "15")
        assert done.returncode in {0, 1}, done.stdout + done.stderr
        assert time.monotonic() - began < 10
        assert "collector" in done.stdout


def test_drivers_are_listed_with_every_setting() -> None:
    listed = call("drivers")
    assert listed.returncode == 0
    assert "osdp" in listed.stdout
    assert "语音芯片" in listed.stdout
    one = call("drivers", "syn6288")
    assert 'port = "/dev/ttyUSB0"' in one.stdout
    document = json.loads(call("drivers", "--settings", "--json").stdout)
    for driver in document["drivers"]:
        keys = {setting["key"] for setting in driver["settings"]}
        assert {"id", "driver"} <= keys, driver["name"]
        for setting in driver["settings"]:
            assert setting["description"], f"{driver['name']}.{setting['key']}"
    unknown = call("drivers", "absent")
    assert unknown.returncode == 2
    assert "known are 可用的有 host" in unknown.stderr


def test_help_and_version_come_quickly() -> None:
    times = []
    for _ in range(5):
        began = time.monotonic()
        done = call("--help")
        times.append(time.monotonic() - began)
        assert done.returncode == 0
    print(f"village-agent --help: {statistics.median(times):.3f} s")
    assert statistics.median(times) < 0.5
    assert "示例" in done.stdout
    assert call("--version").stdout.startswith("village-agent 0.")
    for command in ("run", "check", "drivers"):
        assert "示例" in call(command, "--help").stdout


async def test_a_device_that_announces_itself_joins_the_inventory(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path) as broker, collector(broker.url) as far:
        zigbee = f'\n[[devices]]\nid = "zigbee"\ndriver = "mqtt"\nbroker = "{broker.url}"\n'
        async with agent(configuration(tmp_path, broker.url, zigbee)):
            await online(far)
            await until(lambda: bool(far.inventories))
            assert {device.driver for device in far.inventories[0].devices} <= {"host", "mqtt"}
            before = len(far.inventories)
            announcement = {
                "name": "Pump",
                "unique_id": "pump-1",
                "command_topic": "pump/set",
                "state_topic": "pump/state",
                "device": {"identifiers": ["pump-1"], "name": "Pump"},
            }
            assert far.session is not None
            await far.session.publish(
                Publication("homeassistant/switch/pump-1/config", json.dumps(announcement).encode(), retain=True)
            )
            await until(lambda: len(far.inventories) > before, 15)
            assert [device.abilities for device in far.inventories[-1].devices if "pump" in device.id] == [("switch",)]
            await until(lambda: any(event.device and "pump" in event.device for event in far.events))


STUBBORN = """
import asyncio, sys
from pathlib import Path
from village_agent import serve
from village_drivers import registry
from village_drivers.kit import Device, DriverConfig

class Stubborn:
    Config = DriverConfig
    def __init__(self, config, services):
        pass
    def devices(self):
        return {"stubborn": Device("test", self)}
    async def run(self, report):
        while True:
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                pass

sys.modules["stubborn"] = sys.modules["__main__"]
registry.DRIVERS["host"] = registry.DriverType("stubborn:Stubborn", "", "")
serve.END_SECONDS = 1.0
sys.exit(serve.main(Path(sys.argv[1]), "info"))
"""


async def test_a_driver_that_swallows_its_cancellation_cannot_keep_the_agent_alive(tmp_path: Path) -> None:
    config = configuration(tmp_path, f"mqtt://127.0.0.1:{free_port()}")
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", STUBBORN, str(config), stderr=PIPE)
    assert process.stderr is not None
    while b"started with" not in await process.stderr.readline():
        pass
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(10):
        _, log = await process.communicate()
    assert process.returncode == 1
    # The trace names what hung.
    assert b"Timeout" in log
