"""People: who shows a token, logging in and out, and their passwords and second factors."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from village_collector.people.passwords import Passwords
from village_collector.ports import StoreUnavailable
from village_collector.stores.control import ControlStore
from village_collector.stores.people_records import ShownToken, TokenRecord

#: A working day; who sits at another desk by then logs in again.
SESSION_LIFE = timedelta(hours=12)
#: A browser, some terminals, some scripts; the oldest ends when there are more.
MAX_SESSIONS = 20
#: For so long what was read of a token counts. A revocation holds for whoever asks a second after it.
CACHE_SECONDS = 0.5
_MAX_CACHED = 10_000
#: How often the last use of a token is written down.
_TOUCH = timedelta(minutes=5)
_SECRET = re.compile(r"vt1\.[A-Za-z0-9_-]{43}", re.ASCII)


class LoginRefused(Exception):
    """The name, the password or the code is wrong, or the person may not log in: which of them is not told."""


class OwnPasswordNeeded(Exception):
    """The password is an initial one: its person must choose another."""


@dataclass(frozen=True, slots=True, repr=False)
class IssuedToken:
    """A new token; its secret is told once."""

    secret: str
    token: TokenRecord


def new_secret() -> str:
    """Return the secret of a new token: 32 random bytes in text."""
    return f"vt1.{secrets.token_urlsafe(32)}"


def digest_of(secret: str) -> str:
    """Return what is stored of a token's secret. It is random, so that a plain hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


class People:
    """Lives in the event loop; all methods raise `StoreUnavailable`."""

    def __init__(
        self,
        control: ControlStore,
        *,
        passwords: Passwords | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._control = control
        self.passwords = passwords or Passwords()
        self._now = now
        self._monotonic = monotonic
        self._cache: dict[str, tuple[float, ShownToken]] = {}

    async def authenticate(self, secret: str) -> ShownToken | None:
        """Return whom a token belongs to; None if it is none, unknown, expired or revoked, or its person disabled.

        At most one query for each token in `CACHE_SECONDS`, and none for what does not look like a token.
        """
        if _SECRET.fullmatch(secret) is None:
            return None
        digest = digest_of(secret)
        cached = self._cache.get(digest)
        if (
            cached is not None
            and self._monotonic() - cached[0] < CACHE_SECONDS
            and cached[1].token.expires > self._now()
        ):
            return cached[1]
        # Before the query: what is changed during it shows at the latest when this has aged.
        started = self._monotonic()
        shown = await asyncio.to_thread(self._read, digest)
        if shown is None:
            self._cache.pop(digest, None)
            return None
        if len(self._cache) >= _MAX_CACHED:
            self._cache.clear()
        self._cache[digest] = (started, shown)
        return shown

    def forget(self) -> None:
        """Read all tokens anew: something about people was changed."""
        self._cache.clear()

    def _read(self, digest: str) -> ShownToken | None:
        now = self._now()
        shown = self._control.shown_token(digest, now)
        if shown is not None and (shown.token.last_used is None or now - shown.token.last_used >= _TOUCH):
            # A full disk must lock nobody out.
            with contextlib.suppress(StoreUnavailable):
                self._control.touch_token(shown.token.id, now)
        return shown
