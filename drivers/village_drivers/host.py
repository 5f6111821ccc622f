"""The box itself: the smallest driver, and the example to start a new one from.

A driver needs a `Config`, `devices()` and one coroutine `run(report)`; abilities (there are none here) are further methods.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import psutil
from pydantic import Field

from village_drivers.kit import Device, DriverConfig, Misconfigured, Report, Services
from village_wire.points import Value
from village_wire.states import Status

#: Longer than any of the kernel's numbers with its line end, and short enough for a float.
_MAX_DIGITS = 20


class HostConfig(DriverConfig):
    """Settings of the driver `host`."""

    interval_seconds: float = Field(60, ge=0.05, description="Time between readings. 读数间隔（秒）。", examples=[60])
    disk: Path = Field(Path("/"), description="A path on the disk to watch. 要监视的磁盘路径。", examples=["/"])
    disk_full_percent: float = Field(
        90, gt=0, le=100, description="Disk use that is a fault. 磁盘告警值（%）。", examples=[90]
    )
    hot_c: float = Field(80, description="Temperature that is a fault. 温度告警值（°C）。", examples=[80])
    load_per_core: float = Field(3, ge=0, description="Load per core that is a fault. 每核负载告警值。", examples=[3])


class Host:
    """Measures processor, memory, disk, temperature, supply voltage and network of the box that it runs on."""

    Config: ClassVar[type[DriverConfig]] = HostConfig
    sys = Path("/sys")

    def __init__(self, config: HostConfig, _services: Services) -> None:
        self._config = config

    def devices(self) -> Mapping[str, Device]:
        """The box, as one device without abilities."""
        return {self._config.id: Device("host", self, self._config.name)}

    async def run(self, report: Report) -> None:
        """Report a reading and a state every `interval_seconds`. Raises `Misconfigured` when there is no such disk."""
        psutil.cpu_percent(None)  # The first call has nothing to compare with.
        while True:
            try:
                fields = await asyncio.to_thread(self._measure)
            except FileNotFoundError as error:
                raise Misconfigured("misconfigured", f"`disk`: {error}") from error
            report.reading(self._config.id, "host", fields)
            faults = self._faults(fields) or {"works": ""}
            status: Status = "ok" if "works" in faults else "degraded"
            report.state(self._config.id, status, next(iter(faults)), ", ".join(faults.values()))
            await asyncio.sleep(self._config.interval_seconds)

    def _faults(self, fields: Mapping[str, Value]) -> dict[str, str]:
        """Evidence by code, the gravest first."""
        disk, heat, load = fields["disk_percent"], fields.get("temperature_c", -300), fields["load_1m"]
        found = {
            "under_voltage": (fields.get("under_voltage", False), "supply voltage was too low since the box started"),
            "disk_full": (disk >= self._config.disk_full_percent, f"disk {disk:.0f} % full"),
            "hot": (heat >= self._config.hot_c, f"{heat:.0f} °C"),
            "overloaded": (load >= self._config.load_per_core * (os.cpu_count() or 1), f"load {load:.1f}"),
        }
        return {code: evidence for code, (present, evidence) in found.items() if present}

    def _measure(self) -> dict[str, Value]:
        disk = psutil.disk_usage(str(self._config.disk))
        fields: dict[str, Value] = {
            "cpu_percent": psutil.cpu_percent(None),
            "memory_percent": psutil.virtual_memory().percent,
            "disk_percent": disk.percent,
            "disk_free_bytes": disk.free,
            "load_1m": psutil.getloadavg()[0],
            "uptime_s": time.clock_gettime(time.CLOCK_BOOTTIME),
            "link_up": any(state.isup for name, state in psutil.net_if_stats().items() if name != "lo"),
        }
        links = [link for name, link in psutil.net_io_counters(pernic=True).items() if name != "lo"]
        fields["received_bytes"] = sum(link.bytes_recv for link in links)
        fields["sent_bytes"] = sum(link.bytes_sent for link in links)
        if written := psutil.disk_io_counters():
            fields["disk_written_bytes"] = written.write_bytes
        # What a machine can't measure is left out. Kernel documentation: thermal/sysfs-api, millidegrees.
        zones = [_number(zone, 10) for zone in self.sys.glob("class/thermal/thermal_zone*/temp")]
        if known := [zone for zone in zones if zone is not None]:
            fields["temperature_c"] = max(known) / 1000
        # Raspberry Pi firmware: bit 0 is "under-voltage now", bit 16 "has occurred since boot".
        flags = _number(self.sys / "devices/platform/soc/soc:firmware/get_throttled", 16)
        if flags is not None:
            fields["under_voltage"] = bool(flags & 0x1_0001)
        return fields


def _number(file: Path, base: int) -> int | None:
    try:
        with file.open("rb") as stream:
            text = stream.read(_MAX_DIGITS + 1)
        return int(text, base) if len(text) <= _MAX_DIGITS else None
    except (OSError, ValueError):
        return None
