"""Real servers for tests: found in the folder that `VILLAGE_PEERS` names, then on PATH, or the test is skipped and says how to get them."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from typing import NoReturn

import pytest

#: Program -> how a user gets it.
HOW_TO_GET = {
    "mosquitto": "apt-get install mosquitto",
    "mosquitto_passwd": "apt-get install mosquitto",
    "mosquitto_pub": "apt-get install mosquitto-clients",
    "mosquitto_sub": "apt-get install mosquitto-clients",
    "influxd": "install InfluxDB OSS 2.7 and put influxd on PATH, or name its folder in VILLAGE_PEERS",
    "mediamtx": "install MediaMTX and put it on PATH, or name its folder in VILLAGE_PEERS",
    "telegraf": "install Telegraf and put it on PATH, or name its folder in VILLAGE_PEERS",
    "ffmpeg": "apt-get install ffmpeg",
    "espeak-ng": "apt-get install espeak-ng",
    "pulseaudio": "apt-get install pulseaudio pulseaudio-utils",
    "pacat": "apt-get install pulseaudio-utils",
    "parec": "apt-get install pulseaudio-utils",
    "aplay": "apt-get install alsa-utils",
    "faketime": "apt-get install faketime",
    "initdb": "apt-get install postgresql",
    "postgres": "apt-get install postgresql",
    "pg_isready": "apt-get install postgresql",
    "psql": "apt-get install postgresql",
    "snapserver": "apt-get install snapserver",
    "snapclient": "apt-get install snapclient",
    "fc-match": "apt-get install fontconfig",
    "pdffonts": "apt-get install poppler-utils",
    "pdfinfo": "apt-get install poppler-utils",
    "pdftotext": "apt-get install poppler-utils",
    "rmqttd": "install RMQTT 0.24 or newer and put rmqttd on PATH, or name its folder in VILLAGE_PEERS",
}


def peer(name: str) -> Path:
    """Return the path of a real program, or skip the test; where `VILLAGE_PEERS_REQUIRED` is set (CI) its absence fails."""
    folder = os.environ.get("VILLAGE_PEERS")
    if folder and (Path(folder) / name).is_file():
        return Path(folder) / name
    found = shutil.which(name)
    if not found:
        absent(f"{name} is absent: {HOW_TO_GET[name]}")
    return Path(found)


def absent(message: str) -> NoReturn:
    """Skip the test for want of a server or, where `VILLAGE_PEERS_REQUIRED` is set (CI), fail it."""
    if os.environ.get("VILLAGE_PEERS_REQUIRED"):
        pytest.fail(message)
    pytest.skip(message)


def free_port() -> int:
    """Return a TCP port of the loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
