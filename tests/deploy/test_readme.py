"""Every command of the README is run, against the village that it describes, or named here with the reason why not."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from village_demo.desk import Desk
from village_demo.site import Village

README = (Path(__file__).parents[2] / "README.md").read_text()
#: Beginning of a command -> why it is not run here.
ELSEWHERE = {
    "deploy/demo": "tests/deploy/test_demo.py",
    "deploy/test": "runs this test",
    "deploy/bench": "tests/bench/test_*.py",
    "deploy/faults": "tests/faults/test_faults_quick.py",
    "village login ": "tests/cli/test_real_login.py; the demo logs in",
    "sudo ": "changes the system; test_samples.py tries units and samples, the demo the installation",
}
#: Commands whose exit code tells of the village, not of success: `health` in a village that is being started.
TELLS = ("village health",)


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


def test_each_command_is_run_or_has_a_reason() -> None:
    assert commands()
    for command in commands():
        assert command.startswith(("village ", "village-agent drivers", *ELSEWHERE)), command


@pytest_asyncio.fixture
async def village(tmp_path: Path) -> AsyncIterator[Village]:
    place = Village(tmp_path)
    async with place.site_broker():
        try:
            await place.start()
            await Desk(place, tmp_path).wait_all_ok()
            yield place
        finally:
            await place.stop()


@pytest.mark.timeout(240)
async def test_they_do_what_they_say(village: Village, tmp_path: Path) -> None:
    run = [command for command in commands() if not command.startswith(tuple(ELSEWHERE))]
    for command in run:
        program, *arguments = shlex.split(command)
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).parent / program,
            *arguments,
            cwd=tmp_path,
            env={**os.environ, **village.environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(60):
            output, _ = await process.communicate()
        assert process.returncode == 0 or (command.startswith(TELLS) and process.returncode in {0, 1, 2}), (
            command,
            output.decode(),
        )
    assert (tmp_path / "square.jpg").exists()
