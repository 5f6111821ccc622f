"""What child processes a test has."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path


def children(beside: Collection[int] = ()) -> set[int]:
    """Process ids of all descendants of this process, zombies included; without those `beside`, and what these start meanwhile.

    A database that several tests share starts workers whenever it likes.
    """
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    mine = {os.getpid()}
    while more := {pid for pid, parent in found.items() if parent in mine and pid not in beside} - mine:
        mine |= more
    return mine - {os.getpid()}
