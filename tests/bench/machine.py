"""The machine and the versions that a report is about."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("village-edge", "aiomqtt", "paho-mqtt", "uvloop", "influxdb-client", "sqlalchemy", "fastapi", "pydantic")
#: Program -> arguments that print its version.
_PROGRAMS = {"mosquitto": ["-h"], "telegraf": ["--version"], "influxd": ["version"], "rmqttd": ["--version"]}
_NUMBER = re.compile(r"\d+\.\d+(\.\d+)?")


def machine() -> dict[str, Any]:
    """Processor, memory and system, for a reader who compares figures."""
    memory = re.search(r"MemTotal:\s+(\d+)", _read("/proc/meminfo"))
    system = re.search(r'PRETTY_NAME="([^"]*)"', _read("/etc/os-release"))
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(int(memory[1]) / 1024**2, 1) if memory else None,
        "os": system[1] if system else platform.platform(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Versions of what is measured and of what it is measured with; absent ones are left out."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    for name, arguments in _PROGRAMS.items():
        program = find_program(name)
        if program is not None:
            answer = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=20, check=False)
            number = _NUMBER.search(answer.stdout + answer.stderr)
            found[name] = number[0] if number else "?"
    return found


def find_program(name: str) -> Path | None:
    """Return a peer's path: in the folder that `VILLAGE_PEERS` names, then on PATH and among the system's servers."""
    folder = os.environ.get("VILLAGE_PEERS")
    if folder and (Path(folder) / name).is_file():
        return Path(folder) / name
    # Debian puts mosquitto where only root looks.
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    return Path(found) if found else None


def _cpu() -> str:
    text = _read("/proc/cpuinfo")
    found = re.search(r"(?:model name|Model|Hardware)\s*:\s*(.+)", text)
    return found[1].strip() if found else platform.machine()


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
