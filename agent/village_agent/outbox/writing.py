"""Writing what was in memory to the outbox's file, piece by piece, and what becomes of a damaged one. Blocks on the disk."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from village_agent.disk import put_aside
from village_agent.outbox.file import MAX_FORGOTTEN, Item, ItemClass, Lost, OutboxFile
from village_agent.outbox.items import chunks
from village_agent.outbox.memory import Losses

_DAMAGED = "outbox damaged"


class Written:
    """What is to be written, and after `write` what is left of it."""

    def __init__(self, rows: list[Item], losses: Losses, stored: list[str]) -> None:
        self.rows = rows
        self.losses = losses
        self.stored = stored
        self.error: sqlite3.Error | None = None
        self.full = False

    def write(self, file: OutboxFile) -> None:
        """Write in pieces; what is written before an error is not left."""
        try:
            for key in list(self.losses):
                span = self.losses[key]
                file.record_loss(*key, span.count, span.first_ns, span.last_ns)
                del self.losses[key]
            for chunk in chunks(self.rows) if self.rows else ([],):
                refused = file.write(chunk, self.stored[:MAX_FORGOTTEN])
                self.full = self.full or bool(refused and chunk[0].item_class is ItemClass.EVENT)
                del self.stored[:MAX_FORGOTTEN]
                written = set(map(id, chunk))
                self.rows = [row for row in self.rows if id(row) not in written]
            while self.stored:
                file.write((), self.stored[:MAX_FORGOTTEN])
                del self.stored[:MAX_FORGOTTEN]
        except sqlite3.Error as error:
            self.error = error


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
