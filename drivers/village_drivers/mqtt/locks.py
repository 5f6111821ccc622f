"""Locks that are open for a while: when to secure them, remembered on the disk in case the box loses power meanwhile."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

_log = logging.getLogger(__name__)

#: A driver has at most 500 devices, and a key is a discovery topic.
_MAX_FILE = 256 * 1024


class OpenLocks:
    """Entity keys of open locks, each with the time of the loop's clock at which to secure it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._until: dict[str, float] = {}
        self._writing = asyncio.Lock()

    def __contains__(self, key: str) -> bool:
        return key in self._until

    def open_now(self) -> list[str]:
        """Return the keys of the open locks."""
        return list(self._until)

    def until(self, key: str) -> float:
        """Return when to secure a lock."""
        return self._until[key]

    async def load(self, now: float) -> None:
        """Add what a former run of the program left open, to be secured now."""
        for key in await asyncio.to_thread(_read, self._path):
            self._until.setdefault(key, now)

    async def open(self, key: str, until: float) -> None:
        """Remember that a lock is about to be opened; a later end replaces an earlier one."""
        self._until[key] = max(until, self._until.get(key, until))
        await self._save()

    async def secured(self, key: str) -> None:
        """Forget a lock that is secured again."""
        self._until.pop(key, None)
        await self._save()

    async def _save(self) -> None:
        async with self._writing:
            try:
                await asyncio.to_thread(_write, self._path, list(self._until))
            except OSError as error:
                # A full disk is no reason to leave somebody before a closed door.
                _log.warning("open locks can't be remembered in %s: %s", self._path, error.strerror)


def _read(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            listed = json.loads(file.read(_MAX_FILE))
    except (OSError, ValueError, RecursionError):
        # Absent at first; after a power cut it may be torn, and then no name in it can be trusted.
        return []
    return [key for key in listed if isinstance(key, str)] if isinstance(listed, list) else []


def _write(path: Path, keys: list[str]) -> None:
    if not keys:
        path.unlink(missing_ok=True)
        return
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(keys))
    draft.replace(path)
