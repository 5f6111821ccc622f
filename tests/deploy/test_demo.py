"""The README's first command, as a stranger types it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sqlite3
import wave
from contextlib import closing
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "deploy" / "demo"


@pytest.mark.timeout(300)
async def test_one_round_leaves_its_evidence(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        DEMO, "--once", "--out", tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["ok"] is True
    assert len(summary["checks"]) == 17
    with wave.open(str(tmp_path / "broadcast.wav")) as sound:
        assert sound.getnframes() / sound.getframerate() > 2
    assert (tmp_path / "snapshot.jpg").read_bytes().startswith(b"\xff\xd8")
    assert "anti-fraud" in (tmp_path / "publicity.txt").read_text()
    assert (tmp_path / "publicity.pdf").read_bytes().startswith(b"%PDF-")
    with closing(sqlite3.connect(tmp_path / "control.db")) as control:
        kinds = dict(control.execute("SELECT kind, count(*) FROM events GROUP BY kind"))
    assert kinds["door_access"] == 3
    assert {"command_result", "receipt", "state_changed", "agent_started"} <= kinds.keys()
    assert (tmp_path / "telemetry.db").stat().st_size > 0


@pytest.mark.timeout(120)
async def test_it_keeps_running_until_it_is_interrupted(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        DEMO,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "VILLAGE_DEMO_DIR": str(tmp_path)},
    )
    assert process.stdout is not None
    seen = ""
    async with asyncio.timeout(60):
        while not re.search(r"shan/hall-speaker.*ok", seen):
            seen += (await process.stdout.readline()).decode()
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(40):
        await process.stdout.read()
        assert await process.wait() == 0
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path).encode() in _read(path)]
    assert left == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
