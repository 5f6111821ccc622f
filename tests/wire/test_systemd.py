from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from village_wire.systemd import Notifier


@pytest.mark.parametrize("abstract", [False, True])
async def test_speaks_sd_notify(tmp_path: Path, abstract: bool) -> None:
    name = f"@village-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name[1:]}" if abstract else name)
        notifier = Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())})
        assert notifier.watchdog_seconds == 3.0
        notifier.ready("serves\nall")
        notifier.alive("well")
        notifier.stopping()
        notifier.close()
        manager.setblocking(False)
        assert [manager.recv(200) for _ in range(3)] == [
            b"READY=1\nSTATUS=serves all",
            b"WATCHDOG=1\nSTATUS=well",
            b"STOPPING=1",
        ]


def test_without_systemd_nothing_happens(tmp_path: Path) -> None:
    for environment in (
        {},
        {"NOTIFY_SOCKET": str(tmp_path / "absent")},
        {"WATCHDOG_USEC": "x"},
        {"WATCHDOG_USEC": "5", "WATCHDOG_PID": "1"},
    ):
        notifier = Notifier(environment)
        notifier.ready("")
        notifier.close()
        assert notifier.watchdog_seconds is None
