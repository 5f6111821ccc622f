"""The command keys of a running collector: which one signs now, and telling agents when that changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from village_collector.data_dir import DataDirProblem
from village_collector.ports import StoreUnavailable
from village_collector.trust.authority import Authority
from village_collector.trust.command_keys import KeyRing, files_of, load_command_key, settle
from village_wire.address import SessionError
from village_wire.outgoing import Publication
from village_wire.topics import AgentTopic

_log = logging.getLogger(__name__)

#: A rotation made by the command is noticed within this.
LOOK_SECONDS = 1.0
#: A county of 10,000 agents is told in less than two minutes, and its broker has time for other things.
PER_SECOND = 100
#: Agents that could not be told are told again after this; whoever comes back asks by itself.
AGAIN_SECONDS = 30.0


class LiveKeys:
    """Reads the files anew when they change. `load` comes first, then `run` in the program's `TaskGroup`."""

    def __init__(
        self,
        data_dir: Path,
        keys_dir: Path | None,
        authority: Authority,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`keys_dir` is the folder of keys that several collectors have, None if they are in `data_dir`."""
        self._data_dir = data_dir
        self._keys_dir = keys_dir
        self._folder = keys_dir or data_dir
        self._authority = authority
        self._now = now
        self._ring: KeyRing | None = None
        self._seen: object = None

    def load(self) -> None:
        """Read the files, and make them at the first call; blocks on the disk. Raises `DataDirProblem`."""
        load_command_key(self._data_dir, self._keys_dir)
        self._seen = _state(self._folder)
        self._ring = settle(self._folder, self._authority, self._now())
        # A key may have taken the other's place.
        load_command_key(self._data_dir, self._keys_dir)

    @property
    def ring(self) -> KeyRing:
        """What the files say."""
        if self._ring is None:
            raise AssertionError("load comes first")
        return self._ring

    def signer(self) -> Ed25519PrivateKey:
        """Return the key that signs at this moment."""
        return self.ring.signer(self._now())

    def signers(self) -> tuple[Ed25519PrivateKey, ...]:
        """Return the key that signs at this moment, and after it those that did a moment ago or will."""
        ring = self.ring
        others = (key for key in (ring.present, ring.following) if key is not None)
        return (self.signer(), *others)

    def document(self) -> tuple[int, bytes]:
        """Return number and payload of the document that agents should have."""
        return self.ring.document.number, self.ring.payload

    async def run(self, changed: Callable[[], None], look_seconds: float = LOOK_SECONDS) -> None:
        """Follow the files until cancelled; `changed` is called when the document is another one. Keys that can't be used change nothing."""
        failed: object = None
        while True:
            await asyncio.sleep(look_seconds)
            before = self.ring
            state = await asyncio.to_thread(_state, self._folder)
            due = before.ends is not None and self._now() >= before.ends
            if state in {self._seen, failed} and not due:
                continue
            try:
                await asyncio.to_thread(self.load)
            except DataDirProblem as error:
                if state != failed:
                    _log.error("the command keys on disk can't be used, so those in memory go on: %s", error)
                failed = state
                continue
            failed = None
            if self.ring.document != before.document:
                _log.info(
                    "command keys: document %d with %d keys", self.ring.document.number, len(self.ring.document.keys)
                )
                changed()


class KeyRecords(Protocol):
    """What is needed of the control store; all block and raise `StoreUnavailable`."""

    def connected_agents(self) -> Sequence[str]:
        """Agents that are connected as far as is known."""

    def keys_told(self) -> int:
        """Number of the document that all of them were told last."""

    def note_keys_told(self, number: int) -> None:
        """Keep that number."""


class KeysToAgents:
    """Tells connected agents of a change; whoever is away asks when it comes back. Lives in the event loop."""

    def __init__(
        self,
        document: Callable[[], tuple[int, bytes]],
        records: KeyRecords,
        publish: Callable[[Publication], Awaitable[None]],
    ) -> None:
        """`publish` raises `SessionError`."""
        self._document = document
        self._records = records
        self._publish = publish
        self._look = asyncio.Event()

    def changed(self) -> None:
        """Let all be told; cheap."""
        self._look.set()

    async def run(self, again_seconds: float = AGAIN_SECONDS) -> None:
        """Tell agents what was not told yet, also by a collector that ran before, until cancelled."""
        told: set[str] = set()
        telling = 0
        while True:
            self._look.clear()
            number, payload = self._document()
            if number != telling:
                telling, told = number, set()
            try:
                if number > await asyncio.to_thread(self._records.keys_told):
                    for agent in await asyncio.to_thread(self._records.connected_agents):
                        if agent not in told and not self._look.is_set():
                            await self._publish(keys_for(agent, payload))
                            told.add(agent)
                            await asyncio.sleep(1 / PER_SECOND)
                    if self._look.is_set():
                        continue
                    await asyncio.to_thread(self._records.note_keys_told, number)
                await self._look.wait()
            except (SessionError, StoreUnavailable) as error:
                _log.info("not every agent is told of the command keys yet: %s", error)
                await asyncio.sleep(again_seconds)


def keys_for(agent: str, payload: bytes) -> Publication:
    """Return the message that brings an agent the document."""
    return Publication(str(AgentTopic(agent, "keys")), payload, qos=1)


def _state(folder: Path) -> tuple[tuple[int, int, int] | None, ...]:
    return tuple(_state_of(path) for path in files_of(folder))


def _state_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
