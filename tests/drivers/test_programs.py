"""Child processes: real ones that behave badly."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tests.drivers.processes import children
from village_drivers.kit import Misconfigured, NotConnected
from village_drivers.programs import EVIDENCE_CHARACTERS, child, find_program, run_program


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on PATH into which a test writes its programs."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path


def _write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!{sys.executable}\n{text}\n")
    (folder / name).chmod(0o755)


async def test_what_a_program_left_is_returned(scripts: Path) -> None:
    _write(
        scripts, "echo-back", "import sys; print(sys.stdin.read()[::-1]); sys.stderr.write(' a \\n\\n b'); sys.exit(3)"
    )
    finished = await run_program("echo-back", feed=b"abc", seconds=10, limit=100)
    assert (finished.status, finished.stdout, finished.stderr) == (3, b"cba\n", "a; b")


async def test_a_missing_program_and_one_that_cannot_start_are_told_apart(scripts: Path) -> None:
    with pytest.raises(Misconfigured, match="no-such-thing is not installed") as caught:
        await find_program("no-such-thing")
    assert caught.value.code == "program_missing"
    (scripts / "broken").write_bytes(b"\x7fELF nothing")
    (scripts / "broken").chmod(0o755)
    with pytest.raises(NotConnected, match=r"broken does not start: .*Exec format"):
        await run_program("broken", seconds=1, limit=1)


async def test_time_and_output_are_bounded(scripts: Path) -> None:
    _write(scripts, "flood", "import sys\nwhile True: sys.stdout.write('x' * 1000)")
    _write(scripts, "sleeper", "import time; time.sleep(100)")
    before = children()
    with pytest.raises(NotConnected, match="flood wrote more than 5000 bytes"):
        await run_program("flood", seconds=10, limit=5000)
    with pytest.raises(NotConnected, match=r"sleeper did not finish in 0\.3 s"):
        await run_program("sleeper", seconds=0.3, limit=1)
    assert not children(before)


async def test_leaving_ends_the_whole_group_even_one_that_ignores_signals(scripts: Path) -> None:
    _write(
        scripts,
        "family",
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "os.fork()\n"
        "os.write(1, b'%d\\n' % os.getpid())\n"
        "time.sleep(100)",
    )
    async with child("family", stdout=PIPE) as running:
        pids = [int(await running.stdout.readline()) for _ in range(2)]
    # The grandchild is collected by init, or by whoever is this container's first process.
    assert all(not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text() for pid in pids)
    assert not children() & set(pids)


async def test_cancelling_at_any_moment_leaves_no_child(scripts: Path) -> None:
    _write(scripts, "sleeper", "import time; time.sleep(100)")
    before = children()
    for moment in range(12):
        task = asyncio.create_task(run_program("sleeper", seconds=50, limit=1))
        await asyncio.sleep(moment * 0.002)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    async with asyncio.timeout(5):
        while children(before):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("padding", [0, 1500, 2040, 2045, 5000])
async def test_no_piece_of_a_secret_is_left_by_cutting(scripts: Path, padding: int) -> None:
    _write(
        scripts,
        "gossip",
        f"import sys; sys.stderr.write('secret42' * 20 + '\\n' + 'y' * {padding} + '\\nlast words\\n')",
    )
    finished = await run_program("gossip", seconds=10, limit=1, hide=lambda text: text.replace("secret42", "***"))
    assert finished.stderr.endswith("last words")
    assert len(finished.stderr) <= EVIDENCE_CHARACTERS
    for piece in ("secret4", "cret42", "t42"):
        assert piece not in finished.stderr


async def test_messages_come_in_english(scripts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    _write(scripts, "language", "import os; print(os.environ['LC_ALL'])")
    assert (await run_program("language", seconds=10, limit=100)).stdout == b"C.UTF-8\n"
