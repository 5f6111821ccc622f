"""The keys whose signatures count: one that is pinned by hand, or those that the collector's authority names.

A document of keys is on disk before it counts, and one with a number that is not greater than the known one changes nothing. Whoever owns
the broker can hold a document back, but can neither make one nor bring an old one back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    from village_wire.command_keys import CommandKeys

_log = logging.getLogger(__name__)

#: Documents that wait to be written; the collector sends one at a time.
_MAX_WAITING = 4


class PinnedKey:
    """One key that nobody changes."""

    #: No document names it.
    number: None = None

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key
        self.settled = asyncio.Event()
        self.settled.set()

    def at(self, now: datetime | None) -> tuple[Ed25519PublicKey, ...]:
        """Return the key, at any time."""
        del now
        return (self._key,)

    def connected(self) -> None:
        """See `KeyRing`."""

    def confirmed(self) -> None:
        """See `KeyRing`."""

    def on_message(self, payload: bytes) -> None:
        """A collector with an authority tells everybody of new keys; here a person has said which one counts."""
        del payload

    async def run(self) -> None:
        """See `KeyRing`."""


class KeyRing:
    """Give documents to `on_message` and `run` to the program's `TaskGroup`."""

    def __init__(
        self,
        keys: CommandKeys,
        authority: EllipticCurvePublicKey,
        store: Callable[[bytes], Awaitable[None]],
        on_refused: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`store` puts a document on disk and raises `OSError`; `on_refused` is told the first of what is refused."""
        self._keys = _public(keys)
        self.number = keys.number
        self._authority = authority
        self._store = store
        self.on_refused = on_refused
        self._documents: asyncio.Queue[bytes] = asyncio.Queue(_MAX_WAITING)
        #: Documents that are neither on disk nor refused yet.
        self._open = 0
        self._confirmed = False
        self._refused = 0
        #: Set while nothing newer can be expected: the collector has answered, and what it sent is on disk.
        self.settled = asyncio.Event()

    def at(self, now: datetime | None) -> tuple[Ed25519PublicKey, ...]:
        """Return the keys that count at a time; all where the time is not known."""
        return tuple(key for key, until in self._keys if until is None or now is None or now < until)

    def connected(self) -> None:
        """There is a new connection: the collector may know of newer keys, and says so before it tells the time."""
        self._confirmed = False
        self.settled.clear()

    def confirmed(self) -> None:
        """The collector has told the time: what it knew of keys came before that."""
        self._confirmed = True
        self._settle()

    def on_message(self, payload: bytes) -> None:
        """Take a message of our channel `keys`; neither blocks nor raises."""
        try:
            self._documents.put_nowait(payload)
        except asyncio.QueueFull:
            self._refuse(f"more than {_MAX_WAITING} documents wait")
            return
        self._open += 1
        self.settled.clear()

    async def run(self) -> None:
        """Store documents until cancelled."""
        while True:
            await self._take(await self._documents.get())
            self._open -= 1
            self._settle()

    async def _take(self, payload: bytes) -> None:
        # An agent with a pinned key does without elliptic curves.
        from village_wire.command_keys import InvalidKeys, read_command_keys

        try:
            keys = read_command_keys(payload, self._authority)
        except InvalidKeys as error:
            self._refuse(str(error))
            return
        if keys.number <= self.number:
            _log.debug("command keys %d are known; %d changes nothing", self.number, keys.number)
            return
        try:
            await self._store(payload)
        except OSError as error:
            # The collector sends it again as long as our requests for the time name an older number.
            _log.error("command keys %d can't be stored and don't count: %s", keys.number, error.strerror)
            return
        self._keys, self.number = _public(keys), keys.number
        _log.info("command keys %d: %d count", keys.number, len(keys.keys))

    def _settle(self) -> None:
        if self._confirmed and not self._open:
            self.settled.set()

    def _refuse(self, reason: str) -> None:
        self._refused += 1
        if self._refused == 1:
            _log.warning("a document of command keys is refused: %s; more of them are not logged", reason)
            self.on_refused(reason)


def _public(keys: CommandKeys) -> Sequence[tuple[Ed25519PublicKey, datetime | None]]:
    return tuple((one.public, one.until) for one in keys.keys)


Keys = PinnedKey | KeyRing
