"""What keeps the agent small must not change what it does."""

from __future__ import annotations

import subprocess
import sys

from village_agent.memory import release_code, release_memory, resident_bytes

_PROGRAM = """
import sys
from village_agent import serve

assert "email" not in sys.modules, "the agent carries a mail program along"
import importlib.metadata
import urllib.request
from importlib.metadata import version

assert importlib.metadata.version("pydantic") == version("pydantic")
assert urllib.request.Request("http://127.0.0.1/x").host == "127.0.0.1"
try:
    version("absent")
except importlib.metadata.PackageNotFoundError:
    print("well")
"""


def test_what_is_put_off_is_there_when_it_is_used() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=20, check=False)
    assert (done.stdout, done.stderr) == ("well\n", "")


def test_memory_is_measured_and_released() -> None:
    release_memory()
    before = resident_bytes()
    release_code()
    assert 1_000_000 < resident_bytes() < before - 1_000_000
