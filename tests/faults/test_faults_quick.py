"""The short form of `deploy/faults`, as a person starts it; a fixed seed, so that a failure can be looked at again."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.faults.plan import LENGTHS
from tests.peers import peer

FAULTS = Path(__file__).parents[2] / "deploy" / "faults"


@pytest.mark.timeout(180)
async def test_a_village_that_is_broken_all_the_time_loses_nothing(tmp_path: Path) -> None:
    peer("mosquitto")
    report_file = tmp_path / "faults.json"
    process = await asyncio.create_subprocess_exec(
        FAULTS, "--quick", "--seed", "4", "--json", report_file, "--keep", tmp_path / "run",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    text = output.decode()
    assert process.returncode == 0, text
    assert text.splitlines()[-1].startswith("OK: 0 lost, 0 doubled, 0 late"), text
    report = json.loads(report_file.read_text())
    assert report["ok"] is True
    # A run in which nothing happened would prove nothing.
    counts = report["counts"]
    assert counts["cards acted on"] > 50
    assert counts["readings stored"] > 100
    assert counts["commands executed"] > 5
    expected = set(LENGTHS)
    if "not jumped" in report["means"]["clock"]:
        expected.discard("jump clock")
    if report["means"]["store"] == "SQLite":
        expected.discard("kill store")
    assert report["faults"].keys() == expected
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path).encode() in _read(path)]
    assert left == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
