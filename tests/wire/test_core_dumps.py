"""A process that crashes leaves no image of its memory, and still can do all that it must."""

from __future__ import annotations

import subprocess
import sys

_CODE = """
import ctypes, resource, subprocess, sys
from village_wire import core_dumps
core_dumps.forbid()
assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
assert ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 0, "dumpable"
for name in ("maps", "statm", "stat"):
    open(f"/proc/self/{name}").read()
child = "import ctypes, resource; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE))"
print(subprocess.run([sys.executable, "-c", child], check=True, capture_output=True, text=True).stdout)
"""


def test_memory_is_hidden_and_children_start_as_usual() -> None:
    found = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout.strip()) == (0, "1 (0, 0)"), found.stderr
