"""What becomes of an outbox whose file is damaged: it is put aside, and a new one begun. Blocks on the disk."""

from __future__ import annotations

import logging
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from village_agent.disk import is_damage, put_aside
from village_agent.outbox.file import OutboxFile
from village_agent.outbox.ledger import Lost

_log = logging.getLogger(__name__)

_DAMAGED = "outbox damaged"


def open_or_begin(path: Path, max_bytes: int) -> OutboxFile:
    """Open the file; `damaged` is then true if it had to be begun anew.

    Raises:
        sqlite3.Error: the disk is full, broken or not writable.
    """
    try:
        file = OutboxFile(path, max_bytes)
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        put_aside(path)
        file = OutboxFile(path, max_bytes)
        file.damaged = True
    if file.damaged:
        _log.error("%s was damaged and has been put aside as %s.damaged; what it held is lost", path, path.name)
    return file


def salvage(file: OutboxFile, path: Path) -> list[Lost]:
    """Close a damaged file and put it aside; return its ledger, as far as it can be read, with what is lost now."""
    try:
        lost = file.losses()
    except sqlite3.Error:
        lost = []
    now = datetime.now(UTC)
    lost += [Lost(one, _DAMAGED, count, now, now) for one, count in file.waiting_by_class.items() if count]
    file.close()
    put_aside(path)
    return lost
