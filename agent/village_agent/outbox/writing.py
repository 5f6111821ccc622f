"""Writing what was in memory to the outbox's file, piece by piece. Blocks on the disk."""

from __future__ import annotations

import sqlite3

from village_agent.outbox.file import MAX_FORGOTTEN, OutboxFile
from village_agent.outbox.items import Item, chunks
from village_agent.outbox.ledger import ItemClass
from village_agent.outbox.memory import Losses


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
