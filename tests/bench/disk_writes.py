"""Row `writes`: what the six-device agent writes to its disk at default settings, idle, with its link up; scaled to a day.

The state directory is a file system of its own (ext4 on a loop device), so that the device's counters tell what an SD card would
have to write: data, journal and metadata. Without the right to mount, only what the process handed to the kernel is counted.
"""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.rig import UNLIMITED, collector
from tests.bench.rows import Say
from tests.bench.six_devices import all_ok, six_devices
from tests.peers.mosquitto import Mosquitto

_DAY_SECONDS = 86_400
#: Readings are gathered ever longer in the first minutes of a program.
_SETTLE_SECONDS = 100
#: Linux counts in sectors, whatever the device's (Documentation/block/stat.rst).
_SECTOR_BYTES = 512


def run(quick: bool, say: Say) -> dict[str, Any]:
    """Return megabytes (of a million bytes) a day: `device_mb` with `flushes`, and `process_mb`; None where it can't be told."""
    return asyncio.run(_measure(120 if quick else 1200, say))


async def _measure(seconds: int, say: Say) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="village-bench-") as name:
        folder = Path(name)
        with _card(folder) as device:
            async with (
                Mosquitto(folder, UNLIMITED) as broker,
                collector(folder / "collector", broker.url) as running,
                six_devices(folder / "site", broker.url, running.command_key) as agent,
            ):
                await all_ok(running)
                say(f"six devices are ok; watching for {seconds} s after {_SETTLE_SECONDS} s")
                await asyncio.sleep(_SETTLE_SECONDS)
                before = _device(device), _process(agent.pid)
                await asyncio.sleep(seconds)
                after = _device(device), _process(agent.pid)
    scale = _DAY_SECONDS / seconds
    on_device = None if device is None else round((after[0][0] - before[0][0]) * _SECTOR_BYTES * scale / 1e6, 1)
    return {
        "seconds": seconds,
        "day": {
            "device_mb": on_device,
            "flushes": None if device is None else round((after[0][1] - before[0][1]) * scale),
            "process_mb": round((after[1] - before[1]) * scale / 1e6, 1),
        },
    }


@contextmanager
def _card(folder: Path) -> Iterator[Path | None]:
    """Mount a file system at `site/state`; yield the device's counters, None without the right to mount."""
    image, state = folder / "card.img", folder / "site" / "state"
    state.mkdir(parents=True)
    with image.open("wb") as file:
        file.truncate(128 * 1024 * 1024)
    try:
        subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", image], check=True)
        subprocess.run(["mount", "-o", "loop,noatime", image, state], check=True)
    except (OSError, subprocess.CalledProcessError):
        yield None
        return
    try:
        source = subprocess.run(["findmnt", "-no", "SOURCE", state], check=True, capture_output=True, text=True).stdout
        yield Path("/sys/block") / Path(source.strip()).name / "stat"
    finally:
        subprocess.run(["umount", "-l", state], check=False)


def _device(counters: Path | None) -> tuple[int, int]:
    """Sectors written and flush requests, each of which an fsync causes."""
    if counters is None:
        return 0, 0
    fields = counters.read_text().split()
    return int(fields[6]), int(fields[15])


def _process(pid: int) -> int:
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["write_bytes"])


if __name__ == "__main__":
    print(run(quick=True, say=print))
