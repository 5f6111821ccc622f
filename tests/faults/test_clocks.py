"""The clock that jumps: for a running program, and without touching its monotonic clock."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tests.faults.clocks import FakeClock, build_library
from tests.peers import absent

_TELL = "import sys, time\nfor _ in sys.stdin: print(time.time(), time.monotonic(), flush=True)"


async def test_a_running_program_sees_its_clock_jump_and_its_monotonic_clock_go_on(tmp_path: Path) -> None:
    library = await asyncio.to_thread(build_library, tmp_path)
    if library is None:
        absent("there is no C compiler")
    clock = FakeClock(tmp_path / "clock", library)
    environment = {**os.environ, **clock.environment}
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _TELL, stdin=PIPE, stdout=PIPE, env=environment
    )
    assert program.stdin is not None
    assert program.stdout is not None
    for offset in (0, 365 * 86400, -86400, 0):
        clock.jump(offset)
        program.stdin.write(b"\n")
        system, monotonic = map(float, (await program.stdout.readline()).split())
        assert system == pytest.approx(time.time() + offset, abs=5)
        assert monotonic == pytest.approx(time.monotonic(), abs=5)
    program.stdin.close()
    assert await program.wait() == 0
