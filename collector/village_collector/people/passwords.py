"""Passwords: hashed with argon2id in threads, a few at a time."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

#: Without rules on characters length is what counts: at the few guesses an hour that the throttle lets through, 12 are out of reach.
MIN_PASSWORD = 12
#: A sentence fits; longer ones only cost time.
MAX_PASSWORD = 200
#: Each takes 64 MiB and most of a core for a tenth of a second.
_AT_ONCE = 2
#: Those who wait for longer than two seconds are better told so.
_MAX_WAITING = 40
#: Read over the telephone: no letter looks like another. 20 of 30 letters: 98 bits.
_ALPHABET = "abcdefghjkmnpqrstuvwxyz2346789"
_INITIAL_GROUPS, _GROUP = 4, 5


class TooManyLogins(Exception):
    """More passwords wait to be checked than can be in two seconds."""


class BadPassword(ValueError):
    """The text can't be a password; it says why."""


def check_new_password(password: str, person: str) -> None:
    """Raise `BadPassword` for what must not become a password."""
    if len(password) < MIN_PASSWORD:
        raise BadPassword(
            f"a password has at least {MIN_PASSWORD} characters: three or four words are easy to remember"
        )
    if len(password) > MAX_PASSWORD:
        raise BadPassword(f"a password has at most {MAX_PASSWORD} characters")
    if password.strip().lower() == person.lower() or len(set(password)) == 1:
        raise BadPassword("this password is the first that anybody tries")


def initial_password() -> str:
    """Return a password to be handed over, such as `k7m2q-…`."""
    groups = ("".join(secrets.choice(_ALPHABET) for _ in range(_GROUP)) for _ in range(_INITIAL_GROUPS))
    return "-".join(groups)


class Passwords:
    """Lives in the event loop."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        """`hasher` is that of RFC 9106 for machines with little memory by default: 64 MiB, three passes."""
        self._hasher = hasher or PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0
        self._nobodys = ""

    async def hash(self, password: str) -> str:
        """Return the hash of a password, with its salt and parameters. Raises `TooManyLogins`."""
        async with self._place():
            return await asyncio.to_thread(self._hasher.hash, password.encode(errors="surrogatepass"))

    async def verify(self, known: str | None, password: str) -> bool:
        """Tell whether a password belongs to a hash. Without a hash it takes as long and is False. Raises `TooManyLogins`."""
        async with self._place():
            return await asyncio.to_thread(self._verify, known, password.encode(errors="surrogatepass"))

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        if self._waiting >= _MAX_WAITING:
            raise TooManyLogins("too many people log in at this moment")
        self._waiting += 1
        try:
            async with self._places:
                yield
        finally:
            self._waiting -= 1

    def _verify(self, known: str | None, password: bytes) -> bool:
        # Made at the first login of anybody, so that it does not tell whether the name is known.
        if not self._nobodys:
            self._nobodys = self._hasher.hash(secrets.token_bytes(16))
        try:
            self._hasher.verify(self._nobodys if known is None else known, password)
        except (VerificationError, InvalidHashError):
            return False
        return known is not None
