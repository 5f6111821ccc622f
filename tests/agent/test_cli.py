"""The program itself, started for real."""

from __future__ import annotations

import asyncio
import json
import signal
import statistics
import sys
import time
from asyncio.subprocess import PIPE
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from tests.agent.collector import collector
from tests.agent.kit import AREA, until
from tests.agent.program import SPEAKER, agent, call, configuration, online
from tests.peers import free_port
from tests.peers.mosquitto import Mosquitto
from village_wire.commands import Command, Stop, Target
from village_wire.events import AgentStarted, StateChanged


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
    assert "/dev/absent 不存在" in done.stdout
    assert "请插好串口适配器" in done.stdout
    assert done.stderr == ""
    done = call("check", "--config", str(config), "--json", "--seconds", "5")
    answer = json.loads(done.stdout)
    assert (answer["schema"], answer["status"]) == ("village-agent.check/1", "down")
    rows = {row["device"]: row for row in answer["rows"]}
    assert (rows["machine"]["status"], rows["speaker"]["code"]) == ("ok", "line_missing")
    assert (rows[""]["kind"], rows[""]["code"]) == ("collector", "collector_lost")
    assert rows["speaker"]["advice"]["en"].startswith("Plug the serial adapter in")


def test_check_tells_before_the_enrolment_what_else_is_wrong(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    devices = '[[devices]]\nid = "machine"\ndriver = "host"\n[[loudspeakers.devices]]\nid = "hall-speker"\n'
    config.write_text(f'[agent]\nstate_dir = "state"\n{devices}')
    done = call("check", "--config", str(config))
    assert done.returncode == 3
    assert f"{config}, line 7: loudspeakers.devices.0.id: there is no device 'hall-speker'" in done.stderr
    assert "this box has no identity" in done.stderr
    config.write_text(config.read_text() + "colour = 5\n")
    done = call("check", "--json", "--config", str(config))
    reasons = [problem["reason"] for problem in json.loads(done.stdout)["problems"]]
    assert reasons[0] == "unknown key"
    assert reasons[1].startswith("this box has no identity")
    config.write_text('[agent]\nstate_dir = "state"\n')
    done = call("run", "--config", str(config))
    assert (done.returncode, done.stderr.count("no identity")) == (3, 1)


def test_the_language_stands_before_or_after_the_command(tmp_path: Path) -> None:
    config = configuration(tmp_path, f"mqtt://127.0.0.1:{free_port()}")
    check = ("check", "--config", str(config), "--seconds", "0.5")
    for arguments in (("--lang", "zh", *check), (*check, "--lang", "zh"), ("--lang", "en", *check, "--lang", "zh")):
        assert call(*arguments, VILLAGE_LANG="en").stdout.startswith("状态")
    chinese = call(*check, VILLAGE_LANG="", LC_ALL="zh_CN.UTF-8").stdout
    assert chinese.startswith("状态")
    assert "连接被拒绝" in chinese
    assert call("--lang", "en", *check, VILLAGE_LANG="zh").stdout.startswith("STATUS")
    refused = call("--lang", "fr", *check)
    assert (refused.returncode, "'en', 'zh'" in refused.stderr) == (2, True)


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
