"""The host driver on the machine that runs the tests, and on a folder that stands for the kernel's /sys."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest

from tests.drivers.recorder import NoServices, Recorder, running
from village_drivers.abilities import abilities_of
from village_drivers.host import Host, HostConfig
from village_drivers.kit import Misconfigured
from village_wire.points import KINDS


def _host(sys: Path | None = None, **settings: object) -> Host:
    never = {"disk_full_percent": 100, "hot_c": 1000, "load_per_core": 10_000, "interval_seconds": 0.05}
    host = Host(HostConfig.model_validate({"id": "box", "driver": "host", **never, **settings}), NoServices())
    if sys is not None:
        host.sys = sys
    return host


def _sys(root: Path, millidegrees: str, throttled: str) -> Path:
    for file, text in (
        ("class/thermal/thermal_zone0/temp", millidegrees),
        ("devices/platform/soc/soc:firmware/get_throttled", throttled),
    ):
        (root / file).parent.mkdir(parents=True)
        (root / file).write_text(text)
    return root


async def test_readings_are_those_of_this_machine() -> None:
    report = Recorder()
    async with running(_host(), report):
        await report.until(lambda: len(report.fields) >= 2)
    fields = report.fields[-1]
    assert set(fields) <= set(KINDS["host"])
    assert {
        "cpu_percent",
        "memory_percent",
        "disk_percent",
        "disk_free_bytes",
        "load_1m",
        "uptime_s",
        "link_up",
    } <= set(fields)
    assert fields["uptime_s"] == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=5)
    assert fields["memory_percent"] == pytest.approx(psutil.virtual_memory().percent, abs=20)
    assert report.history[-1] == ("ok", "works", "")


async def test_raspberry_pi_files_are_read(tmp_path: Path) -> None:
    report = Recorder()
    async with running(_host(_sys(tmp_path, "51200\n", "0\n")), report):
        await report.until(lambda: bool(report.history))
    assert report.fields[0]["temperature_c"] == 51.2
    assert report.fields[0]["under_voltage"] is False
    assert report.history[0][0] == "ok"


@pytest.mark.parametrize(
    ("throttled", "settings", "code", "evidence"),
    [
        ("50005\n", {}, "under_voltage", "supply voltage"),
        ("0x50000\n", {}, "under_voltage", "supply voltage"),
        ("0\n", {"disk_full_percent": 0.0001}, "disk_full", "% full"),
        ("0\n", {"hot_c": 51}, "hot", "51 °C"),
        ("0\n", {"load_per_core": 0}, "overloaded", "load "),
    ],
)
async def test_each_fault_degrades_with_its_evidence(
    tmp_path: Path, throttled: str, settings: dict[str, float], code: str, evidence: str
) -> None:
    report = Recorder()
    async with running(_host(_sys(tmp_path, "51200\n", throttled), **settings), report):
        await report.until(lambda: bool(report.history))
    status, found, text = report.history[0]
    assert (status, found) == ("degraded", code)
    assert evidence in text


async def test_all_faults_stand_in_the_evidence_and_the_gravest_in_the_code(tmp_path: Path) -> None:
    report = Recorder()
    async with running(_host(_sys(tmp_path, "90000", "50005"), hot_c=80, disk_full_percent=0.0001), report):
        await report.until(lambda: bool(report.history))
    assert report.history[0][1] == "under_voltage"
    for evidence in ("supply voltage", "90 °C", "% full"):
        assert evidence in report.history[0][2]


@pytest.mark.parametrize("text", ["", "warm", "\N{REPLACEMENT CHARACTER}", "9" * 400])
async def test_unreadable_sensors_are_left_out(tmp_path: Path, text: str) -> None:
    report = Recorder()
    async with running(_host(_sys(tmp_path, text, text)), report):
        await report.until(lambda: bool(report.fields))
    assert "temperature_c" not in report.fields[0]
    assert "under_voltage" not in report.fields[0]


async def test_a_missing_disk_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="nowhere"):
        await _host(disk=tmp_path / "nowhere").run(Recorder())


def test_the_box_is_one_device_without_abilities() -> None:
    devices = _host(name="仓库").devices()
    assert devices["box"].kind == "host"
    assert devices["box"].name == "仓库"
    assert abilities_of(devices["box"].handle) == ()
